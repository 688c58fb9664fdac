"""Plots of work over time: how much of it, and which workers were at it."""

from collections.abc import Sequence

import numpy as np

from denoise_daisy.reports.figures import BLUE, GREY, INK, axes, data_uri

WIDTH, HEIGHT = 5.0, 2.2
"""Of a plot, in inches."""

ROW, MOST_ROWS, MOST_NAMED = 0.19, 24, 16
"""Inches of a worker's row; how many have that much room, or a name beside them."""


def rate_plot(edges: np.ndarray, rates: np.ndarray, unit: str, what: str) -> str:
    """Something per time, over time from `edges[0]` to `edges[-1]`; as a URI."""
    figure, plot = axes(
        f"{unit} since the first block", what, width=WIDTH, height=HEIGHT
    )
    plot.stairs(rates, edges, fill=True, color=BLUE, alpha=0.25, linewidth=0)
    plot.stairs(rates, edges, color=BLUE, linewidth=1.2, baseline=None)
    plot.set_xlim(edges[0], edges[-1])
    plot.set_ylim(0, 1.1 * max(float(rates.max(initial=0)), 1e-9))
    return data_uri(figure)


def workers_plot(
    edges: np.ndarray, busy: np.ndarray, unit: str, names: Sequence[str]
) -> str:
    """How busy each worker was over time, a row each, from 0 to 1; as a URI."""
    rows = busy.shape[0]
    height = 0.75 + ROW * min(max(rows, 2), MOST_ROWS)
    figure, plot = axes(f"{unit} since the first block", "", width=WIDTH, height=height)
    for spine in ("left", "bottom"):
        plot.spines[spine].set_visible(False)
    # Else the eye would not find the row of a worker that did nothing.
    plot.set_facecolor(f"{GREY}26")
    shade = np.zeros((*busy.shape, 4))
    shade[..., :3] = [int(BLUE[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    shade[..., 3] = np.clip(busy, 0, 1)
    extent = (float(edges[0]), float(edges[-1]), rows - 0.5, -0.5)
    plot.imshow(shade, extent=extent, aspect="auto", interpolation="none")
    if rows <= MOST_NAMED:
        plot.set_yticks(range(rows), [*names], parse_math=False)
        plot.hlines(np.arange(1, rows) - 0.5, *plot.get_xlim(), color=INK, lw=0.4)
    else:
        plot.set_ylabel(f"{len(names)} workers")
        plot.set_yticks([])
    plot.tick_params(axis="y", length=0)
    return data_uri(figure)
