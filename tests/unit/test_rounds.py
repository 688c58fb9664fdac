"""A worker that goes from run to run: which it visits, and when it leaves.

What a visit does is a stand-in; the files by which runs and workers know of each other
are real.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy.errors import RefusedError
from denoise_daisy.run_dir.at_work import (
    end_at_work,
    read_refusals,
    remove_refusals,
    write_at_work,
)
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import Waits
from denoise_daisy.worker import rounds
from denoise_daisy.worker.loop import JobTime
from denoise_daisy.worker.presence import Presence
from denoise_daisy.worker.rounds import Rounds
from denoise_daisy.worker.visit import NoSuchTaskError, Visit
from harness.stand_ins import FakeTime


class FakeLoop:
    def __init__(self, serve: Callable[["FakeLoop"], None]) -> None:
        self._serve = serve
        self.blocks = self.exit_code = 0
        self.is_leaving = False

    def serve(self, _: object) -> None:
        self._serve(self)


class FakeVisit:
    def __init__(self, it: "Round", run_dir: RunDir) -> None:
        self.it, self.name, self.run_dir = it, run_dir.path.name, run_dir
        self.loop = FakeLoop(lambda loop: it.serve(self.name, loop))

    def connection(self) -> object:
        return "somewhere"

    def end(self) -> None:
        self.it.ended.append(self.name)


class Round:
    """A worker between some runs; `said` is what it did, in order."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.hub = folder, RunDir(folder / "all.run")
        for name in ("all", "a", "b", "c"):
            (folder / f"{name}.run" / "workers").mkdir(parents=True)
        self.ready = {"a": 0, "b": 1, "c": 2}
        self.said: list[str] = []
        self.ended: list[str] = []
        self.refuses: dict[str, Exception] = {}
        self.time = FakeTime()
        monkeypatch.setattr(rounds, "time", self.time)
        monkeypatch.setattr(rounds, "WAITS", Waits())
        monkeypatch.setattr(rounds, "on_signals", lambda _: None)
        visit: Any = self.begin
        monkeypatch.setattr(Visit, "begin", visit)
        self.presence = Presence(self.hub, "w", "")
        self.tell()

    def tell(self) -> None:
        ready = {self.path(name): n for name, n in self.ready.items()}
        write_at_work(self.hub, ready)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.run"

    def begin(self, run_dir: RunDir, *_: object, **__: object) -> FakeVisit:
        name = run_dir.path.stem
        if name in self.refuses:
            self.said.append(f"can't {name}")
            raise self.refuses[name]
        return FakeVisit(self, run_dir)

    def serve(self, name: str, loop: FakeLoop) -> None:
        """One block, as long as some are ready; at the last the runs are over."""
        run = name.removesuffix(".run")
        assert self.presence.run == str(self.path(run))
        self.said.append(run)
        self.ready[run] -= 1
        loop.blocks += 1
        self.tell()
        if not any(self.ready.values()):
            end_at_work(self.hub)

    def work(self) -> int:
        assignments: Any = None
        return Rounds(self.hub, self.presence, assignments, JobTime(0, 0)).serve()


@pytest.fixture
def it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Round:
    return Round(tmp_path, monkeypatch)


def test_only_runs_with_blocks_are_visited_and_each_is_loaded_once(it: Round) -> None:
    assert it.work() == 0
    assert sorted(it.said) == ["b", "c", "c"]
    assert sorted(it.ended) == ["b.run", "c.run"]


def test_a_run_that_can_not_be_worked_for_is_told_and_the_others_are_done(
    it: Round,
) -> None:
    it.refuses["b"] = RefusedError("another engine")
    it.ready["a"] = 1
    it.tell()
    it.time.at(90.0, lambda: end_at_work(it.hub))
    assert it.work() == 0
    assert sorted(it.said) == ["a", "c", "c", "can't b"]
    run_dir = RunDir(it.path("b"))
    assert read_refusals(run_dir) == ["another engine"]
    remove_refusals(run_dir)
    assert read_refusals(run_dir) == []


def test_a_run_without_tasks_for_this_worker_is_no_refusal(it: Round) -> None:
    it.refuses["b"] = NoSuchTaskError("no such task")
    it.time.at(90.0, lambda: end_at_work(it.hub))
    it.work()
    assert read_refusals(RunDir(it.path("b"))) == []


def test_a_worker_leaves_after_a_minute_without_a_block(it: Round) -> None:
    it.ready = {"a": 0}
    it.tell()
    assert it.work() == 0
    assert 60 <= it.time.now < 62


def test_a_worker_that_is_asked_to_leave_begins_no_other_run(
    it: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(_: str, loop: FakeLoop) -> None:
        loop.blocks += 1
        loop.is_leaving, loop.exit_code = True, 75
        it.said.append("left")

    monkeypatch.setattr(it, "serve", leave)
    assert it.work() == 75
    assert it.said == ["left"]


def test_a_run_whose_server_does_not_listen_yet_is_looked_at_again(
    it: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    it.ready = {"b": 1}
    it.tell()
    begin = it.begin

    def begun(run_dir: RunDir, *_: object, **__: object) -> FakeVisit | None:
        return begin(run_dir) if it.time.now > 5 else None

    not_yet: Any = begun
    monkeypatch.setattr(Visit, "begin", not_yet)
    assert it.work() == 0
    assert it.said == ["b"]


def test_any_error_of_a_run_is_its_own(it: Round) -> None:
    it.refuses["b"] = MemoryError("too large")
    it.time.at(90.0, lambda: end_at_work(it.hub))
    assert it.work() == 0
    assert sorted(it.said) == ["c", "c", "can't b"]
    assert read_refusals(RunDir(it.path("b"))) == ["too large"]
