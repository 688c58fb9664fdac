"""A volume cut in many ways at once: what each comes to, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Self

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.geometry import BlockGrid


@dataclass(frozen=True)
class ManyCuts:
    """Grids that differ in nothing but the shape of their blocks, one at each index."""

    grid: BlockGrid
    """What they have in common."""

    block_shape: np.ndarray
    """Of ``(cuts, 4)``, voxels of ``(t, z, y, x)``."""

    largest_shape: np.ndarray
    """The same of the largest read ROI."""

    size: np.ndarray
    """Number of blocks."""

    voxels_read: np.ndarray
    """By all blocks together, of one channel."""

    @classmethod
    def of(cls, grid: BlockGrid, lengths: Sequence[Sequence[int]]) -> Self:
        """All combinations of some lengths of ``(t, z, y, x)``, the last fastest."""
        each = [_along(grid, axis, each) for axis, each in enumerate(lengths)]
        shapes, largest, counts, reads = zip(*each, strict=True)
        return cls(
            grid=grid,
            block_shape=_combined(shapes),
            largest_shape=_combined(largest),
            size=_product(counts),
            voxels_read=_product(reads),
        )

    def __len__(self) -> int:
        """Number of cuts."""
        return len(self.size)

    @property
    def largest_read(self) -> np.ndarray:
        """Voxels of the largest read ROI, of one channel."""
        voxels: np.ndarray = self.largest_shape.prod(axis=1)
        return voxels

    def where(self, chosen: np.ndarray) -> Self:
        """Some of them, in the same order."""
        arrays = [each.name for each in fields(self) if each.name != "grid"]
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})

    def cut(self, index: int) -> BlockGrid:
        """One of them."""
        return replace(self.grid, block_shape=Coordinate(self.block_shape[index]))


def _along(
    grid: BlockGrid, axis: int, lengths: Sequence[int]
) -> tuple[np.ndarray, ...]:
    """Along an axis: lengths, the longest reads, how many blocks, all they read."""
    found = []
    for length in lengths:
        shape = list(grid.volume.shape)
        shape[axis] = length
        cut = replace(grid, block_shape=Coordinate(shape))
        begin, end = cut.read_range(axis, np.arange(cut.shape[axis]))
        reads = end - begin
        found.append((length, int(reads.max()), len(reads), int(reads.sum())))
    return tuple(np.array(found, np.int64).T)


def _combined(axes: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def _product(axes: Sequence[np.ndarray]) -> np.ndarray:
    """Of one number of each axis, for all combinations."""
    return reduce(np.multiply.outer, axes).ravel()
