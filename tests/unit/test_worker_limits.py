"""When a worker leaves, and with which exit code: real workers, whose clocks are ours.

The scheduler is a real one, whose workers are all manually started, by the tests.  Each
is a process of its own; hooks in its Python set its clocks, send it signals in the
middle of a block, and note each block that it begins.  So limits are held from both
sides without waiting for them.  A worker that never got a block would prove nothing, so
begun blocks are counted.

Workers are forked from a process that has imported the program, which saves seconds.
"""

import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scipy import ndimage

from denoise_daisy.run_dir import connection
from denoise_daisy.run_dir.connection import Connection
from denoise_daisy.run_dir.lock import LockHolder
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import read_state
from denoise_daisy.worker import loop, process, watchdog
from harness import (
    REAL_WAITS,
    config_for,
    ledger_lines,
    small_czi,
    start,
    wait_until,
    write_config,
)
from harness.forks import FORKS
from harness.waiting import PATIENCE

NOW = 2_000_000_000.0
"""What a worker's clock says that was stopped."""

LEFT = 75
"""Exit code of a worker that left before all was done."""

# In a worker's process.


@dataclass(frozen=True)
class Wanted:
    """What a test wants of a worker."""

    now: float | None = None
    """What its clock says, which stands still but for blocks."""
    seconds: float = 0.0
    """How long each block takes then."""
    signals: Sequence[tuple[int, int]] = ()
    """Signals that it sends itself: in which of its blocks, from 1 on, and what."""
    fail: bool = False
    """Whether its blocks fail."""
    factor: float | None = None
    """How much faster its time passes from its first look at what there is to do."""
    looks: Sequence[str] = ()
    """What becomes of the scheduler's lock before each look at its heartbeat."""
    scheduler: int = 0
    """The process that is frozen in the middle of the first block."""
    late: float = 0.0
    """How much longer that block takes than to find the scheduler dead."""


