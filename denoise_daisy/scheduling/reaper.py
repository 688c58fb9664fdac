"""Each end of a worker counts for something: its block, its host, or its pool."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping

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
from denoise_daisy.run_dir.many_record import is_of_many
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import (
    WorkerState,
    read_state,
    read_states,
    remove_state,
)
from denoise_daisy.scheduling.bad_hosts import BadHosts
from denoise_daisy.scheduling.output_watch import check_output
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.start_limits import StartLimits
from denoise_daisy.scheduling.worker_ends import (
    Cause,
    MemoryKills,
    cause_of,
    log_tail,
    record_failure,
)

MAX_INTERRUPTIONS = 10
"""A block whose worker was taken away so often, without being done, has failed once."""

WILLING = (0, EXIT_LEFT)
"""Exit codes of workers that left of their own will."""

logger = logging.getLogger(__name__)


class Reaper:
    """Sees to the ends of one pool's workers."""

    def __init__(
        self,
        pool: Pool,
        run_dir: RunDir,
        stages: Callable[[], Mapping[str, StageState]],
        starts: StartLimits,
    ) -> None:
        """`stages` tells those of the pool, by place."""
        self._pool = pool
        self._run_dir = run_dir
        self._stages = stages
        self._starts = starts
        self._bad_hosts = BadHosts()
        self._memory_kills = MemoryKills()
        self._interruptions: Counter[tuple[str, Index | None]] = Counter()

    def reap(self, end: Exit, *, was_overdue: bool) -> None:
        """See to what it has left undone; `was_overdue` if its time was up.

        Raises
        ------
        RunStopped
            The disk is full, or the output gone for the scheduler as well.
        NoWorkersError
            Workers end before they take any block, one after the other.
        """
        state = read_state(self._run_dir, end.worker)
        tail = log_tail(self._run_dir, end.worker)
        self._stop_run_for(end, tail)
        held = state if state and self._state_of(state) else None
        if was_overdue or not (end.by == "system" or end.code in WILLING):
            self._reap_dead(end, held, tail, was_overdue=was_overdue)
        elif held:
            logger.info("%s was taken away (%s).", end.worker, end.why or end.code)
            self._note_interruption(held, end.why)
        else:
            self._note_fruitless(end, tail, deaths=0)
        remove_state(self._run_dir, end.worker)

    def forget(self, state: WorkerState) -> None:
        """See to what a manually started worker has left, which shows no more life."""
        logger.warning("The manually started worker %s is gone.", state.worker)
        if self._state_of(state):
            self._note_interruption(state, "it shows no more life")
        remove_state(self._run_dir, state.worker)

    def note_failed_start(self, error: OSError) -> None:
        """Nobody could be started, as nobody can where a file is away for good.

        Raises
        ------
        NoWorkersError
            That was so too often.
        """
        self._starts.note_end(deaths=0)
        self._starts.check(f"this: {error}", lambda: self._is_anybody_at_work(""))

    def _stop_run_for(self, end: Exit, tail: str) -> None:
        """Stop the run at an end that no other worker would be spared.

        Raises
        ------
        RunStopped
            It is one.
        """
        if end.code == EXIT_DISK:
            raise _disk_is_full(tail)
        # Of many images, each looks after its own.
        if end.code == EXIT_GONE and not is_of_many(self._run_dir):
            # Where it is there, that worker's host has lost it.
            check_output(self._run_dir, self._stages().values())

    def _reap_dead(
        self, end: Exit, state: WorkerState | None, tail: str, *, was_overdue: bool
    ) -> None:
        """A worker that died; `state` is what it said if it had a block."""
        if end.code == EXIT_UNREACHABLE:
            self._note_death(end, state)
            # It has waited long and tells the cause: no need for many to agree.
            self._note_fruitless(end, tail, deaths=2)
            return
        if state is None and (was_overdue or end.by == "walltime"):
            self._note_fruitless(end, tail, deaths=int(was_overdue))
            return
        cause = cause_of(
            end,
            tail,
            was_overdue=was_overdue,
            timeout_seconds=self._pool.timeout_seconds,
            memory_kills=self._memory_kills,
        )
        logger.warning("Worker %s: %s", end.worker, cause.error)
        if cause.reason in ("crash", "lost"):
            self._note_death(end, state)
        stage = self._state_of(state)
        if state is None or stage is None:
            self._note_fruitless(end, tail, deaths=1)
        else:
            record_failure(stage, state, cause, tail)

    def _note_interruption(self, state: WorkerState, why: str) -> None:
        """A worker left its block, or was taken away, maybe at no fault of the block.

        So often it may be: the block does not go round for ever.
        """
        key = (state.place, state.block)
        self._interruptions[key] += 1
        stage = self._state_of(state)
        if stage and self._interruptions[key] >= MAX_INTERRUPTIONS:
            text = f"was taken away ({why})" if why else "was taken away"
            cause = Cause("lost", f"{text}, {MAX_INTERRUPTIONS} times now")
            record_failure(stage, state, cause, "")
            del self._interruptions[key]

    def _note_death(self, end: Exit, state: WorkerState | None) -> None:
        """A host where one worker after the other dies gets no more of them."""
        host = end.host or (state.host if state else "")
        done: Counter[str] = Counter()
        for stage in self._stages().values():
            done += stage.ledger.totals.hosts
        if self._bad_hosts.note_death(host, done):
            self._pool.launcher.exclude(host)
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
            lambda: self._is_anybody_at_work(end.worker),
        )

    def _state_of(self, state: WorkerState | None) -> StageState | None:
        """The stage of the block that a worker has."""
        if state is None or not state.block:
            return None
        return self._stages().get(state.place)

    def _is_anybody_at_work(self, dead: str) -> bool:
        states = [s for s in read_states(self._run_dir) if s.pool == self._pool.name]
        return any(state.block and state.worker != dead for state in states)


def _disk_is_full(tail: str) -> RunStopped:
    last = "".join(tail.splitlines()[-1:])
    return RunStopped(
        f"A worker could not write the output ({last}). The disk is full, over quota or"
        " read-only; what is done is kept. Make room and start again to go on."
    )


def _how(end: Exit) -> str:
    return f"exit code {end.code}" if end.code is not None else end.why
