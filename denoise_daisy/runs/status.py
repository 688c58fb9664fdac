"""How far a run is, in words."""

import time
from collections import Counter
from collections.abc import Iterator

from denoise_daisy.amounts import duration
from denoise_daisy.durable import persistently
from denoise_daisy.resolved.recorded import is_unneeded, recorded_run
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE
from denoise_daisy.run_dir.lock import LockHolder
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import WorkerState, read_states
from denoise_daisy.runs.summary import engines_text, left_text


def status(run_dir: RunDir) -> str:
    """How far a run is, from its files alone, whether a scheduler is at work or not.

    Raises
    ------
    RefusedError
        The output is gone or another's, or run.json can't be read.
    """
    record = RunRecord.of(run_dir)
    run, input_problem = recorded_run(record, run_dir)
    lines, failures = [], []
    engines: Counter[str] = Counter()
    for stage in run.stages:
        if is_unneeded(stage, run, record):
            lines.append(f"{stage.name}: deleted, for all that reads it is done")
            continue
        folder = run_dir.ledger(stage.name)
        ledger = Ledger(folder, run.id, stage.grid, stage.file_shape)
        persistently(ledger.refresh)
        engines += ledger.engines()
        failed = ledger.last_failed()
        left = stage.grid.size - ledger.done_count - len(failed)
        lines.append(
            f"{stage.name}: {ledger.done_count} done, {len(failed)} failed, {left} left"
            f" of {stage.grid.size} blocks"
            f" ({ledger.done_count / stage.grid.size:.1%} done)"
        )
        failures += [f"failed: {stage.name} block {list(block)}" for block in failed]
        failures += [f"ledger lines left out: {name}" for name in ledger.unreadable]
    lines += [*scheduler_lines(run_dir), *failures]
    left = engines.pop(NO_ENGINE, 0)
    if engines:
        lines.append(f"engine: {engines_text(engines)}")
    if left:
        lines.append(f"left: {left_text(run, left)}")
    if run.denoiser.probed:
        lines.append(f"noise: {run.denoiser.noise_text}")
    if input_problem:
        lines.append(f"input: {input_problem}")
    lines.append(f"output: {run_dir.output}")
    return "\n".join(lines)


def scheduler_lines(run_dir: RunDir) -> Iterator[str]:
    """Who schedules a run, and what its workers are at."""
    holder = LockHolder.read(run_dir)
    if holder is None or not holder.running:
        yield "scheduler: none at work"
        return
    age = duration(max(0.0, time.time() - holder.heartbeat))
    yield f"scheduler: {holder}, last heartbeat {age} ago"
    for state in read_states(run_dir):
        yield f"  {state.worker}: {_doing(state)}, peak {state.peak_mib} MiB"


def _doing(state: WorkerState) -> str:
    if state.block is None:
        return "idle"
    since = duration(max(0.0, time.time() - state.since))
    return f"block {list(state.block)} of {state.stage} for {since}"
