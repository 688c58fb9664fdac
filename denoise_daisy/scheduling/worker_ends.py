"""Why a worker ended, and what is written down for the block that it had."""

import os
import re
import signal
from dataclasses import dataclass
from typing import Literal

from denoise_daisy.launchers.base import Exit
from denoise_daisy.machine import out_of_memory_kills
from denoise_daisy.run_dir.exit_codes import EXIT_GONE, EXIT_TIMEOUT
from denoise_daisy.run_dir.ledger_lines import Entry
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import WorkerState
from denoise_daisy.scheduling.stage_state import StageState

LOG_LINES = 12

LOG_BYTES = 1 << 16
"""What is read of a log for its last lines: a log may be of any size."""

DAISY_RUN_ID = re.compile(r"\.[0-9a-f]{32}\b")
"""What lets a client in stands in the names of Daisy's tasks; who reads a ledger may
not know it."""

LOST = {
    -signal.SIGKILL: "was killed (SIGKILL), by somebody or for want of memory",
    EXIT_GONE: "found no output, which is there: its host has lost it",
}
"""Exit codes of workers that were lost, and what is said of them."""

CrashReason = Literal["timeout", "walltime", "memory", "lost", "crash"]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a worker ended."""

    reason: CrashReason
    error: str
    """In words, as said of the worker."""


class MemoryKills:
    """Notices when the kernel kills for want of memory."""

    def __init__(self) -> None:
        self._seen = out_of_memory_kills()

    def any_since(self) -> bool:
        """Whether it has since this was asked last."""
        before, self._seen = self._seen, out_of_memory_kills()
        return self._seen > before


def cause_of(
    end: Exit,
    log_tail: str,
    *,
    was_overdue: bool,
    timeout_seconds: float,
    memory_kills: MemoryKills,
) -> Cause:
    """Why a worker ended that did not end of its own will."""
    if was_overdue or end.code == EXIT_TIMEOUT:
        return Cause(
            "timeout",
            f"took longer than {timeout_seconds / 60:g} minutes"
            " (workers.block_timeout_minutes)",
        )
    if end.by == "walltime":
        return Cause(
            "walltime",
            f"ran into the time limit of its job ({end.why}); give workers more time,"
            " or make blocks smaller",
        )
    killed_for_memory = memory_kills.any_since() and end.code == -signal.SIGKILL
    if end.by == "memory" or killed_for_memory or "bad_alloc" in log_tail:
        return Cause(
            "memory",
            "ran out of memory; make blocks smaller (blocks.memory_gib) or give workers"
            " more",
        )
    if end.code in LOST:
        return Cause("lost", LOST[end.code])
    if end.code is not None and end.code < 0:
        return Cause("crash", f"crashed with signal {-end.code} ({_name(-end.code)})")
    return Cause("crash", f"ended with exit code {end.code}")


def log_tail(run_dir: RunDir, worker: str) -> str:
    """The last lines of a worker's log, without what Daisy's clients are known by."""
    try:
        with run_dir.worker_log(worker).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_BYTES))
            text = log.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    text = DAISY_RUN_ID.sub("", text)
    return "\n".join(text.splitlines()[-LOG_LINES:])


def record_failure(
    stage: StageState, state: WorkerState, cause: Cause, traceback: str
) -> None:
    """Write down what became of the block that a dead worker had, unless it is done."""
    stage.ledger.refresh()
    if state.block is None or stage.ledger.is_done(state.block):
        return
    stage.record(
        Entry(
            block=state.block,
            shape=tuple(stage.stage.grid.block_shape),
            status="failed",
            epoch=stage.ledger.epoch,
            worker=state.worker,
            engine=state.engine,
            peak_mib=state.peak_mib,
            reason=cause.reason,
            error=f"the worker {cause.error} (peak memory {state.peak_mib} MiB)",
            traceback=traceback,
        )
    )


def _name(number: int) -> str:
    """The signal's name; a number of a real-time signal has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
