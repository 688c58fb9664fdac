"""The noise of a channel as plots: what was found where, the model, what it clips."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from denoise_daisy.reports.figures import BLUE, GREY, INK, ORANGE, axes, data_uri

WIDTH, HEIGHT = 4.6, 3.0
"""Of a plot, in inches."""

BARS = 120
"""Of a histogram, at most."""

MARGIN = 0.04
"""Part of the range of grey levels that is shown beyond it on each side."""


@dataclass(frozen=True, eq=False, slots=True)
class NoisePicture:
    """What is drawn of a channel; variance = gain * level + offset."""

    levels: tuple[float, ...]
    """Grey levels where noise was found."""
    variances: tuple[float, ...]
    """How much, there."""
    gain: float
    offset: float
    gain_interval: tuple[float, float]
    offset_interval: tuple[float, float]
    floor: float
    """What lies below this grey level is clipped."""
    seen: tuple[np.ndarray, np.ndarray]
    """Grey levels in order, and how often each was seen."""
    shown: tuple[float, float]
    """The range of grey levels to draw."""
    saturation: float | None
    other: tuple[float, float] | None
    """Gain and offset of another calibration."""


def variance_plot(picture: NoisePicture) -> str:
    """Noise over grey level: found, fitted, and of another calibration; as a URI."""
    figure, plot = axes("grey level", "variance of noise", width=WIDTH, height=HEIGHT)
    x = _x(picture, plot)
    low, high = zip(picture.gain_interval, picture.offset_interval[::-1], strict=True)
    # Gain and offset err together: the steepest line has the lowest offset.
    edges = [gain * x + offset for gain, offset in (low, high)]
    band = np.minimum(*edges), np.maximum(*edges)
    plot.fill_between(x, *band, color=BLUE, alpha=0.2, lw=0, label="95 % interval")
    line = picture.gain * x + picture.offset
    plot.plot(x, line, color=BLUE, label="model")
    if picture.other is not None:
        gain, offset = picture.other
        plot.plot(x, gain * x + offset, "--", color=ORANGE, label="ndsafir's own")
    points = picture.levels, picture.variances
    plot.plot(*points, "o", color=GREY, mec="none", label="found where it is flat")
    plot.set_ylim(0, 1.2 * max(*picture.variances, float(line.max())))
    _marks(picture, plot)
    return _with_legend(figure)


def histogram_plot(picture: NoisePicture) -> str:
    """How often each grey level was sampled, and what is clipped; as a URI."""
    figure, plot = axes("grey level", "voxels sampled", width=WIDTH, height=HEIGHT)
    _x(picture, plot)
    heights, edges = bars(picture)
    plot.stairs(heights, edges, fill=True, color=GREY, label="voxels")
    plot.set_yscale("log")
    plot.set_ylim(0.5, 2 * heights.max())
    _marks(picture, plot)
    return _with_legend(figure)


def bars(picture: NoisePicture) -> tuple[np.ndarray, np.ndarray]:
    """Heights of the histogram's bars, and their edges, one more."""
    values, counts = picture.seen
    low, high = picture.shown
    width = (high - low) / BARS
    if np.equal(values, np.rint(values)).all():
        # Else some bars hold more grey levels than others.
        low, width = low - 0.5, float(np.ceil(width))
    edges = low + width * np.arange(np.ceil((high - low) / width) + 1)
    return np.histogram(values, edges, weights=counts)


def _with_legend(figure: Any) -> str:
    figure.legend(
        loc="outside upper center", ncols=2, frameon=False, fontsize=8, labelcolor=INK
    )
    return data_uri(figure)


def _x(picture: NoisePicture, plot: Any) -> np.ndarray:
    """Grey levels across the plot, whose range is set to them."""
    low, high = picture.shown
    margin = MARGIN * (high - low)
    plot.set_xlim(low - margin, high + margin)
    return np.linspace(low - margin, high + margin, 200)


def _marks(picture: NoisePicture, plot: Any) -> None:
    """Where the model clips, and where the image is saturated."""
    low, high = plot.get_xlim()
    if low < picture.floor:
        clipped = f"clipped: below {picture.floor:.4g}"
        plot.axvspan(low, picture.floor, color=ORANGE, alpha=0.25, lw=0, label=clipped)
    if picture.saturation is not None and picture.saturation <= high:
        plot.axvline(picture.saturation, color=ORANGE, ls=":", label="saturated")
