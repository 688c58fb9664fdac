"""How many blocks are in which state, along t and z: a map in numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from denoise_daisy.monitoring.values import DONE, FAILED, LEFT, ORPHANED, RUNNING
from denoise_daisy.reports.block_map import span

MOST_ROWS = 60
"""Of a table; positions are put together until there are fewer."""

ORDER = (DONE, RUNNING, LEFT, FAILED, ORPHANED)
"""Of the columns."""


@dataclass(frozen=True, slots=True)
class PlaneTable:
    """Rows of names and of numbers of blocks: done, running, left, failed, orphaned."""

    along: str
    rows: tuple[tuple[str, tuple[int, ...]], ...]


def counts_by_plane(states: np.ndarray, grid: Sequence[int]) -> tuple[PlaneTable, ...]:
    """The blocks of each (t, z) by state; where these are too many, of each t and z."""
    t, z = grid[:2]
    if states.size == 0:
        return ()
    codes = states.reshape(t, z, -1)
    counts = np.stack([(codes == state).sum(axis=2) for state in ORDER], axis=2)
    if t > 1 and z > 1 and t * z > MOST_ROWS:
        return (
            PlaneTable("t", _rows("t", counts.sum(axis=1))),
            PlaneTable("z", _rows("z", counts.sum(axis=0))),
        )
    if t > 1 and z > 1:
        rows = counts.reshape(t * z, -1)
        names = [f"t {i}, z {j}" for i in range(t) for j in range(z)]
        return (PlaneTable("t and z", tuple(_paired(names, rows))),)
    axis = "t" if t > 1 else "z"
    return (PlaneTable(axis, _rows(axis, counts.reshape(t * z, -1))),)


def _rows(axis: str, counts: np.ndarray) -> tuple[tuple[str, tuple[int, ...]], ...]:
    n = len(counts)
    each = -(-n // MOST_ROWS)
    starts = np.arange(0, n, each)
    names = [f"{axis} {span(int(i), min(n, int(i) + each))}" for i in starts]
    return tuple(_paired(names, np.add.reduceat(counts, starts, axis=0)))


def _paired(
    names: Sequence[str], rows: np.ndarray
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, row in zip(names, rows.tolist(), strict=True):
        yield name, tuple(row)
