"""A whole run: refused or prepared, run, read back, and told of in words."""