def be_worker(words: list[str], wanted: Wanted, notes: Path) -> None:
    """Be a worker with these words from now on, with hooks in its Python."""
    log = os.open(notes.with_suffix(".log"), os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["worker", *words]
    # As in a worker that was started as usual: its locks are its own, Ctrl-C ends it.
    multiprocessing.set_start_method("fork", force=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def note(text: str) -> None:
        with notes.open("a") as file:
            print(text, file=file)

    seconds = [0.0]
    if wanted.now is not None:
        time.time = lambda: wanted.now  # type: ignore[assignment, return-value]
        time.perf_counter = lambda: seconds[0]
    watch_blocks(wanted, seconds, note)
    if wanted.factor:
        hurry(wanted.factor, note)
    if wanted.scheduler:
        freeze(wanted.scheduler, wanted.late)
    if wanted.looks:
        wait_for_looks(Path(words[0]) / "lock", wanted.looks, note)
    process.run()


def watch_blocks(
    wanted: Wanted, seconds: list[float], note: Callable[[str], None]
) -> None:
    """Note each block that is begun, and do to it what is wanted."""
    plain, count = ndimage.median_filter, itertools.count(1)

    def median_filter(*arguments: Any, **options: Any) -> Any:
        note("block")
        number = next(count)
        seconds[0] += wanted.seconds
        for at, what in wanted.signals:
            if at == number:
                os.kill(os.getpid(), what)
        if wanted.fail:
            raise ValueError("this block is bad")
        return plain(*arguments, **options)

    ndimage.median_filter = median_filter


def hurry(factor: float, note: Callable[[str], None]) -> None:
    """From the first look at what there is to do, time passes faster."""
    monotonic, end = time.monotonic, os._exit
    read_ready = connection.read_ready
    began: list[float] = []

    def passed() -> float:
        return factor * (monotonic() - began[0]) if began else 0.0

    def look(run_dir: RunDir) -> Any:
        if not began:
            began.append(monotonic())
        return read_ready(run_dir)

    def leave(code: int) -> None:
        note(f"left after {passed()}")
        end(code)

    vars(loop)["read_ready"] = look
    time.monotonic, os._exit = passed, leave  # type: ignore[assignment]


def wait_for_looks(
    lock: Path, looks: Sequence[str], note: Callable[[str], None]
) -> None:
    """When the worker waits for its next look, the scheduler's heart may beat."""
    left, passed = iter(enumerate(looks)), [0.0]

    def wait(seconds: float) -> None:
        number, what = next(left, (0, None))
        if what is None:
            note("one look too many")
            time.sleep(1000)
        note(f"look after {seconds:g} s")
        if what != "silence":
            holder = LockHolder("node7", 1, 0, number, running=what == "beat")
            lock.write_text(json.dumps(asdict(holder)))
        passed[0] += seconds

    vars(watchdog)["time"] = SimpleNamespace(sleep=wait, monotonic=lambda: passed[0])


def freeze(scheduler: int, late: float) -> None:
    """In the middle of a block the scheduler is stopped; then waiting takes no time.

    The block counts as begun once it goes on.
    """
    plain, frozen = ndimage.median_filter, threading.Event()
    looking, grace = [0.0], [0.0]

    def median_filter(*arguments: Any, **options: Any) -> Any:
        os.kill(scheduler, signal.SIGSTOP)
        frozen.set()
        while grace[0] < late:
            time.sleep(0.01)
        return plain(*arguments, **options)

    def wait(seconds: float) -> None:
        frozen.wait()
        time.sleep(0.01)
        if seconds > 1:
            looking[0] += seconds
        # The clock waits for the block's end: to write takes time as well.
        elif grace[0] < late:
            grace[0] += seconds

    ndimage.median_filter = median_filter
    vars(watchdog)["time"] = SimpleNamespace(
        sleep=wait, monotonic=lambda: looking[0] + grace[0]
    )


# Runs.


class Run:
    """A run whose workers are manually started; each frame is a block."""

    def __init__(self, folder: Path, frames: int, **sections: Any) -> None:
        self.folder = folder
        self.output = folder / "out.zarr"
        self.run_dir = RunDir(folder / "out.zarr.run")
        config = config_for(
            small_czi(folder / "in.czi", (frames, 1, 1, 16, 16)),
            self.output,
            blocks={"shape": {"t": 1}},
            workers={"kind": "local", "count": 0, "max_retries": 3},
        )
        del config["noise"]
        config["denoise"] = {"kind": "median", "size": {"y": 3, "x": 3}}
        self._path = write_config(folder / "config.json", config | sections)
        self._workers = 0

    def start(self, stack: ExitStack) -> "subprocess.Popen[str]":
        """The scheduler, which is there until the end of the test."""
        scheduler = stack.enter_context(start("run", self._path, env=REAL_WAITS))
        stack.callback(scheduler.kill)
        wait_until(
            lambda: Connection.read(self.run_dir) or scheduler.poll() is not None,
            "the scheduler listens",
        )
        assert scheduler.poll() is None, scheduler.communicate()
        return scheduler

    def worker(self, *options: str, **wanted: Any) -> "Worker":
        """One more worker, to its end."""
        self._workers += 1
        return Worker(self, f"worker{self._workers}", options, Wanted(**wanted))

    def lines(self, status: str, worker: str) -> list[tuple[int, ...]]:
        """Blocks that a worker has done or failed."""
        return [
            tuple(line["block"])
            for line in ledger_lines(self.output)
            if (line["status"], line["worker"]) == (status, worker)
        ]


class Worker:
    """What a worker did from its start to its end."""

    def __init__(
        self, run: Run, name: str, options: tuple[str, ...], wanted: Wanted
    ) -> None:
        self._notes = run.folder / f"{name}.notes"
        words = [str(run.run_dir.path), f"--name={name}", *options]
        process = FORKS.Process(target=be_worker, args=(words, wanted, self._notes))
        process.start()
        try:
            process.join(PATIENCE)
        finally:
            process.kill()
        self.exit_code = process.exitcode
        self.said = self._notes.with_suffix(".log").read_text()
        self.done = run.lines("done", name)
        self.failed = run.lines("failed", name)
        # Whatever the reason, nothing says that it is still at work.
        assert read_state(run.run_dir, name) is None

    @property
    def notes(self) -> list[str]:
        return self._notes.read_text().splitlines() if self._notes.exists() else []

    @property
    def begun(self) -> int:
        """Blocks that it began."""
        return self.notes.count("block")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run of many blocks, of which each test takes a few."""
    run = Run(tmp_path_factory.mktemp("run"), frames=60)
    with ExitStack() as stack:
        run.start(stack)
        yield run


# The end of a job's time.


def test_a_worker_with_less_than_ten_seconds_left_takes_no_block(run: Run) -> None:
    worker = run.worker(f"--ends-at={NOW + 9.9}", now=NOW)
    assert worker.exit_code == LEFT, worker.said
    assert worker.begun == 0


def test_a_worker_with_ten_seconds_left_takes_blocks(run: Run) -> None:
    signals = [(3, signal.SIGTERM)]
    worker = run.worker(f"--ends-at={NOW + 10}", now=NOW, signals=signals)
    assert worker.exit_code == LEFT, worker.said
    assert len(worker.done) == worker.begun == 3


def test_no_block_is_taken_that_may_take_longer_than_the_time_left(run: Run) -> None:
    """A quarter more than the longest, which took 4000 s, and ten seconds.

    The longest is the first, which has just been done.
    """
    signals = [(5, signal.SIGTERM)]
    worker = run.worker(
        f"--ends-at={NOW + 5009.9}", now=NOW, seconds=4000, signals=signals
    )
    assert worker.exit_code == LEFT, worker.said
    assert len(worker.done) == worker.begun == 1


def test_blocks_are_taken_as_long_as_there_is_time_for_the_longest(run: Run) -> None:
    signals = [(5, signal.SIGTERM)]
    worker = run.worker(
        f"--ends-at={NOW + 5010}", now=NOW, seconds=4000, signals=signals
    )
    assert worker.exit_code == LEFT, worker.said
    assert len(worker.done) == worker.begun == 5


def test_a_block_that_took_longer_than_any_job_has_keeps_no_new_job_from_work(
    tmp_path: Path,
) -> None:
    """But a worker that is started late in its job has less time than the job."""
    run = Run(tmp_path, frames=5)
    with ExitStack() as stack:
        run.start(stack)
        once = [(1, signal.SIGTERM)]
        assert run.worker(now=NOW, seconds=4000, signals=once).begun == 1

        def is_known() -> bool:
            hints = connection.read_ready(run.run_dir) or {}
            return any(hint.longest == 4000 for hint in hints.values())

        wait_until(is_known, "workers are told of it")
        ends_at = f"--ends-at={NOW + 3000}"
        late = run.worker(ends_at, f"--began-at={NOW - 9000}", now=NOW, signals=once)
        assert (late.exit_code, late.begun) == (LEFT, 0), late.said
        new = run.worker(ends_at, now=NOW, signals=once)
        assert (new.exit_code, new.begun) == (LEFT, 1), new.said


def test_a_job_without_an_end_has_time_for_everything(run: Run) -> None:
    signals = [(3, signal.SIGTERM)]
    worker = run.worker("--ends-at=0", now=NOW, seconds=1e7, signals=signals)
    assert len(worker.done) == worker.begun == 3


# Signals.


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_a_signal_lets_a_worker_finish_its_block_and_leave(name: str, run: Run) -> None:
    """SIGUSR1 is Slurm's before a time limit, and SIGUSR2 is LSF's."""
    worker = run.worker(signals=[(2, signal.Signals[name])])
    assert worker.exit_code == LEFT, worker.said
    assert f"Leaving after this block ({name})" in worker.said
    assert len(worker.done) == worker.begun == 2


def test_ctrl_c_is_for_the_scheduler_alone(run: Run) -> None:
    worker = run.worker(signals=[(1, signal.SIGINT), (3, signal.SIGTERM)])
    assert worker.exit_code == LEFT, worker.said
    assert len(worker.done) == worker.begun == 3


# Blocks that fail.


def test_a_worker_that_failed_at_a_block_leaves_its_retry_to_another(
    tmp_path: Path,
) -> None:
    """There is one block only, so that it is the one to be had again."""
    run = Run(tmp_path, frames=1)
    with ExitStack() as stack:
        scheduler = run.start(stack)
        first = run.worker(fail=True)
        # Its time is not up: its job, if it shares one, goes on.
        assert first.exit_code == 0, first.said
        assert first.begun == 1
        assert (first.done, first.failed) == ([], [(0, 0, 0, 0)])
        second = run.worker()
        assert second.done == [(0, 0, 0, 0)], second.said
        assert scheduler.wait(PATIENCE) == 0


# Nothing to do, and nobody to do it for.

OWN_WORKERS = [
    {
        "kind": "smooth",
        "name": "soft",
        "sigma": {"y": 1, "x": 1},
        "workers": {"kind": "local", "count": 0},
    }
]


def test_a_worker_without_work_leaves_after_a_minute(tmp_path: Path) -> None:
    """Nobody denoises, so that there is nothing to be smoothed."""
    run = Run(tmp_path, frames=2, tasks=OWN_WORKERS)
    with ExitStack() as stack:
        run.start(stack)
        worker = run.worker("--task=soft", factor=20)
    assert worker.exit_code == 0, worker.said
    (note,) = worker.notes
    assert float(note.removeprefix("left after ")) >= 60


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose scheduler was killed, and left all that says it is at work."""
    run = Run(tmp_path_factory.mktemp("dead"), frames=2, tasks=OWN_WORKERS)
    with ExitStack() as stack:
        run.start(stack).kill()
    return run


@pytest.mark.parametrize(
    ("silence", "looks"), [("silence", 45), ("no longer running", 5)]
)
def test_a_silent_scheduler_has_three_minutes_and_one_that_has_ended_twenty_seconds(
    silence: str, looks: int, dead: Run
) -> None:
    """Looks are four seconds apart, twice as much as heartbeats."""
    beats = ["beat", *["silence"] * 44, "beat", *[silence] * looks]
    worker = dead.worker("--task=soft", looks=beats)
    assert worker.exit_code == LEFT, worker.said
    assert worker.notes == ["look after 4 s"] * (46 + looks)
    assert "The scheduler is dead" in worker.said


def test_a_block_in_flight_gets_half_a_minute_once_the_scheduler_is_dead(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, frames=3)
    with ExitStack() as stack:
        scheduler = run.start(stack)
        for late, done in ((31.0, 0), (29.5, 1)):
            worker = run.worker(scheduler=scheduler.pid, late=late)
            assert worker.exit_code == LEFT, worker.said
            assert len(worker.done) == worker.begun == done
            scheduler.send_signal(signal.SIGCONT)
