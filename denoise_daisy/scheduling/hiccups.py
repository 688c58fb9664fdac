"""File systems that answer with errors for a moment, to a scheduler that goes on."""

import errno
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from denoise_daisy.durable import TRANSIENT
from denoise_daisy.errors import RunStopped
from denoise_daisy.waits import WAITS

logger = logging.getLogger(__name__)


class Hiccups:
    """Outlives errors of the scheduler's own files in what it does again and again."""

    def __init__(self) -> None:
        self._since: float | None = None

    @contextmanager
    def outlived(self) -> Iterator[None]:
        """Do what can be done again, should it fail; say so once.

        Raises
        ------
        RunStopped
            It has failed for too long.
        """
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOENT, *TRANSIENT):
                raise
            now = time.monotonic()
            if self._since is None:
                self._since = now
                logger.warning("%s; it is tried again.", error)
            if now - self._since > WAITS.hiccup:
                raise RunStopped(
                    f"The scheduler's own files can't be used for {WAITS.hiccup:g} s"
                    f" ({error}). What is done is kept; correct that and start again to"
                    " go on."
                ) from error
        else:
            self._since = None
