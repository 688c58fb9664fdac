"""Making a plan: nothing is started or written."""

from collections.abc import Callable, Sequence
from pathlib import Path

from denoise_daisy.amounts import duration
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.config import AnyConfig, Config
from denoise_daisy.denoisers.survey import Survey
from denoise_daisy.images.image import roi_of
from denoise_daisy.launchers.base import NotHereError
from denoise_daisy.launchers.workers import AnyWorkers
from denoise_daisy.machine import free_disk
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.alternatives import alternatives
from denoise_daisy.runs.expected_size import compressed_bytes
from denoise_daisy.runs.output_places import check_output, check_owner
from denoise_daisy.runs.plan import (
    Plan,
    PlannedBlocks,
    PlannedDenoiser,
    PlannedImage,
    PlannedOutput,
    PlannedStage,
    PlannedWorkers,
)
from denoise_daisy.runs.plan_hours import Clock
from denoise_daisy.runs.preflight import Preflight, check_workers, preflight
from denoise_daisy.runs.probing import Measured, measure_block
from denoise_daisy.runs.run_one import known_denoiser
from denoise_daisy.runs.skipping import share_of
from denoise_daisy.runs.warnings import warnings_of

Say = Callable[[str], None]


def plan(
    config: AnyConfig,
    *,
    tasks: Sequence[str] = (),
    unchecked_ndsafir: bool = False,
    probe: bool = False,
    extend: bool = False,
    say: Say = lambda _: None,
) -> Plan:
    """What a run of this config would do: blocks, context, memory, hours, disk.

    Nothing is started or written.

    Parameters
    ----------
    config
        A config, its path or a dict, of one image; see `plan_many`.
    tasks
        Only these tasks of the config (``denoise`` is the first); none: all.
    unchecked_ndsafir
        Accept a version of ndsafir that blocks were not checked with.
    probe
        Denoise one block, to measure its time and memory; may take minutes.
    extend
        Plan to go on where the image has got longer along t.
    say
        Takes what a person should read meanwhile.

    Returns
    -------
    Plan
        Values by name, shapes of ``(t, z, y, x)`` in voxels unless said otherwise;
        `str` and a notebook show them.

    Raises
    ------
    InputError, RefusedError
        As `run` would; or that block can't be done.
    """
    config = Config.of(config)
    if not unchecked_ndsafir:
        config.denoise.check_engine()
    run_dir = RunDir.of_output(Path(config.output.path))
    check_output(config, run_dir)
    existing = RunRecord.read(run_dir)
    check_owner(run_dir.output, existing, overwrite=False)
    found = preflight(config, existing, tasks=tasks, extend=extend, new_id="RUN")
    return _plan_of(config, found, say if probe else None)


def _plan_of(config: Config, found: Preflight, probe: Say | None) -> Plan:
    """The same of what a config makes, of which `found` is to be done.

    A block is measured where there is a `probe`, which is told of it.
    """
    missing = _missing_system(found)
    run, survey = known_denoiser(found)
    run.denoiser.load(run.image.dtype)
    skipped, measured = share_of(run), None
    clock = Clock(share=1.0 - skipped.share if skipped else 1.0)
    if probe:
        probe(_is_probing(found, clock))
        measured = measure_block(run)
        clock = clock.set_by(measured, found.run.denoising)
    pools = run.pools_for(found.asked)
    return Plan(
        image=_image(run, survey),
        output=_output(run, measured, is_left=found.denoises),
        denoiser=_denoiser(found, run),
        blocks=_blocks(found, run, clock),
        workers=_workers(run.config.workers, run.denoising.grid.size),
        stages=tuple(_stage(found, stage, clock) for stage in found.run.tasks),
        time=clock.time_of(found.asked_stages, found.run.pool_of, found.share_left),
        skipped=skipped,
        measured=measured,
        alternatives=tuple(alternatives(config, found, clock)),
        warnings=(*warnings_of(run, survey), *missing),
        jobs="\n".join(filter(None, (p.launcher.describe() for p in pools))),
    )


