"""When workers may be started, and when starting them is hopeless."""

import time
from collections.abc import Callable

from denoise_daisy.errors import RunStopped
from denoise_daisy.waits import WAITS

MAX_DEATHS = 6
"""Starts are hopeless after so many workers in a row died before they took a block."""

MAX_FRUITLESS = 20
"""And after so many starts in a row of workers that ended and took no block, whatever
the reason."""


class NoWorkersError(RunStopped):
    """No worker of a pool can be kept alive; what is done is kept."""


class StartLimits:
    """Spaces out the starts of a pool's workers, and ends them where none succeeds."""

    def __init__(self) -> None:
        self._pause = WAITS.first_start_pause
        self._not_before = 0.0
        self._deaths = 0
        self._fruitless = 0
        self._has_ended = False
        self._worked_at = time.monotonic()

    def note_progress(self) -> None:
        """A block was done, or has failed: workers can be kept alive."""
        if not self._deaths:
            self._pause = WAITS.first_start_pause
            soon = time.monotonic() + self._pause
            self._not_before = min(self._not_before, soon)
        self._deaths = self._fruitless = 0
        self._has_ended = False

    def note_work(self) -> None:
        """Some worker is at a block."""
        self._worked_at = time.monotonic()

    def note_end(self, deaths: int) -> None:
        """A worker ended without a block, which counts as that many deaths."""
        self._deaths += deaths
        self._has_ended = True

    def are_due(self) -> bool:
        """Whether workers may be started now."""
        return time.monotonic() >= self._not_before

    def note_start(self) -> None:
        """Workers are being started."""
        self._fruitless += self._has_ended
        self._has_ended = False
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, WAITS.longest_start_pause)

    def check(self, last: str, is_at_work: Callable[[], bool]) -> None:
        """Stop what is hopeless, at the end of a worker; `last` tells of it.

        As long as somebody works, starts are only spaced out.

        Raises
        ------
        NoWorkersError
            It is hopeless.
        """
        if self._deaths >= MAX_DEATHS and not is_at_work():
            raise NoWorkersError(
                "Workers die before they take a block, one after the other, the last"
                f" with {last}"
            )
        # What was done last may show late.
        is_idle = time.monotonic() - self._worked_at > WAITS.ledger_lag
        if self._fruitless >= MAX_FRUITLESS and is_idle and not is_at_work():
            raise NoWorkersError(
                f"Workers were started {self._fruitless} times in a row and none took a"
                f" block, the last ended with {last}"
            )
