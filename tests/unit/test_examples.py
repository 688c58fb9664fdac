"""The example functions of configs/examples.py, called as a task calls them.

Each oracle is the same thing done to the whole image: by scipy, or by the function
itself with one block.  A green run would mean nothing if blocks saw all of the image,
so the blocks here are small, and too small a context must show.  The last tests run the
configs that use the functions.
"""

from pathlib import Path

import numpy as np
import pytest
from funlib.geometry import Roi
from scipy import ndimage, stats

from denoise_daisy import Config
from harness.examples import (
    CONFIGS,
    Shape,
    balls,
    blobs,
    blockwise,
    context_for,
    examples,
    many_balls,
    on_the_whole,
    shifted,
)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_zscore_of_blocks_is_that_of_scipy_on_the_whole(dtype: str) -> None:
    image = np.random.default_rng(0).uniform(0, 60_000, (7, 2, 4, 9, 10)).astype(dtype)
    scores = blockwise(examples.zscore, image, (7, 3, 4, 4), (0, 0, 0, 0))
    expected = stats.zscore(image.astype(np.float64), axis=0)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("time_points", [1, 3, 7])
def test_zscore_of_what_never_changes_is_0(time_points: int) -> None:
    image = np.full((time_points, 1, 2, 3, 4), 100.1, np.float32)
    image[:, 0, 0, 0, 0] = np.arange(time_points)
    scores = on_the_whole(examples.zscore, image)
    assert np.isfinite(scores).all()
    assert np.count_nonzero(scores[:, :, 1:]) == 0
    assert scores[:, 0, 0, 0, 0].any() == (time_points > 1)


SHIFTS = np.array([(0, 0, 0), (-2, 3, -6), (1.5, -7.4, 4.2), (0.4, 11.6, -0.8)])
"""Voxels along (z, y, x) that move each time point onto the first."""


def test_known_shifts_are_found() -> None:
    image = blobs((24, 64, 72), SHIFTS)
    found = on_the_whole(examples.estimate_shifts, image)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, SHIFTS, atol=0.25)


def test_shifts_found_on_a_coarse_level_are_in_voxels_of_level_0() -> None:
    """Each axis has a factor of its own: z is as fine as in level 0."""
    image = blobs((24, 96, 96), SHIFTS)
    coarse = image.reshape(4, 1, 24, 48, 2, 48, 2).mean(axis=(4, 6))
    found = on_the_whole(examples.estimate_shifts, coarse, factor=(1, 1, 2, 2))
    np.testing.assert_allclose(found, SHIFTS, atol=0.3)


def test_shifts_are_found_in_the_channel_and_from_the_time_point_asked_for() -> None:
    image = blobs((24, 64, 72), SHIFTS)
    both = np.concatenate([np.zeros_like(image), image], axis=1)
    params = {"channel": 1, "reference": 1, "upsample": 20}
    found = on_the_whole(examples.estimate_shifts, both, params=params)
    np.testing.assert_allclose(found, SHIFTS - SHIFTS[1], atol=0.25)
    assert not found[1].any()


def test_shifts_of_a_single_plane_are_found() -> None:
    flat = SHIFTS * (0, 1, 1)
    found = on_the_whole(examples.estimate_shifts, blobs((1, 64, 72), flat))
    np.testing.assert_allclose(found, flat, atol=0.25)
    assert not found[:, 0].any()


def test_an_empty_time_point_is_not_moved() -> None:
    image = blobs((8, 32, 32), SHIFTS[:2])
    for empty in range(2):
        image_with_gap = image.copy()
        image_with_gap[empty] = 100
        assert not on_the_whole(examples.estimate_shifts, image_with_gap).any()


def apply_blockwise(
    image: np.ndarray, shifts: np.ndarray, shape: Shape, around: Shape
) -> np.ndarray:
    return blockwise(
        examples.apply_shifts,
        image,
        shape,
        around,
        params={"shifts": "found"},
        inputs={"found": shifts},
    )


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("shape", [(1, 5, 13, 14), (2, 12, 9, 31), (4, 12, 40, 45)])
def test_shifted_blocks_are_the_shifted_whole(dtype: str, shape: Shape) -> None:
    rng = np.random.default_rng(1)
    image = rng.uniform(1, 1000, (4, 2, 12, 40, 45)).astype(dtype)
    moved = apply_blockwise(image, SHIFTS, shape, (0, 2, 12, 6))
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, shifted(image, SHIFTS), rtol=0, atol=1e-4)
    assert (moved[1:] == 0).any()


