"""Workers that do the same thing for too long, and those that are silent."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from denoise_daisy.geometry import Index
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import WorkerState, state_shown
from denoise_daisy.waits import WAITS


@dataclass(frozen=True, slots=True)
class _Doing:
    """What a worker is at."""

    block: Index | None
    stamp: float
    """When it began, by its own clock, which tells this from the next."""
    seen: float
    """When that was first seen, by this process's monotonic clock."""


class StuckWorkers:
    """Tells which workers do the same thing for too long, by this process's clock."""

    def __init__(self, timeout_seconds: float) -> None:
        """`timeout_seconds` is what a worker gets for a block."""
        self._timeout_seconds = timeout_seconds
        self._doing: dict[str, _Doing] = {}

    def seconds(self, worker: str, state: WorkerState | None) -> float:
        """For how long a worker was seen at what it says that it is doing."""
        block = state.block if state else None
        stamp = state.since if state else 0.0
        doing = self._doing.get(worker)
        if doing is None or (doing.block, doing.stamp) != (block, stamp):
            doing = self._doing[worker] = _Doing(block, stamp, time.monotonic())
        return time.monotonic() - doing.seen

    def is_stuck(self, worker: str, state: WorkerState | None) -> bool:
        """Whether the time of a worker, which says that it is doing this, is up."""
        limit = WAITS.worker_stuck
        if state and state.block is not None:
            limit = self._timeout_seconds + WAITS.overdue
        return self.seconds(worker, state) > limit

    def forget(self, worker: str) -> None:
        """It is gone."""
        self._doing.pop(worker, None)


class ManualWorkers:
    """Manually started workers: they show themselves as long as they live."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._shown: dict[str, tuple[float, float]] = {}
        """When each showed itself last, by the file server's clock, and when that was
        first seen, by this process's."""

    def silent(self, workers: Iterable[str]) -> Iterator[str]:
        """Those that have shown nothing for too long."""
        for worker in workers:
            shown = state_shown(self._run_dir, worker)
            seen = self._shown.get(worker)
            if seen is None or seen[0] != shown:
                self._shown[worker] = (shown, time.monotonic())
            elif time.monotonic() - seen[1] > WAITS.manual_worker_silent:
                yield worker
