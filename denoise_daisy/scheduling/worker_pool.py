"""A pool of workers: as many as there is work for, and a reason for each that died."""

import logging
import time
from collections import Counter
from collections.abc import Mapping

from denoise_daisy.errors import RunStopped
from denoise_daisy.geometry import Index
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
from denoise_daisy.scheduling.bad_hosts import BadHosts
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.start_limits import StartLimits
from denoise_daisy.scheduling.worker_ends import (
    Cause,
    MemoryKills,
    cause_of,
    log_tail,
    record_failure,
)
from denoise_daisy.scheduling.worker_watch import ManualWorkers, StuckWorkers

MAX_INTERRUPTIONS = 10
"""A block whose worker was taken away so often, without being done, has failed once."""

WILLING = (0, EXIT_LEFT)
"""Exit codes of workers that left of their own will."""

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
        self._starts = StartLimits()
        self._bad_hosts = BadHosts()
        self._ends: list[Exit] = []
        self._overdue: set[str] = set()
        self._interruptions: Counter[tuple[str, Index]] = Counter()
        self._progress = 0
        self._next_look = 0.0
        self._at_work: list[str] = []

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
        # An end that could not be written down now is seen to the next time.
        self._ends += self._launcher.ended()
        while self._ends:
            self._reap(self._ends[0])
            del self._ends[0]
        living = self._launcher.living()
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + look_pause(len(living))
            self._look()
        missing = wanted - len(self._launcher.living())
        if missing > 0 and self._starts.are_due():
            self._starts.note_start()
            self._launcher.start(missing)

    @property
    def ready(self) -> int:
        """Number of blocks that its workers could do now, had nobody any."""
        return sum(stage.ready for stage in self._stages.values())

    def abandon(self) -> bool:
        """Do without a task that has workers of its own; whether it is one."""
        for state in self._stages.values() if self.pool.name else ():
            state.abandon()
        return bool(self.pool.name)

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
        ledgers = [stage.ledger for stage in self._stages.values()]
        progress = sum(len(each.failures) + each.totals.blocks for each in ledgers)
        if progress > self._progress:
            self._progress = progress
            self._starts.note_progress()

    def _look(self) -> None:
        """End workers of ours that do the same thing for too long."""
        states = {state.worker: state for state in self._states()}
        self._at_work = [s.stage for s in states.values() if s.block is not None]
        if self._at_work:
            self._starts.note_work()
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
        tail = log_tail(self._run_dir, end.worker)
        _stop_run_for(end, tail)
        was_overdue = end.worker in self._overdue
        stage = self._stages.get(state.stage) if state else None
        has_block = state is not None and state.block is not None and stage is not None
        if was_overdue or not (end.by == "system" or end.code in WILLING):
            self._reap_dead(end, state if has_block else None, tail)
        elif stage and state and state.block:
            self._note_interruption(stage, state, end)
        else:
            self._note_fruitless(end, tail, deaths=0)
        remove_state(self._run_dir, end.worker)
        self._stuck.forget(end.worker)

    def _reap_dead(self, end: Exit, state: WorkerState | None, tail: str) -> None:
        """A worker that died; `state` is what it said if it had a block."""
        if end.code == EXIT_UNREACHABLE:
            self._note_death(end, state)
            # It has waited long and tells the cause: no need for many to agree.
            self._note_fruitless(end, tail, deaths=2)
            return
        if end.by == "walltime" and state is None:
            self._note_fruitless(end, tail, deaths=0)
            return
        cause = cause_of(
            end,
            tail,
            was_overdue=end.worker in self._overdue,
            timeout_seconds=self.pool.timeout_seconds,
            memory_kills=self._memory_kills,
        )
        logger.warning("Worker %s: %s", end.worker, cause.error)
        if cause.reason in ("crash", "lost"):
            self._note_death(end, state)
        if state is None:
            self._note_fruitless(end, tail, deaths=1)
        else:
            record_failure(self._stages[state.stage], state, cause, tail)

    def _note_interruption(
        self, stage: StageState, state: WorkerState, end: Exit
    ) -> None:
        """A worker left its block, or was taken away, at no fault of the block."""
        logger.info("%s was taken away (%s).", end.worker, end.why or end.code)
        if state.block is None:
            return
        key = (state.stage, state.block)
        self._interruptions[key] += 1
        if self._interruptions[key] >= MAX_INTERRUPTIONS:
            why = f" ({end.why})" if end.why else ""
            cause = Cause("lost", f"was taken away{why}, {MAX_INTERRUPTIONS} times now")
            record_failure(stage, state, cause, "")
            del self._interruptions[key]

    def _note_death(self, end: Exit, state: WorkerState | None) -> None:
        """A host where one worker after the other dies gets no more of them."""
        host = end.host or (state.host if state else "")
        done: Counter[str] = Counter()
        for stage in self._stages.values():
            done += stage.ledger.totals.hosts
        if self._bad_hosts.note_death(host, done):
            self._launcher.exclude(host)
            logger.warning(
                "One worker after the other dies on %s, and elsewhere they work: no"
                " more are started there.",
                host,
            )

    def _note_fruitless(self, end: Exit, tail: str, *, deaths: int) -> None:
        """A worker took no block; that may go on for too long."""
        logger.info("%s ended without a block (%s).", end.worker, end.why or end.code)
        self._starts.note_end(deaths)
        self._starts.check(
            f"{_how(end)}. No worker can be kept alive; what is done is kept. The end"
            f" of its log, {self._run_dir.worker_log(end.worker)}:\n{tail}",
            lambda: any(s.block and s.worker != end.worker for s in self._states()),
        )


def _how(end: Exit) -> str:
    return f"exit code {end.code}" if end.code is not None else end.why


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
