"""Waiting for files that other hosts have written, or that are away for a moment."""

import math
import time
from collections.abc import Callable
from typing import TypeVar

from denoise_daisy.durable import TRANSIENT
from denoise_daisy.outputs.ome_zarr import DamagedError
from denoise_daisy.waits import WAITS

Result = TypeVar("Result")


class UnrecordedError(Exception):
    """What is to be read is not recorded as done, as far as can be seen here."""


def patiently(act: Callable[[], Result], seconds: float | None = None) -> Result:
    """What `act` returns, once a file that is away for a moment is there again.

    It is waited for `seconds` from the first failure on, as long as readers wait unless
    said otherwise; for a line of a ledger that other hosts may have written longer.
    """
    limit = WAITS.file_away if seconds is None else seconds
    failing_since = math.inf
    while True:
        try:
            return act()
        except (UnrecordedError, DamagedError, OSError) as error:
            now = time.monotonic()
            failing_since = min(failing_since, now)
            is_late = isinstance(error, UnrecordedError)
            waited_for = WAITS.ledger_lag if is_late else limit
            if not _may_pass(error) or now - failing_since > waited_for:
                raise
        time.sleep(WAITS.retry)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return error.errno in TRANSIENT
    return True
