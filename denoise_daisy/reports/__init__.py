"""What is drawn for people: figures and pages; values in, text out, no I/O."""
