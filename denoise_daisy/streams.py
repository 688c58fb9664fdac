"""Standard streams: whoever reads them, or does not, can't end or hold a run."""

import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from denoise_daisy.waits import WAITS

KEPT = 1000
"""Pieces that wait for a reader; the oldest of more are dropped."""

PIECE = 4096
"""Bytes that a pipe takes at once, without a wait, where it takes any (PIPE_BUF)."""

_one_at_a_time = threading.Lock()
"""Two streams may be one pipe, which must not fill up between a look and a write."""


def use_utf8() -> None:
    """Begin again in UTF-8, which names of files and configs are in, if need be.

    The locale of a batch system or a daemon is often that of ASCII.  Processes that
    this one starts inherit the choice.
    """
    began_again = os.environ.get("PYTHONUTF8") == "1"
    if sys.getfilesystemencoding() != "utf-8" and not began_again:
        environment = os.environ | {"PYTHONUTF8": "1"}
        os.execve(sys.executable, sys.orig_argv, environment)  # noqa: S606


def open_closed() -> None:
    """Put the null device where who started this program has closed a stream."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            null = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
            setattr(sys, name, null)


@contextmanager
def patient(*names: str) -> Iterator[None]:
    """Let these streams of `sys` neither fail nor wait; at the end they wait a little.

    They get descriptors of their own: 1 and 2 are left to native code, whose words a
    run puts into its log.
    """
    ours: dict[str, _Patient] = {}
    for name in names:
        with suppress(OSError, ValueError):
            ours[name] = _Patient(os.dup(getattr(sys, name).fileno()))
    before = {name: getattr(sys, name) for name in ours}
    for name, raw in ours.items():
        setattr(sys, name, _text(raw, before[name].encoding))
    try:
        yield
    finally:
        deadline = time.monotonic() + WAITS.last_words
        for name, raw in ours.items():
            getattr(sys, name).flush()
            raw.pass_on(deadline)
            getattr(sys, name).close()
            setattr(sys, name, before[name])


def print_whole(text: str) -> None:
    """Print a line to standard output, and wait for its reader as long as it takes.

    That also where it does not block, as a parent may have left it: Python's own would
    lose what does not fit.

    Raises
    ------
    OSError
        It can't be written, or nobody reads it any more.
    """
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
    except io.UnsupportedOperation:
        # Somebody has put an object of Python's in its place.
        sys.stdout.write(f"{text}\n")
        return
    rest = f"{text}\n".encode(sys.stdout.encoding, "backslashreplace")
    while rest:
        select.select([], [descriptor], [])
        with suppress(BlockingIOError):  # somebody else was faster
            rest = rest[os.write(descriptor, rest) :]


def _text(raw: Any, encoding: str) -> TextIO:
    return io.TextIOWrapper(
        raw, encoding=encoding, errors="backslashreplace", line_buffering=True
    )


class _Patient(io.RawIOBase):
    """Writes what its reader takes without a wait, and keeps the rest for later."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._unread: deque[bytes] = deque(maxlen=KEPT)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        """Take it all, always."""
        text = bytes(data)
        pieces = (text[i : i + PIECE] for i in range(0, len(text), PIECE))
        with _one_at_a_time:
            self._unread.extend(pieces)
        self.pass_on(0.0)
        return len(text)

    def pass_on(self, deadline: float) -> None:
        """Write what is kept, as long as it is taken before the deadline."""
        with _one_at_a_time:
            while self._unread and self._is_ready(deadline - time.monotonic()):
                piece = self._unread.popleft()
                try:
                    rest = piece[os.write(self._descriptor, piece) :]
                except BlockingIOError:
                    rest = piece  # somebody else was faster
                except OSError:
                    continue  # a full disk, a reader or a terminal that is gone
                if rest:
                    self._unread.appendleft(rest)

    def _is_ready(self, seconds: float) -> bool:
        return bool(self._poll.poll(max(0, seconds) * 1000))

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._descriptor)
