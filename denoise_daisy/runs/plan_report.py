"""What a run will do, in words."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from denoise_daisy.blockwise.block_shape import GIB
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.config import Config
from denoise_daisy.geometry import AXES
from denoise_daisy.images.image import roi_of
from denoise_daisy.launchers.base import NotHereError
from denoise_daisy.machine import free_disk
from denoise_daisy.progress import duration
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.output_places import check_output, check_owner
from denoise_daisy.runs.preflight import Preflight, check_workers, preflight
from denoise_daisy.runs.run import known_denoiser
from denoise_daisy.runs.warnings import warnings_of


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
    if not unchecked_ndsafir:
        config.denoise.check_engine()
    run_dir = RunDir.of_output(Path(config.output.path))
    check_output(config, run_dir)
    existing = RunRecord.read(run_dir)
    check_owner(run_dir.output, existing, overwrite=False)
    found = preflight(config, existing, tasks=tasks, new_id="RUN")
    missing = _missing_system(found)
    run, survey = known_denoiser(found)
    run.denoiser.load(run.image.dtype)
    lines = [*_plan_lines(found, run), *_task_lines(found)]
    warnings = (*warnings_of(run, survey), *missing)
    lines += [f"Warning: {warning}" for warning in warnings]
    pools = run.pools_for(found.asked)
    if jobs := "\n".join(filter(None, (p.launcher.describe() for p in pools))):
        lines += ["", "Workers would be submitted so:", jobs]
    return "\n".join(lines)


def _missing_system(found: Preflight) -> tuple[str, ...]:
    """What a run would refuse on this machine alone: a plan is made anywhere."""
    try:
        check_workers(found)
    except NotHereError as error:
        return (str(error),)
    return ()


def _plan_lines(found: Preflight, run: ResolvedRun) -> Iterator[str]:
    """`run` is that of `found`, with what was found out about the image just now."""
    grid, layout, workers = run.denoising.grid, run.array.layout, run.config.workers
    at_work = min(workers.number, grid.size)
    free, _ = free_disk(run.output)
    done = found.ledgers[run.denoising.name].done_count
    shards = f", shards {_times(layout.shards)}" if layout.shards else ", no shards"
    now = " (calibrated now)" if found.run.denoiser.needs_probing else ""
    channels = ", ".join(channel.name for channel in run.image.channels)
    rows = {
        "input": run.config.input.path,
        "image": f"{_times(run.image.shape)} (t c z y x) {run.image.dtype}: {channels}",
        "region": _region(run),
        "output": str(run.output),
        "array": f"{layout.dtype}, chunks {_times(layout.chunks)}{shards} (t c z y x)",
        "size": (
            f"{layout.nbytes / GIB:.3g} GiB uncompressed in {layout.files} files;"
            f" {free / GIB:.3g} GiB free"
        ),
        "engine": run.denoiser.engine,
        "noise": run.denoiser.noise_text + now,
        "blocks": (
            f"{grid.size} ({_times(grid.shape)}) of {_times(grid.block_shape)} voxels"
            " (t z y x)"
        ),
        "context": (
            f"{_times(grid.context)} voxels each side, on a grid of"
            f" {_times(grid.stencil.stride)}; "
            + ("exact" if run.is_exact else "NOT exact")
            + _mirrored(run)
        ),
        "read": f"{grid.voxels_read / grid.voxels_written:.2f} x the voxels written",
        "written": "1.00 x, every voxel by one block",
        "memory": f"{run.memory / GIB:.2f} GiB per worker at most",
        "time": f"about {_seconds(found.run.denoising)} per block, on this machine",
        "workers": (
            f"{at_work} {workers.kind}{workers.jobs_of(at_work)},"
            f" {workers.threads} threads each"
        ),
        "done": f"{done} blocks",
        "left": f"{grid.size - done} blocks",
    }
    for name, text in rows.items():
        yield f"{name:<8} {text}"


def _task_lines(found: Preflight) -> Iterator[str]:
    """What comes after the denoising, a stage each."""
    run = found.run
    if not run.tasks:
        return
    yield ""
    yield "Then, each block as soon as what it reads is done:"
    for stage in run.tasks:
        done = found.ledgers[stage.name].done_count
        reads = ", ".join(stage.after) or "raw"
        again = ", done again" if stage.name in found.changed else ""
        asked = "" if stage.name in found.asked else ", not asked for"
        pool = run.pool_of(stage)
        workers = pool.workers
        jobs = workers.jobs_of(workers.number)
        own = f"{workers.number} {workers.kind} workers of its own{jobs}"
        by = f", by {own}" if pool.name else ""
        yield (
            f"{stage.name}: {stage.grid.size} blocks of"
            f" {_times(stage.grid.block_shape)} ({done} done{again}{asked}), reads"
            f" {reads}, {_made(stage)} {stage.target.place}{by}; {_needs(stage)}"
        )


def _needs(stage: Stage) -> str:
    """What a block takes, as far as that can be known."""
    if stage.memory is None or stage.pace is None:
        return "memory and time of a block not known beforehand"
    gib = f"{stage.memory / GIB:.2f} GiB per worker at most"
    return f"{gib}, about {_seconds(stage)} per block"


def _seconds(stage: Stage) -> str:
    pace, shape = stage.pace, stage.grid.largest_shape
    return duration(pace.seconds(shape)) if pace else "?"


def _made(stage: Stage) -> str:
    if stage.array is None:
        return "to"
    return f"{_times(stage.array.layout.shape)} {stage.array.dtype} to"


def _region(run: ResolvedRun) -> str:
    volume = run.denoising.grid.volume
    ends = zip(AXES, volume.begin, volume.end, strict=True)
    return ", ".join(f"{axis} {begin}:{end}" for axis, begin, end in ends)


def _mirrored(run: ResolvedRun) -> str:
    image = roi_of(run.image).end
    layers = run.denoising.grid.readable_roi.end - image
    said = [f"{axis} {n}" for axis, n in zip(AXES, layers, strict=True) if n]
    return f"; layers mirrored at the far end: {', '.join(said)}" if said else ""


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
