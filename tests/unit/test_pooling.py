"""Cells of voxels become one voxel, in blocks as in the whole image.

The oracle goes cell by cell, with `round` of Python's own fractions, and counts values.
A green run would mean nothing if cells were mostly whole, or votes never tied: a test
asserts that both are common.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denoise_daisy.algorithms.pooling import Method, next_factors, pool, pooled_shape
from harness.properties import examples

DTYPES = ("uint8", "uint16", "uint32", "float32")

many = examples(200)

some_factors = st.tuples(
    st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)
)


@st.composite
def blocks(draw: st.DrawFn) -> np.ndarray:
    """Of few values, so that votes tie, or of any that the type has."""
    dtype: np.dtype[Any] = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = [draw(st.integers(1, most)) for most in (3, 2, 5, 6, 7)]
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    if draw(st.booleans()):
        return random.integers(0, draw(st.integers(1, 9)), shape).astype(dtype)
    if dtype.kind == "f":
        return random.normal(0, 1e6, shape).astype(dtype)
    top = int(np.iinfo(dtype).max)
    first = draw(st.sampled_from([0, top - 3]))
    return random.integers(first, top, shape, dtype, endpoint=True)


def cells_of(
    block: np.ndarray, factors: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """The position of each cell along (t, c, z, y, x), and its voxels."""
    t, z, y, x = factors
    steps = (t, 1, z, y, x)
    begins = [range(0, n, step) for n, step in zip(block.shape, steps, strict=True)]
    for begin in itertools.product(*begins):
        pairs = list(zip(begin, steps, strict=True))
        voxels = block[tuple(slice(b, b + step) for b, step in pairs)]
        yield tuple(b // step for b, step in pairs), voxels.ravel()


def expected_value(voxels: np.ndarray, method: Method) -> float:
    values = voxels.tolist()
    if method == "nearest":
        return values[0]
    if method == "mode":
        votes = Counter(values)
        return min(votes, key=lambda value: (-votes[value], value))
    mean = sum(map(Fraction, values)) / len(values)
    return round(mean) if voxels.dtype.kind == "u" else float(mean)


@pytest.mark.parametrize("method", get_args(Method))
@many
@given(block=blocks(), factors=some_factors)
def test_every_cell_is_as_counted_by_hand(
    method: Method, block: np.ndarray, factors: tuple[int, ...]
) -> None:
    before = block.copy()
    pooled = pool(block, factors, method)
    assert pooled.dtype == block.dtype
    assert np.array_equal(block, before)
    seen = 0
    for position, voxels in cells_of(block, factors):
        expected, found = expected_value(voxels, method), pooled[position]
        if method == "mean" and block.dtype.kind == "f":
            assert abs(found - expected) <= 1e-7 * float(np.abs(voxels).max())
        else:
            assert found == expected
        seen += 1
    assert pooled.size == seen
    t, c, z, y, x = pooled.shape
    spatial = (block.shape[0], *block.shape[2:])
    assert (t, z, y, x) == pooled_shape(spatial, factors)
    assert c == block.shape[1]


@pytest.mark.parametrize("method", get_args(Method))
@many
@given(block=blocks(), factors=some_factors, data=st.data())
def test_blocks_at_multiples_of_the_factors_make_up_the_whole(
    method: Method, block: np.ndarray, factors: tuple[int, ...], data: st.DataObject
) -> None:
    """To the bit, float32 too."""
    t, z, y, x = factors
    whole = pool(block, factors, method)
    cells = [data.draw(st.integers(1, 3)) for _ in range(5)]
    edges = [n * step for n, step in zip(cells, (t, 1, z, y, x), strict=True)]
    together = np.zeros_like(whole)
    starts = [range(0, n, edge) for n, edge in zip(block.shape, edges, strict=True)]
    for begin in itertools.product(*starts):
        voxels = [slice(b, b + e) for b, e in zip(begin, edges, strict=True)]
        of_level = [
            slice(b // e * n, b // e * n + n)
            for b, e, n in zip(begin, edges, cells, strict=True)
        ]
        together[tuple(of_level)] = pool(block[tuple(voxels)], factors, method)
    assert together.tobytes() == whole.tobytes()


def test_many_random_cells_are_cut_off_and_many_votes_tie() -> None:
    """Else the tests of this file would hold for almost anything."""
    cut, tied, cells = 0, 0, 0

    @settings(max_examples=100, database=None, derandomize=True)
    @given(blocks(), some_factors)
    def count(block: np.ndarray, factors: tuple[int, ...]) -> None:
        nonlocal cut, tied, cells
        for _, voxels in cells_of(block, factors):
            votes = sorted(Counter(voxels.tolist()).values())
            cells += 1
            cut += voxels.size < math.prod(factors)
            tied += len(votes) > 1 and votes[-1] == votes[-2] > 1

    count()
    assert cut > cells / 10
    assert tied > cells / 100


def line_of(dtype: str, *values: float) -> np.ndarray:
    return np.array(values, dtype).reshape(1, 1, 1, 1, -1)


def test_halves_are_rounded_to_even() -> None:
    means = pool(line_of("uint8", 0, 1, 1, 2, 254, 255, 254), (1, 1, 1, 2), "mean")
    assert means.ravel().tolist() == [0, 2, 254, 254]


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_do_not_overflow(dtype: str) -> None:
    top = np.finfo(dtype).max if dtype == "float32" else np.iinfo(dtype).max
    block = np.full((2, 1, 3, 5, 33), top, dtype)
    pooled = pool(block, (2, 2, 2, 16), "mean")
    assert pooled.shape == (1, 1, 2, 3, 3)
    assert (pooled == top).all()


def test_voxels_beyond_the_edge_do_not_vote() -> None:
    """Nor would more of them if the voxels at the edge were repeated."""
    block = np.array([[1, 1, 5], [1, 1, 7], [9, 8, 6]], np.uint32)
    modes = pool(block.reshape(1, 1, 1, 3, 3), (1, 1, 2, 2), "mode")
    assert modes.ravel().tolist() == [1, 5, 8, 6]


def test_a_majority_of_more_than_255_votes_is_counted() -> None:
    values = [1] * 200 + [2] * 300
    modes = pool(line_of("uint16", *values), (1, 1, 1, 500), "mode")
    assert modes.ravel().tolist() == [2]


def levels_of(
    shape: tuple[int, ...], scale: tuple[float | None, ...], count: int
) -> list[tuple[int, ...]]:
    """The factors from level to level, each of the shape and scale of the last."""
    found = []
    for _ in range(count):
        factors = next_factors(shape, scale)
        shape = pooled_shape(shape, factors)
        pairs = zip(scale, factors[1:], strict=True)
        scale = tuple(None if size is None else size * f for size, f in pairs)
        found.append(factors)
    return found


def test_equal_axes_are_halved_together() -> None:
    """Until but one voxel is left of them, and time points never."""
    found = levels_of((9, 2, 100, 100), (0.5, 0.5, 0.5), 3)
    assert found == [(1, 2, 2, 2), (1, 1, 2, 2), (1, 1, 2, 2)]
    assert next_factors((9, 1, 1, 1), (0.5, 0.5, 0.5)) == (1, 1, 1, 1)


def test_coarse_planes_wait_until_voxels_are_nearly_cubic() -> None:
    found = levels_of((1, 100, 1000, 1000), (1.0, 0.3, 0.3), 3)
    assert found == [(1, 1, 2, 2), (1, 2, 2, 2), (1, 2, 2, 2)]
    assert levels_of((1, 100, 1000, 1000), (2.0, 0.25, 0.5), 4) == [
        (1, 1, 2, 1),
        (1, 1, 2, 2),
        (1, 1, 2, 2),
        (1, 2, 2, 2),
    ]


def test_an_axis_twice_as_coarse_is_not_halved() -> None:
    assert next_factors((1, 8, 8, 8), (0.6, 0.3, 0.3)) == (1, 1, 2, 2)
    assert next_factors((1, 8, 8, 8), (0.59, 0.3, 0.3)) == (1, 2, 2, 2)


def test_the_size_of_a_single_plane_does_not_count() -> None:
    assert next_factors((5, 1, 64, 64), (0.01, 0.3, 0.3)) == (1, 1, 2, 2)
    assert next_factors((5, 1, 64, 64), (None, 0.3, 0.3)) == (1, 1, 2, 2)


@pytest.mark.parametrize(
    ("scale", "factors"),
    [
        ((None, None, None), (1, 2, 2, 2)),
        ((None, 0.3, 0.3), (1, 2, 2, 2)),
        ((None, 0.3, 0.9), (1, 2, 2, 1)),
        ((5.0, None, None), (1, 2, 2, 2)),
    ],
)
def test_an_unknown_size_is_taken_for_the_smallest(
    scale: tuple[float | None, ...], factors: tuple[int, ...]
) -> None:
    assert next_factors((1, 8, 8, 8), scale) == factors
