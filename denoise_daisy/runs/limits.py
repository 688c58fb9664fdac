"""Limits of the machine that end a command, in words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from denoise_daisy.errors import RunStopped

FEW = (errno.EMFILE, errno.ENFILE, errno.EAGAIN)
"""No more open files, of this process or at all; no more processes."""


@contextmanager
def limits_told() -> Iterator[None]:
    """Tell that a process may have too few files, threads or processes.

    Raises
    ------
    RunStopped
        Instead of what the system says then.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = getattr(error, "errno", None)
        if number not in FEW and "can't start new thread" not in str(error):
            raise
        raise RunStopped(
            "This program may have too few open files, threads or processes here"
            f" ({error}). What is done is kept; raise the limits (ulimit -n, ulimit -u)"
            " or lower workers.count, and start again to go on."
        ) from error
