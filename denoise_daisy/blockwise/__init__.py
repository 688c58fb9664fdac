"""Stages: grids of blocks, what they read, what becomes of them, and where it goes."""
