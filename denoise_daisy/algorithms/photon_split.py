"""A noisy image split into two, whose noise is independent, by a noise model; no I/O.

What two halves of the photons have in common is the specimen, not noise.  So what a
Fourier ring correlation finds in both is signal.  A raw image and its own denoised one
share their noise, and no correlation of these tells anything.
"""

import numpy as np


def split(
    image: np.ndarray, gain: float, offset: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of an image, by noise of the variance ``gain * level + offset``.

    Counted from the grey level of no noise, ``-offset / gain``, and in units of the
    gain, a voxel is a number whose variance is its mean: a count of photons.  Each of
    these goes to one half or the other by the toss of a coin, which leaves both with
    independent Poisson noise.  The part of a count that is no whole number, as readout
    noise makes it, is split with Gaussian noise of the same variance.

    Each half has half of the counts above the level of no noise, and its noise has the
    same gain and offset.  With a gain of 0 the noise is Gaussian: the halves are then
    the image with as much noise again added and subtracted, of twice its variance.
    """
    levels = image.astype(np.float64)
    if gain <= 0:
        extra = np.sqrt(max(offset, 0.0)) * rng.standard_normal(levels.shape)
        return levels + extra, levels - extra
    dark = -offset / gain
    counts = (levels - dark) / gain
    whole = np.floor(np.clip(counts, 0, None))
    part = np.clip(counts, 0, None) - whole
    heads = rng.binomial(whole.astype(np.int64), 0.5)
    one = heads + part / 2 + np.sqrt(part) / 2 * rng.standard_normal(levels.shape)
    # Below the level of no noise there is none to be split.
    one = np.where(counts < 0, counts / 2, one)
    return dark + gain * one, dark + gain * (counts - one)
