"""SIGINT, SIGTERM and SIGHUP: counted while a run goes on, and acted on by its loop."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from denoise_daisy.errors import Interrupted
from denoise_daisy.waits import WAITS

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """The signals that came; in another thread than the main one: none ever does."""

    def __init__(self) -> None:
        self._taken: list[int] = []
        self._last = -math.inf
        self._are_lost = threading.Event()
        """Somebody else may have them now, as Daisy has when a server starts."""

    @property
    def count(self) -> int:
        """How many came, those that follow each other at once as one."""
        return len(self._taken)

    @property
    def first(self) -> int:
        """Number of the first."""
        return self._taken[0]

    @property
    def interruption(self) -> Interrupted:
        """That the first of them stopped the run."""
        return Interrupted(
            f"Stopped by {signal.Signals(self.first).name}. What is done is kept; start"
            " again to go on.",
            self.first,
        )

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Take signals meanwhile, and leave things as they were."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in NUMBERS}
        self.handle()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle(self) -> None:
        """Take the signals from whoever has them, or have the main thread do so.

        With nohup a terminal that goes is to be ignored.
        """
        if threading.current_thread() is not threading.main_thread():
            self._are_lost.set()
            return
        self._are_lost.clear()
        for number in NUMBERS:
            ignored = signal.getsignal(number) is signal.SIG_IGN
            if not (ignored and number == signal.SIGHUP):
                signal.signal(number, self.take)

    def pause(self, seconds: float) -> None:
        """Let so much time pass, but for taking back signals that are lost."""
        if self._are_lost.wait(seconds):
            self.handle()

    def take(self, number: int, _: object = None) -> None:
        """One has come; those that follow it at once are the same.

        One Ctrl-C, or one bkill, can come twice: from the terminal or the batch system
        itself, and from a script in between.
        """
        now = time.monotonic()
        if now - self._last > WAITS.same_signal:
            self._taken.append(number)
        self._last = now
