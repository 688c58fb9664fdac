"""What the filters leave of planes whose second differences are known, and of noise.

A second difference of x**2 is twice the square of the distance of its taps; one of
(-1)**y is 4 with taps one voxel apart and 0 with taps two apart.
"""

from collections.abc import Sequence

import numpy as np
import pytest

from denoise_daisy.algorithms import noise_blocks
from denoise_daisy.algorithms.noise_blocks import Blocks, Levels, levels_of, measure


def levels(planes: Sequence[np.ndarray]) -> Levels:
    return levels_of(planes, [None] * len(planes))


def blocks(plane: np.ndarray, valid: np.ndarray | None = None) -> Blocks:
    return measure([plane], [valid], levels_of([plane], [valid]))


def noise(shape: tuple[int, int], sd: float = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1000, sd, shape).astype(np.float32)


def test_taps_are_one_or_two_voxels_apart_along_y_and_along_x() -> None:
    y, x = np.mgrid[:12, :28]
    plane = (x**2 * np.where(y % 2, -1, 1) + 1000).astype(np.float32)
    left = blocks(plane).left
    expected = np.array([[2 * 4 / 6, 8 * 4 / 6], [0, 0]]) ** 2
    np.testing.assert_allclose(left, np.broadcast_to(expected, (3, 2, 2)), rtol=1e-6)


def test_all_filters_keep_the_variance_of_white_noise() -> None:
    left = blocks(noise((1028, 1028))).left.mean(axis=0)
    np.testing.assert_allclose(left, 25, rtol=0.01)


def test_texture_is_four_times_the_variance_of_the_means_of_cells() -> None:
    y, x = np.mgrid[:12, :12] // 2
    plane = np.where((x + y) % 2, 3, 5).astype(np.uint8)
    found = blocks(plane)
    assert (found.mean[0], found.texture[0], found.dark[0]) == (4, 4, 0.5)
    assert blocks(noise((516, 516))).texture.mean() == pytest.approx(25 * 15 / 16, 0.05)


def test_all_of_a_plane_is_cut_into_blocks_but_what_filters_reach() -> None:
    for shape, count in (((12, 12), 1), ((19, 20), 2), ((268, 27), 66)):
        assert len(blocks(noise(shape))) == count


def test_planes_of_any_size_are_put_together_and_too_small_ones_passed_over() -> None:
    planes = [noise((12, 20), seed=1), noise((11, 300)), noise((20, 12), seed=2)]
    assert len(measure(planes, [None] * 3, levels(planes))) == 4
    with pytest.raises(ValueError, match="no plane holds a block of 12 voxels a side"):
        measure(planes[1:2], [None], levels(planes))


def around(place: tuple[int, int], shape: tuple[int, int]) -> int:
    """Blocks that hold a voxel, or lie two voxels from it at the most."""
    return sum(
        y - 2 <= place[0] < y + 10 and x - 2 <= place[1] < x + 10
        for y in range(2, shape[0] - 9, 8)
        for x in range(2, shape[1] - 9, 8)
    )


@pytest.mark.parametrize("place", [(0, 0), (9, 30), (11, 12), (129, 130), (132, 8)])
def test_blocks_near_what_is_not_valid_are_left_out(place: tuple[int, int]) -> None:
    """Whatever stands there; also where planes are measured in two parts."""
    plane = noise((272, 140))
    valid = np.ones(plane.shape, bool)
    valid[place] = False
    whole = blocks(plane)
    for there in (0, np.nan, np.inf, 1e30):
        plane[place] = there
        rest = blocks(plane, valid)
        assert len(rest) == len(whole) - around(place, plane.shape) < len(whole)
        assert set(rest.mean) < set(whole.mean)


def test_gaps_are_found_by_their_level_alone() -> None:
    plane = noise((108, 108)).round().astype(np.uint16)
    plane[50:60, :] = 0
    found = levels([plane])
    assert found.gap == 0
    assert found.lowest == plane[:50].min()
    assert blocks(plane).mean.min() > 980
    for steps, gap in ((8, None), (9, found.lowest - 9)):
        plane[50:60, :] = found.lowest - steps
        assert levels([plane]).gap == gap


