"""A pool of workers: as many as there is work for, and a reason for each that died."""

import logging
import time
from collections.abc import Mapping

from denoise_daisy.errors import RunStopped
from denoise_daisy.launchers.base import Exit
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.exit_codes import (
    EXIT_DISK,
    EXIT_GONE,
    EXIT_LEFT,
    EXIT_UNREACHABLE,
)
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import (
    WorkerState,
    read_state,
    read_states,
    remove_state,
)
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.worker_ends import (
    MemoryKills,
    cause_of,
    log_tail,
    record_failure,
)
from denoise_daisy.scheduling.worker_watch import ManualWorkers, StuckWorkers
from denoise_daisy.waits import WAITS

MAX_FAILED_STARTS = 6
"""The run stops after so many workers in a row died before they took a block."""

LOOK_SECONDS = (0.01, 2.0)
"""Time between two looks at what workers are doing: for each of them, and at most."""

OUTPUT_GONE = (
    "The output was moved or deleted during the run. Put it back and start again to go"
    " on, or start over with --overwrite."
)

logger = logging.getLogger(__name__)


class WorkerPool:
    """The workers of one pool, for one start of the scheduler."""

    def __init__(
        self, pool: Pool, run_dir: RunDir, states: Mapping[str, StageState]
    ) -> None:
        """`states` are of the stages of the whole run."""
        self.pool = pool
        self._launcher = pool.launcher
        self._run_dir = run_dir
        self._stages = {name: states[name] for name in pool.stages}
        self._stuck = StuckWorkers(pool.timeout_seconds)
        self._manual_workers = ManualWorkers(run_dir)
        self._memory_kills = MemoryKills()
        self._overdue: set[str] = set()
        self._failed_starts = 0
        self._start_pause = WAITS.first_start_pause
        self._not_before = 0.0
        self._progress = 0
        self._next_look = 0.0
        self._at_work: list[str] = []

    def maintain(self, wanted: int) -> None:
        """Reap exited workers, kill stuck ones, start those missing to `wanted`.

        Raises
        ------
        RunStopped
            The disk is full, or workers die before they take any block.
        """
        self._note_progress()
        for end in self._launcher.ended():
            self._reap(end)
        living = self._launcher.living()
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + look_pause(len(living))
            self._look()
        missing = wanted - len(self._launcher.living())
        if missing > 0 and time.monotonic() >= self._not_before:
            self._launcher.start(missing)
            self._not_before = time.monotonic() + self._start_pause
            longest = WAITS.longest_start_pause
            self._start_pause = min(2 * self._start_pause, longest)

    @property
    def ready(self) -> int:
        """Number of blocks that its workers could do now, had nobody any."""
        return sum(stage.ready for stage in self._stages.values())

    def waits_for(self) -> str:
        """How many workers wait and why, in words."""
        return self._launcher.waits_for()

    def cancel_waiting(self) -> None:
        """Take back the workers that have not begun."""
        begun = {state.worker for state in self._states()}
        self._launcher.cancel_waiting(begun)

    def in_flight(self) -> int:
        """How many living workers of ours have a block right now."""
        living = self._launcher.living()
        states = self._states()
        return sum(s.block is not None and s.worker in living for s in states)

    def at_work(self) -> list[str]:
        """The stages whose blocks workers had lately, once for each block.

        Those of manually started workers as well.
        """
        return self._at_work

    def is_present(self) -> bool:
        """Whether some worker of ours still shows itself."""
        return any(state.worker in self._launcher.living() for state in self._states())

    def end_all(self) -> None:
        """End every worker at once; what they have in flight is lost, nothing else."""
        workers = self._launcher.running()
        self._launcher.end_all()
        for worker in workers:
            remove_state(self._run_dir, worker)

    def _states(self) -> list[WorkerState]:
        return [s for s in read_states(self._run_dir) if s.pool == self.pool.name]

    def _note_progress(self) -> None:
        """Blocks that are done or failed show that workers can be started."""
        progress = sum(
            stage.ledger.totals.blocks + len(stage.ledger.failures)
            for stage in self._stages.values()
        )
        if progress > self._progress:
            self._progress, self._failed_starts = progress, 0
            self._start_pause = WAITS.first_start_pause
            soon = time.monotonic() + self._start_pause
            self._not_before = min(self._not_before, soon)

    def _look(self) -> None:
        """End workers of ours that do the same thing for too long."""
        states = {state.worker: state for state in self._states()}
        self._at_work = [s.stage for s in states.values() if s.block is not None]
        for worker in self._launcher.running():
            is_stuck = self._stuck.is_stuck(worker, states.get(worker))
            # A batch system may take minutes to tell of its end.
            if is_stuck and worker not in self._overdue:
                self._overdue.add(worker)
                self._launcher.kill(worker)
        self._manual_workers.remove_silent(states.keys() - self._launcher.living())

    def _reap(self, end: Exit) -> None:
        """See to what a worker that ended has left undone."""
        state = read_state(self._run_dir, end.worker)
        remove_state(self._run_dir, end.worker)
        self._stuck.forget(end.worker)
        if end.code in (0, EXIT_LEFT):
            return
        was_overdue = end.worker in self._overdue
        if end.by in ("system", "walltime") and not was_overdue:
            logger.info("%s was taken away (%s).", end.worker, end.why)
            return
        tail = log_tail(self._run_dir, end.worker)
        _stop_run_for(end, tail)
        if end.code == EXIT_UNREACHABLE:
            # It has waited long and tells the cause: no need for many to agree.
            self._failed_starts += 1
            self._count_failed_start(end, tail)
            return
        cause = cause_of(
            end,
            tail,
            was_overdue=was_overdue,
            timeout_seconds=self.pool.timeout_seconds,
            memory_kills=self._memory_kills,
        )
        logger.warning("Worker %s: %s", end.worker, cause.error)
        stage = self._stages.get(state.stage) if state else None
        if state is None or state.block is None or stage is None:
            self._count_failed_start(end, tail)
        else:
            record_failure(stage, state, cause, tail)

    def _count_failed_start(self, end: Exit, tail: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise RunStopped(
                "Workers die before they take a block, one after the other, the last"
                f" with exit code {end.code}. No worker can be kept alive; what"
                " is done is kept. The end of its log,"
                f" {self._run_dir.worker_log(end.worker)}:\n{tail}"
            )


def look_pause(workers: int) -> float:
    """Seconds between two looks at what so many workers are doing."""
    each, most = LOOK_SECONDS
    return min(most, each * workers)


def _stop_run_for(end: Exit, tail: str) -> None:
    """Stop the run at an end that no other worker would be spared.

    Raises
    ------
    RunStopped
        It is one.
    """
    last = tail.splitlines()[-1:]
    if end.code == EXIT_DISK:
        raise RunStopped(
            f"A worker could not write the output ({last}). The disk is full, over"
            " quota or read-only; what is done is kept. Make room and start again to"
            " go on."
        )
    if end.code == EXIT_GONE:
        raise RunStopped(f"{OUTPUT_GONE} ({last})")
