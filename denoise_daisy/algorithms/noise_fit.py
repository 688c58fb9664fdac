"""The noise of an image, fitted to the image itself: variance = gain * mean + offset.

After Foi, Trimeche, Katkovnik and Egiazarian 2008, "Practical Poissonian-Gaussian noise
modeling and fitting for single-image raw-data": variance is found where the image is
flat, level by level, and a line is fitted through what was found.  The generalized
Anscombe transform (Makitalo and Foi 2013, "Optimal inversion of the generalized
Anscombe transformation for Poisson-Gaussian noise") takes the root of ``gain * level +
3/8 gain**2 + offset``: below a floor, where that is negative, all levels become one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal

import numpy as np
from scipy.special import ndtr

from denoise_daisy.algorithms.noise_bins import Bins, binned, more_if_flat
from denoise_daisy.algorithms.noise_blocks import Blocks, Levels, levels_of, measure
from denoise_daisy.algorithms.noise_line import MISFIT, Line

Verdict = Literal["white", "correlated", "not to be trusted"]

Interval = tuple[float, float]
"""From the least to the most."""

SHARES = (0.001, 0.005, 0.01, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 0.99, 0.995, 0.999)
"""Shares of the voxels whose grey level a fit tells."""


FEWEST_BLOCKS = 5

WHITE = 0.87
"""Least ratio of what a filter leaves to what one wider along an axis does."""

SEPARABLE = 0.85
"""Least share of such a ratio along both axes at once in the product of both."""

DOUBTFUL = 12
"""Lines whose costs differ by less fit as well as each other."""

MOST_CLIPPED = 0.005
"""Share of the voxels that may lie below the floor."""

EXPLAINED = 1.5
"""More than so many times what noise explains is not explained."""

REFITS = 100
"""To blocks drawn anew: their spread is the interval."""


@dataclass(frozen=True)
class NoiseFit:
    """Noise of one channel: variance = gain * mean + offset, in grey levels."""

    gain: float
    """Grey levels per photo-electron, > 0; tiny where `is_gaussian`."""

    offset: float
    """Variance at level 0, in squared grey levels; < 0 with a background level."""

    is_gaussian: bool
    """The variance does not grow with the mean."""

    noise_std: float
    """Standard deviation at the median level."""

    verdict: Verdict
    """Is the noise of neighbours independent?"""

    whiteness: float
    """What a filter leaves of the noise, by what one with wider taps does: about 1 if
    white, less if correlated between neighbours, > 1.4 if sharpened."""

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

    find_intervals: Callable[[], tuple[Interval, Interval]] = field(
        repr=False, compare=False
    )
    """Finds those of gain and offset, for who wants them: it takes a hundred fits."""

    @cached_property
    def intervals(self) -> tuple[Interval, Interval]:
        """Of gain and offset: 95 %, by bootstrap over blocks."""
        return self.find_intervals()

    @property
    def gain_interval(self) -> Interval:
        """Where 95 % of true gains lie."""
        return self.intervals[0]

    @property
    def offset_interval(self) -> Interval:
        """Where 95 % of true offsets lie."""
        return self.intervals[1]

    @property
    def floor(self) -> float:
        """Grey level below which the Anscombe transform makes one value of all."""
        return _floor(self.gain, self.offset)

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
    return _fitted(blocks, levels)


def _fitted(blocks: Blocks, levels: Levels) -> NoiseFit:
    bins = binned(blocks)
    verdict, taps, whiteness = _verdict(bins)
    bins = more_if_flat(bins, blocks)
    variances = bins.left[:, *taps]
    line = _line(bins, blocks, levels, variances)
    held = partial(
        _held, levels=levels, most_raised=_most_raised(line, blocks, levels, verdict)
    )
    gain, offset = held(line)
    low, high = (gain * levels.quantile(q) + offset for q in (0.01, 0.99))
    is_gaussian = bool(high < 1.1 * low)
    return NoiseFit(
        gain=gain,
        offset=offset,
        is_gaussian=is_gaussian,
        noise_std=math.sqrt(max(0.0, gain * levels.quantile(0.5) + offset)),
        verdict=verdict,
        whiteness=whiteness,
        levels=tuple(bins.mean.tolist()),
        variances=tuple(variances.tolist()),
        counts=tuple(bins.count.tolist()),
        quantiles=tuple((share, levels.quantile(share)) for share in SHARES),
        clipped=levels.share_below(_floor(gain, offset)),
        saturated=levels.saturated,
        saturation=levels.saturation,
        find_intervals=partial(
            _intervals, bins, taps, line, held, is_gaussian=is_gaussian
        ),
    )


def _intervals(
    bins: Bins,
    taps: tuple[int, int],
    line: Line,
    held: Callable[[Line], tuple[float, float]],
    *,
    is_gaussian: bool,
) -> tuple[Interval, Interval]:
    """Where 95 % of true gains and offsets lie, given fits to blocks drawn anew.

    What is drawn is as far from what was found as that is from the truth, on whichever
    side: the wider of both is taken, since the fit's error is skew. Each bin's variance
    gets an error that more blocks do not make less.
    """
    random = np.random.default_rng(0)
    drawn = bins.resampled(taps, REFITS, random)
    drawn *= np.exp(MISFIT * random.standard_normal(drawn.shape))
    lines = [line.fitted(bins.mean, variances, bins.count) for variances in drawn]
    others = np.array([held(other) for other in lines])
    found = np.array(held(line))
    low, high = np.quantile(others, (0.025, 0.975), axis=0)
    lowest = np.minimum(low, 2 * found - high)
    highest = np.maximum(high, 2 * found - low)
    gains, offsets = zip(lowest.tolist(), highest.tolist(), strict=True)
    return (0.0 if is_gaussian else max(0.0, gains[0]), gains[1]), offsets


def _line(bins: Bins, blocks: Blocks, levels: Levels, variances: np.ndarray) -> Line:
    """The line that fits best: with black clipped or not, and texture or not."""
    start = float(np.quantile(blocks.mean, 0.002))
    darkest = blocks[np.argsort(blocks.mean)[: max(5, len(blocks) // 20)]]
    flatter = darkest.texture <= np.median(darkest.texture)
    least = 0.3 * float(np.median(darkest.left[flatter, 0, 0]))
    seen = (bins.mean, variances, bins.count)
    line = Line(start, least).fitted(*seen)
    if levels.is_black_clipped:
        clipped = Line(start, least, levels.lowest).fitted(*seen)
        if clipped.cost < line.cost + DOUBTFUL:
            line = clipped
    model = line.variance(bins.mean)
    fine, coarse = bins.left[:, 0, 0], bins.left[:, 1, 1]
    grows = (fine / model).mean() < 0.85 * (coarse / model).mean()
    if grows and len(bins) > 7:
        bent = line.fitted(*seen, is_bent=True)
        if bent.cost < line.cost - DOUBTFUL:
            return bent
    return line


def _verdict(bins: Bins) -> tuple[Verdict, tuple[int, int], float]:
    """What the noise of neighbours is, the filter to tell it by, and the whiteness.

    Going wide along one axis lets hardly more structure through, since the filter still
    bends along the other; but it sees more of noise that is correlated along that axis.
    Wide along both it sees structure as well: where it leaves more than correlation
    along the axes explains, there is too much of that.
    """
    fine, wide_x, wide_y, coarse = bins.left.reshape(-1, 4).T
    along_y, along_x, both = (
        float(np.average(fine / wide, weights=bins.count))
        for wide in (wide_y, wide_x, coarse)
    )
    whiteness = along_y * along_x
    taps = (int(along_y < WHITE), int(along_x < WHITE))
    if not any(taps):
        return "white", (0, 0), whiteness
    if both > SEPARABLE * whiteness:
        return "correlated", taps, whiteness
    return "not to be trusted", (0, 0), whiteness


def _most_raised(line: Line, blocks: Blocks, levels: Levels, verdict: Verdict) -> float:
    """By how much variance an offset may be raised to clip less.

    With little readout noise the true floor lies within the noise of darkness. Where
    about as many voxels lie below it as that noise explains, a line that hardly clips
    would be wrong: a fifth of the variance there clips some less than the truth.
    """
    sd = np.sqrt(line.variance(blocks.mean))
    explained = ndtr((_floor(line.gain, line.offset) - blocks.mean) / sd).mean()
    below = levels.share_below(_floor(line.gain, line.offset))
    if verdict == "white" and below < EXPLAINED * explained:
        return 0.2 * (line.gain * line.start + line.offset)
    return math.inf


def _held(line: Line, levels: Levels, most_raised: float) -> tuple[float, float]:
    """Gain and offset, held so that hardly a voxel lies below the floor."""
    gain, offset = line.gain, line.offset
    sd = math.sqrt(max(0.0, gain * levels.quantile(0.5) + offset))
    gain = max(gain, 2e-4 * sd)
    unclipped = -gain * levels.quantile(MOST_CLIPPED) - 3 / 8 * gain**2
    return gain, min(max(offset, unclipped), offset + most_raised)


def _floor(gain: float, offset: float) -> float:
    return -offset / gain - 3 / 8 * gain
