"""Blocks read with a filter's reach are filtered to the bits of the whole image.

A green run would mean nothing if most blocks were read with all of the image, or if
reaches were larger than need be: tests assert that many are not, and measure reaches.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from denoise_daisy.algorithms.filters import (
    gaussian,
    gaussian_reach,
    median,
    median_reach,
)
from harness.properties import examples

many = examples(200)

MOST = (4, 6, 12, 30)
"""Voxels of the largest image along (t, z, y, x)."""

sigmas = st.tuples(st.sampled_from([0.0, 0.3, 1.0]), *[st.floats(0, 2.5, width=16)] * 3)
sizes = st.tuples(st.integers(1, 3), *[st.integers(1, 5)] * 3)


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    t, z, y, x = (draw(st.integers(1, most)) for most in MOST)
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    shape = (t, draw(st.integers(1, 2)), z, y, x)
    dtype = draw(st.sampled_from(["uint8", "uint16", "float32"]))
    if dtype == "float32":
        image = random.normal(0, 100, shape).astype(dtype)
        if draw(st.booleans()):
            image[random.random(shape) < 0.01] = np.nan
        return image
    return random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@st.composite
def ranges(draw: st.DrawFn, image: np.ndarray) -> list[tuple[int, int]]:
    """What a block writes, begin and end along (t, z, y, x)."""
    extents = (image.shape[0], *image.shape[2:])
    begins = [draw(st.integers(0, n - 1)) for n in extents]
    pairs = zip(begins, extents, strict=True)
    return [(begin, draw(st.integers(begin + 1, n))) for begin, n in pairs]


def part(image: np.ndarray, write: Sequence[tuple[int, int]]) -> np.ndarray:
    t, z, y, x = (slice(begin, end) for begin, end in write)
    return image[t, :, z, y, x]


def read_range(
    image: np.ndarray, write: Sequence[tuple[int, int]], reach: Sequence[int]
) -> list[tuple[int, int]]:
    """The range and its reach, clipped to the image."""
    extents = (image.shape[0], *image.shape[2:])
    return [
        (max(0, begin - r), min(n, end + r))
        for (begin, end), r, n in zip(write, reach, extents, strict=True)
    ]


def blockwise(
    image: np.ndarray,
    apply: Callable[[np.ndarray], np.ndarray],
    write: Sequence[tuple[int, int]],
    reach: Sequence[int],
) -> np.ndarray:
    """One block: read with its reach, filtered, and trimmed."""
    read = read_range(image, write, reach)
    inside = [
        (begin - first, end - first)
        for (begin, end), (first, _) in zip(write, read, strict=True)
    ]
    return part(apply(part(image, read)), inside)


@many
@given(image=images(), sigma=sigmas, data=st.data())
def test_a_gaussian_of_a_block_is_that_of_the_whole(
    image: np.ndarray, sigma: tuple[float, ...], data: st.DataObject
) -> None:
    write = data.draw(ranges(image))
    found = blockwise(image, lambda b: gaussian(b, sigma), write, gaussian_reach(sigma))
    assert found.dtype == np.float64
    assert found.tobytes() == part(gaussian(image, sigma), write).tobytes()


@many
@given(image=images(), size=sizes, data=st.data())
def test_a_median_of_a_block_is_that_of_the_whole(
    image: np.ndarray, size: tuple[int, ...], data: st.DataObject
) -> None:
    write = data.draw(ranges(image))
    found = blockwise(image, lambda b: median(b, size), write, median_reach(size))
    assert found.dtype == image.dtype
    assert found.tobytes() == part(median(image, size), write).tobytes()


def test_many_random_blocks_are_read_with_less_than_the_image() -> None:
    """And many reach beyond it, some with more than all of it."""
    cut, beyond, small = 0, 0, 0

    @settings(max_examples=100, database=None, derandomize=True)
    @given(image=images(), sigma=sigmas, size=sizes, data=st.data())
    def count(
        image: np.ndarray,
        sigma: tuple[float, ...],
        size: tuple[int, ...],
        data: st.DataObject,
    ) -> None:
        nonlocal cut, beyond, small
        extents = (image.shape[0], *image.shape[2:])
        write = data.draw(ranges(image))
        for reach in (gaussian_reach(sigma), median_reach(size)):
            read = read_range(image, write, reach)
            cut += read != [(0, n) for n in extents]
            pairs = zip(write, reach, strict=True)
            beyond += any(begin < r for (begin, _), r in pairs)
            small += any(r > n for r, n in zip(reach, extents, strict=True))

    count()
    assert cut > 40
    assert beyond > 40
    assert small > 20


def measured_reach(apply: Callable[[np.ndarray], np.ndarray], axis: int) -> int:
    """The largest distance along an axis of a voxel that changed another's output."""
    random = np.random.default_rng(0)
    shape = [1, 1, 1, 1, 1]
    shape[axis] = 25
    farthest = 0
    for _ in range(200):
        image = random.normal(size=shape)
        changed = image.copy()
        changed.flat[12] = random.choice([-1e6, 1e6])
        differs = np.flatnonzero(apply(image) != apply(changed))
        farthest = max(farthest, *np.abs(differs - 12).tolist(), 0)
    return farthest


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_the_reach_of_a_median_is_what_changes_it(axis: int, size: int) -> None:
    window = [1, 1, 1, 1]
    window[axis] = size
    of_block = (0, 2, 3, 4)[axis]
    expected = measured_reach(lambda block: median(block, window), of_block)
    assert median_reach(window)[axis] == expected
    assert sum(median_reach(window)) == expected


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("sigma", [0, 0.1, 0.124, 0.126, 0.5, 1, 1.6, 2.4])
def test_the_reach_of_a_gaussian_is_what_changes_it(axis: int, sigma: float) -> None:
    widths = [0.0, 0.0, 0.0, 0.0]
    widths[axis] = sigma
    of_block = (0, 2, 3, 4)[axis]
    expected = measured_reach(lambda block: gaussian(block, widths), of_block)
    assert gaussian_reach(widths)[axis] == expected
    assert sum(gaussian_reach(widths)) == expected


@pytest.mark.parametrize("extent", [1, 2, 3])
def test_channels_and_unnamed_axes_are_left_alone(extent: int) -> None:
    """One channel filtered is the same as all, and a width of nothing does nothing."""
    image = np.random.default_rng(extent).normal(size=(3, 2, 4, 5, 6))
    one = image[:, 1:]
    assert np.array_equal(gaussian(image, (0, 0, 0, 0)), image)
    assert np.array_equal(median(image, (1, 1, 1, 1)), image)
    widths = (0, 1, extent, extent)
    assert np.array_equal(gaussian(image, widths)[:, 1:], gaussian(one, widths))
    window = (extent, 1, 2, 3)
    assert np.array_equal(median(image, window)[:, 1:], median(one, window))


def test_a_gaussian_is_scipys_in_double_precision() -> None:
    volume = np.random.default_rng(1).integers(0, 65536, (5, 7, 9), np.uint16)
    found = gaussian(volume[None, None], (0, 1, 1.5, 2))[0, 0]
    expected = ndimage.gaussian_filter(volume.astype(np.float64), (1, 1.5, 2))
    assert np.array_equal(found, expected)
