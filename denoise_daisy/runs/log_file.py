"""The scheduler's log file."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

logger = logging.getLogger("denoise_daisy")


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Log to a file as well, with what native code says on file descriptor 2.

    Daisy's server writes there, past Python, and with it what a worker must know to get
    a block: only the owner can read the file.  The command line has its own messages on
    another descriptor; where a caller has not, all goes where it always went.
    """
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.fchmod(file, 0o600)
    stream = os.fdopen(file, "a", encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with _native_words_into(file) if _own_stderr() else nullcontext():
            yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        # Of a full disk, those tell who must write.
        with suppress(OSError):
            stream.close()


@contextmanager
def _native_words_into(file: int) -> Iterator[None]:
    native = os.dup(2)
    os.dup2(file, 2)
    try:
        yield
    finally:
        os.dup2(native, 2)
        os.close(native)


def _own_stderr() -> bool:
    try:
        return sys.stderr.fileno() != 2
    except (OSError, ValueError):
        return False
