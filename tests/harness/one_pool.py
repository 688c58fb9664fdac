"""One pool of workers: launcher and time are stand-ins, ledger and stage are real."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import FilePerBlock
from denoise_daisy.geometry import BlockGrid, neighbourhood
from denoise_daisy.launchers.base import EndedBy
from denoise_daisy.launchers.local import LocalWorkers
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.checksums import Checksums
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import Entry
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import WorkerState, read_state, write_state
from denoise_daisy.scheduling import start_limits, worker_pool, worker_watch
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.worker_pool import WorkerPool
from harness.ledgers import say
from harness.stand_ins import FakeLauncher, FakeTime

TIMEOUT_SECONDS = 100


def eight_blocks(name: str) -> Stage:
    """A stage of eight blocks in a row."""
    volume, alone = Roi((0, 0, 0, 0), (1, 1, 1, 16)), Coordinate(0, 0, 0, 0)
    return Stage(
        name=name,
        task=name,
        grid=BlockGrid(
            volume, volume, Coordinate(1, 1, 1, 2), alone, neighbourhood(alone)
        ),
        sources=(),
        after=(),
        compute=lambda _: b"",
        parameters={},
        target=FilePerBlock(Path(name), Checksums(Path(name), "run", [1], [1])),
    )


def gaps(times: list[float]) -> list[float]:
    """Seconds from each time to the next."""
    return [later - earlier for earlier, later in pairwise(times)]


class OnePool:
    """A pool for the blocks of one stage, `soft`, which may take 100 s each."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Time is its own until the end of the test."""
        self.time = FakeTime(5000.0)
        for module in (start_limits, worker_pool, worker_watch):
            monkeypatch.setattr(module, "time", self.time)
        self.run_dir = RunDir(folder / "out.zarr.run")
        self.run_dir.make(["soft", "other"])
        self.launcher = FakeLauncher(self.time)
        states = {name: self._state(name) for name in ("soft", "other")}
        self.ledger = states["soft"].ledger
        workers = LocalWorkers(count=9, block_timeout_minutes=TIMEOUT_SECONDS / 60)
        pool = Pool("", workers, self.launcher, {"soft": 2})
        self.pool = WorkerPool(pool, self.run_dir, states)

    def _state(self, name: str) -> StageState:
        stage, folder = eight_blocks(name), self.run_dir.ledger(name)
        ledger = Ledger(folder, "run", stage.grid, stage.file_shape)
        ledger.begin(3)
        return StageState(stage, ledger, retries=2, upstream=[])

    def maintain(self, wanted: int = 0, *, after: float = 0.0) -> None:
        """Let time pass, read the ledger as the scheduler does, and see to all."""
        self.time.now += after
        self.ledger.refresh()
        self.pool.maintain(wanted)

    def show(
        self,
        worker: str,
        block: int | None,
        *,
        since: float = 0.0,
        stage: str = "soft",
        pool: str = "",
        at: float | None = None,
        run_id: str = "run",
    ) -> None:
        """The worker shows what it is doing, at that time of the file server."""
        write_state(
            self.run_dir,
            WorkerState(
                worker=worker,
                host="node7",
                pid=1,
                pool=pool,
                stage="" if block is None else stage,
                block=None if block is None else (0, 0, 0, block),
                since=since,
                peak_mib=321,
                engine="bitwise, x86-64-v3",
                run_id=run_id,
            ),
        )
        if at is not None:
            os.utime(self.run_dir.workers / f"{worker}.json", (at, at))

    def is_shown(self, worker: str) -> bool:
        """Whether there is anything of what the worker has shown."""
        return read_state(self.run_dir, worker) is not None

    def log(self, worker: str, text: str) -> None:
        self.run_dir.worker_log(worker).write_text(text)

    def say(self, status: str, block: int) -> None:
        """Some worker writes a line into the ledger."""
        say(self.ledger, status, block)

    def recorded(self) -> list[Entry]:
        """The failures in the ledger."""
        self.ledger.refresh()
        return [entry for block in self.ledger.failures.values() for entry in block]

    def lose(
        self,
        code: int | None,
        *,
        block: int | None = 0,
        log: str = "",
        by: EndedBy | None = None,
        host: str = "",
        why: str = "",
    ) -> None:
        """A worker is started, takes a block or none, and ends."""
        before = self.launcher.living()
        self.maintain(len(before) + 1, after=120)
        (worker,) = self.launcher.living() - before
        if block is not None:
            self.show(worker, block)
        if log:
            self.log(worker, log)
        self.launcher.end(worker, code, why, by=by, host=host)
        self.maintain()

    def lose_one_that_never_began(self, code: int | None = 1) -> None:
        self.lose(code, block=None, log="ImportError: no engine here\n")
