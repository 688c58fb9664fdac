"""The keeper: as many workers as there is work for, and a reason for each that died."""

import logging
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass

from denoise_daisy.errors import RunStopped
from denoise_daisy.geometry import Index
from denoise_daisy.launchers import Exit, Launcher
from denoise_daisy.ledger_lines import Entry, Reason
from denoise_daisy.machine import out_of_memory_kills
from denoise_daisy.rundir import (
    EXIT_DISK,
    EXIT_GONE,
    EXIT_LEFT,
    EXIT_TIMEOUT,
    EXIT_UNREACHABLE,
    RunDir,
    WorkerState,
)
from denoise_daisy.standing import Standing

STUCK_SECONDS = 300.0
"""A worker without a block, while there are some, is given up after that."""

STRANGER_SECONDS = 60.0
"""A worker started by hand that shows nothing for so long is gone."""

OVERDUE_SECONDS = 15.0
"""What a worker gets beyond the block's timeout to end itself."""

FRUITLESS_STARTS = 6
"""The run stops after so many workers in a row died before they took a block."""

PAUSES = (0.5, 60.0)
"""Seconds between two starts of workers: at first, and at most; doubled each time
without a block done or failed in between."""

LOOK_SECONDS = (0.01, 2.0)
"""Time between two looks at what workers are doing: for each of them, and at most."""

LOG_LINES = 12

