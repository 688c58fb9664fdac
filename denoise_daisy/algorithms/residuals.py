"""What a denoiser took away, held against what noise looks like; no I/O.

A residual is the raw image minus the denoised one.  Of white noise that was removed and
nothing else, neighbours are not correlated, the variance is the noise model's at every
grey level, and it is no larger where the image has structure.  Arrays are of one
channel, ``(..., y, x)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LAGS = 8
"""Voxels apart, up to which correlations are told."""

BINS, LEAST = 12, 64
"""Bins of grey levels, and the fewest voxels of one."""

WINDOW = 5
"""Edge of the windows in which structure and residual are compared, in voxels."""

LEAST_SHARE = 0.01
"""Of the mean variance that is expected, what is expected everywhere."""

Bins = tuple[np.ndarray, np.ndarray]
"""Mean grey levels, and the variance of the residual there."""


@dataclass(frozen=True, slots=True)
class ResidualFigures:
    """What is told of a residual."""

    along_y: tuple[float, ...]
    """Correlation of voxels that are 0, 1, 2... apart along y."""
    along_x: tuple[float, ...]
    levels: tuple[float, ...]
    """Grey levels of the denoised image, in bins."""
    variances: tuple[float, ...]
    """Of the residual, in the same bins."""
    variance: float | None
    """Of the residual, over the noise model's; None without a model."""
    structure: float
    """Correlation with the structure of the denoised image, see `structure_in`."""
    change: float
    """Of the mean grey level by denoising, over the mean of the raw image."""
    shift: float
    """The same over the standard deviation of the noise."""
    shift_error: float
    """Its standard error."""

    @property
    def neighbours(self) -> float:
        """Correlation of neighbours along y or x, whichever is stronger."""
        first = [r[1] for r in (self.along_y, self.along_x) if len(r) > 1]
        return max(first, key=abs, default=0.0)


def residual_figures(
    raw: np.ndarray, denoised: np.ndarray, model: tuple[float, float] | None
) -> ResidualFigures:
    """Hold a residual against a noise model, a gain and an offset.

    The variance of the noise is ``gain * level + offset``.  Without a model the noise
    is taken for what the residual shows at each grey level.
    """
    signal = denoised.astype(np.float64)
    residual = raw.astype(np.float64) - signal
    levels, variances = variance_by_level(residual, signal)
    if model is None:
        expected = np.interp(signal, levels, variances)
    else:
        expected = model[0] * signal + model[1]
    # Below the model's darkness it is negative, and near it tiny.
    least = max(LEAST_SHARE * float(expected.mean()), 1e-12)
    expected = np.maximum(expected, least)
    deviation = np.sqrt(expected)
    unit = residual / deviation
    mean = float(raw.mean(dtype=np.float64))
    shift, typical = -float(residual.mean()), float(np.sqrt(expected.mean()))
    return ResidualFigures(
        along_y=autocorrelation(unit, -2),
        along_x=autocorrelation(unit, -1),
        levels=tuple(levels.tolist()),
        variances=tuple(variances.tolist()),
        variance=None if model is None else float(residual.var() / expected.mean()),
        structure=structure_in(_evened(unit, signal), signal, deviation),
        change=shift / mean if mean else 0.0,
        shift=shift / typical,
        shift_error=float(residual.std()) / np.sqrt(residual.size) / typical,
    )


def autocorrelation(residual: np.ndarray, axis: int) -> tuple[float, ...]:
    """Correlation of voxels 0, 1, 2... apart along an axis; 0 where all are equal."""
    centred = np.moveaxis(residual - residual.mean(), axis, -1)
    lags = range(min(LAGS + 1, centred.shape[-1]))
    power = float(np.mean(centred**2))
    if not power:
        return tuple(0.0 for _ in lags)
    extent = centred.shape[-1]
    pairs = ((centred[..., : extent - k], centred[..., k:]) for k in lags)
    return tuple(float(np.mean(a * b)) / power for a, b in pairs)


def variance_by_level(residual: np.ndarray, signal: np.ndarray) -> Bins:
    """Variance of a residual in bins of the signal's grey levels, equally full."""
    order = np.argsort(signal, axis=None, kind="stable")
    parts = np.array_split(order, max(1, min(BINS, order.size // LEAST)))
    flat_signal, flat_residual = signal.ravel(), residual.ravel()
    levels = np.array([flat_signal[part].mean() for part in parts])
    variances = np.array([flat_residual[part].var() for part in parts])
    return levels, variances


def structure_in(
    residual: np.ndarray, signal: np.ndarray, deviation: np.ndarray
) -> float:
    """How much larger a residual is where there is structure, from -1 to 1.

    It is the correlation of two numbers of all windows of a plane: the mean size of the
    residual, and the standard deviation of the signal over the mean `deviation` of the
    noise there.  Signal that was taken for noise makes it positive; noise that was left
    at edges negative.
    """
    size = _windows(np.abs(residual))
    squares = np.maximum(_windows(signal**2) - _windows(signal) ** 2, 0)
    spread = np.sqrt(squares) / _windows(deviation)
    size, spread = size - size.mean(), spread - spread.mean()
    norm = float(np.sqrt(np.mean(size**2) * np.mean(spread**2)))
    return float(np.mean(size * spread)) / norm if norm > 1e-9 else 0.0


def _evened(residual: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """A residual whose variance is about 1 at every grey level."""
    levels, variances = variance_by_level(residual, signal)
    expected = np.interp(signal, levels, variances)
    evened: np.ndarray = residual / np.sqrt(np.maximum(expected, 1e-12))
    return evened


def _windows(values: np.ndarray) -> np.ndarray:
    """Means of all windows that lie within a plane."""
    for axis in (-2, -1):
        edge = min(WINDOW, values.shape[axis])
        view = np.lib.stride_tricks.sliding_window_view(values, edge, axis)
        values = view.mean(axis=-1)
    return values


def pure_noise(
    shape: Sequence[int], level: float, gain: float, offset: float, seed: int = 0
) -> np.ndarray:
    """An image of one grey level with the noise of a model, and nothing else.

    Photons of `gain` grey levels each arrive at random.  Where the gain is tiny against
    the noise, so that there would be very many, it is Gaussian.
    """
    rng = np.random.default_rng(seed)
    variance = max(gain * level + offset, 0.0)
    if gain > 0 and variance / gain**2 < 1e6:
        photons = variance / gain**2
        return level + gain * (rng.poisson(photons, shape) - photons)
    noise: np.ndarray = np.sqrt(variance) * rng.standard_normal(shape)
    return level + noise
