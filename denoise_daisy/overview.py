"""A run in words: what it will do, and how far it is."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from denoise_daisy.checks import Plan, check_settings, describe_jobs, warnings_of
from denoise_daisy.config import Config
from denoise_daisy.denoiser import NoiseNumbers
from denoise_daisy.geometry import AXES
from denoise_daisy.job import Job
from denoise_daisy.ledger import Ledger
from denoise_daisy.machine import free_disk
from denoise_daisy.noise import describe
from denoise_daisy.pipeline import settle_noise
from denoise_daisy.planning import GIB
from denoise_daisy.progress import duration
from denoise_daisy.rundir import RunDir
from denoise_daisy.stages import DENOISE, Stage


def plan(
    config: Config, *, tasks: Sequence[str] = (), unchecked_ndsafir: bool = False
) -> str:
    """What a run of this config would do: blocks, context, memory, disk, what is left.

    Nothing is started or written.

    Raises
    ------
    InputError, RefusedError
        As `run` would.
    """
    found = check_settings(config, tasks=tasks, unchecked_ndsafir=unchecked_ndsafir)
    job, doubts = settle_noise(found)
    lines = [*_plan_lines(found, job.noise), *_stage_lines(found)]
    lines += [f"Warning: {warning}" for warning in (*warnings_of(job), *doubts)]
    if jobs := describe_jobs(found):
        lines += ["", "Workers would be submitted so:", jobs]
    return "\n".join(lines)


def _plan_lines(found: Plan, numbers: NoiseNumbers | None) -> Iterator[str]:
    job = found.job
    grid, layout = job.grid, job.layout
    written = grid.voxels_written
    free, _ = free_disk(job.output)
    done = found.ledgers[DENOISE].done_count
    shards = f", shards {_times(layout.shards)}" if layout.shards else ", no shards"
    noise = f"of no use to a {job.config.denoise.kind} filter"
    if numbers:
        noise = describe(numbers) + ("" if job.noise else " (calibrated now)")
    channels = ", ".join(channel.name for channel in job.image.channels)
    rows = {
        "input": f"{job.config.input.path}",
        "image": f"{_times(job.image.shape)} (t c z y x) {job.image.dtype}: {channels}",
        "region": _ranges(job),
        "output": f"{job.output}",
        "array": f"{layout.dtype}, chunks {_times(layout.chunks)}{shards} (t c z y x)",
        "size": (
            f"{layout.nbytes / GIB:.3g} GiB uncompressed in {layout.files} files;"
            f" {free / GIB:.3g} GiB free"
        ),
        "noise": noise,
        "blocks": (
            f"{grid.size} ({_times(grid.shape)}) of {_times(grid.block_shape)} voxels"
            " (t z y x)"
        ),
        "context": (
            f"{_times(grid.context)} voxels each side, on a grid of"
            f" {_times(grid.stencil.stride)}; "
            + ("exact" if job.is_exact else "NOT exact")
        ),
        "read": f"{grid.voxels_read / written:.2f} x the voxels written",
        "written": "1.00 x, every voxel by one block",
        "memory": f"{job.memory / GIB:.2f} GiB per worker at most",
        "workers": (
            f"{min(job.workers, grid.size)} {job.config.workers.kind},"
            f" {job.threads} threads each"
        ),
        "done": f"{done} blocks",
        "left": f"{grid.size - done} blocks",
    }
    for name, text in rows.items():
        yield f"{name:<8} {text}"


def _stage_lines(found: Plan) -> Iterator[str]:
    """What comes after the denoising, a stage each."""
    if not found.job.chain:
        return
    yield ""
    yield "Then, each block as soon as what it reads is done:"
    for stage in found.job.chain:
        done = found.ledgers[stage.name].done_count
        reads = ", ".join(stage.after) or "raw"
        again = ", done anew" if stage.name in found.changed else ""
        asked = "" if stage.name in found.asked else ", not asked for"
        pool = found.job.pool_of(stage)
        own = found.job.workers_of_pool(pool)
        by = f", by {own.count} {own.kind} workers of its own" if pool else ""
        yield (
            f"{stage.name}: {stage.grid.size} blocks of"
            f" {_times(stage.grid.block_shape)} ({done} done{again}{asked}), reads"
            f" {reads}, {_made(stage)} {stage.place}{by}"
        )


def _made(stage: Stage) -> str:
    if stage.target is None:
        return "to"
    return f"{_times(stage.target.layout.shape)} {stage.target.dtype} to"


def _ranges(job: Job) -> str:
    volume = job.grid.volume
    ends = zip(AXES, volume.begin, volume.end, strict=True)
    return ", ".join(f"{axis} {begin}:{end}" for axis, begin, end in ends)


def _times(shape: Any) -> str:
    return " x ".join(map(str, shape))


def status(run_dir: RunDir) -> str:
    """How far a run is, from its files alone, whether a scheduler is at work or not.

    Raises
    ------
    RefusedError
        The input has changed since, or run.json can't be read.
    """
    record = run_dir.read_run()
    assert record is not None, "found by its run.json"  # noqa: S101
    job = Job.restore(record, run_dir.output)
    lines, failures = [], []
    for stage in job.stages:
        ledger = Ledger(run_dir.ledger(stage.name), job.run_id, stage.grid, stage.unit)
        ledger.refresh()
        failed = ledger.last_failed()
        left = stage.grid.size - ledger.done_count - len(failed)
        lines.append(
            f"{stage.name}: {ledger.done_count} done, {len(failed)} failed, {left} left"
            f" of {stage.grid.size} blocks"
            f" ({ledger.done_count / stage.grid.size:.1%} done)"
        )
        prefix = "" if stage.name == DENOISE else f"{stage.name} "
        failures += [f"failed: {prefix}block {list(block)}" for block in failed]
        failures += [f"ledger lines left out: {name}" for name in ledger.unreadable]
    holder = run_dir.read_lock() or {}
    if holder.get("running"):
        age = time.time() - holder["heartbeat"]
        lines.append(
            f"scheduler: process {holder['pid']} on {holder['host']}, last heartbeat"
            f" {duration(max(0.0, age))} ago"
        )
        for state in run_dir.read_states():
            doing = "idle"
            if state.block is not None:
                since = duration(max(0.0, time.time() - state.since))
                stage_name = "" if state.stage == DENOISE else f" of {state.stage}"
                doing = f"block {list(state.block)}{stage_name} for {since}"
            lines.append(f"  {state.worker}: {doing}, peak {state.peak_mib} MiB")
    else:
        lines.append("scheduler: none at work")
    lines += failures
    if job.noise:
        lines.append(f"noise: {describe(job.noise)}")
    lines.append(f"output: {run_dir.output}")
    return "\n".join(lines)
