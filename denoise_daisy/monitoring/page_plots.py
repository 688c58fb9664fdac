"""The plots of a run's page: how fast it was, and who was at work, over time."""

from dataclasses import dataclass

import numpy as np

from denoise_daisy.amounts import duration
from denoise_daisy.monitoring.history import BINS, History, busy_shares, spread
from denoise_daisy.monitoring.page_words import rate
from denoise_daisy.reports.work_figures import MOST_ROWS, rate_plot, workers_plot

UNITS = ((180, 1, "seconds"), (3 * 3600, 60, "minutes"), (4 * 86400, 3600, "hours"))
"""Up to which span of time which unit is used, and how many seconds it has."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot, and what it shows in words."""

    uri: str
    caption: str
    words: str
    """For those who do not see it."""


def plots_of(history: History, now: float | None) -> tuple[Plot, ...]:
    """Speed, blocks and workers over time, up to now if the run goes on."""
    if not history.rows.size:
        return ()
    begin, end = history.begin, max(history.end, now or 0.0)
    length, unit = _unit(end - begin)
    edges = np.linspace(begin, max(end, begin + 1), BINS + 1)
    shown = (edges - begin) / length
    plots = []
    if history.rows["voxels"].any():
        speeds = spread(edges, history.rows, "voxels") / 1e6 / np.diff(edges)
        uri = rate_plot(shown, speeds, unit, "Mvoxel/s")
        caption = "Denoised, in millions of voxels per second."
        plots.append(Plot(uri, caption, _said(speeds, edges)))
    per_minute = 60 * spread(edges, history.rows, "blocks") / np.diff(edges)
    uri = rate_plot(shown, per_minute, unit, "blocks per minute")
    plots.append(
        Plot(uri, "Blocks per minute, of all stages.", _said(per_minute, edges))
    )
    return (*plots, _workers(history, edges, shown, unit))


def _workers(history: History, edges: np.ndarray, shown: np.ndarray, unit: str) -> Plot:
    busy = busy_shares(edges, history, 10 * MOST_ROWS)
    uri = workers_plot(shown, busy, unit, history.workers)
    worked = float(history.rows["seconds"].sum())
    there = history.times_there()
    return Plot(
        uri,
        "Workers, a row each: the darker, the more of the time was spent at blocks.",
        f"{there.size} {'worker was' if there.size == 1 else 'workers were'} at blocks"
        f" for {duration(worked)} together, which is"
        f" {min(1.0, worked / max(float(there.sum()), 1e-9)):.0%} of the time from the"
        " first block of each to its last.",
    )


def _said(rates: np.ndarray, edges: np.ndarray) -> str:
    last = rates[-max(1, rates.size // 10) :]
    return (
        f"{rate(float(rates.mean()))} on average over the"
        f" {duration(edges[-1] - edges[0])} shown, {rate(float(last.mean()))} in the"
        f" last tenth of them, {rate(float(rates.max()))} at most."
    )


def _unit(span: float) -> tuple[int, str]:
    for most, length, name in UNITS:
        if span <= most:
            return length, name
    return 86400, "days"