OUTPUT_GONE = (
    "The output was moved or deleted during the run. Put it back and start again to go"
    " on, or start anew with --overwrite."
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Doing:
    """What a worker is at."""

    block: Index | None
    stamp: float
    """When it began, by its own clock, which tells this from the next."""
    seen: float
    """When that was first seen, by this process's monotonic clock."""


class Keeper:
    """Keeps the workers of one pool for one start of the scheduler."""

    def __init__(
        self,
        pool: str,
        launcher: Launcher,
        run_dir: RunDir,
        standings: Mapping[str, Standing],
        *,
        timeout_seconds: float,
    ) -> None:
        """`standings` are of the stages whose blocks the pool's workers do."""
        self._pool = pool
        self._launcher = launcher
        self._run_dir = run_dir
        self._standings = standings
        self._timeout_seconds = timeout_seconds
        self._fruitless = 0
        self._pause = PAUSES[0]
        self._not_before = 0.0
        self._progress = 0
        self._next_look = 0.0
        self._at_work: list[str] = []
        self._doing: dict[str, _Doing] = {}
        self._strangers: dict[str, tuple[float, float]] = {}
        self._overdue: set[str] = set()
        self._memory_kills = out_of_memory_kills()

    def tend(self, wanted: int) -> None:
        """Bury the dead, end the stuck, and start workers up to the number wanted.

        Raises
        ------
        RunStopped
            The disk is full, or workers die before they take any block.
        """
        progress = sum(
            s.ledger.totals.blocks + len(s.ledger.failures)
            for s in self._standings.values()
        )
        if progress > self._progress:
            self._progress, self._pause, self._fruitless = progress, PAUSES[0], 0
            self._not_before = min(self._not_before, time.monotonic() + PAUSES[0])
        for exit_ in self._launcher.ended():
            self._bury(exit_)
        if time.monotonic() >= self._next_look:
            each, most = LOOK_SECONDS
            pause = min(most, each * len(self._launcher.living()))
            self._next_look = time.monotonic() + pause
            self._look()
        missing = wanted - len(self._launcher.living())
        if missing > 0 and time.monotonic() >= self._not_before:
            self._launcher.start(missing)
            self._not_before = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, PAUSES[1])

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

    def busy(self) -> int:
        """How many workers had a block lately, those started by hand as well."""
        return len(self._at_work)

    def at_work(self) -> list[str]:
        """The stages whose blocks workers had lately, once for each block."""
        return self._at_work

    def present(self) -> bool:
        """Whether some worker of ours still shows itself."""
        return any(state.worker in self._launcher.living() for state in self._states())

    def end_all(self) -> None:
        """End every worker at once; what they have in flight is lost, nothing else."""
        workers = self._launcher.running()
        self._launcher.end_all()
        for worker in workers:
            self._run_dir.remove_state(worker)

    def _states(self) -> list[WorkerState]:
        return [s for s in self._run_dir.read_states() if s.pool == self._pool]

    def _look(self) -> None:
        """End workers of ours that do the same thing for too long."""
        states = {state.worker: state for state in self._states()}
        self._at_work = [s.stage for s in states.values() if s.block is not None]
        for worker in self._launcher.running():
            if self._is_stuck(worker, states.get(worker)):
                self._overdue.add(worker)
                self._launcher.kill(worker)
        for worker in states.keys() - self._launcher.living():
            # Started by hand: it shows itself every few seconds as long as it lives.
            shown = self._run_dir.state_shown(worker)
            seen = self._strangers.get(worker)
            if seen is None or seen[0] != shown:
                self._strangers[worker] = (shown, time.monotonic())
            elif time.monotonic() - seen[1] > STRANGER_SECONDS:
                logger.warning("Worker %s, started by hand, is gone.", worker)
                self._run_dir.remove_state(worker)

    def _is_stuck(self, worker: str, state: WorkerState | None) -> bool:
        """Whether its time is up, by this process's clock."""
        block = state.block if state else None
        stamp = state.since if state else 0.0
        doing = self._doing.get(worker)
        if doing is None or (doing.block, doing.stamp) != (block, stamp):
            doing = self._doing[worker] = _Doing(block, stamp, time.monotonic())
        limit = STUCK_SECONDS
        if block is not None:
            limit = self._timeout_seconds + OVERDUE_SECONDS
        return time.monotonic() - doing.seen > limit

    def _bury(self, exit_: Exit) -> None:
        state = self._run_dir.read_state(exit_.worker)
        self._run_dir.remove_state(exit_.worker)
        self._doing.pop(exit_.worker, None)
        if exit_.code in (0, EXIT_LEFT):
            return
        if exit_.code is None and exit_.worker not in self._overdue:
            logger.info("%s was taken away (%s).", exit_.worker, exit_.why)
            return
        tail = self._log_tail(exit_.worker)
        if exit_.code == EXIT_DISK:
            raise RunStopped(
                f"A worker could not write the output ({tail.splitlines()[-1:]}). The"
                " disk is full, over quota or read-only; what is done is kept. Make"
                " room and start again to go on."
            )
        if exit_.code == EXIT_GONE:
            raise RunStopped(f"{OUTPUT_GONE} ({tail.splitlines()[-1:]})")
        if exit_.code == EXIT_UNREACHABLE:
            # It has waited long and tells the cause: no need for many to agree.
            self._fruitless += 1
            self._count_fruitless(exit_, tail)
            return
        reason, error = self._reason(exit_, tail)
        logger.warning("Worker %s: %s", exit_.worker, error)
        standing = self._standings.get(state.stage) if state else None
        if state is None or state.block is None or standing is None:
            self._count_fruitless(exit_, tail)
            return
        standing.ledger.refresh()
        if not standing.ledger.is_done(state.block):
            _record(standing, state, reason, error, tail)

    def _count_fruitless(self, exit_: Exit, tail: str) -> None:
        self._fruitless += 1
        if self._fruitless >= FRUITLESS_STARTS:
            raise RunStopped(
                "Workers die before they take a block, one after the other, the last"
                f" with exit code {exit_.code}. No worker can be kept alive; what"
                " is done is kept. The end of its log,"
                f" {self._run_dir.worker_log(exit_.worker)}:\n{tail}"
            )

    def _reason(self, exit_: Exit, tail: str) -> tuple[Reason, str]:
        if exit_.worker in self._overdue or exit_.code == EXIT_TIMEOUT:
            return "timeout", (
                f"took longer than {self._timeout_seconds / 60:g} minutes"
                " (workers.block_timeout_minutes)"
            )
        kills = out_of_memory_kills()
        killed_for_memory = kills > self._memory_kills and exit_.code == -signal.SIGKILL
        self._memory_kills = kills
        if exit_.out_of_memory or killed_for_memory or "bad_alloc" in tail:
            return "memory", (
                "ran out of memory; make blocks smaller (blocks.memory_gib) or give"
                " workers more"
            )
        if exit_.code == -signal.SIGKILL:
            return "lost", "was killed (SIGKILL), by somebody or for want of memory"
        if exit_.code is not None and exit_.code < 0:
            name = signal.Signals(-exit_.code).name
            return "crash", f"crashed with signal {-exit_.code} ({name})"
        return "crash", f"ended with exit code {exit_.code}"

    def _log_tail(self, worker: str) -> str:
        try:
            text = self._run_dir.worker_log(worker).read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-LOG_LINES:])


def _record(
    standing: Standing, state: WorkerState, reason: Reason, error: str, tail: str
) -> None:
    """Write down what became of the block that a dead worker had."""
    assert state.block is not None, "it had one"  # noqa: S101
    standing.record(
        Entry(
            block=state.block,
            shape=tuple(standing.stage.grid.block_shape),
            status="failed",
            epoch=standing.ledger.epoch,
            worker=state.worker,
            peak_mib=state.peak_mib,
            reason=reason,
            error=f"the worker {error} (peak memory {state.peak_mib} MiB)",
            traceback=tail,
        )
    )
