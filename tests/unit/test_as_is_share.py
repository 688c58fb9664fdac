"""How many blocks would be left as they are, told from a part of the image."""

import math

import numpy as np
import pytest
from funlib.geometry import Coordinate

from denoise_daisy.blockwise import as_is_share
from denoise_daisy.blockwise.as_is_share import AsIsShare, skipped_share
from denoise_daisy.geometry import BlockGrid, neighbourhood
from denoise_daisy.images.image import roi_of
from denoise_daisy.runs.skipping import skip_text
from harness.images import MemoryImage


class Counted(MemoryImage):
    """An image that counts the voxels that are read of it."""

    read = 0

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        part = self.voxels[key]
        self.read += part.size
        return part


def grid_of(
    image: MemoryImage, block: tuple[int, ...], context: tuple[int, ...]
) -> BlockGrid:
    whole, reach = roi_of(image), Coordinate(context)
    return BlockGrid(whole, whole, Coordinate(block), reach, neighbourhood(reach))


def exactly(image: MemoryImage, grid: BlockGrid, below: float) -> float:
    """The share of all blocks that read nothing above it."""
    left = []
    for index in grid.indices():
        t, z, y, x = grid.read_roi(index).to_slices()
        left.append(not (image.voxels[t, :, z, y, x] > below).any())
    return float(np.mean(left))


@pytest.mark.parametrize("seed", range(5))
def test_of_a_small_image_it_is_certain(seed: int) -> None:
    rng = np.random.default_rng(seed)
    voxels = rng.integers(0, 100, (2, 2, 6, 32, 32), np.uint16)
    for _ in range(8):
        t, c, z, y, x = (rng.integers(n) for n in voxels.shape)
        voxels[t, c, z, y, x] = 101
    image = MemoryImage(voxels)
    grid = grid_of(image, (1, 3, 16, 8), (0, 1, 2, 2))
    share = exactly(image, grid, 100)
    assert 0 < share < 1
    assert skipped_share(image, grid, 100) == AsIsShare(share, grid.size, True)


def test_blocks_that_the_file_does_not_hold_are_left_without_being_read() -> None:
    there = np.ones((1, 1, 4, 32, 32), bool)
    there[:, :, :, :24, :24] = there[:, :, 2, 24, 2] = False
    image = Counted(np.full(there.shape, 7, np.uint16), there)
    grid = grid_of(image, (1, 4, 8, 8), (0, 0, 1, 1))
    assert skipped_share(image, grid, None) == AsIsShare(9 / 16, 16, True)
    assert image.read == 0
    # Of these one has a neighbour's voxels in its context; it writes none of them.
    assert skipped_share(image, grid, 6) == AsIsShare(9 / 16, 16, True)
    assert skipped_share(image, grid, 7) == AsIsShare(1, 16, True)


def test_of_a_large_image_a_bounded_part_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A ball in its box, in blocks of which each plane is a large part of what may be.

    Blocks at its edge may look empty, where few planes of them are looked at.
    """
    z, y, x = np.ogrid[-1:1:64j, -1:1:128j, -1:1:128j]
    ball = z**2 + y**2 + x**2 < 0.6
    voxels = np.broadcast_to(
        np.where(ball, 500, 90).astype(np.uint16), (3, 2, *ball.shape)
    )
    image = Counted(voxels)
    grid = grid_of(image, (1, 16, 16, 16), (0, 1, 3, 3))
    plane = 2 * 2 * 22 * 22
    monkeypatch.setattr(as_is_share, "MOST_BYTES", 300 * plane)
    found = skipped_share(image, grid, 200)
    assert 2 * image.read <= 301 * plane
    assert found.blocks == 64 < grid.size
    assert not found.is_certain
    share = exactly(image, grid, 200)
    assert abs(found.share - share) < 3 * math.sqrt(share * (1 - share) / 64)
    monkeypatch.setattr(as_is_share, "MOST_BYTES", 10 * plane)
    few = Counted(voxels)
    assert 5 <= skipped_share(few, grid, 200).blocks <= 20
    assert 2 * few.read <= 11 * plane


@pytest.mark.parametrize(
    ("found", "hours", "text"),
    [
        (AsIsShare(0.5, 12, True), None, "6 of 12 blocks written as they are"),
        (
            AsIsShare(0.75, 12, True),
            40.0,
            "9 of 12 blocks written as they are, which saves 30 of 40 core hours",
        ),
        (
            AsIsShare(0.25, 8, False),
            1.0,
            "about 3 of 12 blocks written as they are, which saves 0.25 of 1 core hours"
            " (guessed from 8 blocks; at most so many)",
        ),
    ],
)
def test_what_is_saved_is_told_in_blocks_and_hours(
    found: AsIsShare, hours: float | None, text: str
) -> None:
    assert skip_text(found, 12, hours) == text


def test_a_block_may_be_larger_than_all_that_is_read() -> None:
    """One plane of it is looked at, in its middle."""
    voxels = np.zeros((1, 1, 9, 8, 8), np.uint16)
    voxels[0, 0, 4, 5, 5] = 300
    image = MemoryImage(voxels)
    grid = grid_of(image, (1, 9, 8, 8), (0, 0, 0, 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(as_is_share, "MOST_BYTES", 1)
        assert skipped_share(image, grid, 299) == AsIsShare(0, 1, True)
        assert skipped_share(image, grid, 300) == AsIsShare(1, 1, False)
