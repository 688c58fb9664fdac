"""The hours of a plan follow from blocks, pace and workers, as worked out by hand."""

import math
from dataclasses import replace

import pytest
from funlib.geometry import Coordinate, Roi

from denoise_daisy.geometry import BlockGrid, neighbourhood, stencil
from denoise_daisy.runs.plan_hours import Work, work_of


def row(voxels: int, block: int, reach: int = 0) -> BlockGrid:
    """A grid along x whose blocks see so far."""
    roi, context = Roi((0, 0, 0, 0), (1, 1, 1, voxels)), Coordinate(0, 0, 0, reach)
    shape = Coordinate(1, 1, 1, block)
    return BlockGrid(roi, roi, shape, context, neighbourhood(context))


@pytest.mark.parametrize(
    ("workers", "wall"), [(1, 25.0), (2, 15.0), (3, 10.0), (9, 10.0)]
)
def test_few_blocks_go_to_whoever_is_done_first(workers: int, wall: float) -> None:
    """Blocks of 10, 10 and 5 voxels, a second each."""
    work = work_of(row(25, 10), math.prod, workers)
    assert (work.worker_seconds, work.wall_seconds) == (25.0, wall)


def test_the_last_blocks_of_a_stage_keep_nobody_from_the_next() -> None:
    """Three blocks of a second each take two workers two seconds; six take three."""
    three = Work(3.0, 2.0)
    assert three.beside(three, workers=2) == Work(6.0, 3.0)
    assert three.beside(Work(0.5, 0.5), workers=2) == Work(3.5, 2.0)
    assert Work(0.5, 0.5).beside(three, workers=2) == Work(3.5, 2.0)
    assert three * 0.5 == Work(1.5, 1.0)


def test_many_blocks_are_done_in_rounds_of_the_mean_block() -> None:
    """65 blocks of 10 voxels but the last of 1: with two workers 33 rounds."""
    work = work_of(row(641, 10), math.prod, 2)
    assert work.worker_seconds == 641
    assert work.wall_seconds == pytest.approx(33 * 641 / 65)


def test_what_a_block_takes_is_counted_for_what_it_reads_and_not_in_proportion() -> (
    None
):
    """A reach of 2: 12 voxels at the ends and 14 between; and a second for each."""
    work = work_of(row(40, 10, reach=2), lambda shape: 1.0 + math.prod(shape), 1)
    assert work.worker_seconds == 4 + 12 + 14 + 14 + 12


@pytest.mark.parametrize("block", [(1, 9, 33, 20), (2, 4, 16, 16), (3, 7, 64, 64)])
def test_all_blocks_are_counted_each_with_its_own_shape(block: tuple[int, ...]) -> None:
    """As if each were asked by itself, on a grid of patches and with odd rests."""
    roi, law = (
        Roi((0, 0, 0, 0), (3, 23, 70, 61)),
        stencil(Coordinate(0, 1, 2, 2), "zyx", 2),
    )
    grid = BlockGrid(roi, roi, Coordinate(block), law.reach, law)

    def seconds(shape: tuple[int, ...]) -> float:
        return float(sum(n * n for n in shape))

    each = [seconds(tuple(grid.read_roi(i).shape)) for i in grid.indices()]
    work = work_of(grid, seconds, 1)
    assert work.worker_seconds == pytest.approx(sum(each))
    assert work.wall_seconds == pytest.approx(sum(each))


def test_the_block_to_measure_reads_most_and_is_near_the_middle() -> None:
    assert row(50, 10, reach=2).largest_index == (0, 0, 0, 2)
    assert row(60, 10, reach=2).largest_index == (0, 0, 0, 2)
    # With a wide reach the second of three reads all, the ends less.
    assert row(30, 10, reach=3).largest_index == (0, 0, 0, 1)
    # Of these the last one writes less and reads less, the first is at the border.
    uneven = replace(row(25, 10), block_shape=Coordinate(1, 1, 1, 10))
    assert uneven.largest_index == (0, 0, 0, 1)
