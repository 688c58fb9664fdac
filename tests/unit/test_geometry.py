"""Blocks tile the volume, share no file, and read what the tiling law asks for.

Thousands of random grids, checked voxel by voxel against definitions written down
here.  A green run would mean nothing if most grids were one block, or all read the
whole image: tests assert that both kinds of cut are common.
"""

import itertools
import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi
from hypothesis import find, given, settings
from hypothesis import strategies as st

from denoise_daisy.blockwise.block_shape import check_shape
from denoise_daisy.geometry import (
    AXES,
    BlockGrid,
    Index,
    Stencil,
    largest_radius,
    stencil,
)
from harness.properties import examples

many = examples(250)


@st.composite
def laws(draw: st.DrawFn, extent: Coordinate) -> tuple[Coordinate, Stencil]:
    """Patch radii that ndsafir survives on an image of that extent, and their law."""
    radii = []
    for axis, voxels in zip(AXES, extent, strict=True):
        largest = largest_radius(axis, voxels)
        radii.append(draw(st.integers(0, 3 if largest is None else min(3, largest))))
    active = draw(st.sampled_from(["yx", "zyx", "tyx", "tzyx"]))
    patch = Coordinate(radii)
    return patch, stencil(patch, active, draw(st.integers(1, 4)))


@st.composite
def cuts(
    draw: st.DrawFn, *, exact: bool | None = None
) -> tuple[BlockGrid, Coordinate, Coordinate]:
    """A grid of a legal block shape, the unit it was cut by, and the patch radii."""
    image, begin, shape, unit, block = [], [], [], [], []
    for most in (5, 14, 40, 40):
        extent = draw(st.integers(1, most))
        first = draw(st.integers(0, extent - 1)) if draw(st.booleans()) else 0
        last = draw(st.integers(first + 1, extent)) if draw(st.booleans()) else extent
        files = draw(st.integers(1, 8))
        voxels = last - first
        most_files = max(1, math.ceil(voxels / files))
        image.append(extent)
        begin.append(first)
        shape.append(voxels)
        unit.append(files)
        block.append(min(voxels, files * draw(st.integers(1, most_files))))
    patch, law = draw(laws(Coordinate(image)))
    is_exact = draw(st.booleans()) if exact is None else exact
    context = law.reach
    if not is_exact:
        context = Coordinate(draw(st.integers(0, r + 2)) for r in law.reach)
    grid = BlockGrid(
        Roi((0, 0, 0, 0), image),
        Roi(begin, shape),
        Coordinate(block),
        context,
        law,
    )
    return grid, Coordinate(unit), patch


grids = cuts().map(lambda cut: cut[0])


@st.composite
def blocks(
    draw: st.DrawFn, *, exact: bool | None = None
) -> tuple[BlockGrid, Index, Coordinate]:
    """One block of a grid, and the patch radii."""
    grid, _, patch = draw(cuts(exact=exact))
    index = tuple(draw(st.integers(0, count - 1)) for count in grid.shape)
    return grid, index, patch


@many
@given(grids)
def test_every_voxel_is_written_exactly_once(grid: BlockGrid) -> None:
    if grid.size > 2000:
        grid = replace(grid, block_shape=grid.block_shape * 4)
    written = np.zeros(grid.readable_roi.shape, int)
    for index in grid.indices():
        written[grid.write_roi(index).to_slices()] += 1
    assert (written[grid.volume.to_slices()] == 1).all()
    assert written.sum() == grid.voxels_written == math.prod(grid.volume.shape)


@many
@given(cuts())
def test_no_two_blocks_touch_one_file(
    cut: tuple[BlockGrid, Coordinate, Coordinate],
) -> None:
    """Along each axis, which is enough: blocks and files are both products of ranges.

    Files are counted from the volume's first voxel, for the output begins there.
    """
    grid, unit, _ = cut
    check_shape(grid.block_shape, unit, grid.volume.shape)
    for axis, count in enumerate(grid.shape):
        owners: dict[int, int] = {}
        for i in range(count):
            index = tuple(i if a == axis else 0 for a in range(4))
            write = grid.write_roi(index) - grid.volume.begin
            first = write.begin[axis] // unit[axis]
            last = (write.end[axis] - 1) // unit[axis]
            for file in range(first, last + 1):
                assert owners.setdefault(file, i) == i


@many
@given(blocks())
def test_a_block_reads_what_it_writes_within_the_image_and_on_the_patch_grid(
    block: tuple[BlockGrid, Index, Coordinate],
) -> None:
    grid, index, _ = block
    read, write = grid.read_roi(index), grid.write_roi(index)
    assert read.contains(write)
    assert grid.volume.contains(write)
    assert grid.readable_roi.contains(read)
    assert all(
        begin % stride == 0
        for begin, stride in zip(read.begin, grid.stencil.stride, strict=True)
    )


@many
@given(blocks(exact=True))
def test_a_block_reads_its_whole_reach_or_to_the_images_border(
    block: tuple[BlockGrid, Index, Coordinate],
) -> None:
    grid, index, _ = block
    read, write = grid.read_roi(index), grid.write_roi(index)
    for axis, reach in enumerate(grid.stencil.reach):
        end = grid.readable_roi.end[axis]
        assert read.begin[axis] <= max(0, write.begin[axis] - reach)
        assert read.end[axis] >= min(end, write.end[axis] + reach)


