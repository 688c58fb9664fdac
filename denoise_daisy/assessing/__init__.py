"""How good a run has become and what it cost: measured, in words and as a page."""
