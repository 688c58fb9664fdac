"""A run's denoiser on this machine, and how long it takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from denoise_daisy.denoisers.base import Denoiser
from denoise_daisy.denoisers.noise import GaussianNoise
from denoise_daisy.machine import cores
from denoise_daisy.resolved.run import ResolvedRun


@dataclass(frozen=True, eq=False)
class Trial:
    """It, loaded."""

    run: ResolvedRun
    denoiser: Denoiser
    step: float
    """Seconds of a step, see `Denoiser.steps`."""

    @classmethod
    def of(cls, run: ResolvedRun, block_seconds: float | None) -> "Trial":
        """`block_seconds` is what a block took the run's workers, if that is known."""
        asked = run.config.workers.threads
        threads = min(asked, cores())
        denoiser = _denoiser(run, threads, 1.0)
        denoiser.load(run.image.dtype)
        channels = run.image.shape[1]
        if block_seconds:
            steps = denoiser.steps(run.denoising.grid.largest_shape, channels)
            step = block_seconds * asked / threads / steps
        else:
            step = denoiser.seconds_per_step(channels)
        return cls(run, denoiser, step)

    def seconds(self, shape: Sequence[int]) -> float:
        """How long it takes an array of that shape, ``(t, z, y, x)``."""
        return self.step * self.denoiser.steps(shape, self.run.image.shape[1])

    def of_halves(self) -> Denoiser:
        """The same, told of the noise of halves of the photons, see `photon_split`.

        Poisson noise has the same gain and offset in each of them; Gaussian noise has
        twice the variance.
        """
        if not isinstance(self.run.config.noise, GaussianNoise):
            return self.denoiser
        threads = min(self.run.config.workers.threads, cores())
        denoiser = _denoiser(self.run, threads, math.sqrt(2))
        denoiser.load(self.run.image.dtype)
        return denoiser


def _denoiser(run: ResolvedRun, threads: int, more: float) -> Denoiser:
    """The run's, with so many times the standard deviation of Gaussian noise."""
    config, probed = run.config, run.denoiser.probed
    noise = config.noise
    if isinstance(noise, GaussianNoise) and probed and probed.get("noise_std"):
        told = {"noise_std": more * probed["noise_std"]}
        noise = noise.model_copy(update=told)
    return config.denoise.denoiser(
        noise=noise, channels=run.image.shape[1], threads=threads, probed=probed
    )
