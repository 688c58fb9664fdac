"""A run in words: what it will do, and how far it is."""

import time
from collections.abc import Iterator
from typing import Any

from denoise_daisy.config import Config
from denoise_daisy.denoiser import check_version
from denoise_daisy.geometry import AXES
from denoise_daisy.job import TASK, Job
from denoise_daisy.ledger import Ledger
from denoise_daisy.machine import free_disk
from denoise_daisy.pipeline import check_settings, describe_jobs, warnings_of
from denoise_daisy.planning import GIB
from denoise_daisy.progress import duration
from denoise_daisy.rundir import RunDir


def plan(config: Config, *, unchecked_ndsafir: bool = False) -> str:
    """What a run of this config would do: blocks, context, memory, disk, what is left.

    Nothing is started or written.

    Raises
    ------
    InputError, RefusedError
        As `run` would.
    """
    if not unchecked_ndsafir:
        check_version()
    job, ledger = check_settings(config)
    lines = [*_plan_lines(job, ledger), *_warning_lines(job)]
    if jobs := describe_jobs(job):
        lines += ["", "Workers would be submitted so:", jobs]
    return "\n".join(lines)


def _plan_lines(job: Job, ledger: Ledger | None) -> Iterator[str]:
    grid, layout = job.grid, job.layout
    written = grid.voxels_written
    free, _ = free_disk(job.output)
    done = ledger.done_count if ledger else 0
    shards = f", shards {_times(layout.shards)}" if layout.shards else ", no shards"
    noise = "to be calibrated"
    if job.noise and job.noise.noise_std is not None:
        noise = f"noise_std {job.noise.noise_std:g}"
    elif job.noise:
        noise = f"gains {job.noise.gains}, offsets {job.noise.offsets}"
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
        "noise": f"{job.config.noise.kind}, {noise}",
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


def _warning_lines(job: Job) -> Iterator[str]:
    for warning in warnings_of(job):
        yield f"Warning: {warning}"


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
    ledger = Ledger(run_dir.ledger(TASK), job.grid, job.unit)
    ledger.refresh()
    failed = ledger.last_failed()
    left = job.grid.size - ledger.done_count - len(failed)
    lines = [
        f"{TASK}: {ledger.done_count} done, {len(failed)} failed, {left} left of"
        f" {job.grid.size} blocks ({ledger.done_count / job.grid.size:.1%} done)"
    ]
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
                doing = f"block {list(state.block)} for {since}"
            lines.append(f"  {state.worker}: {doing}, peak {state.peak_mib} MiB")
    else:
        lines.append("scheduler: none at work")
    lines += [f"failed: block {list(block)}" for block in failed]
    lines += [f"torn ledger line: {name}" for name in ledger.unreadable]
    lines.append(f"output: {run_dir.output}")
    return "\n".join(lines)
