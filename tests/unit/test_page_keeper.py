"""The page of a run is kept by a thread; whatever happens there is nothing to it."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from denoise_daisy.durable import write_atomic
from denoise_daisy.errors import BlocksFailed, Interrupted
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.status import keeper
from denoise_daisy.status.keeper import MakePage, page_kept
from denoise_daisy.status.values import State
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


def pages(state: State | None, refresh: float | None) -> str:
    return f"{state} {refresh}"


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

    def slow(state: State | None, refresh: float | None) -> str:
        begun.set()
        goes_on.wait(60)
        return f"late {state}"

    started = time.monotonic()
    try:
        with suppress(Interrupted), page_kept(run_dir, lambda: slow):
            begun.wait(30)
            started = time.monotonic()
            raise Interrupted("by a signal", 2)
        assert time.monotonic() - started < 2 * keeper.HASTE
        if is_replaced:
            run_dir.page.write_text("a report")
    finally:
        goes_on.set()
    (thread,) = (t for t in threading.enumerate() if t.name.startswith("page of"))
    thread.join(30)
    # What somebody else has written since is let be.
    assert content(run_dir) == ("a report" if is_replaced else "late stopped")


def test_pages_take_a_twentieth_of_the_time_at_most(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]

    def slow(state: State | None, refresh: float | None) -> str:
        clock[0] += 4
        return "slow"

    monkeypatch.setattr(keeper, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    kept = keeper._Keeper(run_dir, lambda: slow)
    assert kept._in_turn() == 1  # the first has much to load
    assert kept._in_turn() == 80
    clock[0] += 10
    # Another run of the same process has to wait for its turn.
    assert keeper._Keeper(run_dir, lambda: pages)._in_turn() == 70


def test_where_waits_say_so_there_is_no_page(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "WAITS", Waits(page=0.5))
    before = threading.active_count()
    with page_kept(run_dir, lambda: pages):
        assert threading.active_count() == before
    assert content(run_dir) == ""
    assert not keeper.are_kept()