def test_whole_shifts_with_rounding_errors_lose_no_voxels_at_the_border() -> None:
    """As they come from a multiplication, such as 3 * 1.1 - 0.3."""
    whole = np.array([(-1.0, 3.0, 2.0), (1.0, -3.0, -2.0)])
    image = np.random.default_rng(2).uniform(1, 1000, (2, 1, 5, 20, 21))
    for error in (-4e-16, 4e-16):
        moved = apply_blockwise(image, whole + error, (1, 2, 6, 7), (0, 1, 3, 2))
        np.testing.assert_allclose(moved, shifted(image, whole), rtol=0, atol=1e-4)
        assert np.count_nonzero(moved[0]) == 4 * 17 * 19


def test_a_shift_beyond_the_context_is_refused_with_the_number_needed() -> None:
    image = np.ones((4, 1, 12, 40, 45), np.float32)
    with pytest.raises(ValueError, match=r"11\.6 .* y.* 12 or more .*context\.y"):
        apply_blockwise(image, SHIFTS, (1, 5, 13, 14), (0, 2, 11, 6))
    with pytest.raises(ValueError, match=r"up to 2 .* z.* 2 or more .*context\.z"):
        apply_blockwise(image, SHIFTS, (1, 5, 13, 14), (0, 1, 12, 6))
    with pytest.raises(ValueError, match=r"up to 6 .* x.* 6 or more .*context\.x"):
        apply_blockwise(image, SHIFTS, (1, 5, 13, 14), (0, 2, 12, 5))


def test_blocks_that_span_an_axis_need_no_context_there() -> None:
    image = np.random.default_rng(3).uniform(1, 1000, (4, 1, 12, 40, 45))
    moved = apply_blockwise(image, SHIFTS, (1, 12, 40, 14), (0, 0, 0, 6))
    np.testing.assert_allclose(moved, shifted(image, SHIFTS), rtol=0, atol=1e-4)


def test_a_block_takes_the_shifts_of_its_own_time_points() -> None:
    """Counted from the first time point there is to read."""
    image = np.arange(8, dtype=np.float32).reshape(1, 1, 1, 1, 8)
    every = Roi((5, 0, 0, 0), (3, 1, 1, 8))
    context = context_for(
        image,
        Roi((6, 0, 0, 0), (1, 1, 1, 8)),
        Roi((6, 0, 0, 0), (1, 1, 1, 8)),
        image_roi=every,
        params={"shifts": "found"},
        inputs={"found": np.array([(0, 0, 1.0), (0, 0, 2.0), (0, 0, 3.0)])},
    )
    moved = examples.apply_shifts(image, context)
    assert moved.ravel().tolist() == [0, 0, 0, 1, 2, 3, 4, 5]


SPLIT = {"params": {"channel": 0, "threshold": 300, "min_distance": 4}}


def test_two_touching_balls_are_two_objects() -> None:
    image = balls((20, 24, 40), [(10, 12, 12), (10, 12, 26)], [8, 8])
    mask = image[0, 0] > 300
    assert ndimage.label(mask)[1] == 1
    split = on_the_whole(examples.watershed, image, **SPLIT)
    assert split.dtype == np.uint8
    assert split.shape == image.shape
    labels, count = ndimage.label(split[0, 0])
    assert count == 2
    assert labels[10, 12, 12] != labels[10, 12, 26]
    assert not split[0, 0][~mask].any()
    line = mask & (split[0, 0] == 0)
    assert np.isin(np.nonzero(line)[2], (18, 19, 20)).all()


