"""Files behind paths: which, and what tells them from changed ones."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from denoise_daisy.errors import InputError

ENDS = 1 << 16
"""Bytes at a file's begin and end that are looked at."""


def is_file(path: str) -> bool:
    """Whether a file is there, and no folder or pipe; nor is what can't be a path."""
    return os.path.isfile(path)  # noqa: PTH113 - pathlib's raises


def file_at(path: Path) -> Path | None:
    """The file of a path, behind which a part of it may be named; None: there is none.

    A folder is none.
    """
    with suppress(OSError, ValueError):
        return next((each for each in (path, *path.parents) if each.is_file()), None)
    return None


def status_of(path: str) -> tuple[int, int]:
    """Size of a file and when it was changed, in nanoseconds.

    Raises
    ------
    InputError
        It can't be read.
    """
    with _opened(path) as file:
        status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


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
        with _opened(path) as file:
            status = os.fstat(file.fileno())
            # Of several, also one that is not the newest may have changed.
            checksum.update(f"{status.st_size} {status.st_mtime_ns} ".encode())
            checksum.update(file.read(ENDS))
            file.seek(max(0, status.st_size - ENDS))
            checksum.update(file.read(ENDS))
        size, newest = size + status.st_size, max(newest, status.st_mtime_ns)
    return {"size": size, "mtime_ns": newest, "sha256": checksum.hexdigest()}


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Only when a file is opened does a network file system ask its server."""
    try:
        if Path(path).is_fifo() or Path(path).is_socket():
            raise ValueError("it is a pipe or socket")  # noqa: TRY301 - as any other
        with Path(path).open("rb") as file:
            yield file
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"The input {path!r} can't be read ({reason}). Expected the file of an"
            " image; check input.path."
        ) from error
