"""Making the report of a run, from its run directory, its output and its raw image."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from denoise_daisy.assessing.allowance import Allowance
from denoise_daisy.assessing.cost import cost, starts_of
from denoise_daisy.assessing.facts import clock, facts
from denoise_daisy.assessing.figures import all_figures
from denoise_daisy.assessing.judgement import channels_of, findings, of_the_whole
from denoise_daisy.assessing.noise import (
    left_of_noise,
    measured_noise,
    median_levels,
    noises,
    surveyed,
)
from denoise_daisy.assessing.on_disk import OnDisk
from denoise_daisy.assessing.places import Place, look
from denoise_daisy.assessing.reference import likenesses, open_reference
from denoise_daisy.assessing.residuals import residuals
from denoise_daisy.assessing.resolution import resolutions
from denoise_daisy.assessing.seams import seams
from denoise_daisy.assessing.trial import Trial
from denoise_daisy.assessing.values import (
    Likeness,
    Noise,
    Report,
    Residual,
    Resolution,
    Seam,
    Voxels,
)
from denoise_daisy.assessing.views import View, views
from denoise_daisy.denoisers.noise import Models, NoiseNumbers, models_of
from denoise_daisy.durable import is_there, persistently
from denoise_daisy.resolved.recorded import is_unneeded
from denoise_daisy.resolved.resolve import check_input, restore
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE
from denoise_daisy.run_dir.ledger_table import LedgerTable
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir

NOT_YET = "The noise of the raw image, and what is denoised anew: not measured yet"
"""Of a report before the measurements that may take long."""


@dataclass(frozen=True, eq=False)
class Made:
    """A report, and the pictures that go with it."""

    report: Report
    views: tuple[View, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Quality:
    """What was measured of the voxels."""

    places: list[Place]
    residuals: list[Residual]
    noise: list[Noise]
    resolution: list[Resolution]
    seams: list[Seam]
    likeness: list[Likeness]
    views: list[View]


def make(
    run_dir: RunDir,
    *,
    reference: str | None = None,
    seconds: float | None = None,
    early: Callable[[Made], None] | None = None,
) -> Made:
    """Measure how good a run has become and what it cost; nothing is written.

    `early` takes what is known before the measurements that may take long.
    `reference` is an image that shows the same without noise.  What does not fit into
    so many seconds is left out, and so is what can't be read; the report says so.

    Raises
    ------
    RefusedError
        run.json is gone or can't be used.
    InputError
        The reference can't be used.
    """
    allowed = Allowance(seconds)
    disk = read(run_dir)
    if disk.output_problem:
        allowed.leave_out("What the output shows", disk.output_problem)
    if disk.input_problem:
        allowed.leave_out("What the raw image shows", disk.input_problem)
    if reference is not None:
        open_reference(reference, disk)
    tables = _tables(disk)
    quality = _quick(disk, allowed)
    if early is not None:
        report = _report(disk, tables, quality, allowed)
        not_yet = (*report.left_out, NOT_YET)
        early(Made(replace(report, left_out=not_yet), tuple(quality.views)))
    seconds = _block_seconds(disk, tables)
    quality = _whole(disk, quality, seconds, reference, allowed)
    report = _report(disk, tables, quality, allowed)
    return Made(replace(report, reference=reference), tuple(quality.views))


def read(run_dir: RunDir) -> OnDisk:
    """A run that was begun, with what can be read of it now.

    Raises
    ------
    RefusedError
        run.json is gone or can't be used.
    """
    record = RunRecord.of(run_dir)
    run = restore(record, run_dir)
    input_problem = output_problem = ""
    try:
        check_input(run, record)
    except Exception as error:  # noqa: BLE001 - of whatever format, on any machine
        input_problem = str(error) or type(error).__name__
    if not is_there(run.array.path):
        output_problem = f"The output {str(run.output)!r} is not there."
    grid, files = run.denoising.grid, run.denoising.file_shape
    ledger = Ledger(run_dir.ledger(run.denoising.name), run.id, grid, files)
    persistently(ledger.refresh)
    return OnDisk(run, record, ledger, input_problem, output_problem)


def _tables(disk: OnDisk) -> dict[str, LedgerTable]:
    """The ledgers of all stages that were not deleted for good."""
    found = {}
    for stage in disk.run.stages:
        if is_unneeded(stage, disk.run, disk.record):
            continue
        folder = disk.run.run_dir.ledger(stage.name)
        table = LedgerTable(folder, disk.run.id, stage.grid, stage.file_shape)
        persistently(table.refresh)
        found[stage.name] = table
    return found


def _block_seconds(disk: OnDisk, tables: Mapping[str, LedgerTable]) -> float | None:
    """What denoising a block took; None where no line tells."""
    rows = tables[disk.run.denoising.name].rows
    times = rows["compute_seconds"][rows["is_done"]]
    return float(times.max(initial=0)) or None


def _quick(disk: OnDisk, allowed: Allowance) -> _Quality:
    """What takes little time."""
    measured = allowed.measured
    places = measured(
        "Pictures and residuals", lambda: look(disk, allowed), list[Place]()
    )
    faces = measured("Seams between blocks", lambda: seams(disk, allowed), list[Seam]())
    pictures = measured("Pictures", lambda: views(disk, places, allowed), list[View]())
    nothing = measured_noise(None, len(disk.channels))
    rests, noise = _beside_noise(disk, places, nothing, (), allowed)
    return _Quality(
        places=places,
        residuals=rests,
        noise=noise,
        resolution=[],
        seams=faces,
        likeness=[],
        views=pictures,
    )


def _whole(
    disk: OnDisk,
    quick: _Quality,
    block_seconds: float | None,
    reference: str | None,
    allowed: Allowance,
) -> _Quality:
    """With the rest, which may take long."""
    measured, places, found = allowed.measured, quick.places, None
    if not disk.input_problem:
        found = measured("The noise of the raw image", lambda: surveyed(disk), None)
    shown = measured_noise(found, len(disk.channels))
    noise = _models(disk)[1], shown
    left, rings = _denoised_anew(disk, block_seconds, places, noise, allowed)
    alike = list[Likeness]()
    if reference is not None:
        alike = measured(
            "The reference", lambda: likenesses(disk, reference, places, allowed), alike
        )
    rests, numbers = quick.residuals, quick.noise
    if found is not None or left:
        rests, numbers = _beside_noise(disk, places, shown, left, allowed)
    return replace(
        quick, residuals=rests, noise=numbers, resolution=rings, likeness=alike
    )


def _models(disk: OnDisk) -> tuple[NoiseNumbers | None, Models | None]:
    """The noise as the run was told of it."""
    probed = disk.run.denoiser.probed
    numbers = NoiseNumbers.from_json(probed) if probed else None
    return numbers, models_of(numbers, len(disk.channels))


def _beside_noise(
    disk: OnDisk,
    places: list[Place],
    shown: Sequence[tuple[float, float] | None],
    left: Sequence[float],
    allowed: Allowance,
) -> tuple[list[Residual], list[Noise]]:
    """What was taken away, held against the noise that was told and that shows."""
    names, (numbers, models) = disk.channels, _models(disk)
    rests = allowed.measured(
        "Residuals",
        lambda: residuals(places, names, numbers, models, shown),
        list[Residual](),
    )
    return rests, noises(places, names, models, shown, left)


def _denoised_anew(
    disk: OnDisk,
    block_seconds: float | None,
    places: list[Place],
    noise: tuple[Models | None, Sequence[tuple[float, float] | None]],
    allowed: Allowance,
) -> tuple[tuple[float, ...], list[Resolution]]:
    """What is left of pure noise, and what halves of the photons have in common."""
    measured, (models, shown) = allowed.measured, noise
    left, rings = tuple[float, ...](), list[Resolution]()
    trial = measured(
        "What is denoised anew", lambda: Trial.of(disk.run, block_seconds), None
    )
    if models is not None and trial is not None and places:
        levels = median_levels(places, len(models))
        left = measured(
            "Pure noise, denoised",
            lambda: left_of_noise(trial, models, levels, allowed),
            left,
        )
    if places and not disk.input_problem:
        rings = measured(
            "Fourier ring correlation",
            lambda: resolutions(disk, places[0], models or shown, trial, allowed),
            rings,
        )
    return left, rings


def _report(
    disk: OnDisk,
    tables: Mapping[str, LedgerTable],
    quality: _Quality,
    allowed: Allowance,
) -> Report:
    run = disk.run
    table = tables[run.denoising.name]
    voxels = Voxels(
        clipped=int(table.rows["clipped"][table.standing()].sum()),
        as_is_blocks=disk.ledger.engines()[NO_ENGINE],
    )
    told = facts(disk, tables, starts_of(tables))
    channels = channels_of(quality.residuals, quality.noise, told.channels)
    written = disk.run.denoising.grid.voxels_in(disk.ledger.done) * run.image.shape[1]
    figures = all_figures(
        channels,
        quality.resolution,
        quality.seams,
        quality.likeness,
        voxels=voxels,
        written=written,
        blocks=told.done,
    )
    return Report(
        made=clock(time.time()),
        seconds=round(allowed.spent, 2),
        facts=told,
        findings=(
            *findings(channels, quality.seams, run.denoiser.kind),
            *of_the_whole(voxels, written, quality.likeness),
        ),
        figures=tuple(figures),
        noise=tuple(quality.noise),
        residuals=tuple(quality.residuals),
        resolution=tuple(quality.resolution),
        seams=tuple(quality.seams),
        voxels=voxels,
        likeness=tuple(quality.likeness),
        reference=None,
        cost=cost(run, tables),
        warnings=disk.record.warnings,
        left_out=tuple(allowed.left_out),
    )
