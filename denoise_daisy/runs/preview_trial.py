"""Regions of an image, denoised as a run would write them."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.algorithms.residuals import ResidualFigures, residual_figures
from denoise_daisy.amounts import GIB
from denoise_daisy.assessing.pure_noise import denoised_noise, noise_left, noise_shape
from denoise_daisy.blockwise.fit import trim
from denoise_daisy.blockwise.limits import Pace
from denoise_daisy.blockwise.sources import Raw
from denoise_daisy.blockwise.stage import ONLY_BLOCK, Stage
from denoise_daisy.denoisers.base import Denoiser
from denoise_daisy.denoisers.noise import Models, NoiseNumbers, floors, models_of
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES
from denoise_daisy.images.image import Image, roi_of, valid_in
from denoise_daisy.machine import free_memory
from denoise_daisy.resolved.resolve import with_denoiser
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.runs.plan_hours import Clock
from denoise_daisy.runs.preview_regions import Region
from denoise_daisy.tasks.denoise import ranges_of


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A region, denoised.  Arrays are ``(t, c, z, y, x)``."""

    region: Region
    raw: np.ndarray
    denoised: np.ndarray
    """To the bit what a run writes there, if the run is exact."""
    figures: tuple[ResidualFigures, ...]
    """Of each channel."""
    below_floor: tuple[float, ...]
    """Share of each channel's raw voxels that the noise model clips."""
    noise: np.ndarray | None
    """Pure noise of the model at the region's median level; None without a model."""
    noise_denoised: np.ndarray | None
    gaps: float
    """Share of its voxels that the file does not hold."""
    core_seconds: float
    """For denoising the region with its context, on one core."""

    @property
    def residual(self) -> np.ndarray:
        """What was taken away, float32."""
        return self.raw.astype(np.float32) - self.denoised.astype(np.float32)

    @property
    def noise_left(self) -> tuple[float, ...]:
        """Of each channel's pure noise, the standard deviation after, over before."""
        if self.noise is None or self.noise_denoised is None:
            return ()
        return noise_left(self.noise, self.noise_denoised)


@dataclass(frozen=True)
class Trial:
    """A denoiser that is tried on regions of a run's image."""

    run: ResolvedRun
    denoiser: Denoiser

    @property
    def models(self) -> Models | None:
        """What it is told of the noise."""
        return models_of(self.numbers, self.run.image.shape[1])

    @property
    def numbers(self) -> NoiseNumbers | None:
        """The noise numbers, where it knows of noise."""
        probed = self.denoiser.probed
        return None if probed is None else NoiseNumbers.from_json(probed)

    def stage(self, roi: Roi) -> Stage:
        """The run's denoising, with this denoiser, of one block: that region."""
        config = self.run.config
        ranges = dict(zip(AXES, ranges_of(roi), strict=True))
        part = config.model_copy(
            update={
                "input": config.input.model_copy(update={"roi": ranges}),
                "output": config.output.model_copy(update={"shards": None}),
                "blocks": config.blocks.model_copy(update={"shape": "auto"}),
                "tasks": (),
            }
        )
        stage = with_denoiser(replace(self.run, config=part), self.denoiser).denoising
        return replace(stage, grid=replace(stage.grid, block_shape=roi.shape))

    def steps(self, roi: Roi) -> float:
        """Of denoising a region with its context, and its noise."""
        shape = self.stage(roi).grid.largest_shape
        channels = self.run.image.shape[1]
        noise = noise_shape(self.denoiser, shape) if self.numbers else (0, 0, 0, 0)
        return sum(self.denoiser.steps(s, channels) for s in (shape, noise) if s[0])

    def time(self, parts: Sequence[Part]) -> tuple[float, float]:
        """Seconds of the whole run on one core, and with its workers.

        By the time that these parts took, as `plan` counts.
        """
        run, channels = self.run, self.run.image.shape[1]
        stages = [self.stage(part.region.roi) for part in parts]
        steps = sum(self.denoiser.steps(s.grid.largest_shape, channels) for s in stages)
        step = sum(part.core_seconds for part in parts) / steps
        workers = run.config.workers
        threads = workers.threads if self.denoiser.shares_threads else 1
        grid = stages[0].grid
        whole = replace(
            run.denoising,
            grid=replace(
                grid,
                volume=run.denoising.grid.volume,
                block_shape=run.denoising.grid.block_shape,
            ),
            pace=Pace(
                lambda shape: self.denoiser.steps(shape, channels),
                lambda: step / threads,
            ),
        )
        clock = Clock()
        work = clock.work(whole, max(1, workers.number))
        return work.worker_seconds * threads, clock.start_seconds + work.wall_seconds

    def part(self, region: Region, image: Image) -> Part:
        """Denoise a region of the image, and pure noise of its level."""
        stage = self.stage(region.roi)
        source = cast("Raw", stage.sources[0])
        stage = replace(stage, sources=(replace(source, image=image),))
        block = stage.read_block(ONLY_BLOCK)
        raw = trim(block.arrays[0], block.read_roi, block.write_roi).copy()
        # The processor's time: who else is at work on the machine does not matter.
        started = time.process_time()
        left = stage.left(block)
        result = stage.compute(block) if left is None else left
        seconds = time.process_time() - started
        denoised = np.asarray(stage.target.content(block, result).data)
        models = self.models or (None,) * raw.shape[1]
        noise, quiet = self._noise(raw, stage)
        return Part(
            region=region,
            raw=raw,
            denoised=denoised,
            figures=tuple(
                residual_figures(raw[:, c], denoised[:, c], model)
                for c, model in enumerate(models)
            ),
            below_floor=tuple(
                float(np.mean(raw[:, c] < floor))
                for c, floor in enumerate(floors(self.numbers or NoiseNumbers()))
            ),
            noise=noise,
            noise_denoised=quiet,
            gaps=_gaps(image, region.roi),
            core_seconds=seconds,
        )

    def _noise(
        self, raw: np.ndarray, stage: Stage
    ) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
        """Pure noise of the median level of each channel, and it denoised."""
        if self.models is None:
            return None, None
        return denoised_noise(
            self.denoiser,
            self.models,
            [float(np.median(raw[:, c])) for c in range(raw.shape[1])],
            noise_shape(self.denoiser, stage.grid.largest_shape),
            (raw.dtype.name, self.run.array.dtype),
        )


