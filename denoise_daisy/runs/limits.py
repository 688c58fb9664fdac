"""Limits of the machine and troubles of its files that end a command, in words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from denoise_daisy.durable import TRANSIENT
from denoise_daisy.errors import RunStopped
from denoise_daisy.run_dir.exit_codes import DISK_ERRORS

FEW = (errno.EMFILE, errno.ENFILE, errno.EAGAIN)
"""No more open files, of this process or at all; no more processes."""


@contextmanager
def limits_told(place: Path | None = None) -> Iterator[None]:
    """Tell that a process may have too few files, threads or processes.

    Or that a disk is full, or a file server away for too long; `place` is where, if the
    system does not say it.

    Raises
    ------
    RunStopped
        Instead of what the system says then.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = getattr(error, "errno", None)
        if isinstance(error, OSError) and number in (*DISK_ERRORS, *TRANSIENT):
            verb = "write" if number in DISK_ERRORS else "use its files"
            where = error.filename or place
            what = f"{error.strerror}: {where}" if where else error.strerror
            raise RunStopped(
                f"The run can't {verb} ({what}). What is done is kept; correct that and"
                " start again to go on."
            ) from error
        if number not in FEW and "can't start new thread" not in str(error):
            raise
        raise RunStopped(
            "This program may have too few open files, threads or processes here"
            f" ({error}). What is done is kept; raise the limits (ulimit -n, ulimit -u)"
            " or lower workers.count, and start again to go on."
        ) from error
