"""Which voxels of an image its file holds, told by tiles of planes."""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

Tile = tuple[int, int, int, int]
"""First row and column in the plane, height and width."""


@dataclass(frozen=True)
class Tilings:
    """How the planes of an image are tiled; plain values, few if planes are alike."""

    layouts: tuple[tuple[Tile, ...], ...]
    """Tiles of a plane, in all the ways that occur; none in one that is missing."""
    runs: tuple[tuple[int, int, int, int], ...]
    """Where planes begin that are tiled alike, in ascending order: (t, c, z) of the
    first of them, and the number of their layout."""

    def mask(
        self, planes: Sequence[Sequence[int]], y: range, x: range
    ) -> np.ndarray | None:
        """Whether voxels are in a tile, ``(t, c, z, y, x)``; None where all are.

        `planes` has positions along t, c and z; `y` and `x` have a step of 1.
        """
        shape = (*map(len, planes), len(y), len(x))
        numbers = [self._layout_of(plane) for plane in product(*planes)]
        painted = {n: self._painted(n, y, x) for n in set(numbers)}
        if all(sheet.all() for sheet in painted.values()):
            return None
        mask = np.empty((len(numbers), len(y), len(x)), bool)
        for sheet, number in zip(mask, numbers, strict=True):
            sheet[:] = painted[number]
        return mask.reshape(shape)

    def _layout_of(self, plane: tuple[int, ...]) -> int:
        return self.runs[bisect(self.runs, (*plane, len(self.layouts))) - 1][3]

    def _painted(self, layout: int, y: range, x: range) -> np.ndarray:
        sheet = np.zeros((len(y), len(x)), bool)
        for top, left, height, width in self.layouts[layout]:
            rows = slice(max(0, top - y.start), max(0, top + height - y.start))
            columns = slice(max(0, left - x.start), max(0, left + width - x.start))
            sheet[rows, columns] = True
        return sheet
