"""Which blocks are read of a level that begins elsewhere; the smallest crops."""

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.geometry import (
    FULL_RESOLUTION,
    BlockGrid,
    LevelTransform,
    Stencil,
    block_ranges,
    neighbourhood,
)

ALONE = Coordinate(0, 0, 0, 0)


def row(begin: int, voxels: int, block: int) -> BlockGrid:
    """A grid along x."""
    volume = Roi((0, 0, 0, begin), (1, 1, 1, voxels))
    shape = Coordinate(1, 1, 1, block)
    return BlockGrid(volume, volume, shape, ALONE, neighbourhood(ALONE))


def test_a_level_counts_its_voxels_from_where_its_volume_begins() -> None:
    """Voxels 4 to 11 of the image: two blocks, in full and in half resolution."""
    full, half = row(4, 8, 4), row(0, 4, 2)
    halved = LevelTransform(Coordinate(1, 1, 1, 2), Coordinate(0, 0, 0, 4))
    for grids in (
        (full, FULL_RESOLUTION, half, halved),
        (half, halved, full, FULL_RESOLUTION),
    ):
        first, last = block_ranges(*grids)[3]
        assert (first.tolist(), last.tolist()) == ([0, 1], [1, 2])


def test_a_crop_without_context_is_never_smaller_than_ndsafir_can_do() -> None:
    """Blocks of one voxel, of an image of five; it needs three, from every second."""
    image = Roi((0, 0, 0, 0), (1, 1, 1, 5))
    law = Stencil(
        stride=Coordinate(1, 1, 1, 2), reach=ALONE, smallest=Coordinate(1, 1, 1, 3)
    )
    grid = BlockGrid(image, image, Coordinate(1, 1, 1, 1), ALONE, law)
    begin, end = grid.read_range(3, np.arange(5))
    assert begin.tolist() == [0, 0, 2, 2, 2]
    assert end.tolist() == [3, 3, 5, 5, 5]
