"""What a notebook or a program calls: a module each, whose values commands print."""
