"""ndsafir itself: loaded once, called on an array."""

import math
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from denoise_daisy.denoisers.noise import NoiseNumbers, describe
from denoise_daisy.errors import InputError

BYTES_PER_VOXEL = 28
"""Peak memory of ndsafir per voxel and channel of its input, beyond the input."""

CHECKED_VERSIONS = ("2026.1014a0",)
"""Versions of ndsafir that the tiling law (`geometry.stencil`) was checked with."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What ndsafir is told, beside the noise."""

    patch: tuple[int, ...]
    """Radii along ``(t, z, y, x)``."""
    active_dimensions: str
    max_iter: int
    pvalue: float


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


def denoise(
    image: np.ndarray, noise: NoiseNumbers, algorithm: Algorithm, threads: int
) -> np.ndarray:
    """Denoise an array of ``(t, c, z, y, x)``; the result is float32, same shape.

    With one thread the result is the same to the bit every time.
    """
    t, z, y, x = algorithm.patch
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
        active_dimensions=algorithm.active_dimensions,
        max_iter=algorithm.max_iter,
        pvalue=algorithm.pvalue,
        nthreads=threads,
        **numbers,
    )
    return result


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
            f"Calibration found impossible noise ({describe(numbers)}). Give the"
            " numbers in the config: noise.gains and noise.offsets, or"
            " noise.noise_std."
        )
    return numbers
