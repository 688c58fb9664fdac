"""Levels of a multiscale pyramid: cells of voxels become one voxel; no I/O.

Blocks are arrays of ``(t, c, z, y, x)``; shapes and factors are in voxels of
``(t, z, y, x)``, because channels are never pooled.  Cells are counted from the block's
first voxel, and the last cell along an axis holds the voxels there are.  So blocks that
begin at multiples of the factors pool to the bits of the whole image.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

Method = Literal["mean", "nearest", "mode"]

_Cut = tuple[slice, slice, int]
"""Along one axis: cells, the voxels that they hold, and voxels per cell."""


def pool(block: np.ndarray, factors: Sequence[int], method: Method) -> np.ndarray:
    """One voxel per cell of `factors` voxels of ``(t, z, y, x)``, of the same type.

    - mean: of integers rounded to nearest (to even at .5); of float32 summed up as
      float64.  The type is unsigned or float32.
    - nearest: the cell's first voxel.
    - mode: the cell's most frequent value, and of several the smallest.
    """
    t, z, y, x = factors
    if method == "nearest":
        return np.ascontiguousarray(block[::t, :, ::z, ::y, ::x])
    pool_whole_cells = _mean if method == "mean" else _mode
    steps = (t, 1, z, y, x)
    pooled = np.empty(pooled_shape(block.shape, steps), block.dtype)
    cuts = [_cuts(n, step) for n, step in zip(block.shape, steps, strict=True)]
    for cut in itertools.product(*cuts):
        cells, voxels, sizes = zip(*cut, strict=True)
        pooled[cells] = pool_whole_cells(block[voxels], sizes)
    return pooled


def pooled_shape(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    """Number of cells per axis, whatever the axes."""
    return tuple(math.ceil(n / f) for n, f in zip(shape, factors, strict=True))


def next_factors(
    shape: Sequence[int], scale: Sequence[float | None]
) -> tuple[int, ...]:
    """Factors of ``(t, z, y, x)`` from a level to the next: 2 or 1, and 1 along t.

    Halved is an axis of more than one voxel that is less than twice as coarse as the
    finest such axis, so that voxels become more nearly cubic from level to level.

    Parameters
    ----------
    shape
        Voxels of the level along ``(t, z, y, x)``.
    scale
        Size of the level's voxels along ``(z, y, x)``.  None, where not recorded, is
        as fine as the finest axis.
    """
    axes = list(zip(shape[1:], scale, strict=True))
    finest = min((size for n, size in axes if n > 1 and size is not None), default=1.0)
    spatial = (
        2 if n > 1 and (size is None or size < 2 * finest) else 1 for n, size in axes
    )
    return (1, *spatial)


def _cuts(extent: int, factor: int) -> Iterator[_Cut]:
    """The whole cells along an axis, and the cell that holds what is left."""
    whole, rest = divmod(extent, factor)
    if whole:
        yield slice(0, whole), slice(0, whole * factor), factor
    if rest:
        yield slice(whole, whole + 1), slice(whole * factor, extent), rest


def _mean(block: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Means of cells of `sizes` voxels of ``(t, c, z, y, x)``, all whole."""
    count = math.prod(sizes)
    is_integer = np.issubdtype(block.dtype, np.integer)
    wide = np.dtype(np.float64)
    if is_integer:
        wide = np.min_scalar_type(int(np.iinfo(block.dtype).max) * count)
    # The axis that shrinks most comes first, so that sums take little memory.
    total = block
    for axis in sorted(range(block.ndim), key=lambda axis: -sizes[axis]):
        if sizes[axis] > 1:
            first, *others = _members(total, axis, sizes[axis])
            total = first.astype(wide)
            for other in others:
                total += other
    mean: np.ndarray = np.divide(total, count, dtype=np.float64)
    if is_integer:
        np.rint(mean, out=mean)
    return mean


def _mode(block: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Modes of cells of `sizes` voxels of ``(t, c, z, y, x)``, all whole."""
    members = [block]
    for axis, size in enumerate(sizes):
        members = [m for part in members for m in _members(part, axis, size)]
    ordered = np.stack(members)
    ordered.sort(axis=0)
    mode: np.ndarray = ordered[0].copy()
    run = np.ones(mode.shape, np.min_scalar_type(len(members)))
    longest = run.copy()
    for previous, value in itertools.pairwise(ordered):
        run *= value == previous
        run += 1
        is_longer = run > longest
        np.copyto(longest, run, where=is_longer)
        np.copyto(mode, value, where=is_longer)
    return mode


def _members(block: np.ndarray, axis: int, size: int) -> list[np.ndarray]:
    """The first, second, ... voxels of all cells along an axis."""
    before = (slice(None),) * axis
    return [block[(*before, slice(i, None, size))] for i in range(size)]
