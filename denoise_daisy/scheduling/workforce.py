"""All pools of workers of a run together."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from denoise_daisy.forecast import Hands
from denoise_daisy.launchers.base import CannotStartError
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.start_limits import NoWorkersError
from denoise_daisy.scheduling.worker_pool import WorkerPool
from denoise_daisy.waits import WAITS

LOOPBACK = "127.0.0.1"

logger = logging.getLogger(__name__)


class AnyWorkforce(Protocol):
    """What the scheduler of a run asks of those who work for it."""

    @property
    def address(self) -> str:
        """Where all of them find the scheduler."""

    @property
    def timeouts(self) -> dict[str, float]:
        """How long a block may take, in seconds, by stage."""

    def maintain(self) -> None:
        """See to them; raises RunStopped where that is hopeless."""

    def cancel_waiting(self) -> None:
        """Take back the workers that have not begun."""

    def end_all(self) -> None:
        """End every worker at once."""

    def let_leave(self) -> None:
        """Give workers that find nothing to do a while to leave by themselves."""

    def in_flight(self) -> int:
        """How many workers have a block right now."""

    def at_work(self) -> list[str]:
        """The stages whose blocks workers had lately, once for each block."""

    def seconds_at_work(self) -> Mapping[str, Sequence[float]]:
        """For how long they were seen at each of these blocks, by stage."""

    def hands(self) -> Mapping[str, Hands]:
        """How many workers to count on, by pool."""

    def waits_for(self) -> str:
        """What workers, or blocks, wait for, in words."""


class Workforce:
    """The pools of a run, for one start of the scheduler."""

    def __init__(
        self, pools: Sequence[Pool], run_dir: RunDir, states: Mapping[str, StageState]
    ) -> None:
        self._workers = [WorkerPool(pool, run_dir, states) for pool in pools]

    def add(
        self, pool: Pool, run_dir: RunDir, states: Mapping[str, StageState]
    ) -> None:
        """Another pool."""
        self._workers.append(WorkerPool(pool, run_dir, states))

    @property
    def pools(self) -> list[Pool]:
        """Who they are, and the stages that they do."""
        return [workers.pool for workers in self._workers]

    @property
    def address(self) -> str:
        """Where all of them find the scheduler: on this machine, or from others too."""
        addresses = (pool.workers.address for pool in self.pools)
        return next((a for a in addresses if a != LOOPBACK), LOOPBACK)

    @property
    def timeouts(self) -> dict[str, float]:
        """How long a block may take, in seconds, by stage."""
        return {
            name: pool.timeout_seconds for pool in self.pools for name in pool.stages
        }

    def maintain(self) -> None:
        """See to every pool: no more workers than blocks that they could do.

        Tasks whose own workers can't be started are given up.

        Raises
        ------
        RunStopped
            All workers that are left can't be, or nothing can be written.
        """
        for workers in self._workers:
            try:
                workers.maintain(self._wanted(workers))
            except (NoWorkersError, CannotStartError) as error:
                task = workers.pool.name
                if not task:
                    raise
                if workers.abandon(str(error)):
                    logger.error("%s The run goes on without %s.", error, task)

    def _wanted(self, workers: WorkerPool) -> int:
        """How many of a pool are to live."""
        return min(workers.pool.workers.number, workers.ready)

    def cancel_waiting(self) -> None:
        """Take back the workers that have not begun."""
        for workers in self._workers:
            workers.cancel_waiting()

    def end_all(self) -> None:
        """End every worker at once."""
        for workers in self._workers:
            workers.end_all()

    def let_leave(self) -> None:
        """Give workers that find nothing to do a while to leave by themselves."""
        deadline = time.monotonic() + WAITS.leave
        while any(w.is_present() for w in self._workers):
            if time.monotonic() >= deadline:
                break
            time.sleep(WAITS.tick / 5)

    def in_flight(self) -> int:
        """How many workers of ours have a block right now."""
        return sum(workers.in_flight() for workers in self._workers)

    def at_work(self) -> list[str]:
        """The stages whose blocks workers had lately, once for each block."""
        return [name for workers in self._workers for name in workers.at_work()]

    def seconds_at_work(self) -> Mapping[str, Sequence[float]]:
        """For how long they were seen at each of these blocks, by stage."""
        found = defaultdict[str, list[float]](list)
        for workers in self._workers:
            for name, seconds in workers.seconds_at_work():
                found[name].append(seconds)
        return found

    def hands(self) -> Mapping[str, Hands]:
        """How many workers to count on, by pool."""
        return {workers.pool.name: workers.hands() for workers in self._workers}

    def waits_for(self) -> str:
        """What workers, or blocks, wait for, in words."""
        return ", ".join(filter(None, self._waits()))

    def _waits(self) -> Iterator[str]:
        for workers in self._workers:
            yield workers.waits_for()
        for workers in self._workers:
            pool = workers.pool
            if workers.ready and not pool.workers.number and not workers.at_work():
                whom = f" (--task {pool.name})" if pool.name else ""
                yield f"waiting for manually started workers{whom}"
                return
