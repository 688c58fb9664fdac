"""A pool of workers: as many as there is work for, and a reason for each that died."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from denoise_daisy.forecast import Hands
from denoise_daisy.launchers.base import Exit
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import (
    WorkerState,
    read_states,
    remove_state,
)
from denoise_daisy.scheduling.reaper import Reaper
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.start_limits import StartLimits
from denoise_daisy.scheduling.worker_watch import ManualWorkers, StuckWorkers

LOOK_SECONDS = (0.01, 2.0)
"""Time between two looks at what workers are doing: for each of them, and at most."""


class WorkerPool:
    """The workers of one pool, for one start of the scheduler."""

    def __init__(
        self, pool: Pool, run_dir: RunDir, states: Mapping[str, StageState]
    ) -> None:
        """`states` are of the stages of the whole run; both may change meanwhile."""
        self.pool = pool
        self._launcher = pool.launcher
        self._run_dir = run_dir
        self._states_of_run = states
        self._stuck = StuckWorkers(pool.timeout_seconds)
        self._manual_workers = ManualWorkers(run_dir)
        self._starts = StartLimits()
        self._reaper = Reaper(pool, run_dir, self.stages, self._starts)
        self._ends: list[Exit] = []
        self._overdue: set[str] = set()
        self._progress: Counter[str] = Counter()
        self._next_look = 0.0
        self._at_work: list[tuple[str, float]] = []

    def maintain(self, wanted: int) -> None:
        """Reap exited workers, kill stuck ones, start those missing to `wanted`.

        Raises
        ------
        RunStopped
            The disk is full.
        NoWorkersError, CannotStartError
            Workers end before they take any block, or can't be started at all.
        """
        self._note_progress()
        self._ends += self._launcher.ended()
        while self._ends:
            end = self._ends.pop(0)
            try:
                self._reaper.reap(end, was_overdue=end.worker in self._overdue)
            except OSError:
                # It could not be written down now: it is seen to the next time.
                self._ends.insert(0, end)
                raise
            self._stuck.forget(end.worker)
        living = self._launcher.living()
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + look_pause(len(living))
            self._look()
        missing = wanted - len(self._launcher.living())
        if missing > 0 and self._starts.are_due():
            self._starts.note_start()
            try:
                self._launcher.start(missing)
            except OSError as error:
                self._reaper.note_failed_start(error)
                raise

    def stages(self) -> dict[str, StageState]:
        """The stages whose blocks its workers do, by place."""
        states = dict(self._states_of_run)
        return {name: states[name] for name in self.pool.stages if name in states}

    @property
    def ready(self) -> int:
        """Number of blocks that its workers could do now, had nobody any."""
        return sum(stage.ready for stage in self.stages().values())

    def abandon(self, because: str) -> bool:
        """Do without what its workers do; whether that is news."""
        states = self.stages().values()
        is_news = not all(state.abandoned for state in states)
        for state in states:
            if not state.abandoned:
                state.abandon(because)
        return is_news

    def waits_for(self) -> str:
        """How many workers wait and why, in words."""
        return self._launcher.waits_for()

    def cancel_waiting(self) -> None:
        """Take back the workers that have not begun."""
        begun = {state.worker for state in self._states()}
        self._launcher.cancel_waiting(begun)

    def hands(self) -> Hands:
        """How many of them to count on."""
        running = max(len(self._launcher.running()), len(self._at_work))
        return self.pool.workers.hands(running)

    def in_flight(self) -> int:
        """How many living workers of ours have a block right now."""
        living = self._launcher.living()
        states = self._states()
        return sum(s.block is not None and s.worker in living for s in states)

    def at_work(self) -> list[str]:
        """The places whose blocks workers had lately, once for each block.

        Those of manually started workers as well.
        """
        return [place for place, _ in self._at_work]

    def seconds_at_work(self) -> list[tuple[str, float]]:
        """The same, and for how long they were seen at each."""
        return self._at_work

    def is_present(self) -> bool:
        """Whether some worker of ours still shows itself."""
        return any(state.worker in self._launcher.living() for state in self._states())

    def end_all(self) -> None:
        """End every worker at once; what they have in flight is lost, nothing else."""
        # Also those that began since the batch system was asked.
        workers = self._launcher.living()
        self._launcher.end_all()
        for worker in workers:
            remove_state(self._run_dir, worker)

    def _states(self) -> list[WorkerState]:
        return [s for s in read_states(self._run_dir) if s.pool == self.pool.name]

    def _note_progress(self) -> None:
        """Blocks that are done or failed show that workers can be started."""
        ledgers = {name: state.ledger for name, state in self.stages().items()}
        progress = Counter(
            {k: len(each.failures) + each.totals.blocks for k, each in ledgers.items()}
        )
        if progress - self._progress:
            self._starts.note_progress()
        self._progress = progress

    def _look(self) -> None:
        """End workers of ours that do the same thing for too long."""
        states = {state.worker: state for state in self._states()}
        self._at_work = [
            (s.place, self._stuck.seconds(s.worker, s))
            for s in _with_a_block(states.values(), self.stages())
            if not self._stuck.is_stuck(s.worker, s)
        ]
        if self._at_work:
            self._starts.note_work()
        for worker in self._launcher.running():
            is_stuck = self._stuck.is_stuck(worker, states.get(worker))
            # A batch system may take minutes to tell of its end.
            if is_stuck and worker not in self._overdue:
                self._overdue.add(worker)
                self._launcher.kill(worker)
        manual = states.keys() - self._launcher.living()
        for worker in self._manual_workers.silent(manual):
            self._reaper.forget(states[worker])
            self._stuck.forget(worker)


def _with_a_block(
    states: Iterable[WorkerState], stages: Mapping[str, StageState]
) -> Iterator[WorkerState]:
    """Workers that have one of these stages, and not of a run that was overwritten."""
    for state in states:
        stage = stages.get(state.place)
        if stage and state.block is not None and state.run_id == stage.ledger.run_id:
            yield state


def look_pause(workers: int) -> float:
    """Seconds between two looks at what so many workers are doing."""
    each, most = LOOK_SECONDS
    return min(most, each * workers)
