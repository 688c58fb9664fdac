"""Whether noise and brightness stay the same from one end of an axis to the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from denoise_daisy.algorithms.noise_blocks import Levels, measure
from denoise_daisy.algorithms.noise_fit import NoiseFit
from denoise_daisy.denoisers.noise_samples import Sample

STEADY = 1.15
"""Factor by which the noise may change and be called the same."""

BLEACHED = 0.8
"""Part of the brightness at which an image is said to bleach."""

MOST_SAMPLES = 64
"""Of each end."""

FLATTEST = 0.3
"""Part of the blocks that are looked at."""

LEAST_BLOCKS = 20
"""Fewer tell nothing."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What changes along an axis, from the first third of it to the last."""

    axis: str
    """T or Z."""
    noise: tuple[float, float]
    """Standard deviation in each, in units of the model's: both 1 if it fits both."""
    brightness: tuple[float, float]
    """Mean grey level in each, above the level that 1 % of the channel lie below."""

    @property
    def noise_change(self) -> float:
        """The factor by which the noise changes, at the same grey level."""
        first, last = self.noise
        return last / first

    @property
    def is_steady(self) -> bool:
        """One model fits both ends."""
        return 1 / STEADY <= self.noise_change <= STEADY

    @property
    def bleaches(self) -> bool:
        """Late time points are much darker than early ones."""
        first, last = self.brightness
        return self.axis == "T" and first > 0 and last < BLEACHED * first


def drifts(samples: Sequence[Sample], fit: NoiseFit, levels: Levels) -> Iterator[Drift]:
    """The drift of one channel over T and over Z, where there are three positions."""
    for axis in "TZ":
        places = np.array([getattr(s.window, axis.lower()) for s in samples])
        if len(np.unique(places)) < 3:
            continue
        third = np.ptp(places) / 3
        ends = places <= places.min() + third, places >= places.max() - third
        first, last = (
            _thinned([s for s, is_in in zip(samples, end, strict=True) if is_in])
            for end in ends
        )
        noise = _noise(first, fit, levels), _noise(last, fit, levels)
        if all(noise):
            yield Drift(axis, noise, (_brightness(first, fit), _brightness(last, fit)))


def _thinned(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[:: -(-len(samples) // MOST_SAMPLES)]


def _noise(samples: Sequence[Sample], fit: NoiseFit, levels: Levels) -> float:
    """Standard deviation in units of the model's, where it is flat; 0 if unknown."""
    blocks = measure([s.voxels for s in samples], [s.valid for s in samples], levels)
    if len(blocks) < LEAST_BLOCKS:
        return 0.0
    step = int(fit.verdict == "correlated")
    seen = blocks.left[:, step, step]
    model = np.maximum(fit.gain * blocks.mean + fit.offset, 1e-3 * fit.noise_std**2)
    flattest = np.argsort(blocks.texture / model, kind="stable")
    ratio = (seen / model)[flattest[: round(FLATTEST * len(blocks))]]
    return float(np.sqrt(np.minimum(ratio, 3 * np.median(ratio)).mean()))


def _brightness(samples: Sequence[Sample], fit: NoiseFit) -> float:
    dark = dict(fit.quantiles)[0.01]
    means = [
        (s.voxels if s.valid is None else s.voxels[s.valid]).mean(dtype=float)
        for s in samples
    ]
    return float(np.mean(means)) - dark
