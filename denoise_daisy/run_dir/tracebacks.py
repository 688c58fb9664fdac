"""Tracebacks of failed blocks, a small file for each: the last one of a block."""

from contextlib import suppress
from pathlib import Path

from denoise_daisy.geometry import Index
from denoise_daisy.run_dir.run_dir import RunDir

FOLDER = "tracebacks"
"""In the logs."""

MOST_FILES = 200
"""No more are kept; the ledger has all of them."""

MOST_CHARACTERS = 100_000
"""Of one; the end of a longer one is kept."""


def keep_traceback(run_dir: RunDir, stage: str, block: Index, text: str) -> str | None:
    """Write a block's traceback; its file as a path from the logs, None without one.

    Whatever hinders it, a full disk for example, harms nothing.
    """
    folder = run_dir.logs / FOLDER
    path = folder / f"{stage}-{'-'.join(map(str, block))}.txt"
    partial = path.with_suffix(".partial")
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
        if not path.exists() and len(list(folder.glob("*.txt"))) >= MOST_FILES:
            return None
        try:
            partial.write_text(text[-MOST_CHARACTERS:], "utf-8", "backslashreplace")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return f"{FOLDER}/{path.name}"
    return None


def traceback_file(run_dir: RunDir, name: str | None) -> Path | None:
    """Where a block's last traceback is, if it is there still."""
    path = run_dir.logs / name if name else None
    return path if path and path.is_file() else None
