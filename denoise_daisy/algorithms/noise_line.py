"""The line ``variance = gain * mean + offset``, through variances found by level."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import ndtr

from denoise_daisy.algorithms.noise_bins import FREEDOM

MISFIT = 0.05
"""Relative error of a bin's variance that more blocks do not make less."""

_ABOVE = np.linspace(-4, 6, 81)
"""How far above black true levels lie, in standard deviations there."""

_BELOW_BLACK = ndtr(-_ABOVE)
_DENSITY = np.exp(-(_ABOVE**2) / 2) / math.sqrt(2 * math.pi)

_SEEN = _ABOVE * (1 - _BELOW_BLACK) + _DENSITY
"""How far above black their means are once clipped, in the same unit."""

_VARIANCE = _SEEN * (_ABOVE - _SEEN) + (1 - _BELOW_BLACK)
"""Variance that is left, by the variance there."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is above 0 at all levels that were seen.

    ``variance = least + dark + gain * (level - start) + bend * (level - start)**2``.
    """

    start: float
    """The darkest level."""

    least: float
    """Variance that is there at the least."""

    black: float | None = None
    """The lowest level that the format or the camera knows: what is darker is clipped
    to it. None where nothing is."""

    dark: float = 0.0
    gain: float = 0.0
    bend: float = 0.0
    """Of texture that grows with the signal; no part of the noise."""

    cost: float = math.inf
    """How badly it fits; that of two lines may be compared."""

    @property
    def offset(self) -> float:
        """Variance at level 0."""
        return self.least + self.dark - self.gain * self.start

    def variance(self, levels: np.ndarray) -> np.ndarray:
        """What is to be seen at levels that were seen."""
        if self.black is not None:
            return self._clipped(levels, self.black)
        return self._true(levels)

    def fitted(
        self,
        levels: np.ndarray,
        variances: np.ndarray,
        counts: np.ndarray,
        *,
        is_bent: bool = False,
    ) -> "Line":
        """The line through variances of as many blocks, found from this one.

        A bin's error is relative.  What lies above the line counts less than what lies
        below: structure only adds.
        """
        scale = np.sqrt(2 / (FREEDOM * counts) + MISFIT**2)

        def line(logs: np.ndarray) -> Line:
            dark, gain, *bend = np.exp(np.clip(logs, -200, 200)).tolist()
            return replace(self, dark=dark, gain=gain, bend=bend[0] if bend else 0.0)

        def cost(logs: np.ndarray) -> float:
            error = np.log(variances / line(logs).variance(levels)) / scale
            above = 4 * np.log1p(error**2 / 4)
            return float(np.where(error < 0, error**2, above).sum())

        found = [
            _minimum(cost, start)
            for start in self._starts(levels, variances, is_bent=is_bent)
        ]
        best = min(found, key=lambda one: float(one.fun))
        return replace(line(best.x), cost=float(best.fun))

    def _starts(
        self, levels: np.ndarray, variances: np.ndarray, *, is_bent: bool
    ) -> Sequence[np.ndarray]:
        """Logarithms of the parameters to begin from: this line's, if it has some."""
        span = max(float(np.ptp(levels)), 1e-9 * abs(self.start), 1e-300)
        slope = max(float(np.ptp(variances)), self.least) / span
        if self.gain > 0:
            known = [max(self.dark, 1e-3 * self.least), max(self.gain, 1e-3 * slope)]
            bends = [max(self.bend, 0.1 * slope / span)] if is_bent else []
            return [np.log([*known, *bends])]
        return [
            np.log([dark * self.least, gain * slope])
            for dark in (0.3, 3.0)
            for gain in (0.1, 1.0)
        ]

    def _true(self, levels: np.ndarray) -> np.ndarray:
        above = levels - self.start
        variance = self.least + self.dark + self.gain * above + self.bend * above**2
        return np.maximum(variance, 1e-3 * self.least)

    def _clipped(self, levels: np.ndarray, black: float) -> np.ndarray:
        """After Foi et al. 2008: mean and variance of what was clipped to black."""
        at_black = max(self.gain * black + self.offset, self.least)
        # The level that lies w standard deviations above black is noisy by the root of
        # sd**2 = at_black + gain * w * sd.
        half = self.gain * _ABOVE / 2
        sd = half + np.sqrt(half**2 + at_black)
        seen = black + _SEEN * sd
        clipped = np.interp(levels, seen, _VARIANCE * sd**2)
        return np.where(levels < seen[-1], clipped, self._true(levels))


def _minimum(cost: Callable[[np.ndarray], float], start: np.ndarray) -> Any:
    """By Nelder and Mead, to a part in a thousand of parameters told as logarithms."""
    simplex = np.vstack([start, start + 0.3 * np.eye(len(start))])
    options = {"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-3, "maxiter": 400}
    return minimize(cost, start, method="Nelder-Mead", options=options)