def test_a_mask_is_split_like_the_image_it_is_of() -> None:
    image = balls((20, 24, 40), [(10, 12, 12), (10, 12, 26)], [8, 8])
    mask = (image > 300).astype(np.uint8)
    params = {"min_distance": 4}
    np.testing.assert_array_equal(
        on_the_whole(examples.watershed, mask, params=params),
        on_the_whole(examples.watershed, image, **SPLIT),
    )


def test_flat_voxels_are_measured_in_micrometer() -> None:
    """In voxels, the neck between the two would be farthest from the border."""
    sizes = (0.6, 0.2, 0.2)
    image = balls((18, 30, 30), [(6, 15, 15), (11, 15, 15)], [2.0, 2.0], sizes)
    for known, count in ((sizes, 2), ((None, 0.2, 0.2), 1)):
        split = on_the_whole(examples.watershed, image, voxel_size_um=known, **SPLIT)
        assert ndimage.label(split[0, 0])[1] == count


def test_time_points_are_split_by_themselves_and_empty_ones_stay_empty() -> None:
    pair = balls((20, 24, 40), [(10, 12, 12), (10, 12, 26)], [8, 8])
    image = np.concatenate([pair, np.full_like(pair, 100), pair[:, :, ::-1]])
    split = on_the_whole(examples.watershed, image, **SPLIT)
    counts = [ndimage.label(volume)[1] for volume in split[:, 0]]
    assert counts == [2, 0, 2]


def test_objects_cut_by_the_image_s_border_are_split() -> None:
    image = balls((20, 24, 40), [(-5, 12, 12), (-5, 12, 23)], [8, 8])
    split = on_the_whole(examples.watershed, image, **SPLIT)
    assert ndimage.label(split[0, 0])[1] == 2


def test_small_objects_beside_a_large_one_are_split() -> None:
    """Within `min_distance` of it, but they do not touch it."""
    centres = [(12, 12, 12), (19, 19, 19), (19, 19, 27)]
    image = balls((28, 28, 36), centres, [6, 4, 4])
    assert ndimage.label(image[0, 0] > 300)[1] == 2
    params = {"threshold": 300, "min_distance": 7}
    split = on_the_whole(examples.watershed, image, params=params)
    assert ndimage.label(split[0, 0])[1] == 3


@pytest.mark.timeout(300, method="thread")
def test_objects_that_share_a_large_face_are_split_in_time() -> None:
    """The watershed_line of scikit-image 0.26 does not come to an end on these."""
    sizes = (0.3, 0.145, 0.145)
    centres = [(12, 30, 30), (12, 35, 66), (12, 63, 35)]
    image = balls((24, 80, 80), centres, [4, 4, 4], sizes)
    split = on_the_whole(examples.watershed, image, voxel_size_um=sizes, **SPLIT)
    assert ndimage.label(split[0, 0])[1] == 3


@pytest.mark.parametrize(("count", "size"), [(60, None), (140, 0.2)])
def test_blocks_are_split_like_the_whole(count: int, size: float | None) -> None:
    """Also where a group of touching objects is larger than a block and its context."""
    image, known = many_balls(count), SPLIT | {"voxel_size_um": (size, size, size)}
    whole = on_the_whole(examples.watershed, image, **known)
    objects, pieces = (ndimage.label(v[0, 0])[1] for v in (whole, image > 300))
    assert objects >= pieces + 10
    for around in (16, 23):
        split = blockwise(
            examples.watershed,
            image,
            (1, 15, 32, 40),
            (0, around, around, around),
            **known,
        )
        np.testing.assert_array_equal(split, whole)


def test_blocks_of_too_small_a_context_are_not_split_like_the_whole() -> None:
    image = many_balls(140)
    whole = on_the_whole(examples.watershed, image, **SPLIT)
    split = blockwise(examples.watershed, image, (1, 15, 32, 40), (0, 3, 3, 3), **SPLIT)
    assert (split != whole).any()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda p: p.stem)
def test_every_config_loads(path: Path) -> None:
    config = Config.load(path)
    assert Path(config.input.one.path).is_absolute()
    for task in config.tasks:
        if task.kind == "function":
            assert callable(getattr(examples, task.function.removeprefix("examples:")))
            assert Path(task.folder) == CONFIGS
