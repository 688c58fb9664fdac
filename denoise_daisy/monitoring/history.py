"""What was done when, and by whom: the blocks of a start as columns, put into bins."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

BINS = 120
"""Spans of time that a plot shows."""


ROW = np.dtype(
    [
        ("ended", "f8"),  # in seconds since 1970; of a block under way, now
        ("seconds", "f8"),  # how long it took, or so far
        ("voxels", "f8"),  # that were denoised; 0 of other stages
        ("blocks", "f8"),  # 1; of a block under way what part of it is done, about
        ("worker", "i4"),  # number in `History.workers`
    ]
)
"""A block that a start has done, or that is under way."""


@dataclass(frozen=True, eq=False, slots=True)
class History:
    """What was done since a start, in any order."""

    rows: np.ndarray
    """Of `ROW`."""
    workers: Sequence[str]

    @property
    def begin(self) -> float:
        """When the first block was begun."""
        return float((self.rows["ended"] - self.rows["seconds"]).min())

    @property
    def end(self) -> float:
        """When the last one was done."""
        return float(self.rows["ended"].max())

    def times_there(self) -> np.ndarray:
        """Seconds from the first block to the last, of each worker that has any."""
        begins = np.full(len(self.workers), np.inf)
        ends = np.full(len(self.workers), -np.inf)
        began = self.rows["ended"] - self.rows["seconds"]
        np.minimum.at(begins, self.rows["worker"], began)
        np.maximum.at(ends, self.rows["worker"], self.rows["ended"])
        there: np.ndarray = (ends - begins)[np.isfinite(begins)]
        return there


NO_HISTORY = History(np.zeros(0, ROW), ())


def rows_of(
    ended: np.ndarray, seconds: np.ndarray, voxels: np.ndarray, worker: np.ndarray
) -> np.ndarray:
    """Blocks that are done, of their columns."""
    rows = np.ones(ended.size, ROW)
    rows["ended"], rows["seconds"] = ended, seconds
    rows["voxels"], rows["worker"] = voxels, worker
    return rows


def spread(edges: np.ndarray, rows: np.ndarray, what: str) -> np.ndarray:
    """How much fell between each two edges, if each block was done evenly in its time.

    `what` is a column of the rows.
    """
    rows = rows[rows[what] != 0]
    seconds = np.maximum(rows["seconds"], 1e-3)
    began, rates = rows["ended"] - seconds, rows[what] / seconds
    so_far = _ramps(edges, began, rates) - _ramps(edges, rows["ended"], rates)
    between: np.ndarray = np.diff(so_far)
    # Where none was at work, nothing was done: no trace of numbers that were rounded.
    begun = np.searchsorted(np.sort(began), edges[1:])
    over = np.searchsorted(np.sort(rows["ended"]), edges[:-1], side="right")
    exact: np.ndarray = np.where(begun > over, np.maximum(between, 0), 0)
    return exact


def _ramps(edges: np.ndarray, starts: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """What has come by each edge, if each goes on for ever once it has begun."""
    order = np.argsort(starts)
    starts, rates = starts[order], rates[order]
    begun = np.searchsorted(starts, edges)
    rate = np.concatenate([[0.0], np.cumsum(rates)])
    # From the first edge on, for the numbers to be small.
    offset = np.concatenate([[0.0], np.cumsum(rates * (starts - edges[0]))])
    ramps: np.ndarray = rate[begun] * (edges - edges[0]) - offset[begun]
    return ramps


def busy_shares(edges: np.ndarray, history: History, most: int) -> np.ndarray:
    """How busy each worker was between each two edges, ``(worker, bin)``, 0 to 1.

    Of more than `most` workers, so many in a row are put together that fewer are left.
    """
    each = -(-max(len(history.workers), 1) // most)
    rows = -(-len(history.workers) // each)
    numbers = history.rows["worker"] // each
    order = np.argsort(numbers, kind="stable")
    rows_in_order = history.rows[order]
    bounds = np.searchsorted(numbers[order], np.arange(rows + 1))
    busy = np.zeros((rows, edges.size - 1))
    for row, (a, b) in enumerate(pairwise(bounds)):
        if b > a:
            busy[row] = spread(edges, rows_in_order[a:b], "seconds")
    members = np.bincount(np.arange(len(history.workers)) // each, minlength=rows)
    shares: np.ndarray = busy / (np.diff(edges) * members[:, None])
    return shares
