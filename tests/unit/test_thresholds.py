"""Thresholds are scikit-image's, and windows spread over all of a volume.

Whether windows are disjoint and cover a volume is counted voxel by voxel.  A green run
would mean nothing if volumes were one window, or all few enough; a test asserts that
both kinds are common.
"""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from funlib.geometry import Roi
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import filters

from denoise_daisy.algorithms.thresholds import (
    Method,
    above,
    find_threshold,
    sample_windows,
)
from harness.properties import examples

many = examples(300)

ORACLES = {
    "otsu": filters.threshold_otsu,
    "li": filters.threshold_li,
    "triangle": filters.threshold_triangle,
}


def cells(dtype: str, shape: tuple[int, ...] = (1, 9, 40, 41)) -> np.ndarray:
    """Bright discs on a noisy background."""
    random = np.random.default_rng(3)
    noise = random.normal(30, 5, shape)
    bright = random.random((shape[0], shape[1], *[n // 8 + 1 for n in shape[2:]])) < 0.3
    for axis in (2, 3):
        bright = bright.repeat(8, axis)
    inside = bright[..., : shape[2], : shape[3]]
    return (noise + 120 * inside).clip(0).astype(dtype)


@pytest.mark.parametrize("method", ORACLES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_threshold_is_scikit_images(method: Method, dtype: str) -> None:
    sample = cells(dtype)
    before = sample.copy()
    found = find_threshold(sample, method)
    assert found == ORACLES[method](sample)
    assert type(found) is float
    assert 30 < found < 150
    assert np.array_equal(sample, before)


@pytest.mark.parametrize("method", ORACLES)
@many
@given(
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    levels=st.sampled_from([2, 6, 256]),
    seed=st.integers(0, 1000),
)
def test_a_threshold_of_any_few_values_is_scikit_images(
    method: Method, dtype: str, levels: int, seed: int
) -> None:
    sample = np.random.default_rng(seed).integers(0, levels, (2, 3, 5)).astype(dtype)
    assert find_threshold(sample, method) == ORACLES[method](sample)


@pytest.mark.parametrize("method", ORACLES)
def test_an_axis_of_three_voxels_is_not_one_of_colours(method: Method) -> None:
    """Of which scikit-image would warn, which is an error here."""
    sample = cells("uint16", (2, 5, 30, 3))
    assert find_threshold(sample, method) == ORACLES[method](sample.ravel())


@pytest.mark.parametrize("method", ORACLES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_sample_is_its_own_threshold(
    method: Method, dtype: str, value: int
) -> None:
    sample = np.full((1, 2, 3, 4), value, dtype)
    assert find_threshold(sample, method) == value
    assert not above(sample[None], [value]).any()


@pytest.mark.parametrize("method", ORACLES)
def test_what_is_no_number_is_left_out(method: Method) -> None:
    sample = cells("float32")
    expected = find_threshold(sample, method)
    more = np.array([math.nan, math.inf, -math.inf] * 5, np.float32)
    assert find_threshold(np.append(more, sample), method) == expected
    constant = np.append(more, np.float32(3.5))
    assert find_threshold(constant, method) == 3.5


@pytest.mark.parametrize("method", ORACLES)
@pytest.mark.parametrize("sample", [[], [math.nan] * 3, [math.inf, -math.inf]])
def test_nothing_is_above_the_threshold_of_no_numbers(
    method: Method, sample: list[float]
) -> None:
    value = find_threshold(np.array(sample, np.float32), method)
    assert math.isnan(value)
    block = np.array([0, math.inf], np.float32).reshape(1, 1, 1, 1, 2)
    assert not above(block, [value]).any()


def line_of(dtype: str, *values: float | np.floating) -> np.ndarray:
    return np.array(values, dtype).reshape(1, 1, 1, 1, -1)


def test_a_voxel_of_the_value_itself_is_not_above() -> None:
    assert above(line_of("uint8", 6, 7, 8), [7]).ravel().tolist() == [0, 0, 1]
    assert above(line_of("uint16", 6, 7, 8), [7.5]).ravel().tolist() == [0, 0, 1]
    third = np.float32(1 / 3)
    below, beyond = np.nextafter(third, 0), np.nextafter(third, 1)
    block = line_of("float32", below, third, beyond)
    assert above(block, [float(third)]).ravel().tolist() == [0, 0, 1]


def test_values_are_not_rounded_to_the_blocks_type() -> None:
    """As numpy would if they were Python's floats; 1/3 is below its float32."""
    assert above(line_of("float32", 1 / 3), [1 / 3]).item() == 1
    assert above(line_of("uint32", 2**32 - 1), [2**32 - 1.5]).item() == 1
    assert above(line_of("uint8", 0, 255), [-1]).ravel().tolist() == [1, 1]
    assert above(line_of("uint8", 0, 255), [300]).ravel().tolist() == [0, 0]


def test_what_is_no_number_is_not_above() -> None:
    block = line_of("float32", math.nan, math.inf, -math.inf)
    assert above(block, [0]).ravel().tolist() == [0, 1, 0]


def test_each_channel_has_a_value_of_its_own() -> None:
    block = np.full((2, 3, 1, 4, 5), 10, np.uint16)
    mask = above(block, [9, 10, 9.5])
    assert mask.dtype == np.uint8
    assert mask.shape == block.shape
    assert [int(mask[:, c].min()) for c in range(3)] == [1, 0, 1]
    assert [int(mask[:, c].max()) for c in range(3)] == [1, 0, 1]


volumes = st.tuples(
    st.integers(1, 6), st.integers(1, 12), st.integers(1, 20), st.integers(1, 20)
)
edges = st.tuples(st.integers(1, 12), st.integers(1, 20), st.integers(1, 20))


def count_windows(shape: Sequence[int], edge: Sequence[int]) -> int:
    counts = [math.ceil(n / e) for n, e in zip(shape, (1, *edge), strict=True)]
    return math.prod(counts)


@many
@given(volumes, st.integers(1, 40), edges)
def test_windows_are_disjoint_inside_and_no_larger_than_allowed(
    shape: tuple[int, ...], most: int, edge: tuple[int, ...]
) -> None:
    windows = list(sample_windows(shape, most, edge))
    there_are = count_windows(shape, edge)
    assert len(windows) == min(most, there_are)
    seen = np.zeros(shape, int)
    for window in windows:
        assert Roi((0, 0, 0, 0), shape).contains(window)
        pairs = list(zip(window.shape, (1, *edge), strict=True))
        assert all(1 <= n <= e for n, e in pairs)
        seen[window.to_slices()] += 1
    assert seen.max() == 1
    if there_are <= most:
        assert seen.min() == 1


@many
@given(volumes, st.integers(2, 40), edges)
def test_windows_reach_both_ends_of_every_axis(
    shape: tuple[int, ...], most: int, edge: tuple[int, ...]
) -> None:
    windows = list(sample_windows(shape, most, edge))
    for axis, extent in enumerate(shape):
        assert min(window.begin[axis] for window in windows) == 0
        assert max(window.end[axis] for window in windows) == extent


def test_windows_of_a_long_series_are_spread_over_it() -> None:
    times = [window.begin[0] for window in sample_windows((1000, 40, 2000, 2000))]
    assert len(times) == 32
    assert (times[0], times[-1]) == (0, 999)
    gaps = np.diff(times)
    assert gaps.min() >= 31
    assert gaps.max() <= 34


def test_windows_of_a_deep_stack_are_spread_over_it() -> None:
    planes = [window.begin[1] for window in sample_windows((1, 4000, 2000, 2000))]
    assert len(planes) == 32
    assert np.diff(planes).max() <= 160
    assert planes[-1] >= 4000 - 16


def test_many_random_volumes_have_several_windows_and_are_thinned() -> None:
    """Else the tests of this file would hold for almost anything."""
    several, thinned = 0, 0

    @settings(max_examples=200, database=None, derandomize=True)
    @given(volumes, st.integers(1, 40), edges)
    def count(shape: tuple[int, ...], most: int, edge: tuple[int, ...]) -> None:
        nonlocal several, thinned
        there_are = count_windows(shape, edge)
        several += 1 < there_are <= most
        thinned += there_are > most

    count()
    assert several > 40
    assert thinned > 40