@many
@given(blocks(exact=True))
def test_a_block_reads_no_more_than_reach_stride_and_smallest_extent_ask_for(
    block: tuple[BlockGrid, Index, Coordinate],
) -> None:
    """Else a read ROI of the whole image would pass all other tests."""
    grid, index, _ = block
    read, write, law = grid.read_roi(index), grid.write_roi(index), grid.stencil
    for axis in range(4):
        needed = write.shape[axis] + 2 * law.reach[axis]
        most = max(needed, law.smallest[axis]) + law.stride[axis] - 1
        assert read.shape[axis] <= most


@many
@given(blocks())
def test_every_crop_is_one_that_ndsafir_survives_whatever_the_context(
    block: tuple[BlockGrid, Index, Coordinate],
) -> None:
    grid, index, patch = block
    read = grid.read_roi(index)
    for axis, radius, extent in zip(AXES, patch, read.shape, strict=True):
        largest = largest_radius(axis, extent)
        assert largest is None or radius <= largest, axis


def test_small_contexts_would_crash_ndsafir_if_nothing_was_done() -> None:
    """The test before is not vacuous: such blocks are found, one at each end."""
    for at_end in (False, True):

        def was_extended(
            block: tuple[BlockGrid, Index, Coordinate], *, at_end: bool = at_end
        ) -> bool:
            grid, index, patch = block
            read, write = grid.read_roi(index), grid.write_roi(index)
            is_at = read.end[3] == grid.readable_roi.end[3] > read.shape[3]
            return (
                patch[3] > 1
                and is_at == at_end
                and write.shape[3] + 2 * grid.context[3] < 2 * patch[3]
            )

        find(blocks(exact=False), was_extended, settings=settings(max_examples=20_000))


@many
@given(grids)
def test_index_at_and_flat_know_every_block(grid: BlockGrid) -> None:
    assert grid.size == math.prod(grid.shape)
    indices = list(itertools.islice(grid.indices(), 200))
    for position, index in enumerate(indices):
        assert grid.flat(index) == position
        assert index == tuple(np.unravel_index(position, grid.shape))
        assert grid.index_at(grid.write_roi(index).begin) == index
    assert len(list(grid.indices())) == grid.size


@many
@given(grids, st.randoms(use_true_random=False), st.floats(0, 1))
def test_sums_over_blocks_agree_with_counting(
    grid: BlockGrid, random: Random, share: float
) -> None:
    if grid.size > 300:
        grid = replace(grid, block_shape=grid.block_shape * 8)
    indices = list(grid.indices())
    reads = [math.prod(grid.read_roi(index).shape) for index in indices]
    writes = [math.prod(grid.write_roi(index).shape) for index in indices]
    assert grid.voxels_read == sum(reads)
    assert grid.largest_read == max(reads)
    assert grid.voxels_written == sum(writes)
    mask = np.array([random.random() < share for _ in indices])
    expected = sum(w for w, chosen in zip(writes, mask, strict=True) if chosen)
    assert grid.voxels_in(mask) == expected


def test_sums_do_not_overflow() -> None:
    """A volume of 10^14 voxels in 10^5 blocks."""
    extent = Coordinate(1000, 10_000, 3000, 3000)
    law = stencil(Coordinate(0, 0, 3, 3), "zyx", 3)
    image = Roi((0, 0, 0, 0), extent)
    grid = BlockGrid(image, image, Coordinate(1, 100, 3000, 3000), law.reach, law)
    assert grid.voxels_in(np.ones(grid.size, bool)) == math.prod(extent)
    assert grid.voxels_read > math.prod(extent)


def test_many_random_grids_have_several_blocks_and_cut_context() -> None:
    """Else the tests of this file would hold for almost anything."""
    several, cut = 0, 0

    @settings(max_examples=300, database=None, derandomize=True)
    @given(blocks(exact=True))
    def count(block: tuple[BlockGrid, Index, Coordinate]) -> None:
        nonlocal several, cut
        grid, index, _ = block
        several += grid.size > 1
        cut += grid.read_roi(index) != grid.readable_roi

    count()
    assert several > 150
    assert cut > 100


@pytest.mark.parametrize(
    ("patch", "active", "max_iter", "stride", "reach"),
    [
        ((0, 0, 3, 3), "zyx", 3, (1, 1, 4, 4), (0, 4, 25, 25)),
        ((0, 1, 1, 1), "zyx", 2, (1, 2, 2, 2), (0, 6, 7, 7)),
        ((0, 1, 1, 1), "yx", 3, (1, 2, 2, 2), (0, 7, 13, 13)),
        ((1, 0, 2, 0), "tzyx", 4, (1, 1, 3, 1), (10, 7, 31, 15)),
        ((2, 2, 1, 1), "tyx", 5, (2, 3, 2, 2), (24, 21, 41, 41)),
        ((0, 0, 0, 0), "tyx", 3, (1, 1, 1, 1), (0, 1, 7, 7)),
        ((0, 0, 0, 0), "tyx", 4, (1, 1, 1, 1), (2, 1, 15, 15)),
    ],
)
def test_the_law_in_numbers(
    patch: tuple[int, ...],
    active: str,
    max_iter: int,
    stride: tuple[int, ...],
    reach: tuple[int, ...],
) -> None:
    """By hand, from the table of what was measured."""
    law = stencil(Coordinate(patch), active, max_iter)
    assert tuple(law.stride) == stride
    assert tuple(law.reach) == reach