def test_rare_outliers_far_below_are_no_gap() -> None:
    plane = noise((300, 300)).round().astype(np.uint16)
    plane[0, :80] = 0
    assert levels([plane]).gap is None
    plane[0, :100] = 0
    assert levels([plane]).gap == 0
    # The lowest of few floats is often far below, and each stands there once.
    few = [1.0, 9.5, 10, 11, 12, 13]
    assert levels([np.array([few], np.float32)]).gap is None


def test_blocks_that_hold_saturated_voxels_are_left_out() -> None:
    plane = noise((108, 108)).round().clip(0, 1008).astype(np.uint16)
    found = levels([plane])
    assert found.saturation == 1008
    assert found.saturated == np.mean(plane == 1008) > 0.03
    plane[:60] -= 20
    assert 0 < len(blocks(plane)) < 13 * 13 * 0.7


def test_a_top_level_is_saturated_if_often_seen_and_more_than_the_next() -> None:
    for often, top, saturation in (
        (5000, 20, None),
        (5000, 21, 9),
        (300_000, 21, None),
    ):
        plane = np.repeat(np.array([7, 8, 9], np.uint8), [often, 10, top])
        found = levels([plane[np.newaxis]])
        assert found.saturation == saturation
        assert found.saturated == (0 if saturation is None else top / plane.size)


def test_voxels_too_large_to_be_squared_are_left_out() -> None:
    plane = noise((28, 28))
    plane[3, 3] = 1e30
    assert len(blocks(plane)) == 8


def test_the_brightest_level_of_an_image_that_is_not_clipped_is_data() -> None:
    found = levels([noise((300, 300)).round().astype(np.uint16)])
    assert (found.saturation, found.saturated, found.gap) == (None, 0, None)


def test_blocks_without_noise_are_left_out() -> None:
    plane = noise((28, 28)).round().astype(np.uint16)
    plane[:, :14] = 1000
    assert len(blocks(plane)) == 6
    # The blocks beside see it, but are black all over.
    plane[:] = 5
    plane[10, 10:12] = 7, 9
    assert len(blocks(plane)) == 1


def test_clipped_black_is_told_from_few_photons() -> None:
    random = np.random.default_rng(1)
    for mean in (0.05, 0.5, 3):
        counts = 3 * random.poisson(mean, (200, 200))
        assert not levels([counts.astype(np.uint16)]).is_black_clipped
    for mean in (-4, 0, 4):
        clipped = random.normal(mean, 4, (200, 200)).round().clip(0)
        assert levels([clipped.astype(np.uint8)]).is_black_clipped
    for often in (20, 19):
        plane = np.repeat(np.array([0, 1, 2, 9], np.uint8), [often, 5, 5, 9970])
        assert levels([plane[np.newaxis]]).is_black_clipped == (often == 20)


def test_levels_are_counted_in_valid_voxels_only() -> None:
    plane = np.array([[1, 1, 2, 9], [1, 2, 7, 9]], np.uint8)
    valid = plane < 9
    for dtype in (np.uint8, np.float32):
        found = levels_of([plane.astype(dtype)], [valid])
        assert found.values.tolist() == [1, 2, 7]
        assert found.counts.tolist() == [3, 2, 1]
        assert [found.quantile(q) for q in (0.01, 0.5, 0.51, 0.83, 1)] == [
            1,
            1,
            2,
            2,
            7,
        ]
        assert [found.share_below(v) for v in (0, 1, 2, 99)] == [0, 0, 0.5, 1]


def test_no_voxel_and_no_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = noise((20, 20))
    for dtype in (np.uint16, np.float32):
        with pytest.raises(ValueError, match="no voxel is valid"):
            levels_of([plane.astype(dtype)], [np.zeros(plane.shape, bool)])
    # Wherever it is, though few are counted.
    monkeypatch.setattr(noise_blocks, "LOOKED_AT", 50)
    assert levels([plane]).counts.sum() == 50
    plane[1, 2] = np.nan
    with pytest.raises(ValueError, match="no finite numbers"):
        levels([plane])


def test_too_many_blocks_are_thinned_out_evenly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planes = [noise((84, 12), seed=i) + 1000 * i for i in range(4)]
    monkeypatch.setattr(noise_blocks, "MOST_BLOCKS", 20)
    found = measure(planes, [None] * 4, levels(planes))
    assert np.bincount((found.mean / 1000).round().astype(int)).tolist()[1:] == [5] * 4
