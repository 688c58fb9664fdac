"""What tells files from changed ones, whatever they hold."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from denoise_daisy.errors import InputError

ENDS = 1 << 16
"""Bytes at a file's begin and end that are looked at."""


def is_file(path: str) -> bool:
    """Whether a file is there, and no folder or pipe; nor is what can't be a path."""
    return os.path.isfile(path)  # noqa: PTH113 - pathlib's raises


def identity_of(paths: Iterable[str]) -> dict[str, str | int]:
    """What tells these files, together one image, from changed ones.

    Raises
    ------
    InputError
        One can't be read.
    """
    size = newest = 0
    checksum = hashlib.sha256()
    for path in paths:
        try:
            with Path(path).open("rb") as file:
                status = os.fstat(file.fileno())
                # Of several, also one that is not the newest may have changed.
                checksum.update(f"{status.st_size} {status.st_mtime_ns} ".encode())
                checksum.update(file.read(ENDS))
                file.seek(max(0, status.st_size - ENDS))
                checksum.update(file.read(ENDS))
        except (OSError, ValueError) as error:
            raise InputError(
                f"The input {path!r} can't be read"
                f" ({getattr(error, 'strerror', None) or error}). Expected the file"
                " of an image; check input.path."
            ) from error
        size, newest = size + status.st_size, max(newest, status.st_mtime_ns)
    return {"size": size, "mtime_ns": newest, "sha256": checksum.hexdigest()}
