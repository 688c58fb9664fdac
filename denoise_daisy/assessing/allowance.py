"""The time that a report may take, and what was left out."""

import logging
import math
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

logger = logging.getLogger("denoise_daisy")


class Allowance:
    """Measures one thing after the other, as long as there is time.

    What fails is left out as well: a report is never an error because of one figure.
    """

    def __init__(self, seconds: float | None) -> None:
        """`seconds` is what all may take together; None: as long as it takes."""
        self._began = time.monotonic()
        self._end = math.inf if seconds is None else self._began + seconds
        self.left_out: list[str] = []
        """What, and why."""

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds from now."""
        return self._end - time.monotonic()

    def leave_out(self, what: str, why: str) -> None:
        """Note that something is not told, and why; of several reasons the first."""
        if not any(said.startswith(f"{what}: ") for said in self.left_out):
            self.left_out.append(f"{what}: {why}")

    def measured(
        self, what: str, measure: Callable[[], Found], otherwise: Found
    ) -> Found:
        """What `measure` finds; `otherwise` where it fails, or no time is left."""
        if self.left <= 0:
            self.leave_out(what, "no time was left")
            return otherwise
        try:
            return measure()
        except Exception as error:
            logger.debug("%s could not be measured", what, exc_info=True)
            self.leave_out(what, f"{type(error).__name__}: {error}")
            return otherwise
