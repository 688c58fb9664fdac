"""The exact unbiased inverse of the generalized Anscombe transform.

A grey level is ``x = gain * P + n``: P photo-electrons, Poisson, and read noise n,
normal with mean b and standard deviation s.  So its variance is ``gain * mean +
offset`` with ``offset = s**2 - gain * b``, and the transform, of unit variance, is ::

    f(x) = 2 / gain * sqrt(max(gain * x + 3/8 gain**2 + offset, 0))

A denoiser averages f(x).  The mean of f(x) is not f of the mean, so its inverse does
not give that: this one does (M. Makitalo and A. Foi, IEEE Transactions on Image
Processing 20 (2011) and 22 (2013)).

Counted in units of ``gain**2`` the variance v of a grey level holds that of the
photo-electrons and that of the read noise.  Gain and offset tell v of each mean, and
not its parts.  The mean of f(x) depends on these only a little: wrong parts are up to
0.05 photo-electrons off where v is below 10, and less above.  Assumed is as little
read noise as there can be if b is not negative: ``s**2 = max(offset, 0)``, and none
beyond v.  So the inverse is exact for photon counting, for cameras without read noise
whatever b is, and for any with b = 0.
"""

from functools import cache

import numpy as np

LAST = 256.0
"""Variance up to which the correction is tabulated; from there on it is constant."""

STEPS = 2048
"""Of the table."""

NODES = 96
"""Of a quadrature over a normal distribution."""

WIDTH = 9.0
"""Standard deviations where a normal distribution ends."""

PHOTON_VARIANCE = 3 / 8
"""Anscombe's."""


def unbiased_inverse(values: np.ndarray, gain: float, offset: float) -> np.ndarray:
    """The means of grey levels whose transforms have these means, as float64.

    Below the level of darkness, where there is no noise, it is the plain inverse of the
    transform.  It grows with the values, without steps, and begins at 0.
    """
    values = np.maximum(values, 0.0, dtype=np.float64)
    _, means, corrections = _table(_read_variance(gain, offset))
    added = np.interp(values, means, corrections) - PHOTON_VARIANCE
    result: np.ndarray = gain * (values * values / 4 + added) - offset / gain
    return result


def bias_of_algebraic_inverse(
    gain: float, offset: float, levels: np.ndarray, weights: np.ndarray
) -> float:
    """By what part the sum of a channel changes by ndsafir's own inverse.

    `levels` are grey levels without noise, `weights` how many voxels have each.  That
    inverse is a quarter of a grey level above the plain one, ``gain / 4 * (y**2 - 3/2)
    - offset / gain``, and so right for bright levels of gain 1.  What the transform
    clips counts.  Of levels of either sign it is the part of their magnitudes; infinite
    where all are 0.
    """
    levels, weights = (np.asarray(a, np.float64) for a in (levels, weights))
    variances = (gain * levels + offset) / gain**2
    tabulated, _, corrections = _table(_read_variance(gain, offset))
    clipped = np.maximum(-PHOTON_VARIANCE - variances, 0)
    changes = gain * (clipped - np.interp(variances, tabulated, corrections)) + 1 / 4
    with np.errstate(divide="ignore"):
        return float(weights @ changes / (weights @ np.abs(levels)))


def _read_variance(gain: float, offset: float) -> float:
    """That which is assumed, in units of ``gain**2``, as far as it matters."""
    return min(max(offset / gain / gain, 0.0), LAST)


@cache
def _table(read: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Variances from 0 on, the transform's mean at each, and the correction.

    That is what ``mean**2 / 4 - 3/8`` lacks to the variance: from 0 up to 1/4.
    """
    roots = np.linspace(PHOTON_VARIANCE**0.5, (LAST + PHOTON_VARIANCE) ** 0.5, STEPS)
    # At the read noise the mean has a bend, and so the table an entry.
    variances = np.union1d(np.maximum(roots**2 - PHOTON_VARIANCE, 0), read)
    is_read_noise = variances <= read
    of_read_noise, others = variances[is_read_noise], variances[~is_read_noise]
    photons = np.arange(LAST + WIDTH * LAST**0.5)
    means = np.concatenate(
        [
            _mean_root(of_read_noise, of_read_noise),
            _poisson(others - read, photons)
            @ _mean_root(photons + read, np.full_like(photons, read)),
        ]
    )
    return variances, means, variances + PHOTON_VARIANCE - means**2 / 4


def _mean_root(means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Of ``2 * sqrt(max(u + 3/8, 0))`` for normal u, by Gauss and Legendre.

    In steps of the root, in which the integrand is smooth at 0.
    """
    means = means[:, np.newaxis] + PHOTON_VARIANCE
    # Without noise the quadrature would divide by 0; so little is the same.
    deviations = np.sqrt(np.maximum(variances, 1e-12))[:, np.newaxis]
    first = np.sqrt(np.maximum(means - WIDTH * deviations, 0))
    last = np.sqrt(means + WIDTH * deviations)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    roots = first + (last - first) * (nodes + 1) / 2
    distances = (roots**2 - means) / deviations
    density = np.exp(-(distances**2) / 2) / (deviations * np.sqrt(2 * np.pi))
    result: np.ndarray = (4 * roots**2 * density * (last - first) / 2) @ weights
    return result


def _poisson(means: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Probability of each count, for each positive mean: ``(means, counts)``."""
    factorials = np.concatenate([[0.0], np.cumsum(np.log(counts[1:]))])
    means = means[:, np.newaxis]
    result: np.ndarray = np.exp(counts * np.log(means) - means - factorials)
    return result
