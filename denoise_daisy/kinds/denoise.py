"""Denoise: what every run begins with, by ndsafir or by a filter."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy import denoiser
from denoise_daisy.config import (
    Denoise,
    GaussianFilter,
    MedianFilter,
    Ndsafir,
    by_axis,
)
from denoise_daisy.denoiser import NoiseNumbers
from denoise_daisy.filters import gaussian, gaussian_reach, median, median_reach
from denoise_daisy.geometry import BlockGrid, Stencil, neighbourhood, stencil
from denoise_daisy.kinds.site import Site
from denoise_daisy.ome_zarr import Layout
from denoise_daisy.stages import DENOISE, Raw, Stage


def stencil_of(parameters: Denoise) -> Stencil:
    """What an output voxel of the denoiser depends on."""
    match parameters:
        case Ndsafir():
            return stencil(
                denoiser.patch_radii(parameters),
                parameters.active_dimensions,
                parameters.max_iter,
            )
        case MedianFilter():
            return neighbourhood(Coordinate(median_reach(_size(parameters))))
        case GaussianFilter():
            return neighbourhood(Coordinate(gaussian_reach(_sigma(parameters))))


def denoise_stage(
    site: Site,
    grid: BlockGrid,
    layout: Layout,
    noise: NoiseNumbers | None,
    threads: int,
    facts: Mapping[str, Any],
) -> Stage:
    """The stage that reads the image and writes the output's full resolution."""
    denoise = _denoiser(site.config.denoise, noise, threads)
    return Stage(
        name=DENOISE,
        task=DENOISE,
        grid=grid,
        sources=(Raw(site.image),),
        after=(),
        compute=lambda block: denoise(block.arrays[0]),
        facts=facts,
        target=site.level(DENOISE, site.output, layout, site.image.channels),
    )


def _denoiser(
    parameters: Denoise, noise: NoiseNumbers | None, threads: int
) -> Callable[[np.ndarray], np.ndarray]:
    match parameters:
        case Ndsafir():

            def denoise(image: np.ndarray) -> np.ndarray:
                assert noise is not None, "a worker's job is calibrated"  # noqa: S101
                return denoiser.denoise(image, parameters, noise, threads)

            return denoise
        case MedianFilter():
            return lambda image: median(image, _size(parameters))
        case GaussianFilter():
            return lambda image: gaussian(image, _sigma(parameters))


def _size(parameters: MedianFilter) -> tuple[int, ...]:
    return by_axis(parameters.size, "tzyx", dict.fromkeys("tzyx", 1))


def _sigma(parameters: GaussianFilter) -> tuple[float, ...]:
    return by_axis(parameters.sigma, "tzyx", dict.fromkeys("tzyx", 0.0))
