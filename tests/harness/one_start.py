"""One start of a scheduler: Daisy's server, launcher and time are stand-ins.

The scheduler, its pools, ledgers and signals are real.  Each time the scheduler waits,
its time moves on, and what the test has planned for that moment happens.
"""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.geometry import FULL_RESOLUTION, BlockGrid, Index, neighbourhood
from denoise_daisy.launchers.local import LocalWorkers
from denoise_daisy.outputs.layout import Layout
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.checksums import Checksums
from denoise_daisy.run_dir.connection import Connection
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import WorkerState, write_state
from denoise_daisy.scheduling import (
    hiccups,
    news,
    output_watch,
    run_progress,
    scheduler,
    signals,
    stage_state,
    start_limits,
    worker_pool,
    worker_watch,
    workforce,
)
from denoise_daisy.scheduling.scheduler import Scheduler, Shared
from denoise_daisy.scheduling.stage_state import StageState, Verdict
from harness.ledgers import say
from harness.stand_ins import FakeLauncher, FakeTime

CLOCKS = (
    *(hiccups, news, output_watch, run_progress, scheduler, signals, stage_state),
    *(start_limits, worker_pool, worker_watch, workforce),
)
"""The modules that look at time."""

BLOCKS = 40


def daisys_handler(number: int, _: object) -> None:
    """Daisy takes SIGINT for itself when it starts."""
    raise AssertionError(f"signal {number} went to Daisy")


class FakeServer:
    """Daisy's server: it hands out nothing, and dies when a test says so."""

    made: ClassVar[list["FakeServer"]] = []
    on_start: ClassVar[Callable[["FakeServer"], None]]

    def __init__(
        self,
        stages: Sequence[Stage],
        finished: Mapping[str, Any],
        verdict: Callable[[str, Index], Verdict],
        *,
        timeout_seconds: Mapping[str, float],
        host: str,
    ) -> None:
        self.stages = [stage.name for stage in stages]
        self.finished = {name: int(mask.sum()) for name, mask in finished.items()}
        self.left = {n: np.flatnonzero(~mask).tolist() for n, mask in finished.items()}
        self.verdict = verdict
        self.timeout_seconds = timeout_seconds
        self.host, self.port, self.run_id = host, 1, str(len(self.made))
        self.error: BaseException | None = None
        self.is_alive = True
        self.is_through = False
        self.is_stopped = False
        self.is_joined = False
        self.asked_to_finish: set[str] = set()
        self.made.append(self)
        signal.signal(signal.SIGINT, daisys_handler)
        type(self).on_start(self)

    @property
    def is_serving(self) -> bool:
        return self.is_alive and not self.is_stopped

    def finish(self, name: str) -> None:
        self.asked_to_finish.add(name)

    def stop(self) -> None:
        self.is_stopped = True

    def join(self) -> None:
        self.stop()
        self.is_joined = True


class OneStart:
    """A start of stages of 40 blocks, each of which reads the one before.

    The first is called `denoise`, and is the only one that is essential.
    """

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        stages: Sequence[str],
        *,
        count: int = 2,
        retries: int = 0,
    ) -> None:
        """Time and Daisy's server are its own until the end of the test."""
        self.time = FakeTime()
        for module in CLOCKS:
            monkeypatch.setattr(module, "time", self.time)
        monkeypatch.setattr(scheduler, "BlockServer", FakeServer)
        FakeServer.made.clear()
        FakeServer.on_start = lambda _: None
        self.run_dir = RunDir(folder / "out.zarr.run")
        self.run_dir.make(stages)
        self.run_dir.run_file.touch()
        self.run_dir.lock_file.touch()
        self.launcher = FakeLauncher(self.time)
        self.states: dict[str, StageState] = {}
        self.given_up: list[tuple[str, Index, str]] = []
        """What the scheduler has told of blocks that are given up."""
        before: tuple[str, ...] = ()
        for name in stages:
            ledger_folder = self.run_dir.ledger(name)
            stage = forty_blocks(folder / f"{name}.zarr", ledger_folder, name, before)
            ledger = Ledger(ledger_folder, "run", stage.grid, stage.file_shape)
            ledger.begin(1)
            self.states[name] = StageState(
                stage,
                ledger,
                retries=retries,
                upstream=[self.states[n] for n in before],
            )
            before = (name,)
        workers = LocalWorkers(count=count, block_timeout_minutes=500)
        by_stage = dict.fromkeys(stages, retries)
        self.pool = Pool("", workers, self.launcher, by_stage)

    @property
    def server(self) -> FakeServer:
        return FakeServer.made[-1]

    @property
    def servers(self) -> list[FakeServer]:
        """All that were started."""
        return FakeServer.made

    @property
    def connection(self) -> Connection | None:
        """Where workers find the server."""
        return Connection.read(self.run_dir)

    def run(self, grace: float = 30.0) -> None:
        """To its end, or to what stops it."""
        Scheduler(
            self.states,
            [self.pool],
            self.run_dir,
            epoch=1,
            grace_seconds=grace,
            given_up=lambda *block: self.given_up.append(block),
            shared=Shared.alone([self.pool], self.run_dir, self.states),
        ).run()

    def say(self, stage: str, status: str, *blocks: int, seconds: float = 0.0) -> None:
        """Lines of the ledger, as a worker writes them."""
        ledger = self.states[stage].ledger
        say(ledger, status, *blocks, error="bad voxels", seconds=seconds)

    def read_ledgers(self) -> None:
        """As it is done before a start."""
        for state in self.states.values():
            state.ledger.refresh()
            state.update()

    def finish(self) -> None:
        """All blocks of all stages are done."""
        for name in self.states:
            self.say(name, "done", *range(BLOCKS))

    def show(self, worker: str, block: int | None, stage: str = "denoise") -> None:
        """A worker shows what it has in work."""
        write_state(
            self.run_dir,
            WorkerState(
                worker=worker,
                host="here",
                pid=1,
                pool="",
                stage=stage,
                block=None if block is None else (0, 0, 0, block),
                since=1.0,
                peak_mib=1,
                run_id="run",
            ),
        )

    def take(self, number: signal.Signals, *, after: float = 0.0) -> None:
        """A signal comes, so much later."""
        self.time.now += after
        signal.raise_signal(number)


def forty_blocks(path: Path, ledger: Path, name: str, after: tuple[str, ...]) -> Stage:
    """A stage of blocks in a row, whose array is there."""
    volume = Roi((0, 0, 0, 0), (1, 1, 1, 2 * BLOCKS))
    alone = Coordinate(0, 0, 0, 0)
    path.mkdir()
    (path / "zarr.json").touch()
    shape, block = (1, 1, 1, 1, 2 * BLOCKS), (1, 1, 1, 1, 2)
    return Stage(
        name=name,
        task=name,
        grid=BlockGrid(
            volume, volume, Coordinate(1, 1, 1, 2), alone, neighbourhood(alone)
        ),
        sources=(),
        after=after,
        compute=lambda _: b"",
        parameters={},
        target=Level(
            path,
            Layout(shape, "uint16", block, None, 1),
            FULL_RESOLUTION,
            volume.begin,
            (),
            Checksums(ledger, "run", shape, block),
        ),
        is_essential=name == "denoise",
    )


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Meanwhile signals may be taken, if they are given back."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    now = {n: signal.getsignal(n) for n in handlers}
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert now == handlers
