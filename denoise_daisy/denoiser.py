"""ndsafir: one array in, one array out."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.config import Ndsafir, by_axis
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES, largest_radius

BYTES_PER_VOXEL = 28
"""Peak memory of ndsafir per voxel and channel of its input, beyond the input."""

CHECKED_VERSIONS = ("2026.1014a0",)
"""Versions of ndsafir that the tiling law (`geometry.stencil`) was checked with."""


@dataclass(frozen=True, slots=True)
class NoiseNumbers:
    """The noise that ndsafir is told of: gains and offsets, or a standard deviation."""

    gains: tuple[float, ...] | None = None
    offsets: tuple[float, ...] | None = None
    noise_std: float | None = None


def ndsafir_version() -> str:
    """The version of ndsafir that is installed."""
    return version("ndsafir")


def load_ndsafir() -> Any:
    """Import ndsafir; workers do so at their start, others when they need it.

    It imports xarray and pandas: a third of a second, which `status` and a scheduler
    with known noise need not spend.
    """
    import ndsafir  # noqa: PLC0415

    return ndsafir


def check_version() -> None:
    """Refuse a version of ndsafir for which the tiling law is not known to hold."""
    found = ndsafir_version()
    if found not in CHECKED_VERSIONS:
        raise InputError(
            f"ndsafir {found} is installed; blocks are known to give the whole image's"
            f" result with {', '.join(CHECKED_VERSIONS)}. Install that version, or run"
            " with --unchecked-ndsafir after `pytest tests/test_tiling_law.py` passes."
        )


def patch_radii(denoise: Ndsafir) -> Coordinate:
    """Patch radii along (t, z, y, x)."""
    return Coordinate(by_axis(denoise.patch, "tzyx", dict.fromkeys("tzyx", 0)))


def check_extent(denoise: Ndsafir, extent: Sequence[int]) -> None:
    """Refuse a patch radius that would crash ndsafir on an image of that extent."""
    axes = zip(AXES, patch_radii(denoise), extent, strict=True)
    for axis, radius, voxels in axes:
        largest = largest_radius(axis, voxels)
        if largest is not None and radius > largest:
            raise InputError(
                f"denoise.patch.{axis} is {radius}, but the image has only {voxels}"
                f" voxels along {axis}; ndsafir needs at least {2 * radius + 1} for"
                f" that radius. Set it to {largest} or less."
            )


def denoise(
    image: np.ndarray, parameters: Ndsafir, noise: NoiseNumbers, threads: int
) -> np.ndarray:
    """Denoise an array of ``(t, c, z, y, x)``; the result is float32, same shape.

    With one thread the result is the same to the bit every time.
    """
    t, z, y, x = patch_radii(parameters)
    ndsafir = load_ndsafir()
    if noise.noise_std is not None:
        function = ndsafir.denoise_gaussian
        numbers: dict[str, Any] = {"noise_std": noise.noise_std}
    else:
        function = ndsafir.denoise_poisson_gaussian
        numbers = {"gains": noise.gains, "offsets": noise.offsets}
    result: np.ndarray = function(
        image,
        axes="TCZYX",
        patch=[t, 0, z, y, x],
        active_dimensions=parameters.active_dimensions,
        max_iter=parameters.max_iter,
        pvalue=parameters.pvalue,
        nthreads=threads,
        **numbers,
    )
    return result


def seconds_per_voxel(parameters: Ndsafir, channels: int) -> float:
    """How long one thread of this machine takes per voxel and channel, by trial."""
    depth = max(8, 2 * patch_radii(parameters)[1] + 1)
    edge = max(48, 2 * max(patch_radii(parameters)) + 1)
    rng = np.random.default_rng(0)
    image = rng.normal(100, 10, (1, channels, depth, edge, edge)).astype(np.float32)
    started = time.perf_counter()
    denoise(image, parameters, NoiseNumbers(noise_std=10.0), threads=1)
    return (time.perf_counter() - started) / image.size


def calibrate(sample: np.ndarray, kind: str) -> NoiseNumbers:
    """Noise numbers of a sample of ``(c, z, y, x)``; all channels by themselves."""
    ndsafir = load_ndsafir()
    if kind == "gaussian":
        numbers = NoiseNumbers(noise_std=ndsafir.calibrate_gaussian(sample, "CZYX"))
    else:
        gains, offsets = ndsafir.calibrate_poisson_gaussian(sample, "CZYX")
        numbers = NoiseNumbers(gains=tuple(gains), offsets=tuple(offsets))
    positive = numbers.gains or (numbers.noise_std or 0.0,)
    every = (*positive, *(numbers.offsets or ()))
    if min(positive) <= 0 or not all(map(math.isfinite, every)):
        raise InputError(
            f"Calibration found impossible noise ({numbers}). Give the numbers in the"
            " config: noise.gains and noise.offsets, or noise.noise_std."
        )
    return numbers
