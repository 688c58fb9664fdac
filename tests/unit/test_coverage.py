"""Areas of unions of rectangles, held against painting them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from denoise_daisy.algorithms.coverage import covered_areas

SIDE = 12


def painted(groups: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> list[int]:
    """Pixels that have paint, on a sheet per group."""
    sheets = np.zeros((groups.max() + 1, SIDE, SIDE), bool)
    for sheet, (y0, x0), (y1, x1) in zip(groups, begins, ends, strict=True):
        sheets[sheet, y0:y1, x0:x1] = True
    return [int(sheet.sum()) for sheet in sheets]


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    counts = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    groups = draw(st.permutations(np.repeat(range(len(counts)), counts).tolist()))
    corner = st.tuples(st.integers(0, SIDE - 1), st.integers(0, SIDE - 1))
    begins = np.array([draw(corner) for _ in groups])
    ends = np.array(
        [[draw(st.integers(a + 1, SIDE)) for a in begin] for begin in begins]
    )
    return np.array(groups), begins, ends


@given(rectangles())
def test_areas_are_those_of_painted_rectangles(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    assert covered_areas(*case).tolist() == painted(*case)


@given(
    rectangles(),
    st.tuples(st.integers(-(2**31), 2**31 - 99), st.integers(-(2**31), 2**31 - 99)),
)
def test_areas_do_not_depend_on_where_all_rectangles_lie(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], by: tuple[int, int]
) -> None:
    groups, begins, ends = case
    moved = covered_areas(groups, begins + by, ends + by)
    assert moved.tolist() == painted(*case)


def test_large_random_sheets_are_those_painted() -> None:
    """Trees of many levels, with bands that are no power of two."""
    rng = np.random.default_rng(0)
    for count in (30, 300, 1000):
        corners = np.sort(rng.integers(0, 500, (count, 2, 2)), axis=1)
        corners[:, 1] += 1
        begins, ends = corners[:, 0], corners[:, 1]
        sheet = np.zeros((501, 501), bool)
        for (y0, x0), (y1, x1) in zip(begins, ends, strict=True):
            sheet[y0:y1, x0:x1] = True
        groups = np.zeros(count, int)
        assert covered_areas(groups, begins, ends).tolist() == [sheet.sum()]


def test_many_tiles_of_a_plane_are_no_work_of_each_with_each() -> None:
    """A staircase of 2 ** 17 tiles that share corners with their neighbours only.

    Each with each would be 2 ** 34 pairs, and more bytes than there are.
    """
    steps = np.arange(2**17)
    begins = np.stack([steps, steps], 1)
    areas = covered_areas(np.zeros(len(steps), int), begins, begins + 2)
    assert areas.tolist() == [4 * len(steps) - (len(steps) - 1)]
