"""`preview`: small regions denoised as the run would, and what that did to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from funlib.geometry import Roi

from denoise_daisy.amounts import duration
from denoise_daisy.config import Config
from denoise_daisy.denoisers.base import Denoiser
from denoise_daisy.images.image import roi_of
from denoise_daisy.machine import cores
from denoise_daisy.reports.notebook import Shown, framed
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.output_places import check_output, check_owner
from denoise_daisy.runs.preflight import preflight
from denoise_daisy.runs.preview_regions import (
    Region,
    asked_region,
    choose_regions,
    region_shape,
)
from denoise_daisy.runs.preview_sweep import (
    Score,
    best_of,
    changed,
    combinations,
)
from denoise_daisy.runs.preview_trial import Part, Trial, held
from denoise_daisy.runs.run_one import known_denoiser
from denoise_daisy.runs.warnings import warnings_of

REGIONS = 4
"""That are chosen, where their number is left open and there is time for them."""

SIZES = ((4, 96), (2, 96), (1, 96), (1, 64), (1, 48))
"""Voxels of a chosen region along z, and along y and x; the first there is time for."""

SECONDS = 30.0
"""Time that all chosen regions may take, as far as their size can see to it."""


@dataclass(frozen=True, eq=False)
class Tried:
    """Settings, and what they made of all regions."""

    settings: Mapping[str, Any]
    """What of the config was changed, by dotted key."""
    trial: Trial
    parts: tuple[Part, ...]
    is_own: bool
    """Whether these are the config's own settings."""

    @cached_property
    def score(self) -> Score | None:
        """What is wrong with the result; None without a noise model."""
        if self.trial.models is None:
            return None
        return Score.of(
            [figures for part in self.parts for figures in part.figures],
            [left for part in self.parts for left in part.noise_left],
        )

    @property
    def core_seconds(self) -> float:
        """For the whole run, on one core of this machine."""
        return self._time[0]

    @property
    def seconds(self) -> float:
        """For the whole run, with all its workers."""
        return self._time[1]

    @cached_property
    def _time(self) -> tuple[float, float]:
        return self.trial.time(self.parts)


@dataclass(frozen=True, eq=False)
class Preview(Shown):
    """What a preview shows."""

    run: ResolvedRun
    """With noise numbers."""
    warnings: tuple[str, ...]
    tried: tuple[Tried, ...]
    """All settings, in the order of the sweep; the config's own first where it is not
    among them."""
    is_sweep: bool

    @property
    def own(self) -> Tried:
        """The config's own settings."""
        return next(tried for tried in self.tried if tried.is_own)

    @cached_property
    def best(self) -> Tried | None:
        """The settings with the least faults; None where that can't be told."""
        scores = [tried.score for tried in self.tried]
        known = [score for score in scores if score is not None]
        if len(known) < max(2, len(scores)):
            return None
        return self.tried[best_of(known, [t.core_seconds for t in self.tried])]

    @property
    def regions(self) -> tuple[Part, ...]:
        """The parts, as the config's own settings make them."""
        return self.own.parts

    @property
    def recommended(self) -> Config:
        """The config with the best settings of a sweep; else as it is."""
        settings = self.best.settings if self.best else {}
        return changed(self.run.config, settings, "recommended")

    def __str__(self) -> str:
        from denoise_daisy.runs.preview_report import summary  # noqa: PLC0415 - above

        return summary(self)

    def _repr_html_(self) -> str:
        from denoise_daisy.runs.preview_page import page  # noqa: PLC0415 - above

        return framed(page(self, "this config"))

    def seconds_per_voxel(self, tried: Tried) -> float:
        """Of the output, all its channels, on one core, the context included."""
        return tried.core_seconds / self.run.denoising.grid.voxels_written


