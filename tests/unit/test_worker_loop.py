"""How long a worker goes on: without a block, without a server, without a network.

Time and what asks for blocks are stand-ins; the files that tell a worker what there is
to do are real.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from denoise_daisy.run_dir.connection import Connection, Hint, write_ready
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import Waits
from denoise_daisy.worker import loop
from denoise_daisy.worker.loop import JobTime, UnreachableError, WorkerLoop
from denoise_daisy.worker.recording import Outcome
from harness.stand_ins import FakeTime

ENDLESS = JobTime(0.0, 0.0)
CONNECTION = Connection("127.0.0.1", 1, "0", 1)


class FakeRequester:
    """What asks for blocks of one stage, and is told by a test how it fares."""

    made: ClassVar[list["FakeRequester"]] = []
    begin: ClassVar[dict[str, bool]] = {}

    def __init__(self, stage: str, *_: object) -> None:
        self.stage = stage
        self.is_over = self.begin.get("is_over", False)
        self.is_stuck = False
        self.has_connected = self.begin.get("has_connected", True)
        self.idle = threading.Event()
        self.idle.set()
        self.made.append(self)

    def start(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def ask(self) -> bool:
        return True


class FakeAssignments:
    """Blocks come when a test says so."""

    def __init__(self, time: FakeTime) -> None:
        self.time = time
        self.blocks = 0

    def get(self, timeout: float) -> Any:
        self.time.sleep(timeout)
        if self.blocks:
            self.blocks -= 1
            return SimpleNamespace(requester=FakeRequester.made[-1], write_roi=None)
        return None

    def end(self, *_: object, **__: object) -> None:
        """Nothing to do."""


class OneWorker:
    """A worker of the stages `denoise` and `soft`."""

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        job_time: JobTime = ENDLESS,
    ) -> None:
        self.time = FakeTime()
        monkeypatch.setattr(loop, "time", self.time)
        monkeypatch.setattr(loop, "WAITS", Waits())
        monkeypatch.setattr(loop, "BlockRequester", FakeRequester)
        FakeRequester.made.clear()
        FakeRequester.begin = {}
        self.run_dir = RunDir(folder)
        CONNECTION.write(self.run_dir)
        assignments: Any = FakeAssignments(self.time)
        self.assignments = assignments
        recorder: Any = SimpleNamespace(
            longest_seconds=0.0, take=lambda *_: Outcome.DONE
        )
        self.recorder = recorder
        self.loop = WorkerLoop(
            self.run_dir,
            ["denoise", "soft"],
            recorder,
            assignments,
            job_time=job_time,
        )
        self.hint(denoise=1)

    def hint(self, longest: float = 0.0, **ready: int) -> None:
        """So many blocks of each stage are ready."""
        hints = {name: Hint(count, longest) for name, count in ready.items()}
        write_ready(self.run_dir, hints)

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        self.time.at(seconds, act)

    def come(self) -> None:
        """A block comes."""
        self.assignments.blocks += 1

    def serve(self) -> bool:
        return self.loop.serve(CONNECTION)


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OneWorker:
    return OneWorker(tmp_path, monkeypatch)


def within(value: float, begin: float) -> bool:
    return begin <= value < begin + 1


def test_the_minute_without_work_is_counted_from_the_last_block(
    worker: OneWorker,
) -> None:
    for seconds in (40.0, 80.0, 120.0):
        worker.at(seconds, worker.come)
    worker.at(120.0, lambda: worker.hint(denoise=0, soft=0))
    assert worker.serve() is False
    assert within(worker.time.now, 180)


def test_a_worker_that_gives_way_to_another_has_not_left_for_want_of_time(
    worker: OneWorker,
) -> None:
    """It has failed at the block that comes; its job may go on with others."""
    worker.recorder.take = lambda *_: Outcome.NOT_OURS
    worker.at(5, worker.come)
    assert worker.serve() is False
    assert within(worker.time.now, 5)
    assert worker.loop.exit_code == 0


def test_a_worker_stays_as_long_as_blocks_of_its_stages_are_ready(
    worker: OneWorker,
) -> None:
    """The one that had the last block has died, say, and Daisy has to notice."""
    worker.at(250, worker.come)
    worker.at(251, lambda: worker.hint(denoise=0))
    assert worker.serve() is False
    assert within(worker.time.now, 250 + 60)


def test_a_worker_that_gets_none_of_them_for_five_minutes_leaves(
    worker: OneWorker,
) -> None:
    assert worker.serve() is False
    assert within(worker.time.now, 300)


@pytest.mark.parametrize(
    ("began_at", "others", "own", "left_at"),
    [
        pytest.param(0, 100, 0, 1000 - 125 - 10, id="a usual block"),
        pytest.param(0, 5000, 0, 500 - 10, id="a long block of another worker"),
        pytest.param(0, 5000, 700, 1000 - 875 - 10, id="a long block of its own"),
        pytest.param(-8000, 3000, 0, 0, id="little left of the job's time"),
    ],
)
def test_a_new_job_takes_blocks_however_long_others_took(
    began_at: float,
    others: float,
    own: float,
    left_at: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A suspended job may take longer for a block than any job has."""
    worker = OneWorker(tmp_path, monkeypatch, JobTime(began_at, 1000.0))
    worker.hint(longest=others, denoise=1)
    for seconds in (5, 250, 480, 700):
        worker.at(seconds, worker.come)

    def take(*_: object) -> Outcome:
        worker.recorder.longest_seconds = own
        return Outcome.DONE

    worker.recorder.take = take
    assert worker.serve() is False
    assert within(worker.time.now, left_at)
    assert worker.loop.exit_code == 75


