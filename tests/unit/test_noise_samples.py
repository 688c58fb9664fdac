"""ndsafir calibrates samples of the whole image, not of its first corner.

> Samples spread over T, Z and intensity.

Voxels of these images tell where they lie, so that a sample tells what was looked at.
A green run would mean nothing if the image were sampled whole; no image here is.
"""

from itertools import pairwise

import numpy as np
import pytest
from demo_czi import add_noise, truth

from denoise_daisy.denoisers.calibration import find_noise, sample_image
from harness.images import MemoryImage


def positions(shape: tuple[int, ...], axis: int) -> np.ndarray:
    """An image whose voxels are their own positions along an axis."""
    along = np.arange(shape[axis], dtype=np.uint16)
    return np.broadcast_to(along.reshape([-1, *[1] * (4 - axis)]), shape)


def sampled(image: np.ndarray) -> np.ndarray:
    """The values that the samples hold, each once."""
    sample = sample_image(MemoryImage(image))
    assert sample.size < image.size
    return np.unique(sample)


@pytest.mark.parametrize("z", [1, 10, 40, 150])
def test_samples_are_spread_over_all_time_points(z: int) -> None:
    """However deep the image is: eight, from the first to the last."""
    found = sampled(positions((50, 1, z, 32, 32), axis=0))
    assert (found[0], found[-1]) == (0, 49)
    assert len(found) == 8
    assert max(b - a for a, b in pairwise(found)) <= 8


@pytest.mark.parametrize("t", [1, 3, 9])
def test_samples_are_spread_over_the_depth(t: int) -> None:
    """From the first plane to the last; of 150 no 20 in a row are left out."""
    found = sampled(positions((t, 1, 150, 32, 32), axis=2))
    assert (found[0], found[-1]) == (0, 149)
    assert max(b - a for a, b in pairwise(found)) <= 20


def test_late_time_points_are_not_all_sampled_at_the_far_end() -> None:
    shape = (8, 1, 64, 8, 8)
    sample = sample_image(MemoryImage(positions(shape, 0) * 100 + positions(shape, 2)))
    late = np.unique(sample[sample >= 400] % 100)
    early = np.unique(sample[sample < 400] % 100)
    for depths in (early, late):
        assert (depths[0], depths[-1]) == (0, 63)


@pytest.mark.parametrize("corner", [(0, 0), (1, 2), (2, 1)])
def test_samples_hold_the_brightest_place_and_an_ordinary_one(
    corner: tuple[int, int],
) -> None:
    """Wherever they lie; of nine places that are all of another brightness."""
    levels = np.roll(np.arange(9).reshape(3, 3), corner, (0, 1)) * 100
    plane = np.kron(levels, np.ones((160, 160))).astype(np.uint16)
    found = sampled(plane[np.newaxis, np.newaxis, np.newaxis])
    assert found.tolist() == [400, 800]


def test_each_channel_is_sampled_by_itself() -> None:
    image = np.arange(3, dtype=np.uint16).reshape(1, 3, 1, 1, 1)
    sample = sample_image(MemoryImage(np.broadcast_to(image, (9, 3, 2, 20, 20))))
    assert sample.shape[0] == 3
    assert [np.unique(channel).tolist() for channel in sample] == [[0], [1], [2]]


@pytest.mark.parametrize("place", ["the last time point", "the last planes"])
def test_an_image_that_shows_something_at_its_end_only_is_calibrated(
    place: str,
) -> None:
    """All before is darkness, of which no numbers can be had."""
    shown = add_noise(truth((1, 1, 16, 160, 160)))
    axis = 0 if place == "the last time point" else 2
    dark = np.full((7, 1, 16, 160, 160) if axis == 0 else (1, 1, 112, 160, 160), 100)
    image = MemoryImage(np.concatenate([dark.astype(np.uint16), shown], axis))
    numbers, _ = find_noise(image, "poisson-gaussian", "ndsafir", None)
    assert numbers.gains == pytest.approx((3.92,), rel=0.1)
