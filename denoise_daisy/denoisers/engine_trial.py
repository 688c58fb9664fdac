"""Trust in an engine: each process holds it against the installed ndsafir, once."""

import logging
import math
import platform
from functools import cache
from typing import Any

import numpy as np

from denoise_daisy.denoisers import native_engine
from denoise_daisy.denoisers.engines import (
    Engine,
    native_engines,
    ndsafir_itself,
    why_not,
)
from denoise_daisy.denoisers.native_engine import Precision
from denoise_daisy.denoisers.ndsafir_engine import Algorithm
from denoise_daisy.denoisers.ndsafir_steps import elements_compared
from denoise_daisy.denoisers.noise import NoiseNumbers
from denoise_daisy.errors import RefusedError

TEST_STEPS = 3e7
"""Elements that ndsafir compares in about 0.1 seconds."""

TEST_EDGES = (64, 40, 24, 12, 6, 3, 2)
"""Voxels along y and x, beyond a patch, of the image that an engine is tested with."""

ROUNDING = 3.0
"""Times what ndsafir differs from itself, that float32 may differ from it; in rms."""

logger = logging.getLogger(__name__)

_distrusted: set[str] = set()
"""Engines that have given another result than ndsafir in this process."""


def expected(precision: Precision, algorithm: Algorithm, channels: int) -> Engine:
    """The fastest engine that is there and has not failed its test, untested."""
    for engine in native_engines(precision, algorithm, channels):
        if engine.name not in _distrusted:
            return engine
    return ndsafir_itself()


@cache
def trusted(
    precision: Precision,
    algorithm: Algorithm,
    noise: NoiseNumbers,
    channels: int,
    dtype: np.dtype[Any],
) -> Engine:
    """The fastest engine that stands the test against ndsafir, with these parameters.

    That is ndsafir itself where none does.

    Raises
    ------
    RefusedError
        None computes in float32 within rounding.
    """
    while (engine := expected(precision, algorithm, channels)).instructions:
        if stands_test(engine, precision, algorithm, noise, channels, dtype):
            return engine
        _distrusted.add(engine.name)
        logger.warning(
            "Not used: the %s. On this processor (%s) it does not give the %s of %s."
            " Where ndsafir itself has to denoise, a block takes one thread, several"
            " times as long, and 28 instead of 24 bytes per voxel.",
            engine.name,
            native_engine.processor(),
            "bits" if precision == "bitwise" else "result",
            ndsafir_itself().name,
        )
    if precision == "float32":
        raise RefusedError(
            f"denoise.precision is float32, but on {platform.node()}"
            f" ({native_engine.processor()}) no engine computes with that:"
            f" {why_not(algorithm, channels) or 'each was tested and differs'}. Keep"
            " workers off such machines, or start over with denoise.precision bitwise"
            " and --overwrite."
        )
    return engine


def stands_test(
    engine: Engine,
    precision: Precision,
    algorithm: Algorithm,
    noise: NoiseNumbers,
    channels: int,
    dtype: np.dtype[Any],
) -> bool:
    """Whether it denoises a small image as ndsafir does: to the bit, or nearly."""
    image = test_image(algorithm, noise, channels, dtype)
    reference = ndsafir_itself()
    found = engine.denoise(image, noise, algorithm, 2)
    wanted = reference.denoise(image, noise, algorithm, 1)
    if precision == "bitwise":
        return bool(np.array_equal(found, wanted)) and _has_libms_exp(engine)
    again = reference.denoise(image, noise, algorithm, 2)
    least = float(np.finfo(np.float32).eps) * float(np.abs(wanted).max())
    return bool(rms(found - wanted) <= ROUNDING * max(rms(again - wanted), least))


def test_image(
    algorithm: Algorithm, noise: NoiseNumbers, channels: int, dtype: np.dtype[Any]
) -> np.ndarray:
    """Stripes with such noise, ``(t, c, z, y, x)``; as many as there is time for."""
    t, z, y, x = (2 * p + 2 for p in algorithm.patch)
    t, z = (t if algorithm.patch[0] or "t" in algorithm.active_dimensions else 1), z + 2
    for edge in TEST_EDGES:
        shape = (t, z, y + edge, x + edge)
        steps = channels * elements_compared(
            algorithm.patch, algorithm.active_dimensions, algorithm.max_iter, shape
        )
        if steps <= TEST_STEPS:
            break
    rng = np.random.default_rng(0)
    photons = 20.0 + 60 * (np.arange(shape[3]) // 5 % 2)
    signal = rng.poisson(np.broadcast_to(photons, (t, channels, *shape[1:])))
    image = signal.astype(np.float64)
    for c, (gain, offset) in enumerate(
        zip(noise.gains or (), noise.offsets or (), strict=True)
    ):
        image[:, c] = gain * image[:, c] + max(0, -offset / gain)
    if noise.noise_std is not None:
        image *= noise.noise_std / math.sqrt(50)
    if dtype.kind == "u":
        image = np.clip(np.rint(image), 0, np.iinfo(dtype).max)
    return image.astype(dtype)


def rms(values: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _has_libms_exp(engine: Engine) -> bool:
    """Whether its exponentials are the C library's, which ndsafir calls."""
    numbers = -np.random.default_rng(0).exponential(20, 1 << 12)
    found = native_engine.exponentials(numbers, engine.instructions)
    return bool(found.tolist() == [math.exp(number) for number in numbers])
