"""How many blocks will be written as they are: guessed from a few planes of some."""

import math
from dataclasses import dataclass

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.as_is import nothing_above
from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.images.image import Image, roi_of, valid_in

MOST_BLOCKS = 64
MOST_BYTES = 64 << 20
"""Blocks that are looked at, and bytes of voxels that are read of them, at most (one
plane more than that at worst)."""

GOLDEN = 0.618


@dataclass(frozen=True, slots=True)
class AsIsShare:
    """What was found of the blocks that were looked at."""

    share: float
    """Part of them in which nothing was found; of all blocks at most about so many."""
    blocks: int
    """How many they are."""
    is_certain: bool
    """Whether that is all there is to read."""


def skipped_share(image: Image, grid: BlockGrid, below: float | None) -> AsIsShare:
    """The share of blocks that `AsIs` would leave, from about 64 MiB of the image.

    `below` is `blocks.skip.below`; None where that is not asked for.

    Raises
    ------
    InputError
        The planes that are to be looked at can't be read.
    """
    left = looked_at = spent = 0
    is_certain = True
    chosen = _spread(grid.size)
    for flat in chosen:
        if spent >= MOST_BYTES:
            break
        index = tuple(map(int, np.unravel_index(flat, grid.shape)))
        allowed = (MOST_BYTES - spent) // (len(chosen) - looked_at)
        is_left, read, is_whole = _look(image, grid, index, below, allowed)
        left, spent, looked_at = left + is_left, spent + read, looked_at + 1
        is_certain &= is_whole or not is_left
    return AsIsShare(left / looked_at, looked_at, is_certain and looked_at == grid.size)


def _look(
    image: Image, grid: BlockGrid, index: Index, below: float | None, allowed: int
) -> tuple[bool, int, bool]:
    """Whether a block seems to be left, the bytes read of it, and whether it is sure.

    So many bytes are allowed, or a plane.
    """
    there = valid_in(image, grid.write_roi(index))
    if there is not None and not there.any():
        return True, 0, True
    if below is None:
        return False, 0, True
    roi = grid.read_roi(index).intersect(roi_of(image))
    t, z, y, x = roi.shape
    each, count = image.shape[1] * y * x * image.dtype.itemsize, t * z
    looks = max(1, min(count, allowed // each))
    for i in range(looks):
        at = Coordinate(*divmod((2 * i + 1) * count // (2 * looks), z), 0, 0)
        plane = Roi(roi.begin + at, (1, 1, y, x))
        t_range, z_range, y_range, x_range = plane.to_slices()
        voxels = image[t_range, slice(None), z_range, y_range, x_range]
        if not nothing_above(voxels, valid_in(image, plane), below):
            return False, (i + 1) * each, True
    return True, looks * each, looks == count


def _spread(size: int) -> list[int]:
    """Blocks spread over all, each once; so are the first few of them."""
    step = max(1, round(GOLDEN * size))
    while math.gcd(step, size) > 1:
        step += 1
    return [(size // 2 + i * step) % size for i in range(min(size, MOST_BLOCKS))]
