"""Putting the files of a ledger together, so that there are few to look at.

Whatever kills it, no line is lost: each stands in some file that is read, maybe in two.
"""

import os
import secrets
from pathlib import Path

from denoise_daisy.durable import sync

MANY_FILES = 50
"""So many are put together: each is opened whenever somebody looks for new lines."""

PREFIX = "all-"
"""Of the files that others were put into, which stay as they are."""


def compact(folder: Path) -> bool:
    """Put the files of writers together, if there are many; whether there were.

    A writer that is still at work, for an earlier start, sees that its file is not in
    place any more, and writes its line again.
    """
    files = [
        path
        for path in sorted(folder.glob("*.jsonl"))
        if path.is_file() and not path.name.startswith(PREFIX)
    ]
    if len(files) < MANY_FILES:
        return False
    token = secrets.token_hex(8)
    moved = [_move(path, token) for path in files]
    whole = folder / f"{PREFIX}{token}.jsonl"
    partial = whole.with_name(f"{whole.name}.partial")
    with partial.open("xb") as target:
        for path in moved:
            with path.open("rb") as source:
                target.writelines(line for line in source if line.endswith(b"\n"))
        target.flush()
        os.fsync(target.fileno())
    partial.replace(whole)
    sync(folder)
    for path in moved:
        path.unlink()
    return True


def _move(path: Path, token: str) -> Path:
    """To a name that readers read as well, and no writer's."""
    return path.rename(path.with_name(f"{path.stem}.{token}.jsonl"))
