"""Waiting for files that other hosts have written, or that are away for a moment."""

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

    It is waited for `seconds`, as long as readers wait unless said otherwise; for a
    line of a ledger that other hosts may have written longer.
    """
    limit = WAITS.file_away if seconds is None else seconds
    started = time.monotonic()
    while True:
        try:
            return act()
        except UnrecordedError:
            if time.monotonic() - started > WAITS.ledger_lag:
                raise
        except (OSError, DamagedError) as error:
            is_away = (
                isinstance(error, DamagedError | FileNotFoundError)
                or error.errno in TRANSIENT
            )
            if not is_away or time.monotonic() - started > limit:
                raise
        time.sleep(WAITS.retry)