def _missing_system(found: Preflight) -> tuple[str, ...]:
    """What a run would refuse on this machine alone: a plan is made anywhere."""
    try:
        check_workers(found)
    except NotHereError as error:
        return (str(error),)
    return ()


def _is_probing(found: Preflight, clock: Clock) -> str:
    stage = found.run.denoising
    shape = " x ".join(map(str, stage.grid.largest_shape))
    about = duration(clock.seconds(stage, stage.grid.largest_shape) or 0.0)
    return f"Denoising a block of {shape} voxels (t z y x), about {about}..."


def _image(run: ResolvedRun, survey: Survey | None) -> PlannedImage:
    image, volume = run.image, run.denoising.grid.volume
    levels = [channel.levels for channel in survey.channels] if survey else []
    return PlannedImage(
        path=run.config.input.one.path,
        shape=tuple(image.shape),
        dtype=str(image.dtype),
        channels=tuple(channel.name for channel in image.channels),
        voxel_size_um=tuple(image.scale_um),
        time_step_s=image.time_step_s,
        grey_levels=tuple(
            (found.lowest, found.highest) if found else None for found in levels
        ),
        region=tuple(zip(volume.begin, volume.end, strict=True)),
    )


def _output(
    run: ResolvedRun, measured: Measured | None, *, is_left: bool
) -> PlannedOutput:
    layout = run.array.layout
    compressed: int | None = None
    if measured:
        share = measured.encoded_bytes / measured.voxel_bytes
        compressed = round(share * layout.nbytes)
    elif is_left:
        compressed = compressed_bytes(run)
    return PlannedOutput(
        path=str(run.output),
        dtype=layout.dtype,
        chunks=layout.chunks,
        shards=layout.shards,
        files=layout.files,
        bytes=layout.nbytes,
        compressed_bytes=compressed,
        free_bytes=free_disk(run.output)[0],
    )


def _denoiser(found: Preflight, run: ResolvedRun) -> PlannedDenoiser:
    """`run` is that of `found`, with what was found out about the image just now."""
    return PlannedDenoiser(
        engine=run.denoiser.engine,
        settings=run.config.denoise.model_dump(mode="json"),
        noise=run.denoiser.probed,
        noise_text=run.denoiser.noise_text,
        is_calibrated_now=found.run.denoiser.needs_probing,
    )


def _blocks(found: Preflight, run: ResolvedRun, clock: Clock) -> PlannedBlocks:
    grid = run.denoising.grid
    return PlannedBlocks(
        count=grid.size,
        grid=grid.shape,
        shape=tuple(grid.block_shape),
        context=tuple(grid.context),
        stride=tuple(grid.stencil.stride),
        mirrored=tuple(grid.readable_roi.end - roi_of(run.image).end),
        is_exact=run.is_exact,
        read_factor=grid.voxels_read / grid.voxels_written,
        memory_bytes=run.memory,
        seconds=clock.seconds(found.run.denoising, grid.largest_shape),
        done=found.ledgers[run.denoising.name].done_count,
    )


def _workers(workers: AnyWorkers, most: int) -> PlannedWorkers:
    number = min(workers.number, most)
    return PlannedWorkers(
        kind=workers.kind,
        count=number,
        threads=workers.threads,
        jobs=workers.jobs_of(number).strip(),
    )


def _stage(found: Preflight, stage: Stage, clock: Clock) -> PlannedStage:
    grid, layout, pool = stage.grid, None, found.run.pool_of(stage)
    if stage.array is not None:
        layout = stage.array.layout
    return PlannedStage(
        name=stage.name,
        task=stage.task,
        reads=stage.after,
        blocks=grid.size,
        block_shape=tuple(grid.block_shape),
        shape=layout.shape if layout else None,
        dtype=layout.dtype if layout else None,
        place=str(stage.target.place),
        files=layout.files if layout else grid.size,
        done=found.ledgers[stage.name].done_count,
        is_done_again=stage.name in found.changed,
        is_asked=stage.name in found.asked,
        own_workers=_workers(pool.workers, pool.workers.number) if pool.name else None,
        memory_bytes=stage.memory,
        seconds=clock.seconds(stage, grid.largest_shape),
    )
