"""The noise of an image, fitted to the image itself: variance = gain * mean + offset.

After Foi, Trimeche, Katkovnik and Egiazarian 2008, "Practical Poissonian-Gaussian noise
modeling and fitting for single-image raw-data": variance is found where the image is
flat, level by level, and a line is fitted through what was found.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import minimize

from denoise_daisy.algorithms.noise_blocks import Blocks, Levels, levels_of, measure

Verdict = Literal["white", "correlated", "not to be trusted"]

SHARES = (0.001, 0.005, 0.01, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 0.99, 0.995, 0.999)
"""Shares of the voxels whose grey level a fit tells."""


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


@dataclass(frozen=True, slots=True)
class _Bins:
    """Blocks put together by mean grey level; arrays of one number per bin."""

    mean: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray
    count: np.ndarray


@dataclass(frozen=True, slots=True)
class _Line:
    """Where the fit's line begins: at `start`, and above `least`."""

    start: float
    least: float

    def variance(self, parameters: np.ndarray, levels: np.ndarray) -> np.ndarray:
        p, q, *quadratic = np.exp(np.clip(parameters, -60, 60))
        above = levels - self.start
        variance = self.least + p + q * above
        if quadratic:
            variance = variance + quadratic[0] * above**2
        return np.maximum(variance, 1e-3 * self.least)


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
    blocks, is_cut = _without_clipped(blocks)
    if len(blocks) < 5:
        raise ValueError(f"only {len(blocks)} blocks of 8 x 8 voxels show noise")
    bins = _binned(blocks)
    rho = bins.fine / bins.coarse
    whiteness = float(np.quantile(rho, 0.75))
    gain, offset, is_bent = _fit(bins.mean, bins.fine, bins.count, blocks, is_cut)
    verdict: Verdict = "white"
    variances = bins.fine
    if whiteness <= 0.75:
        even = np.quantile(rho, 0.9) < 1.25 * np.median(rho)
        verdict = "correlated" if even and not is_bent else "not to be trusted"
        if verdict == "correlated":
            variances = bins.coarse
            gain, offset, _ = _fit(bins.mean, variances, bins.count, blocks, is_cut)
    gain, offset = _held(gain, offset, levels)
    low, high = (gain * levels.quantile(q) + offset for q in (0.01, 0.99))
    fit = NoiseFit(
        gain=gain,
        offset=offset,
        gain_interval=(gain, gain),
        offset_interval=(offset, offset),
        is_gaussian=bool(high < 1.1 * low),
        noise_std=float(np.sqrt(max(0.0, gain * levels.quantile(0.5) + offset))),
        verdict=verdict,
        whiteness=whiteness,
        levels=tuple(map(float, bins.mean)),
        variances=tuple(map(float, variances)),
        counts=tuple(map(float, bins.count)),
        quantiles=tuple((share, levels.quantile(share)) for share in SHARES),
        clipped=levels.share_below(-offset / gain - 3 / 8 * gain),
        saturated=0.0
        if levels.saturation is None
        else float(levels.counts[-1] / levels.counts.sum()),
        saturation=levels.saturation,
    )
    return fit


def _without_clipped(blocks: Blocks) -> tuple[Blocks, bool]:
    """Blocks without those that black clips, and whether that leaves some out.

    Where little would remain they stay: zeros of photon counting are data.
    """
    kept = blocks.dark <= 0.02
    if kept.all() or kept.sum() < max(60, 0.02 * len(blocks)):
        return blocks, False
    if np.ptp(blocks.mean[kept]) < 0.6 * np.ptp(blocks.mean):
        return blocks, False
    return blocks[kept], True


def _binned(blocks: Blocks) -> _Bins:
    """The flattest blocks of each of up to 32 ranges of levels."""
    root = np.sqrt(blocks.mean - blocks.mean.min())
    number = np.minimum((root / (root.max() or 1) * 32).astype(int), 31)
    order = np.argsort(number, kind="stable")
    least = 5 if len(blocks) <= 400 else 12
    edges = np.searchsorted(number[order], np.arange(33))
    groups: list[np.ndarray] = []
    begin = 0
    for end in edges[1:]:
        if end - begin >= least:
            groups.append(order[begin:end])
            begin = int(end)
    if begin < len(order):
        rest = order[begin:]
        if groups:
            groups[-1] = np.concatenate([groups[-1], rest])
        else:
            groups.append(rest)
    columns = []
    for group in groups:
        count = max(3, round(0.3 * len(group)))
        flat = group[np.argsort(blocks.texture[group], kind="stable")[:count]]
        columns.append(
            (
                blocks.mean[flat].mean(dtype=float),
                _capped_mean(blocks.fine[flat]),
                _capped_mean(blocks.coarse[flat]),
                float(len(flat)),
            )
        )
    return _Bins(*np.array(columns).T)


def _capped_mean(values: np.ndarray) -> float:
    values = values.astype(float)
    median = np.median(values)
    return float(np.minimum(values, 3 * median).mean() if median > 0 else values.mean())


def _fit(
    mean: np.ndarray,
    variance: np.ndarray,
    count: np.ndarray,
    blocks: Blocks,
    is_cut: bool,
) -> tuple[float, float, bool]:
    """Gain and offset, and whether the variance bends upward."""
    start = float(np.quantile(blocks.mean, 0.002))
    darkest = blocks[np.argsort(blocks.mean)[: max(5, len(blocks) // 20)]]
    flatter = darkest.texture <= np.median(darkest.texture)
    least = (0.9 if is_cut else 0.3) * float(np.median(darkest.fine[flatter]))
    line = _Line(start, max(least, 1e-12))
    scale = np.sqrt(2 / (17 * count) + 0.05**2)

    def cost(parameters: np.ndarray) -> float:
        e = np.log(variance / line.variance(parameters, mean)) / scale
        return float(np.where(e < 0, e**2, 4 * np.log1p(e**2 / 4)).sum())

    slope = max(np.ptp(variance), 1e-9) / max(np.ptp(mean), 1e-9)
    starts = [
        np.log([a * line.least, b * slope]) for a in (0.3, 3.0) for b in (0.1, 1.0)
    ]
    best, lowest = _minimum(cost, starts)
    p, q = np.exp(best)
    gain = float(q)
    return gain, float(line.least + p - gain * start), False


def _minimum(
    cost: Callable[[np.ndarray], float], starts: Sequence[np.ndarray]
) -> tuple[np.ndarray, float]:
    found = [
        minimize(cost, s, method="Nelder-Mead", options={"maxiter": 400})
        for s in starts
    ]
    best = min(found, key=lambda result: float(result.fun))
    return np.asarray(best.x), float(best.fun)


def _held(gain: float, offset: float, levels: Levels) -> tuple[float, float]:
    """Gain and offset, held so that hardly a voxel lies below the floor."""
    sd = np.sqrt(max(0.0, gain * levels.quantile(0.5) + offset))
    gain = max(gain, 2e-4 * float(sd), 1e-9)
    return gain, max(offset, -gain * levels.quantile(0.005) - 3 / 8 * gain**2)
