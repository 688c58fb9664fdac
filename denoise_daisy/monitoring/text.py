"""How far a run is, in words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from denoise_daisy.amounts import duration, voxel_rate
from denoise_daisy.monitoring.values import (
    FailedBlock,
    RunStatus,
    Scheduler,
    StageStatus,
    WorkerNow,
)
from denoise_daisy.progress import LISTED, time_left_text
from denoise_daisy.run_dir.run_dir import RunDir

SLOW = 3
"""Blocks that are told to be the slowest."""

CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
"""What makes a terminal do things, and how it is shown."""


def status_text(found: RunStatus) -> str:
    """All of it, a line for each thing."""
    return in_lines(_lines(found))


def in_lines(lines: Iterable[str]) -> str:
    """A text of lines, in which a name or an error of a file is only that."""
    return "\n".join(line.translate(CONTROLS) for line in lines)


def _lines(found: RunStatus) -> Iterator[str]:
    yield headline(found)
    yield from map(stage_line, found.stages)
    yield from [f"given up: {s.name}: {s.given_up}" for s in found.stages if s.given_up]
    yield from scheduler_lines(found.scheduler, found.workers)
    if found.waits_for:
        yield f"waiting for: {found.waits_for}"
    yield from failure_lines(found)
    yield from (f"ledger lines left out: {name}" for name in found.unreadable)
    slowest = sorted(found.slowest, key=lambda block: -block.seconds)[:SLOW]
    if slowest:
        each = [
            f"{b.stage} block {list(b.block)} {duration(b.seconds)} on {b.host}"
            for b in slowest
        ]
        yield f"slowest: {', '.join(each)}"
    if found.engines:
        yield f"engine: {engines_text(found.engines)}"
    as_is = sum(stage.as_is for stage in found.stages)
    if as_is:
        yield f"left: {as_is_text(as_is, found.as_is_because)}"
    if found.clipped:
        yield f"clipped: {found.clipped} voxels, to the range of the output's type"
    if found.noise:
        yield f"noise: {found.noise}"
    if found.input_problem:
        yield f"input: {found.input_problem}"
    yield f"output: {found.output}"
    if (page := RunDir(Path(found.run_dir)).page).is_file():
        yield f"page: {page}"


def headline(found: RunStatus) -> str:
    """The state of a run, and what is to be expected or to be done."""
    done = sum(stage.done for stage in found.stages)
    every = sum(stage.blocks for stage in found.stages)
    match found.state:
        case "running":
            parts = [f"running: {_percent(found.share)} of the work done"]
            if found.time_left:
                parts.append(time_left_text(found.time_left))
            if found.voxels_per_second:
                parts.append(f"{voxel_rate(found.voxels_per_second)} denoised")
            if found.elapsed_seconds is not None:
                parts.append(f"started {duration(found.elapsed_seconds)} ago")
            return ", ".join(parts)
        case "done":
            return f"done: all {every} blocks"
        case "failed":
            failed = sum(stage.failed for stage in found.stages)
            orphaned = sum(stage.orphaned for stage in found.stages)
            more = f" and {orphaned} that were not tried" if orphaned else ""
            return (
                f"failed: all blocks are done but {failed} that failed{more}; the next"
                " start tries them again"
            )
        case "stopped":
            return (
                f"stopped: {done} of {every} blocks are done; no scheduler is at work,"
                " start the run again to go on"
            )


def stage_line(stage: StageStatus) -> str:
    """How far a stage is."""
    if stage.is_deleted:
        return f"{stage.name}: deleted, for all that reads it is done"
    parts = [
        f"{stage.name}: {stage.done} done, {stage.failed} failed, {stage.left} left of"
        f" {stage.blocks} blocks ({_percent(stage.done / stage.blocks)} done)"
    ]
    if stage.orphaned:
        why = "not tried" if stage.given_up else "orphaned: what they read has failed"
        parts.append(f"{stage.orphaned} {why}")
    if stage.running:
        parts.append(f"{stage.running} at work")
    if stage.seconds is not None:
        parts.append(f"{duration(stage.seconds)} each")
    return ", ".join(parts)


def scheduler_lines(
    scheduler: Scheduler | None, workers: Sequence[WorkerNow]
) -> Iterator[str]:
    """Who schedules a run, and what its workers are at."""
    if scheduler is None:
        yield "scheduler: none at work"
        return
    age = duration(scheduler.heartbeat_seconds)
    yield (
        f"scheduler: process {scheduler.pid} on {scheduler.host}, last heartbeat {age}"
        " ago"
    )
    yield from map(_worker_line, workers)


def _worker_line(worker: WorkerNow) -> str:
    job = f" in job {worker.job}" if worker.job else f" as process {worker.pid}"
    task = f" for {worker.pool}" if worker.pool else ""
    doing = f"block {list(worker.block)} of {worker.stage}" if worker.block else "idle"
    return (
        f"  {worker.worker}{task}: {doing} for {duration(worker.seconds)}, on"
        f" {worker.host}{job}, {worker.done} blocks done, peak {worker.peak_mib} MiB"
    )


def failure_lines(found: RunStatus) -> Iterator[str]:
    """The failed blocks, the first of many, with their reasons."""
    for stage in found.stages:
        own = [block for block in found.failures if block.stage == stage.name]
        for block in own[:LISTED]:
            yield from _failed_lines(block)
        more = stage.failed - min(len(own), LISTED)
        if more > 0:
            yield f"failed: {more} more of {stage.name}"


def _failed_lines(block: FailedBlock) -> Iterator[str]:
    times = "once" if block.attempts == 1 else f"{block.attempts} times"
    fate = ", given up" if block.is_given_up else ""
    yield (
        f"failed: {block.stage} block {list(block.block)} {times}{fate}, last on"
        f" {block.host}: {block.reason}: {block.error}"
    )
    if block.traceback_file:
        yield f"  traceback: {block.traceback_file}"


def engines_text(engines: Mapping[str, int]) -> str:
    """What computed how many blocks, the most first."""
    counts = sorted(engines.items(), key=lambda item: -item[1])
    *others, last = [f"{engine} ({blocks} blocks)" for engine, blocks in counts]
    return f"{', '.join(others)} and {last}" if others else last


def as_is_text(blocks: int, because: str) -> str:
    """How many blocks were not denoised, and why."""
    return f"{blocks} blocks written as they are, not denoised: {because}"


def _percent(share: float) -> str:
    """A share that is 100 % only where nothing is left."""
    return f"{min(share, 0.999) if share < 1 else 1:.1%}"
