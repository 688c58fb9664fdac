"""Fourier ring correlation of two images of one specimen; no I/O."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

THRESHOLD = 1 / 7
"""Below it a ring is noise more than signal, by the custom of the field."""


@dataclass(frozen=True, slots=True)
class RingCorrelation:
    """How alike two images are, by the size of detail."""

    frequencies: tuple[float, ...]
    """Of the middle of each ring, in periods per unit of the pixel's size."""
    correlations: tuple[float, ...]
    """Of each ring, -1 to 1."""

    @property
    def resolution(self) -> float | None:
        """The size of detail at which they fall below 1/7.

        It is None where they begin below it; that of the finest ring where they never
        fall below.
        """
        pairs = list(zip(self.frequencies, self.correlations, strict=True))
        if not pairs or pairs[0][1] < THRESHOLD:
            return None
        for (f0, c0), (f1, c1) in itertools.pairwise(pairs):
            if c1 < THRESHOLD:
                crossing: float = f0 + (c0 - THRESHOLD) / (c0 - c1) * (f1 - f0)
                return 1 / crossing
        return 1 / pairs[-1][0]


def ring_correlation(
    one: np.ndarray, other: np.ndarray, pixel: Sequence[float] = (1.0, 1.0)
) -> RingCorrelation:
    """That of two stacks of planes ``(..., y, x)``; of all planes together.

    `pixel` is its size along y and x.  Rings are one step of the coarser frequency
    axis wide, without the constant, and end at the coarser pixel's finest detail.
    """
    spectra = [_spectrum(planes) for planes in (one, other)]
    height, width = one.shape[-2:]
    fy = np.fft.fftfreq(height, pixel[0])[:, np.newaxis]
    fx = np.fft.fftfreq(width, pixel[1])[np.newaxis]
    step = max(1 / (height * pixel[0]), 1 / (width * pixel[1]))
    finest = min(1 / (2 * pixel[0]), 1 / (2 * pixel[1]))
    rings = np.rint(np.hypot(fy, fx) / step).astype(int)
    count = int(finest / step + 1e-9) + 1
    inside = rings < count

    def sums(values: np.ndarray) -> np.ndarray:
        total = values.reshape(-1, height, width).sum(axis=0)
        return np.bincount(rings[inside], total[inside], count)[1:]

    a, b = spectra
    shared = sums((a * b.conj()).real)
    power = np.sqrt(sums(np.abs(a) ** 2) * sums(np.abs(b) ** 2))
    found = np.divide(shared, power, out=np.zeros_like(shared), where=power > 0)
    frequencies = step * np.arange(1, count)
    return RingCorrelation(tuple(frequencies.tolist()), tuple(found.tolist()))


def _spectrum(planes: np.ndarray) -> np.ndarray:
    """Fourier transforms of planes that fade out towards their borders."""
    height, width = planes.shape[-2:]
    window = np.hanning(height + 2)[1:-1, np.newaxis] * np.hanning(width + 2)[1:-1]
    values = planes.astype(np.float64)
    mean = (values * window).sum(axis=(-2, -1), keepdims=True) / window.sum()
    spectrum: np.ndarray = np.fft.fft2((values - mean) * window)
    return spectrum
