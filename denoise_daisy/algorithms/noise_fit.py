"""The noise of an image, fitted to the image itself: variance = gain * mean + offset.

After Foi, Trimeche, Katkovnik and Egiazarian 2008, "Practical Poissonian-Gaussian noise
modeling and fitting for single-image raw-data": variance is found where the image is
flat, level by level, and a line is fitted through what was found.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from denoise_daisy.algorithms.noise_bins import Bins, binned
from denoise_daisy.algorithms.noise_blocks import Blocks, Levels, levels_of, measure
from denoise_daisy.algorithms.noise_line import MISFIT, Line

Verdict = Literal["white", "correlated", "not to be trusted"]

SHARES = (0.001, 0.005, 0.01, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 0.99, 0.995, 0.999)
"""Shares of the voxels whose grey level a fit tells."""


FEWEST_BLOCKS = 5

REFITS = 100
"""To blocks drawn anew: their spread is the interval."""


@dataclass(frozen=True, slots=True)
class NoiseFit:
    """Noise of one channel: variance = gain * mean + offset, in grey levels."""

    gain: float
    """Grey levels per photo-electron, > 0; tiny where `is_gaussian`."""

    offset: float
    """Variance at level 0, in squared grey levels; < 0 with a background level."""

    gain_interval: tuple[float, float]
    """95 %, by bootstrap over blocks."""

    offset_interval: tuple[float, float]
    """The same of the offset."""

    is_gaussian: bool
    """The variance does not grow with the mean."""

    noise_std: float
    """Standard deviation at the median level."""

    verdict: Verdict
    """Is the noise of neighbours independent?"""

    whiteness: float
    """Upper quartile over the bins of fine / coarse residual: 1 if white, > 1.4 if
    sharpened."""

    levels: tuple[float, ...]
    """Mean grey levels of the bins that were fitted."""

    variances: tuple[float, ...]
    """What was found there."""

    counts: tuple[float, ...]
    """Blocks of each bin."""

    quantiles: tuple[tuple[float, float], ...]
    """Shares of the valid voxels, and the grey level that each lies below."""

    clipped: float
    """Share of the voxels below `floor`."""

    saturated: float
    """Share of the voxels at the saturated top level."""

    saturation: float | None
    """That level; None if the image is not saturated."""

    @property
    def floor(self) -> float:
        """Grey level below which the Anscombe transform makes one value of all."""
        return -self.offset / self.gain - 3 / 8 * self.gain

    def sd(self, level: float) -> float:
        """The model's standard deviation at a grey level; 0 where it has none."""
        return float(np.sqrt(max(0.0, self.gain * level + self.offset)))


def fit_noise(
    planes: Sequence[np.ndarray], valid: Sequence[np.ndarray | None]
) -> NoiseFit:
    """The noise of one channel, from planes of ``(y, x)`` of it.

    Parameters
    ----------
    planes
        Of any sizes; of one dtype, unsigned or float32.
    valid
        Which voxels of each are there, as bool of its shape; None: all.

    Raises
    ------
    ValueError
        They tell nothing of the noise.
    """
    levels = levels_of(planes, valid)
    if len(levels.values) < 2:
        raise ValueError("all voxels are of one value")
    blocks = measure(planes, valid, levels)
    if len(blocks) < FEWEST_BLOCKS:
        raise ValueError(f"only {len(blocks)} blocks of 8 x 8 voxels show noise")
    bins = binned(blocks)
    line = _line(bins, blocks, levels, bins.fine)
    verdict, whiteness = _verdict(bins, line)
    pick, variances = (lambda some: some.fine), bins.fine
    if verdict == "correlated":
        pick, variances = (lambda some: some.coarse), bins.coarse
        line = _line(bins, blocks, levels, variances)
    gain, offset = _held(line, levels, verdict, blocks)
    rng = np.random.default_rng(0)
    drawn = bins.resampled(pick, REFITS, rng)
    drawn *= np.exp(MISFIT * rng.standard_normal(drawn.shape))
    others = [line.fitted(bins.mean, some, bins.count) for some in drawn]
    held = np.array([_held(o, levels, verdict, blocks) for o in others])
    (g0, o0), (g1, o1) = _interval(np.array([gain, offset]), held)
    low, high = (gain * levels.quantile(q) + offset for q in (0.01, 0.99))
    saturated = levels.counts[-1] if levels.saturation is not None else 0.0
    return NoiseFit(
        gain=gain,
        offset=offset,
        gain_interval=(max(g0, 0.0), g1),
        offset_interval=(o0, o1),
        is_gaussian=bool(high < 1.1 * low),
        noise_std=math.sqrt(max(0.0, gain * levels.quantile(0.5) + offset)),
        verdict=verdict,
        whiteness=whiteness,
        levels=tuple(bins.mean.tolist()),
        variances=tuple(variances.tolist()),
        counts=tuple(bins.count.tolist()),
        quantiles=tuple((share, levels.quantile(share)) for share in SHARES),
        clipped=levels.share_below(-offset / gain - 3 / 8 * gain),
        saturated=float(saturated / levels.counts.sum()),
        saturation=levels.saturation,
    )


def _interval(found: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of ``(2, numbers)``: where 95 % of the truth lies, given fits to redrawn blocks.

    What was drawn is as far from what was found as that is from the truth, on whichever
    side: the wider of both is taken, since the fit's error is skew.
    """
    low, high = np.quantile(others, (0.025, 0.975), axis=0)
    return np.array(
        [np.minimum(low, 2 * found - high), np.maximum(high, 2 * found - low)]
    )


def _line(bins: Bins, blocks: Blocks, levels: Levels, variances: np.ndarray) -> Line:
    """The line that fits best: with black clipped or not, and texture or not."""
    start = float(np.quantile(blocks.mean, 0.002))
    darkest = blocks[np.argsort(blocks.mean)[: max(5, len(blocks) // 20)]]
    flatter = darkest.texture <= np.median(darkest.texture)
    least = 0.3 * float(np.median(darkest.fine[flatter]))
    seen = (bins.mean, variances, bins.count)
    line = Line(start, least).fitted(*seen)
    if levels.counts[0] > 2e-3 * levels.counts.sum():
        clipped = Line(start, least, levels.lowest).fitted(*seen)
        line = min(line, clipped, key=lambda some: some.cost)
    model = line.variance(bins.mean)
    grows = (bins.fine / model).mean() < 0.85 * (bins.coarse / model).mean()
    if grows and len(bins) > 7:
        bent = line.fitted(*seen, is_bent=True)
        if bent.cost < line.cost - 12:
            return bent
    return line


def _verdict(bins: Bins, line: Line) -> tuple[Verdict, float]:
    rho = bins.fine / bins.coarse
    whiteness = float(np.quantile(rho, 0.75))
    if whiteness > 0.75:
        return "white", whiteness
    is_even = np.quantile(rho, 0.9) < 1.25 * np.median(rho)
    if is_even and not line.bend:
        return "correlated", whiteness
    return "not to be trusted", whiteness


def _held(
    line: Line, levels: Levels, verdict: Verdict, blocks: Blocks
) -> tuple[float, float]:
    """Gain and offset, held so that hardly a voxel lies below the floor."""
    gain, offset = line.gain, line.offset
    sd = math.sqrt(max(0.0, gain * levels.quantile(0.5) + offset))
    gain = max(gain, 2e-4 * sd)
    held = max(offset, -gain * levels.quantile(0.005) - 3 / 8 * gain**2)
    return gain, held
