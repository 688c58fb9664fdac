"""The worker's side of a run: a process that acquires blocks, does and records them.

The order is what makes a run safe to kill: a block's files are on disk before its line
is in the ledger, and its line is there before Daisy hears of it.
"""
