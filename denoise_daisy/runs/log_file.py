"""The scheduler's log file."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger("denoise_daisy")


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Log to a file as well, with what native code says on file descriptor 2.

    Daisy's server writes there, past Python.  The command line has its own messages on
    another descriptor; where a caller has not, all goes where it always went.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    native = os.dup(2)
    if _own_stderr():
        with path.open("ab") as file:
            os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(native, 2)
        os.close(native)
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def _own_stderr() -> bool:
    try:
        return sys.stderr.fileno() != 2
    except (OSError, ValueError):
        return False
