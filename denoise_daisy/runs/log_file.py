"""The scheduler's log file."""

import logging
import os
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from denoise_daisy.durable import persistently

logger = logging.getLogger("denoise_daisy")


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Log to a file as well, with what native code says on file descriptor 2.

    Daisy's server writes there, past Python, and with it what a worker must know to get
    a block: only the owner can read the file.  The command line has its own messages on
    another descriptor; where a caller has not, all goes where it always went.  Without
    the file, where it can't be had, all goes on.
    """
    with ExitStack() as stack:
        if file := _file(path, stack):
            _log_to(file, stack)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.INFO)
            if _own_stderr():
                native = os.dup(2)
                stack.callback(os.close, native)
                stack.callback(os.dup2, native, 2)
                os.dup2(file.fileno(), 2)
        yield


@contextmanager
def log_of_thread(path: Path) -> Iterator[None]:
    """Log what this thread says to a file as well, for a run among others."""
    mine = threading.get_ident()
    with ExitStack() as stack:
        if file := _file(path, stack):
            _log_to(file, stack).addFilter(lambda record: record.thread == mine)
        yield


@contextmanager
def whose_is_told(images: Collection[str]) -> Iterator[None]:
    """Before what a thread of one of these names says, its name stands meanwhile."""

    def name_it(record: logging.LogRecord) -> bool:
        if record.threadName in images:
            name = record.threadName or ""
            # With arguments it is a format, in which % has a meaning.
            name = name.replace("%", "%%") if record.args else name
            record.msg = f"{name}: {record.msg}"
        return True

    logger.addFilter(name_it)
    try:
        yield
    finally:
        logger.removeFilter(name_it)


def _file(path: Path, stack: ExitStack) -> TextIO | None:
    """The file, until the stack is closed; None where it can't be had."""
    try:
        file = persistently(lambda: _opened(path))
    except OSError as error:
        logger.warning("There is no log of this start: %s.", error)
        return None
    stack.callback(_close, file)
    return file


def _opened(path: Path) -> TextIO:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.fchmod(file, 0o600)
    return os.fdopen(file, "a", encoding="utf-8", errors="backslashreplace")


def _log_to(file: TextIO, stack: ExitStack) -> logging.Handler:
    """Until the stack is closed."""
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    stack.callback(logger.removeHandler, handler)
    return handler


def _close(file: TextIO) -> None:
    """What could not be written to the last is lost; those tell who must write."""
    with suppress(OSError):
        file.close()


def _own_stderr() -> bool:
    try:
        return sys.stderr.fileno() != 2
    except (OSError, ValueError):
        return False