def preview(
    config: Config,
    *,
    name: str,
    rois: Sequence[str] = (),
    auto: int | None = None,
    sweep: Sequence[str] = (),
    unchecked_ndsafir: bool = False,
    say: Callable[[str], None] = print,
) -> Preview:
    """Denoise small regions as a run of this config would; nothing is written.

    `name` is that of the config's file.  Without `rois`, such as ``z=0:4,y=0:48``,
    `auto` of them are chosen.  Of a `sweep`, such as ``pvalue=0.05,0.1``, all
    combinations are tried.  `say` takes what a person should read meanwhile.

    Raises
    ------
    InputError, RefusedError
        As `run` would, and where the regions or the sweep can't be.
    """
    settings = combinations(sweep)
    configs = [changed(config, asked, name) for asked in settings]
    if not unchecked_ndsafir:
        for one in (config, *configs):
            one.denoise.check_engine()
    run, warnings = _known_run(config, say)
    own, others = _denoisers(run, configs)
    asked = list(zip(settings, others, strict=True))
    # Other words may mean the same, as a patch radius of 0 that was not named.
    if own.parameters not in [other.parameters for other in others]:
        asked.insert(0, ({}, own))
    trials = [Trial(run, denoiser) for _, denoiser in asked]
    parts: list[list[Part]] = [[] for _ in trials]
    for region in _regions(run, trials, rois, auto, say):
        image = held(trials, region)
        for trial, done in zip(trials, parts, strict=True):
            done.append(trial.part(region, image))
    tried = [
        Tried(changes, trial, tuple(done), denoiser.parameters == own.parameters)
        for (changes, denoiser), trial, done in zip(asked, trials, parts, strict=True)
    ]
    return Preview(run, warnings, tuple(tried), bool(sweep))


def _known_run(
    config: Config, say: Callable[[str], None]
) -> tuple[ResolvedRun, tuple[str, ...]]:
    """The run, with noise numbers, and what a person should know of it."""
    run_dir = RunDir.of_output(Path(config.output.path))
    check_output(config, run_dir)
    existing = RunRecord.read(run_dir)
    check_owner(run_dir.output, existing, overwrite=False)
    found = preflight(config, existing, new_id="PREVIEW")
    run, survey = found.run, None
    if run.denoiser.needs_probing:
        say("Calibrating the noise...")
        run, survey = known_denoiser(found)
    return run, tuple(warnings_of(run, survey))


def _denoisers(
    run: ResolvedRun, configs: Sequence[Config]
) -> tuple[Denoiser, list[Denoiser]]:
    """That of the run, and those of the configs, loaded, on all cores if they share.

    What has to be found out about the image is found out once for each noise section.
    """
    known = {run.config.noise.model_dump_json(): run.denoiser.probed}
    channels, dtype = run.image.shape[1], run.image.dtype
    loaded: list[Denoiser] = []
    for config in (run.config, *configs):
        noise = config.noise.model_dump_json()

        def told(threads: int, config: Config = config, noise: str = noise) -> Denoiser:
            return config.denoise.denoiser(
                noise=config.noise,
                channels=channels,
                threads=threads,
                probed=known.get(noise),
            )

        denoiser = told(run.config.workers.threads)
        denoiser.check(roi_of(run.image).shape)
        if denoiser.needs_probing:
            known[noise] = denoiser.probe(run.image)[0].probed
        denoiser = told(
            cores() if denoiser.shares_threads else run.config.workers.threads
        )
        denoiser.load(dtype)
        loaded.append(denoiser)
    return loaded[0], loaded[1:]


def _regions(
    run: ResolvedRun,
    trials: Sequence[Trial],
    rois: Sequence[str],
    auto: int | None,
    say: Callable[[str], None],
) -> list[Region]:
    """Those asked for, or as many chosen ones, of a size that there is time for."""
    image, volume = run.image, run.denoising.grid.volume
    step = trials[0].denoiser.seconds_per_step(image.shape[1])

    def seconds(roi: Roi) -> float:
        return step * sum(trial.steps(roi) for trial in trials)

    sizes = [region_shape(volume, *size) for size in SIZES]
    if rois:
        regions = [asked_region(text, volume, sizes[0]) for text in rois]
        total = sum(seconds(region.roi) for region in regions)
    else:
        middles = [Roi(volume.center - size // 2, size) for size in sizes]
        each = dict(zip(sizes, map(seconds, middles), strict=True))
        counts = [auto] if auto else range(REGIONS, 0, -1)
        tried = [(n, size) for n in counts for size in each]
        fitting = (one for one in tried if one[0] * each[one[1]] <= SECONDS)
        count, size = next(fitting, tried[-1])
        regions = choose_regions(image, volume, size, count)
        total = len(regions) * each[size]
    what = f"{len(regions)} region{'s' * (len(regions) > 1)}"
    times = f" with {len(trials)} settings each" if len(trials) > 1 else ""
    say(f"Denoising {what}{times}, which takes about {duration(total)}...")
    return regions
