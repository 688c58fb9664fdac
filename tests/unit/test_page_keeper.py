"""The page of a run is kept by a thread; whatever happens there is nothing to it."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from denoise_daisy.durable import write_atomic
from denoise_daisy.errors import BlocksFailed, Interrupted
from denoise_daisy.monitoring import keeper
from denoise_daisy.monitoring.keeper import MakePage, page_kept
from denoise_daisy.monitoring.values import State
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.signals import NUMBERS
from denoise_daisy.waits import Waits
from harness.waiting import wait_until


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first page at once, and the next after a second."""
    monkeypatch.setattr(keeper, "WAITS", Waits(page=1))
    monkeypatch.setattr(keeper, "SOON", 0.01)
    monkeypatch.setattr(keeper, "TURNS", keeper._Turns())


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def pages(state: State | None, refresh: float | None, /, *, has_pictures: bool) -> str:
    return f"{state} {refresh}" + ("" if has_pictures else " plain")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is for the keeper."""
    now = [100.0]
    monkeypatch.setattr(keeper, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in NUMBERS]


def content(run_dir: RunDir) -> str:
    return run_dir.page.read_text() if run_dir.page.exists() else ""


@contextmanager
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    found: list[str] = []
    with caplog.at_level(logging.INFO, "denoise_daisy"):
        yield found
    found += caplog.messages


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (None, "done None"),
        (BlocksFailed("two"), "failed None"),
        (Interrupted("stopped", 15), "stopped None"),
        (ValueError("a bug"), "stopped None"),
    ],
)
def test_a_page_is_there_soon_and_tells_in_the_end_how_it_went(
    run_dir: RunDir, error: Exception | None, last: str
) -> None:
    seen = ""
    with suppress(*([type(error)] if error else [])), page_kept(run_dir, lambda: pages):
        seen = wait_until(lambda: content(run_dir), "there is a page")
        if error:
            raise error
    assert seen == "None 30.0"
    assert content(run_dir) == last
    assert [p.name for p in run_dir.path.iterdir()] == ["status.html"]


def test_a_page_that_can_t_be_made_is_said_once_and_is_nothing_to_the_run(
    run_dir: RunDir, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[None] = []

    def fails() -> MakePage:
        calls.append(None)
        raise RuntimeError("no font")

    with complaints(caplog) as said, page_kept(run_dir, fails):
        wait_until(lambda: len(calls) == 2, "it was tried twice")
    assert len(calls) == 3
    (line,) = said
    assert "can't be written: RuntimeError: no font." in line


def test_a_folder_that_takes_no_file_is_nothing_to_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = RunDir(tmp_path / "gone")
    with complaints(caplog) as said, page_kept(run_dir, lambda: pages):
        pass
    (line,) = said
    assert "FileNotFoundError" in line


def test_what_was_taken_for_a_left_over_is_written_again(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def swept(path: Path, text: str, *, durable: bool) -> None:
        calls.append(text)
        if len(calls) == 1:
            raise FileNotFoundError
        write_atomic(path, text, durable=durable)

    monkeypatch.setattr(keeper, "write_atomic", swept)
    with page_kept(run_dir, lambda: pages):
        wait_until(lambda: content(run_dir), "there is a page")
    assert calls == ["None 30.0", "None 30.0", "done None"]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_an_interrupted_run_waits_for_no_page(
    run_dir: RunDir, is_replaced: bool
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def slow(
        state: State | None, refresh: float | None, /, *, has_pictures: bool
    ) -> str:
        begun.set()
        if has_pictures:
            goes_on.wait(60)
        return f"{'late' if has_pictures else 'plain'} {state}"

    started = time.monotonic()
    try:
        with suppress(Interrupted), page_kept(run_dir, lambda: slow):
            begun.wait(30)
            started = time.monotonic()
            raise Interrupted("by a signal", 2)
        assert time.monotonic() - started < Waits().last_page / 3
        # Meanwhile there is one that was made at once.
        assert content(run_dir) == "plain stopped"
        if is_replaced:
            write_atomic(run_dir.page, "a report", durable=False)
    finally:
        goes_on.set()
    (thread,) = (t for t in threading.enumerate() if t.name.startswith("page of"))
    thread.join(30)
    # What somebody else has written since is let be.
    assert content(run_dir) == ("a report" if is_replaced else "late stopped")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_ends_the_waiting_for_the_last_page_and_nothing_else(
    run_dir: RunDir, number: int
) -> None:
    goes_on, before = threading.Event(), handlers()

    def slow(
        state: State | None, refresh: float | None, /, *, has_pictures: bool
    ) -> str:
        if has_pictures:
            os.kill(os.getpid(), number)
            goes_on.wait(60)
        return f"{state} {has_pictures}"

    started = time.monotonic()
    try:
        with page_kept(run_dir, lambda: slow):
            pass
        assert time.monotonic() - started < Waits().last_page / 2
        assert content(run_dir) == "done False"
        assert handlers() == before
    finally:
        goes_on.set()


def test_a_page_of_another_run_that_hangs_is_waited_for_by_nobody(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "TURN", 0.01)
    with keeper.TURNS.taken(0):
        kept = keeper._Keeper(run_dir, lambda: pages, is_alone=True)
        assert kept._in_turn() == keeper.LEAST
        with page_kept(run_dir, lambda: pages):
            pass
        assert content(run_dir) == "done None plain"


def test_where_no_thread_can_be_started_a_run_has_no_page(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    with complaints(caplog) as said, page_kept(run_dir, lambda: pages):
        pass
    assert said == ["There will be no page of the run: can't start new thread."]
    assert content(run_dir) == ""


def slowly(clock: list[float]) -> MakePage:
    """Pages that take four seconds with pictures, and a tenth of one without."""

    def slow(
        state: State | None, refresh: float | None, /, *, has_pictures: bool
    ) -> str:
        clock[0] += 4 if has_pictures else 0.1
        return pages(state, refresh, has_pictures=has_pictures)

    return slow


def test_pages_take_a_twentieth_of_the_time_at_most(
    run_dir: RunDir, clock: list[float]
) -> None:
    kept = keeper._Keeper(run_dir, lambda: slowly(clock), is_alone=False)
    assert kept._in_turn() == 1  # the first has much to load
    assert kept._in_turn() == 80
    clock[0] += 10
    # Another run of the same process has to wait for its turn, with its first page too.
    other = keeper._Keeper(run_dir, lambda: slowly(clock), is_alone=False)
    assert other._in_turn() == 70
    clock[0] += 70
    assert other._in_turn() == 80


def test_last_pages_of_many_runs_take_no_more(
    run_dir: RunDir, clock: list[float]
) -> None:
    def last(*, is_alone: bool) -> str:
        kept = keeper._Keeper(run_dir, lambda: slowly(clock), is_alone=is_alone)
        kept._state = "done"
        kept._at_last()
        return content(run_dir)

    with_pictures, plain = "done None", "done None plain"
    assert last(is_alone=False) == with_pictures  # it had much to load
    assert last(is_alone=False) == with_pictures
    assert last(is_alone=False) == plain
    clock[0] += 80
    assert last(is_alone=False) == plain  # for the one before
    clock[0] += 4
    assert last(is_alone=False) == with_pictures
    assert last(is_alone=True) == with_pictures


def test_a_page_tells_how_long_it_really_takes_until_the_next(
    run_dir: RunDir, clock: list[float]
) -> None:
    kept = keeper._Keeper(run_dir, lambda: slowly(clock), is_alone=False)
    clock[0] += 50
    kept._in_turn()
    assert content(run_dir) == "None 50.0"
    kept._in_turn()
    assert content(run_dir) == "None 30.0"
    clock[0] += 80
    kept._in_turn()
    assert content(run_dir) == "None 84.0"
    clock[0] = 1000
    kept._in_turn()
    assert content(run_dir).startswith("None 7")


def test_where_waits_say_so_there_is_no_page(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "WAITS", Waits(page=0.5))
    before = threading.active_count()
    with page_kept(run_dir, lambda: pages):
        assert threading.active_count() == before
    assert content(run_dir) == ""
    assert not keeper.are_kept()
