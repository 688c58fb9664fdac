"""Windows of grey levels that viewers show are those of what was written."""

import numpy as np
import pytest

from denoise_daisy.runs.contrast import _within, windows


def background(shape: tuple[int, ...]) -> np.ndarray:
    """About 100 grey levels, of 1 more or less, in every channel."""
    noise = np.random.default_rng(0).normal(100, 1, shape)
    return np.rint(noise).astype(np.uint16)


def test_what_is_bright_in_one_plane_alone_is_not_all_white() -> None:
    """Of all the stack it is far less than a thousandth."""
    image = background((1, 1, 9, 200, 200))
    image[0, 0, 4, 50:60, 50:60] = 3000
    [(low, high)] = windows(image)
    assert 90 < low < 100
    assert high == 3000


def test_a_hot_voxel_is_not_white() -> None:
    image = background((2, 1, 4, 100, 100))
    image[:, :, :, 10, 10] = 60_000
    [(_, high)] = windows(image)
    assert high < 110


def test_each_channel_has_its_own_and_every_time_counts() -> None:
    image = background((9, 2, 3, 60, 60))
    image[:, 1] *= 10
    image[8] += 50
    (first, last) = windows(image)
    assert first[0] == pytest.approx(97, abs=1)
    assert first[1] == pytest.approx(153, abs=1)
    assert last[0] == pytest.approx(970, abs=10)


def test_gaps_do_not_pull_black_to_0() -> None:
    image = background((1, 1, 4, 60, 60))
    image[..., :30] = 0
    assert windows(image)[0][0] == 0
    assert windows(image, without_zeros=True)[0][0] > 90


def test_floats_that_are_no_numbers_are_left_out() -> None:
    image = background((1, 1, 2, 60, 60)).astype(np.float32)
    image[0, 0, 0, :3] = np.nan
    image[0, 0, 1, :3] = np.inf
    [(low, high)] = windows(image)
    assert 90 < low < high < 110


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_a_constant_image_has_a_window_within_its_type(value: int) -> None:
    [(low, high)] = windows(np.full((1, 1, 2, 8, 8), value, np.uint16))
    assert (low, high) == (value, value)
    start, end = _within(low, high, 65535.0)
    assert 0 <= start <= value <= end <= 65535
    assert start < end
    start, end = _within(low, high, None)
    assert start < value < end


def test_an_image_without_a_voxel_to_show_has_a_window() -> None:
    empty = np.zeros((1, 1, 2, 8, 8), np.uint16)
    assert windows(empty, without_zeros=True) == [(0.0, 1.0)]
