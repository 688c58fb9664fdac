"""The page of a run, kept up to date by a thread that is never in the run's way.

Whatever goes wrong with a page is said once in the log, and is nothing to the run.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from denoise_daisy.durable import write_atomic
from denoise_daisy.errors import BlocksFailed, Interrupted
from denoise_daisy.monitoring.values import State
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.signals import Signals
from denoise_daisy.waits import WAITS

MOST_SHARE = 20
"""A page is followed by a pause of at least so many times what it took."""

LEAST = 1.0
"""Pages that would follow each other more closely are none: see `Waits.page`."""

SOON = 3.0
"""Seconds until the first page: until then there is little to be seen."""

QUIT = 0.2
"""Seconds between two looks at whether to go on waiting."""

TURN = 1.0
"""Seconds that a last page waits for one of another run; then it has no pictures."""

logger = logging.getLogger("denoise_daisy")


class MakePage(Protocol):
    """Makes a page of how a run has ended, if it has, and when to look again."""

    def __call__(
        self, ended: State | None, refresh: float | None, /, *, has_pictures: bool
    ) -> str:
        """The page; pictures take most of the time that it takes."""


class _Turns:
    """One page at a time in this process, and not all of the time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.free_at = 0.0
        self._has_loaded = False

    @contextmanager
    def taken(self, within: float) -> Iterator[bool]:
        """Whether nobody else makes a page meanwhile; one may hang for ever."""
        is_ours = self.lock.acquire(timeout=within)
        try:
            yield is_ours
        finally:
            if is_ours:
                self.lock.release()

    def took(self, seconds: float) -> float:
        """Let others wait for a page that took so long; for how long.

        The first one had to load what later ones are spared.
        """
        pause = MOST_SHARE * seconds if self._has_loaded else 0.0
        self._has_loaded = True
        self.free_at = max(self.free_at, time.monotonic()) + pause
        return pause


TURNS = _Turns()


def are_kept() -> bool:
    """Whether there are such pages."""
    return WAITS.page >= LEAST


def page_said(run_dir: RunDir) -> str:
    """Where the page of a run is to be, as a line after another; empty if nowhere."""
    return f"\nPage: {run_dir.page}" if are_kept() else ""


@contextmanager
def page_kept(
    run_dir: RunDir, make: Callable[[], MakePage], *, is_alone: bool = True
) -> Iterator[None]:
    """The page of a run is kept up to date meanwhile, and tells in the end how it went.

    `make` is called in a thread that writes pages.  The last page of a run that is not
    alone has pictures only if there is time for them.
    """
    keeper = _Keeper(run_dir, make, is_alone=is_alone) if are_kept() else None
    if keeper is None or not keeper.has_started():
        yield
        return
    state: State = "stopped"
    patience = WAITS.last_page_stopped
    try:
        yield
        state, patience = "done", WAITS.last_page
    except BlocksFailed:
        state, patience = "failed", WAITS.last_page
        raise
    except Interrupted:
        raise
    except BaseException:
        patience = WAITS.last_page / 3
        raise
    finally:
        keeper.end(state, patience)


class _Keeper(threading.Thread):
    """Writes a page now and then, and a last one."""

    def __init__(
        self, run_dir: RunDir, make: Callable[[], MakePage], *, is_alone: bool
    ) -> None:
        super().__init__(name=f"page of {run_dir.path.name}", daemon=True)
        self._run_dir = run_dir
        self._make = make
        self._is_alone = is_alone
        self._page: MakePage | None = None
        self._began = time.monotonic()
        """When the latest page was begun, or the run was."""
        self._pause = 0.0
        self._over = threading.Event()
        self._state: State | None = None
        self._is_late = False
        self._written = 0
        self._has_complained = False

    def has_started(self) -> bool:
        """Start, and say so if there can be no more threads."""
        try:
            self.start()
        except RuntimeError as error:
            logger.warning("There will be no page of the run: %s.", error)
            return False
        return True

    def end(self, state: State, patience: float) -> None:
        """Write the last page; nobody waits longer for it than that.

        A signal ends the waiting, and nothing else: the run has ended as it has.
        """
        self._state = state
        self._over.set()
        signals = Signals()
        with signals.handled():
            _wait(self, patience, signals)
            self._is_late = self.is_alive()
            if self._is_late:
                logger.info("The last page of the run was not ready in time.")
                plain = threading.Thread(target=self._write_plain, daemon=True)
                with suppress(RuntimeError):
                    plain.start()
                    _wait(plain, WAITS.last_page_stopped, signals)

    def run(self) -> None:
        """Until the run is over."""
        with suppress(OSError):
            self._written = self._run_dir.page.stat().st_ino
        pause = min(SOON, WAITS.page)
        while not self._over.wait(pause):
            pause = self._in_turn()
        self._at_last()

    def _in_turn(self) -> float:
        """Write a page once it is this run's turn; how long to pause now."""
        with TURNS.taken(0) as is_ours:
            began = time.monotonic()
            if not is_ours:
                return LEAST
            if began < TURNS.free_at:
                return TURNS.free_at - began
            # Among many runs it may take long until it is one's turn again.
            since, self._began = began - self._began, began
            self._write(None, max(30.0, WAITS.page, self._pause, since))
            self._pause = max(WAITS.page, TURNS.took(time.monotonic() - began))
        return self._pause

    def _at_last(self) -> None:
        """Write the last page: with pictures, if others have left time for them."""
        with TURNS.taken(TURN) as is_ours:
            began = time.monotonic()
            is_free = self._is_alone or began >= TURNS.free_at
            self._write(self._state, None, has_pictures=is_ours and is_free)
            TURNS.took(time.monotonic() - began)

    def _write_plain(self) -> None:
        """Say how the run has ended, while another page of it can't be made."""
        try:
            self._put(self._make()(self._state, None, has_pictures=False))
        except Exception:
            logger.debug("Why there is no last page", exc_info=True)

    def _write(
        self, state: State | None, refresh: float | None, *, has_pictures: bool = True
    ) -> None:
        try:
            if self._page is None:
                # Of its warnings, those who run a program can't make use.
                logging.getLogger("matplotlib").setLevel(logging.ERROR)
                self._page = self._make()
            text = self._page(state, refresh, has_pictures=has_pictures)
            if state or not self._over.is_set():
                self._put(text)
                self._has_complained = False
        except Exception as error:
            if not self._has_complained:
                said = f"{type(error).__name__}: {error}"
                path = self._run_dir.page
                logger.warning("The page %s can't be written: %s.", path, said)
                logger.debug("Why there is no page", exc_info=True)
            self._has_complained = True

    def _put(self, text: str) -> None:
        if not (self._is_late and self._is_replaced()):
            self._replace(text)
            self._written = self._run_dir.page.stat().st_ino

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


def _wait(thread: threading.Thread, seconds: float, signals: Signals) -> None:
    """Let a thread come to its end, for so long and until another signal comes."""
    until, before = time.monotonic() + seconds, signals.count
    while thread.is_alive() and signals.count == before:
        if time.monotonic() >= until:
            break
        thread.join(QUIT)