def test_blocks_of_others_are_no_reason_to_stay(worker: OneWorker) -> None:
    worker.hint(cells=3)
    assert worker.serve() is False
    assert within(worker.time.now, 60)
    assert FakeRequester.made == []


def test_a_server_that_was_replaced_is_gone(worker: OneWorker) -> None:
    other = Connection("127.0.0.1", 2, "1", 1)
    worker.at(10, lambda: other.write(worker.run_dir))
    assert worker.serve() is True
    assert within(worker.time.now, 10)


def lose(worker: OneWorker) -> None:
    FakeRequester.made[-1].is_over = True


def is_lost_again(worker: OneWorker, *, has_connected: bool) -> bool:
    """Serve once more, with the connection lost at once; a second passes as well."""
    worker.time.sleep(1.0)
    FakeRequester.begin = {"is_over": True, "has_connected": has_connected}
    return worker.serve()


@pytest.mark.parametrize(
    ("was_connected", "seconds"),
    [
        pytest.param(True, 300, id="reached before"),
        pytest.param(False, 30, id="never reached"),
    ],
)
def test_a_network_may_be_away_for_longer_where_it_was_there(
    was_connected: bool, seconds: float, worker: OneWorker
) -> None:
    """Five minutes; one that never was is a firewall, likely."""
    worker.at(0.01, lambda: set_connected(was_connected))
    worker.at(10, lambda: lose(worker))
    assert worker.serve() is True
    where = r"127\.0\.0\.1 port 1 .* workers\.host"
    with pytest.raises(UnreachableError, match=where):
        lose_until(worker, 1000)
    assert seconds <= worker.time.now - 10 < seconds + 3


def set_connected(value: bool) -> None:
    FakeRequester.made[-1].has_connected = value


def lose_until(worker: OneWorker, seconds: float) -> None:
    """The network stays away until then."""
    while worker.time.now < seconds:
        assert is_lost_again(worker, has_connected=False)


def test_a_network_that_was_back_in_between_has_its_time_again(
    worker: OneWorker,
) -> None:
    worker.at(10, lambda: lose(worker))
    assert worker.serve() is True
    lose_until(worker, 250)
    assert is_lost_again(worker, has_connected=True)
    lose_until(worker, 540)


def test_a_network_is_not_missed_while_there_is_nothing_to_do(
    worker: OneWorker,
) -> None:
    worker.at(10, lambda: lose(worker))
    assert worker.serve() is True
    worker.hint(denoise=0)
    FakeRequester.made.clear()
    assert worker.serve() is False
    assert within(worker.time.now, 60)
    assert FakeRequester.made == []


def test_a_network_that_nobody_needed_has_its_time_from_when_it_is_needed(
    worker: OneWorker,
) -> None:
    """It was away for a moment, and then there was nothing to do for a while."""
    set_never_connected(worker)
    worker.hint(denoise=0)
    worker.at(50, lambda: worker.hint(denoise=1))
    while worker.time.now < 75:
        assert is_lost_again(worker, has_connected=False)
    with pytest.raises(UnreachableError):
        lose_until(worker, 1000)
    assert worker.time.now < 90


def set_never_connected(worker: OneWorker) -> None:
    """The first try was in vain."""
    assert is_lost_again(worker, has_connected=False)


def test_an_answer_that_does_not_come_is_asked_for_anew(worker: OneWorker) -> None:
    """A connection may hang for a quarter of an hour after its network broke."""

    def hang() -> None:
        FakeRequester.made[-1].is_stuck = True

    worker.at(10, hang)
    worker.at(20, lambda: worker.hint(denoise=0))
    assert worker.serve() is False
    assert [requester.stage for requester in FakeRequester.made] == ["denoise"] * 2
