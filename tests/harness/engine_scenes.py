"""Images, with noise and parameters, to hold the engine in C against ndsafir with."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoise_daisy.denoisers import native_engine, ndsafir_engine
from denoise_daisy.denoisers.native_engine import Precision
from denoise_daisy.denoisers.native_numbers import CONSTANTS, Constants
from denoise_daisy.denoisers.ndsafir_engine import Algorithm
from denoise_daisy.denoisers.ndsafir_steps import elements_compared
from denoise_daisy.denoisers.noise import NoiseNumbers

MOST_STEPS = 6e6
"""Elements that a random scene has to compare at most; some hundredths of a second."""


@dataclass(frozen=True)
class Scene:
    """An image of ``(t, c, z, y, x)``, and what a denoiser of it is told."""

    image: np.ndarray
    noise: NoiseNumbers
    algorithm: Algorithm
    threads: int = 1

    def by_ndsafir(self, threads: int = 1) -> np.ndarray:
        return ndsafir_engine.denoise(self.image, self.noise, self.algorithm, threads)

    def by_engine(
        self,
        precision: Precision = "bitwise",
        instruction_set: str | None = None,
        threads: int | None = None,
        constants: Constants = CONSTANTS,
    ) -> np.ndarray:
        """On the fastest set of instructions, unless one is named."""
        return native_engine.denoise(
            self.image,
            self.noise,
            self.algorithm,
            threads or self.threads,
            precision=precision,
            instruction_set=instruction_set or native_engine.instruction_sets()[0],
            constants=constants,
        )

    def by_each(self, precision: Precision) -> Iterator[np.ndarray]:
        """On each set of instructions that is there."""
        for name in native_engine.instruction_sets():
            yield self.by_engine(precision, name)


def scene(
    shape: tuple[int, ...] = (1, 1, 5, 40, 40),
    *,
    real: float = 5.0,
    told: float | None = None,
    seed: int = 0,
    **algorithm: Any,
) -> Scene:
    """Bars and waves with Gaussian noise: its standard deviation, and that told."""
    rng = np.random.default_rng(seed)
    image = (structure(rng, shape) + rng.normal(0, real, shape)).astype(np.float32)
    given = {"patch": (0, 1, 2, 2), "active_dimensions": "zyx", "max_iter": 3}
    parameters = Algorithm(**(given | {"pvalue": 0.1} | algorithm))  # type: ignore[arg-type]
    return Scene(image, NoiseNumbers(noise_std=told or real), parameters)


def structure(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Bars as wide as they come, on waves; levels from 40 to 200."""
    places = np.indices(shape).astype(np.float64)
    slopes = rng.uniform(0.1, 0.7, len(shape))
    wave = np.sin(np.tensordot(slopes, places, 1) + rng.uniform(0, 6))
    width = int(rng.integers(2, 12))
    bars = (places[3] + places[4] * rng.integers(0, 2)) // width % 2
    return np.asarray(100 + 40 * wave + 60 * bars - 20 * (1 - bars))


def random_scene(seed: int) -> Scene:
    """Anything that ndsafir denoises without harm, and in little time."""
    rng = np.random.default_rng(seed)
    while True:
        algorithm, shape = _parameters(rng)
        if _steps(algorithm, shape) <= MOST_STEPS:
            break
    dtype = str(rng.choice(["u1", "u2", "f4"]))
    kind = rng.choice(["noisy", "noisy", "noisy", "unlike", "flat"])
    photons = structure(rng, shape)
    if kind == "unlike":
        photons = photons * rng.exponential(2, shape) ** 2
    if kind == "flat":
        photons = np.full(shape, 60.0)
    image = photons if rng.random() < 0.1 else rng.poisson(photons).astype(np.float64)
    real = 10.0 * float(rng.choice([0.3, 0.6, 0.8, 0.9, 1, 1, 1, 1.5, 4, 1e-3, 1e-7]))
    noise = NoiseNumbers(noise_std=real)
    if rng.random() < 0.5:
        pairs = [(rng.uniform(0.3, 4), rng.uniform(-300, 300)) for _ in range(shape[1])]
        for c, (gain, offset) in enumerate(pairs):
            image[:, c] = gain * image[:, c] * rng.choice([0.5, 1, 1.5]) - offset / gain
        gains, offsets = zip(*pairs, strict=True)
        noise = NoiseNumbers(gains=gains, offsets=offsets)
    elif dtype == "f4" and rng.random() < 0.5:
        scale = float(rng.choice([1e-8, 1e-3, 1e5, 1e16, 1e28]))
        image *= scale
        if rng.random() < 0.8:
            noise = NoiseNumbers(noise_std=real * scale)
    if dtype != "f4":
        image = np.clip(np.rint(image), 0, np.iinfo(dtype).max)
    return Scene(image.astype(dtype), noise, algorithm, int(rng.integers(1, 17)))


def _parameters(rng: np.random.Generator) -> tuple[Algorithm, tuple[int, ...]]:
    patch = (
        int(rng.choice(3, p=[0.6, 0.25, 0.15])),
        int(rng.choice(4, p=[0.3, 0.4, 0.2, 0.1])),
        *(int(rng.choice(6, p=[0.1, 0.3, 0.2, 0.2, 0.1, 0.1])) for _ in "yx"),
    )
    algorithm = Algorithm(
        patch,
        str(rng.choice(["zyx", "zyx", "yx", "tzyx", "tyx"])),
        int(rng.choice([1, 2, 3, 4, 5], p=[0.2, 0.25, 0.25, 0.2, 0.1])),
        float(rng.choice([0.01, 0.1, 0.1, 0.2, 0.5, 0.9])),
    )
    most = (6, 10, 60, 60)
    t, z, y, x = (
        1 if i < 2 and rng.random() < 0.4 else int(rng.integers(2 * p + 1, n + 1))
        for i, (p, n) in enumerate(zip(patch, most, strict=True))
    )
    if (long := rng.random()) < 0.3:
        t, z = (
            1 if n > 1 and p == 0 else n for n, p in zip((t, z), patch, strict=False)
        )
        extent = int(rng.integers(150, 400))
        y, x = (y % 12 + 11, extent) if long < 0.2 else (extent, x % 12 + 11)
    return algorithm, (t, int(rng.integers(1, 3)), z, y, x)


def _steps(algorithm: Algorithm, shape: tuple[int, ...]) -> float:
    t, channels, *others = shape
    return channels * elements_compared(
        algorithm.patch, algorithm.active_dimensions, algorithm.max_iter, (t, *others)
    )
