"""How a start of a run went, in words."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from denoise_daisy.amounts import counted, duration, voxel_rate
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.durable import is_there
from denoise_daisy.monitoring.text import as_is_text, engines_text
from denoise_daisy.progress import listing
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger import Totals
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.tracebacks import traceback_file
from denoise_daisy.runs.warnings import first_sentence
from denoise_daisy.scheduling.stage_state import StageState


def summary(
    run: ResolvedRun,
    states: Mapping[str, StageState],
    before: Mapping[str, int],
    seconds: float,
    rate: float | None,
    warnings: Sequence[str],
) -> str:
    """Blocks, speed, where the time went, warnings, and where the outputs are.

    `before` tells how many blocks of each stage were done before this start, which took
    so many seconds; `rate` is of voxels denoised, in the time in which any were.
    """
    every = list(states.values())
    skipped = sum(before.values())
    done = sum(s.ledger.done_count for s in every) - skipped
    failed = sum(len(s.ledger.last_failed()) for s in every)
    orphans = sum(s.orphans for s in every)
    left = sum(s.stage.grid.size for s in every) - done - skipped - failed - orphans
    lines = [
        f"{done} blocks done, {skipped} skipped (done before), {failed} failed"
        + (f", {orphans} waiting for those" if orphans else "")
        + (f", {left} left" if left else "")
        + f", in {duration(seconds)}."
    ]
    if len(every) > 1:
        lines += [
            f"  {name}: {s.ledger.done_count}/{s.stage.grid.size} blocks"
            for name, s in states.items()
        ]
    totals = {name: s.ledger.totals for name, s in states.items()}
    lines += [f"{voxel_rate(rate)} denoised."] if rate else []
    lines += _shares(run, totals)
    engines = sum((t.engines for t in totals.values()), Counter[str]())
    left = engines.pop(NO_ENGINE, 0)
    if engines:
        lines.append(f"Denoised by {engines_text(engines)}.")
    if left:
        lines.append(f"{as_is_text(left, run.config.blocks.as_is_because)}.")
    for s in every:
        if s.ledger.totals.clipped and s.stage.array:
            lines.append(
                f"{s.ledger.totals.clipped} voxels were beyond the range of"
                f" {s.stage.array.dtype} and were clipped, in {s.stage.name}."
            )
    if warnings:
        lines.append(f"{counted(len(warnings), 'warning')} at the start:")
        lines += listing([*map(first_sentence, warnings)])
    lines += _places(run, [s.stage for s in every])
    return "\n".join(lines)


def _shares(run: ResolvedRun, totals: Mapping[str, Totals]) -> Iterator[str]:
    """What the workers' time went to."""
    if not any(t.blocks for t in totals.values()):
        return
    spent = max(sum(t.pace.seconds for t in totals.values()), 1e-9)
    computing = {name: t.compute_seconds for name, t in totals.items()}
    denoising = computing.pop(run.denoising.name, 0.0)
    shares = {
        f"in {run.denoiser.kind}": denoising,
        "in tasks": sum(computing.values()),
        "reading": sum(t.read_seconds for t in totals.values()),
        "writing": sum(t.write_seconds for t in totals.values()),
    }
    parts = [f"{part / spent:.0%} {name}" for name, part in shares.items() if part]
    peak = max(t.peak_mib for t in totals.values())
    yield (
        f"Of the workers' time {', '.join(parts)}; peak memory {peak / 1024:.2f} GiB."
    )


def _places(run: ResolvedRun, stages: Sequence[Stage]) -> Iterator[str]:
    """Where to look."""
    yield f"Output: {run.output}"
    for place in _beside(run, stages):
        yield f"Output: {place}"
    if is_there(run.run_dir.page):
        yield f"Page: {run.run_dir.page}"


def _beside(run: ResolvedRun, stages: Sequence[Stage]) -> list[str]:
    """What was written beside the output."""
    places = [(stage, stage.target.place) for stage in stages]
    return sorted(
        {
            str(place.parent if stage.array else place)
            for stage, place in places
            if not {run.output, run.run_dir.path} & set(place.parents)
        }
    )


def _tracebacks(state: StageState, run_dir: RunDir) -> Path:
    """The folder of those of a stage; its ledger where no file could be written."""
    entries = [e for some in state.ledger.failures.values() for e in some]
    files = [f for e in entries if (f := traceback_file(run_dir, e.traceback_file))]
    return files[-1].parent if files else run_dir.ledger(state.stage.name)


def failures(states: Sequence[StageState], run_dir: RunDir) -> str:
    """The blocks that were given up, and why; and those that wait for them."""
    lines = []
    for state in states:
        name, ledger = state.stage.name, state.ledger
        size, failed, whys = state.stage.grid.size, ledger.last_failed(), []
        for block in failed:
            entries = ledger.failures.get(block)
            why = f"{entries[-1].reason}: {entries[-1].error}" if entries else "damaged"
            whys.append(f"block {list(block)} (t z y x): {why}")
        if failed:
            lines.append(f"{len(failed)} of {size} blocks of {name} failed for good:")
            lines += listing(whys)
            lines.append(f"  Tracebacks are in {_tracebacks(state, run_dir)}.")
        if state.abandoned:
            lines.append(f"  {state.orphans} more of {name} were not tried.")
        elif state.orphans:
            lines.append(
                f"{state.orphans} of {size} blocks of {name} wait for blocks that"
                " failed."
            )
    lines.append("All others are done; the next start tries these blocks again.")
    return "\n".join(lines)
