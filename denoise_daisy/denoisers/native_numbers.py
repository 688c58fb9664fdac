"""The numbers in ndsafir's algorithm, and its transform, in its own roundings.

Measured on ndsafir 2026.1014a0, and held to the bit by tests against the installed one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from denoise_daisy.denoisers.noise import NoiseNumbers


@dataclass(frozen=True, slots=True)
class Constants:
    """The numbers in ndsafir's algorithm."""

    erf_inverse: float = 8 * (math.pi - 3) / (3 * math.pi * (4 - math.pi))
    """Of Winitzki's approximation to the inverse error function."""
    first_variance: float = 0.25
    """Of every voxel, in units of the noise's."""
    tolerance: float = 1e-6
    """Weights and variances up to it count for nothing, in units of the noise."""
    least_variance: float = 1e-8
    """Of a patch's estimate."""
    distance: float = 4.0
    """Distance, in quantiles, at which a weight is 1 / e."""
    limit: float = 6.0
    """Distance from the estimate before, in quantiles, that is not accepted."""
    mixed_part: float = 0.5
    """Of the mixed term in the variance of two estimates fused."""
    photon_variance: float = 0.375
    """Anscombe's 3/8, in units of the gain squared."""
    slope: float = 2.0
    """Of the transform that makes the noise's standard deviation 1."""
    inverse_quarter: float = 0.25
    """That the algebraic inverse is raised by."""
    inverse_shift: float = 1.5
    """Four times Anscombe's 3/8."""


CONSTANTS = Constants()


def stabilize(
    image: np.ndarray, noise: NoiseNumbers, constants: Constants = CONSTANTS
) -> None:
    """Make the noise of each channel of ``(t, c, z, y, x)`` Gaussian, in place.

    ``2 / gain * sqrt(gain * x + 3/8 gain**2 + offset)``, and 0 where there is no root;
    in ndsafir's roundings.  Gaussian noise is left as it is.
    """
    for channel, gain, offset in _channels(image, noise):
        part = np.float32(constants.photon_variance)
        np.multiply(channel, gain, out=channel)
        np.add(channel, part * (gain * gain) + offset, out=channel)
        np.fmax(channel, 0, out=channel)
        np.sqrt(channel, out=channel)
        np.multiply(channel, np.float32(constants.slope) / gain, out=channel)


def restore(
    image: np.ndarray, noise: NoiseNumbers, constants: Constants = CONSTANTS
) -> None:
    """Undo `stabilize`, in place, a quarter of a grey level higher."""
    for channel, gain, offset in _channels(image, noise):
        quarter = np.float32(constants.inverse_quarter)
        np.square(channel, out=channel)
        np.subtract(channel, np.float32(constants.inverse_shift), out=channel)
        np.multiply(channel, gain / np.float32(4), out=channel)
        np.add(channel, quarter - offset / gain, out=channel)


def has_quantile(pvalue: float) -> bool:
    """Whether the quantile of a p-value is a number: that of 0 and 1 is none."""
    return _inner(pvalue) ** 2 < 1


def normal_quantile(pvalue: float, a: float) -> float:
    """Upper quantile of the normal distribution, by S. Winitzki's approximation.

    The inverse error function from elementary functions, A handy approximation for the
    error function and its inverse (2008), equation 7.
    """
    u = _inner(pvalue)
    log = math.log(1 - u * u)
    half = log / 2 + 2 / (math.pi * a)
    root = math.sqrt(2) * math.sqrt(math.sqrt(half * half - log / a) - half)
    return root if pvalue < 0.5 else -root


def chi2_quantile(elements: int, normal: float) -> float:
    """Of chi-squared with so many degrees of freedom, by Fisher's approximation."""
    n = 2 * float(elements) - 1
    return (n + normal * (normal + 2 * math.sqrt(n))) / 2


def _inner(pvalue: float) -> float:
    """The error function at the quantile over the root of 2; a p-value is a float32."""
    return 2 * (1 - float(np.float32(pvalue))) - 1


def _channels(
    image: np.ndarray, noise: NoiseNumbers
) -> Iterator[tuple[np.ndarray, np.float32, np.float32]]:
    pairs = zip(noise.gains or (), noise.offsets or (), strict=True)
    for c, (gain, offset) in enumerate(pairs):
        yield image[:, c], np.float32(gain), np.float32(offset)