def _gaps(image: Image, roi: Roi) -> float:
    there = valid_in(image, roi)
    return 0.0 if there is None else float(np.mean(~there))


@dataclass(frozen=True, eq=False)
class Held:
    """An image of which a part is in memory, so that it is read once."""

    image: Image
    part: Roi
    voxels: np.ndarray

    def __getattr__(self, name: str) -> Any:
        """All else is the image's."""
        return getattr(self.image, name)

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        """From memory, if all of it is there."""
        t, c, z, y, x = (
            slice(*k.indices(n)) for k, n in zip(key, self.image.shape, strict=True)
        )
        begin = (t.start, z.start, y.start, x.start)
        extent = [max(0, s.stop - s.start) for s in (t, z, y, x)]
        roi = Roi(begin, extent)
        if not self.part.contains(roi):
            return self.image[key]
        t, z, y, x = (roi - self.part.begin).to_slices()
        return np.ascontiguousarray(self.voxels[t, c, z, y, x])


def held(trials: Sequence[Trial], region: Region) -> Image:
    """The run's image, with all that these trials read of it in memory.

    Raises
    ------
    InputError
        There is not enough memory to denoise the region.
    """
    image, stages = trials[0].run.image, [t.stage(region.roi) for t in trials]
    reads = [s.grid.read_roi(ONLY_BLOCK).intersect(roi_of(image)) for s in stages]
    part = reads[0]
    for roi in reads[1:]:
        part = part.union(roi)
    itemsize = image.dtype.itemsize
    needed = image.shape[1] * max(
        math.prod(part.shape) * itemsize
        + stage.grid.largest_read * (trial.denoiser.bytes_per_voxel + itemsize)
        for trial, stage in zip(trials, stages, strict=True)
    )
    if needed > free_memory():
        raise InputError(
            f"To denoise {_said(region.roi)} with its context takes"
            f" {needed / GIB:.2f} GiB, but only {free_memory() / GIB:.2f} GiB are"
            " free. Expected a smaller --roi."
        )
    t, z, y, x = part.to_slices()
    return cast("Image", Held(image, part, image[t, slice(None), z, y, x]))


def _said(roi: Roi) -> str:
    ranges = zip(AXES, roi.begin, roi.end, strict=True)
    return ", ".join(f"{a} {b}:{e}" for a, b, e in ranges)
