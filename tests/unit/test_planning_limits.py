"""Where planning changes its ways: at 64 blocks, and at 4096 shapes.

All numbers here were worked out by hand, from what planning promises: up to 64 blocks
the time is that of the worker who is done last, as the blocks are handed out one after
the other; beyond, each block counts as much as the mean, and as many rounds as it
takes.  Up to 4096 shapes all are tried; beyond, for each number of blocks along an axis
the smallest.
"""

from collections.abc import Sequence
from fractions import Fraction

import pytest
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.block_shape import Workload, choose_shape
from denoise_daisy.blockwise.limits import Limits, Pace
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import BlockGrid, neighbourhood

MIB = 1 << 20

UNIT = Coordinate(1, 1, 1, 1)


def within(memory: int) -> Limits:
    return Limits(memory=memory)


def row(voxels: int, block: int, reach: int = 0) -> BlockGrid:
    """A volume of one row, cut along x."""
    roi, context = Roi((0, 0, 0, 0), (1, 1, 1, voxels)), Coordinate(0, 0, 0, reach)
    shape = Coordinate(1, 1, 1, block)
    return BlockGrid(roi, roi, shape, context, neighbourhood(context))


# Blocks of 10 voxels, the last of 1: so many voxels, neighbours read, workers, time.
TIMES = {
    # 63 workers have 10 each, and the first that is done takes the last block.
    "64 blocks": (631, 0, 63, 11),
    "64 blocks, two workers": (631, 0, 2, 320),
    # 9 + 1 + 1 of the neighbours: 11, then 62 of 12, and 2 of the last.
    "64 blocks, a neighbour read": (631, 1, 63, 13),
    # 641 / 65 voxels each, in two rounds.
    "65 blocks": (641, 0, 64, Fraction(2 * 641, 65)),
    "65 blocks, all at once": (641, 0, 65, Fraction(641, 65)),
    "65 blocks, more workers": (641, 0, 1000, Fraction(641, 65)),
    "65 blocks, two workers": (641, 0, 2, Fraction(33 * 641, 65)),
    # 11 + 63 * 12 + 2 = 769 voxels are read.
    "65 blocks, a neighbour read": (641, 1, 64, Fraction(2 * 769, 65)),
}


PER_VOXEL = 30
"""Bytes: the 28 of ndsafir's and the 2 of an image of uint16."""


@pytest.mark.parametrize("name", TIMES)
def test_the_time_is_that_which_is_worked_out_by_hand(name: str) -> None:
    voxels, reach, workers, time = TIMES[name]
    grid = row(voxels, 10, reach)
    assert grid.size == int(name[:2])
    work = Workload(bytes_per_voxel=PER_VOXEL, base=MIB, workers=workers)
    assert work.time(grid) == time


def test_of_many_blocks_that_are_equally_quick_the_fewest_are_chosen() -> None:
    """10,000 voxels for 66 workers, one block each, or two, or four, and no others.

    66 blocks are of 152 or 153 voxels, and the smaller ones need less memory, of which
    there is just enough: 28 bytes and the 2 of the image for each voxel.  With less,
    there are two blocks for each worker, of 76.
    """
    grid = row(10_000, 10_000)
    work = Workload(bytes_per_voxel=PER_VOXEL, base=MIB, workers=66)
    assert choose_shape(grid, UNIT, work, within(MIB + 152 * 30)) == (
        1,
        1,
        1,
        152,
    )
    assert choose_shape(grid, UNIT, work, within(MIB + 152 * 30 - 1)) == (
        1,
        1,
        1,
        76,
    )


@pytest.mark.parametrize("voxels", [5_000, 600])
def test_the_least_memory_is_that_of_the_smallest_file(voxels: int) -> None:
    """Whether all shapes are tried or some: one voxel, and one read on each side."""
    grid = row(voxels, voxels, reach=1)
    work = Workload(bytes_per_voxel=PER_VOXEL, base=MIB, workers=3)
    assert choose_shape(grid, UNIT, work, within(MIB + 3 * 30)) == (1, 1, 1, 1)
    with pytest.raises(InputError, match="smallest block"):
        choose_shape(grid, UNIT, work, within(MIB + 3 * 30 - 1))


def shapes_tried(
    extent: tuple[int, ...], unit: Coordinate, t_reach: int = 0
) -> list[list[int]]:
    """Extents that are tried along each axis, each with all of the others."""
    roi, none = Roi((0, 0, 0, 0), extent), Coordinate(0, 0, 0, 0)
    reach = neighbourhood(Coordinate(t_reach, 0, 0, 0))
    # Without context, so that a block reads what it writes.
    grid = BlockGrid(roi, roi, roi.shape, none, reach)
    seen: set[tuple[int, ...]] = set()

    def steps(largest: Sequence[int]) -> float:
        """Notes the shapes whose time is asked for."""
        seen.add(tuple(largest))
        return 1e9

    pace = Pace(steps, lambda: 1e3)
    work = Workload(bytes_per_voxel=PER_VOXEL, base=MIB, workers=4, pace=pace)
    with pytest.raises(InputError, match="takes about"):
        choose_shape(grid, unit, work, Limits(memory=1 << 40, seconds=1.0))
    axes = [sorted({shape[axis] for shape in seen}) for axis in range(4)]
    assert len(seen) == len(axes[0]) * len(axes[1]) * len(axes[2]) * len(axes[3])
    return axes


OF_64 = [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 16, 22, 32, 64]
"""9 voxels make 8 blocks, as 8 do, and so on."""

OF_65 = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 17, 22, 33, 65]


def test_4096_shapes_are_all_tried() -> None:
    tried = shapes_tried((1, 1, 64, 64), UNIT)
    assert tried == [[1], [1], [*range(1, 65)], [*range(1, 65)]]


def test_of_more_the_smallest_of_each_number_of_blocks_are_tried() -> None:
    assert shapes_tried((1, 1, 64, 65), UNIT) == [[1], [1], OF_64, OF_65]


def test_shapes_are_thinned_in_whole_files_and_not_beyond_the_volume() -> None:
    """Along y 64 files and a bit, of 10 voxels; along x 65 of 1."""
    tried = shapes_tried((1, 1, 631, 65), Coordinate(1, 1, 10, 1))
    assert tried == [[1], [1], [min(10 * n, 631) for n in OF_64], OF_65]


def test_time_points_are_thinned_as_well_where_they_depend_on_each_other() -> None:
    assert shapes_tried((64, 1, 1, 65), UNIT) == [[1], [1], [1], [*range(1, 66)]]
    assert shapes_tried((64, 1, 1, 65), UNIT, t_reach=1) == [OF_64, [1], [1], OF_65]
