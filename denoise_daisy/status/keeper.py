"""The page of a run, kept up to date by a thread that is never in the run's way.

Whatever goes wrong with a page is said once in the log, and is nothing to the run.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from denoise_daisy.durable import write_atomic
from denoise_daisy.errors import BlocksFailed, Interrupted
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.status.values import State
from denoise_daisy.waits import WAITS

MOST_SHARE = 20
"""A page is followed by a pause of at least so many times what it took."""

LEAST = 1.0
"""Pages that would follow each other more closely are none: see `Waits.page`."""

SOON = 3.0
"""Seconds until the first page: until then there is little to be seen."""

PATIENCE, HASTE = 15.0, 1.5
"""Seconds that a run waits for its last page at its end, and when it is interrupted."""

MakePage = Callable[[State | None, float | None], str]
"""Makes a page of how a run has ended, if it has, and when to look again."""

logger = logging.getLogger("denoise_daisy")


class _Turns:
    """One page at a time in this process, and not all of the time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.free_at = 0.0

    def took(self, seconds: float) -> None:
        """Let others wait for a page that took so long."""
        self.free_at = time.monotonic() + MOST_SHARE * seconds


TURNS = _Turns()


def are_kept() -> bool:
    """Whether there are such pages."""
    return WAITS.page >= LEAST


def page_said(run_dir: RunDir) -> str:
    """Where the page of a run is to be, as a line after another; empty if nowhere."""
    return f"\nPage: {run_dir.page}" if are_kept() else ""


@contextmanager
def page_kept(run_dir: RunDir, make: Callable[[], MakePage]) -> Iterator[None]:
    """The page of a run is kept up to date meanwhile, and tells in the end how it went.

    `make` is called once, in the thread that writes the pages.
    """
    if not are_kept():
        yield
        return
    keeper = _Keeper(run_dir, make)
    keeper.start()
    state: State = "stopped"
    patience = HASTE
    try:
        yield
        state, patience = "done", PATIENCE
    except BlocksFailed:
        state, patience = "failed", PATIENCE
        raise
    except Interrupted:
        raise
    except BaseException:
        patience = PATIENCE / 3
        raise
    finally:
        keeper.end(state, patience)


class _Keeper(threading.Thread):
    """Writes a page now and then, and a last one."""

    def __init__(self, run_dir: RunDir, make: Callable[[], MakePage]) -> None:
        super().__init__(name=f"page of {run_dir.path.name}", daemon=True)
        self._run_dir = run_dir
        self._make = make
        self._page: MakePage | None = None
        self._over = threading.Event()
        self._state: State | None = None
        self._is_late = False
        self._written = 0
        self._has_complained = False

    def end(self, state: State, patience: float) -> None:
        """Write the last page; nobody waits longer for it than that."""
        self._state = state
        self._over.set()
        self.join(patience)
        self._is_late = self.is_alive()
        if self._is_late:
            logger.info("The last page of the run was not ready in time.")

    def run(self) -> None:
        """Until the run is over."""
        pause = min(SOON, WAITS.page)
        while not self._over.wait(pause):
            pause = self._in_turn()
        with TURNS.lock:
            self._write(self._state, None)

    def _in_turn(self) -> float:
        """Write a page once it is this run's turn; how long to pause now."""
        with TURNS.lock:
            left = TURNS.free_at - time.monotonic()
            if left > 0:
                return left
            began = time.monotonic()
            is_first = self._page is None
            self._write(None, max(30.0, WAITS.page))
            # Later ones have been spared what the first one had to load.
            took = 0.0 if is_first else time.monotonic() - began
            TURNS.took(took)
        return max(WAITS.page, MOST_SHARE * took)

    def _write(self, state: State | None, refresh: float | None) -> None:
        try:
            if self._page is None:
                # Of its warnings, those who run a program can't make use.
                logging.getLogger("matplotlib").setLevel(logging.ERROR)
                self._page = self._make()
            text = self._page(state, refresh)
            if not (self._is_late and self._is_replaced()):
                self._replace(text)
                self._written = self._run_dir.page.stat().st_ino
                self._has_complained = False
        except Exception as error:
            if not self._has_complained:
                said = f"{type(error).__name__}: {error}"
                path = self._run_dir.page
                logger.warning("The page %s can't be written: %s.", path, said)
                logger.debug("Why there is no page", exc_info=True)
            self._has_complained = True

    def _is_replaced(self) -> bool:
        """Whether somebody else has written a page since: a report, or a new start."""
        page = self._run_dir.page
        return page.exists() and page.stat().st_ino != self._written

    def _replace(self, text: str) -> None:
        try:
            write_atomic(self._run_dir.page, text, durable=False)
        except FileNotFoundError:
            # The run has just swept away what looked as if it were left behind.
            write_atomic(self._run_dir.page, text, durable=False)
