"""Files behind paths: which, how large, and when they were changed."""

import os
from contextlib import suppress
from pathlib import Path

from denoise_daisy.errors import InputError


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
    try:
        if Path(path).is_fifo() or Path(path).is_socket():
            raise ValueError("it is a pipe or socket")  # noqa: TRY301 - as any other
        # Only when a file is opened does a network file system ask its server.
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"The input {path!r} can't be read ({reason}). Expected a file; check"
            " input.path."
        ) from error
    return status.st_size, status.st_mtime_ns
