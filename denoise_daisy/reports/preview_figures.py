"""The plots of a preview: a residual's figures, and a line through the image."""

from collections.abc import Sequence

import numpy as np

from denoise_daisy.reports.figures import BLUE, GREY, ORANGE, axes, data_uri, legend


def correlation_plot(along_y: Sequence[float], along_x: Sequence[float]) -> str:
    """Correlation of a residual with itself, by distance in voxels."""
    figure, plot = axes("distance in voxels", "correlation")
    plot.axhline(0, color=GREY, linewidth=0.8)
    for along, color, label in (
        (along_y, BLUE, "along y"),
        (along_x, ORANGE, "along x"),
    ):
        lags = range(1, len(along))
        plot.plot(lags, along[1:], "o-", color=color, label=label, markersize=4)
    most = max((abs(r) for r in (*along_y[1:], *along_x[1:])), default=0.0)
    limit = max(0.25, 1.15 * most)
    plot.set_ylim(-limit, limit)
    plot.set_xticks(range(1, max(len(along_y), len(along_x))))
    legend(plot, "upper right")
    return data_uri(figure)


def variance_plot(
    levels: Sequence[float],
    variances: Sequence[float],
    model: tuple[float, float] | None,
) -> str:
    """Variance of a residual by grey level, and that of a noise model."""
    figure, plot = axes("grey level", "variance")
    plot.plot(levels, variances, "o", color=BLUE, label="residual", markersize=4)
    if model is not None:
        ends = np.array([min(levels), max(levels)], float)
        expected = np.maximum(model[0] * ends + model[1], 0)
        plot.plot(ends, expected, "-", color=ORANGE, label="noise model")
    plot.set_ylim(bottom=0)
    plot.margins(y=0.3)
    legend(plot, "upper left")
    return data_uri(figure)


def profile_plot(begin: int, raw: np.ndarray, denoised: np.ndarray) -> str:
    """Grey levels along a line of voxels, of which the first lies at `begin`."""
    figure, plot = axes("x in voxels", "grey level")
    places = begin + np.arange(raw.size)
    plot.plot(places, raw, color=GREY, linewidth=0.9, label="raw")
    plot.plot(places, denoised, color=BLUE, linewidth=1.6, label="denoised")
    low, high = (float(f(raw)) for f in (np.min, np.max))
    room = max(high - low, 1e-6)
    # The legend has a place of its own, above the line.
    plot.set_ylim(low - 0.05 * room, high + 0.3 * room)
    legend(plot, "upper right", columns=2)
    return data_uri(figure)
