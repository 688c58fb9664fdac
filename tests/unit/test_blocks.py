"""A block becomes the output's voxels: trimmed, rounded, clipped, and summed up.

The oracles are Python's own integers and `round`, one voxel at a time.  A green run
would mean nothing without values on the .5, beyond the range, and blocks that are no
contiguous arrays; all are here.
"""

import math
import struct
import zlib
from typing import Literal

import numpy as np
import pytest
from funlib.geometry import Roi
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from denoise_daisy.blockwise.fit import convert, trim
from denoise_daisy.run_dir.checksums import checksum
from harness.properties import examples

BLOCK = (1, 1, 1, 3, 4)

RANGES = {"uint8": 255, "uint16": 65535}


def block_of(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 1, 1, 1, -1)


@pytest.mark.parametrize("dtype", RANGES)
def test_halves_are_rounded_to_even(dtype: str) -> None:
    block = block_of(0.5, 1.5, 2.5, 3.5, 100.5, 253.5, 0.49999997, 2.5000002)
    voxels, clipped = convert(block, dtype)
    assert voxels.ravel().tolist() == [0, 2, 2, 4, 100, 254, 0, 3]
    assert clipped == 0


@pytest.mark.parametrize(("dtype", "most"), RANGES.items())
def test_what_rounds_into_the_range_is_not_clipped(dtype: str, most: int) -> None:
    """And what rounds out of it is, and counted."""
    voxels, clipped = convert(block_of(-0.5, most + 0.25, most, 0), dtype)
    assert voxels.ravel().tolist() == [0, most, most, 0]
    assert clipped == 0
    voxels, clipped = convert(block_of(-0.75, most + 0.75, -1e30, 1e30, 7), dtype)
    assert voxels.ravel().tolist() == [0, most, 0, most, 7]
    assert clipped == 4


@pytest.mark.parametrize(("dtype", "most"), RANGES.items())
def test_what_is_no_number_becomes_0_and_is_counted(dtype: str, most: int) -> None:
    block = block_of(math.nan, math.inf, -math.inf, -math.nan, 3.7)
    voxels, clipped = convert(block, dtype)
    assert voxels.ravel().tolist() == [0, most, 0, 0, 4]
    assert clipped == 4


@pytest.mark.parametrize("dtype", RANGES)
@examples(300)
@given(arrays(np.float32, BLOCK, elements=st.floats(width=32)))
def test_integers_are_as_python_rounds_and_clips_them(
    dtype: str, block: np.ndarray
) -> None:
    expected, outside = [], 0
    for value in block.ravel().tolist():
        if math.isnan(value):
            whole = -1
        elif math.isinf(value):
            whole = -1 if value < 0 else 1 << 40
        else:
            whole = round(value)
        expected.append(min(max(whole, 0), RANGES[dtype]))
        outside += whole != expected[-1]
    voxels, clipped = convert(block.copy(), dtype)
    assert voxels.ravel().tolist() == expected
    assert clipped == outside
    assert voxels.dtype == np.dtype(dtype)
    assert voxels.flags.c_contiguous


@examples(200)
@given(arrays(np.float32, BLOCK, elements=st.floats(width=32)))
def test_floats_stay_as_they_are_to_the_bit(block: np.ndarray) -> None:
    voxels, clipped = convert(block, "float32")
    assert voxels.tobytes() == block.tobytes()
    assert clipped == 0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_trimmed_view_is_converted_like_a_copy(dtype: str) -> None:
    rng = np.random.default_rng(0)
    whole = rng.uniform(-50, 300, (2, 2, 5, 8, 9)).astype(np.float32)
    read, write = Roi((3, 10, 4, 6), (2, 5, 8, 9)), Roi((4, 11, 6, 6), (1, 3, 5, 8))
    view = trim(whole, read, write)
    assert np.shares_memory(view, whole)
    expected, outside = convert(view.copy(), dtype)
    voxels, clipped = convert(view, dtype)
    np.testing.assert_array_equal(voxels, expected)
    assert clipped == outside
    assert voxels.flags.c_contiguous


