"""About the grey levels that an image has without noise: means of small cells."""

from collections.abc import Sequence

import numpy as np

CELL = 4
"""Voxels along y and along x of a cell, whose mean has a fourth of the noise."""

MOST = 10_000
"""Levels that are kept of more."""


def expected_levels(
    planes: Sequence[np.ndarray], valid: Sequence[np.ndarray | None]
) -> np.ndarray:
    """Means of cells of planes of ``(y, x)``, ascending, evenly picked where many.

    `valid` tells which voxels of each plane there are, None for all; cells are counted
    that are there whole.  None are where no plane holds a cell.
    """
    found = [_means(*pair) for pair in zip(planes, valid, strict=True)]
    levels = np.sort(np.concatenate(found)) if found else np.empty(0)
    if len(levels) > MOST:
        levels = levels[np.linspace(0, len(levels) - 1, MOST).round().astype(int)]
    return levels


def _means(plane: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    means = _cells(plane).mean(axis=(1, 3), dtype=np.float64)
    there = True if valid is None else _cells(valid).all(axis=(1, 3))
    counted: np.ndarray = means[np.broadcast_to(there, means.shape)]
    return counted


def _cells(plane: np.ndarray) -> np.ndarray:
    """As ``(rows, y, columns, x)``; what is left at the far ends is left out."""
    height, width = (n // CELL for n in plane.shape)
    whole = plane[: height * CELL, : width * CELL]
    return whole.reshape(height, CELL, width, CELL)