@examples(300)
@given(st.data())
def test_trim_takes_the_voxels_of_the_write_roi(data: st.DataObject) -> None:
    """Each voxel holds its own position in the image, in a channel per axis.

    What has the write ROI's shape already stays as it is.
    """
    begin = [data.draw(st.integers(0, 20)) for _ in range(4)]
    before, shape, after = (
        [data.draw(st.integers(least, 3)) for _ in range(4)] for least in (0, 1, 0)
    )
    extent = [sum(parts) for parts in zip(before, shape, after, strict=True)]
    read = Roi(begin, extent)
    write = Roi([b + n for b, n in zip(begin, before, strict=True)], shape)
    block = np.stack([*np.indices(extent)], axis=1)
    block += np.reshape(begin, (1, 4, 1, 1, 1))
    trimmed = trim(block, read, write)
    expected = np.stack([*np.indices(shape)], axis=1)
    expected += np.reshape(write.begin, (1, 4, 1, 1, 1))
    np.testing.assert_array_equal(trimmed, expected)
    np.testing.assert_array_equal(trim(trimmed, read, write), expected)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 1, 1, 2, 4), (1, 1, 1, 3, 3)])
def test_an_array_of_another_extent_is_refused(shape: tuple[int, ...]) -> None:
    read, write = Roi((0, 0, 0, 0), (1, 1, 3, 4)), Roi((0, 0, 1, 1), (1, 1, 1, 2))
    with pytest.raises(ValueError, match="as read"):
        trim(np.zeros(shape), read, write)


@pytest.mark.parametrize(
    ("values", "dtype", "expected", "count"),
    [
        (np.array([True, False]), "uint8", [1, 0], 0),
        (np.array([1, 2**32 - 1], np.uint32), "uint32", [1, 2**32 - 1], 0),
        (np.array([-1, 5, 2**33]), "uint32", [0, 5, 2**32 - 1], 2),
        (np.array([300, 7], np.uint16), "uint8", [255, 7], 1),
        (np.array([300, 7], np.uint16), "float32", [300.0, 7.0], 0),
        (np.array([0.5, 1.5, 255.4, -2.0]), "uint8", [0, 2, 255, 0], 1),
    ],
)
def test_a_task_may_return_any_type(
    values: np.ndarray, dtype: str, expected: list[float], count: int
) -> None:
    voxels, clipped = convert(values.reshape(1, 1, 1, 1, -1), dtype)
    assert voxels.dtype == dtype
    assert voxels.ravel().tolist() == expected
    assert clipped == count


CODES = {"uint8": "B", "uint16": "H", "float32": "f"}


@pytest.mark.parametrize(("dtype", "code"), CODES.items())
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_checksum_is_that_of_little_endian_voxels_in_c_order(
    dtype: str, code: str, order: Literal["<", ">"]
) -> None:
    """Whatever the array's own order and layout."""
    rng = np.random.default_rng(1)
    voxels = rng.integers(0, 255, (2, 2, 3, 4, 5)).astype(dtype)
    values = voxels.ravel().tolist()
    expected = zlib.crc32(struct.pack(f"<{len(values)}{code}", *values))
    other = voxels.astype(np.dtype(dtype).newbyteorder(order))
    assert checksum(other) == expected
    assert checksum(np.asfortranarray(other)) == expected
    spread = np.zeros((2, 2, 3, 4, 10), other.dtype)
    spread[..., ::2] = other
    assert checksum(spread[..., ::2]) == expected


def test_the_checksum_tells_one_voxel_from_another() -> None:
    voxels = np.zeros((1, 1, 2, 3, 4), np.uint16)
    sums = {checksum(voxels)}
    for i in range(voxels.size):
        changed = voxels.copy()
        changed.flat[i] = 1
        sums.add(checksum(changed))
    assert len(sums) == voxels.size + 1


def test_a_type_beyond_what_float32_can_count_is_clipped_all_the_same() -> None:
    """The largest uint32 is no float32; the nearest is one more, which wraps to 0."""
    most = 2**32 - 1
    values = (2.0**32, 2.0**33, -1.0, 2.0**32 - 256, 5.5, math.inf, math.nan)
    voxels, clipped = convert(block_of(*values), "uint32")
    assert voxels.ravel().tolist() == [most, most, 0, 2**32 - 256, 6, most, 0]
    assert clipped == 5
    half = np.array([70.5, 60_000, -3, math.inf], np.float16).reshape(1, 1, 1, 1, -1)
    voxels, clipped = convert(half, "uint16")
    assert voxels.ravel().tolist() == [70, 60_000, 0, 65535]
    assert clipped == 2
