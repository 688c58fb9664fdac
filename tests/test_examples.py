"""The example functions of configs/examples.py, called as a task calls them.

Each oracle is the same thing done to the whole image: by scipy, or by the function
itself with one block.  A green run would mean nothing if blocks saw all of the image,
so the blocks here are small, and too small a context must show.  The last tests run the
configs that use the functions.
"""

import importlib.util
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from demo_czi import write_czi
from funlib.geometry import Roi
from scipy import ndimage, stats
from support import cli, ledger_lines, output_of, small_image, write_config

from denoise_daisy import Config

Shape = tuple[int, ...]


def load_examples() -> ModuleType:
    path = Path(__file__).parent.parent / "configs" / "examples.py"
    spec = importlib.util.spec_from_file_location("examples", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


examples = load_examples()


def context_for(image: np.ndarray, read: Roi, write: Roi, **known: Any) -> Any:
    shape = (image.shape[0], *image.shape[2:])
    return SimpleNamespace(
        **{
            "roi": read,
            "write_roi": write,
            "image_roi": Roi((0, 0, 0, 0), shape),
            "axes": "tczyx",
            "voxel_size_um": (None, None, None),
            "time_step_s": None,
            "factor": (1, 1, 1, 1),
            "params": {},
            "state": None,
            "inputs": {},
        }
        | known
    )


def on_the_whole(
    function: Callable[..., np.ndarray], image: np.ndarray, **known: Any
) -> np.ndarray:
    every = Roi((0, 0, 0, 0), (image.shape[0], *image.shape[2:]))
    return function(image, context_for(image, every, every, **known))


def blocks_of(every: Roi, shape: Shape) -> Iterator[Roi]:
    starts = (range(0, n, step) for n, step in zip(every.shape, shape, strict=True))
    for begin in itertools.product(*starts):
        yield Roi(begin, shape).intersect(every)


def blockwise(
    function: Callable[..., np.ndarray],
    image: np.ndarray,
    shape: Shape,
    around: Shape,
    **known: Any,
) -> np.ndarray:
    """All blocks of `shape` put together, each read with `around` voxels of context."""
    every = Roi((0, 0, 0, 0), (image.shape[0], *image.shape[2:]))
    result = None
    for write in blocks_of(every, shape):
        read = write.grow(around, around).intersect(every)
        t, z, y, x = read.to_slices()
        block = image[t, :, z, y, x]
        done = function(block, context_for(image, read, write, **known))
        assert (done.shape[0], *done.shape[2:]) == tuple(read.shape)
        if result is None:
            size = (image.shape[0], done.shape[1], *image.shape[2:])
            result = np.full(size, 99, done.dtype)
        t, z, y, x = (write - read.begin).to_slices()
        inner = done[t, :, z, y, x]
        t, z, y, x = write.to_slices()
        result[t, :, z, y, x] = inner
    assert result is not None
    return result


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


def blobs(shape: Shape, shifts: np.ndarray, seed: int = 0) -> np.ndarray:
    """Blobs all over and beyond `shape`, (z, y, x), that must be moved by `shifts`."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*map(np.arange, shape), indexing="ij")
    image = np.full((len(shifts), 1, *shape), 100.0)
    for _ in range(60):
        centre = rng.uniform(-0.1, 1.1, 3) * shape
        height, width = rng.uniform(100, 900), rng.uniform(2, 5)
        for t, shift in enumerate(shifts):
            moved = zip(grids, centre - shift, strict=True)
            distance = sum((grid - c) ** 2 for grid, c in moved)
            image[t, 0] += height * np.exp(-distance / (2 * width**2))
    return image.astype(np.float32)


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


def shifted(image: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """The oracle of `apply_shifts`: scipy on every whole volume."""
    moved = np.empty(image.shape)
    for t, c in np.ndindex(image.shape[:2]):
        moved[t, c] = ndimage.shift(image[t, c].astype(float), shifts[t], order=1)
    return moved


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


def balls(shape: Shape, centres: Any, radii: Any, scale: Any = (1, 1, 1)) -> np.ndarray:
    """Grey level 500 in balls, 100 elsewhere, of (1, 1, z, y, x)."""
    grids = np.meshgrid(*map(np.arange, shape), indexing="ij")
    image = np.full((1, 1, *shape), 100, np.float32)
    for centre, radius in zip(centres, radii, strict=True):
        parts = zip(grids, centre, scale, strict=True)
        distance = sum(((grid - c) * s) ** 2 for grid, c, s in parts)
        image[0, 0, distance <= radius**2] = 500
    return image


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


@pytest.mark.timeout(60, method="thread")
def test_objects_that_share_a_large_face_are_split_in_time() -> None:
    """The watershed_line of scikit-image 0.26 does not come to an end on these."""
    sizes = (0.3, 0.145, 0.145)
    centres = [(12, 30, 30), (12, 35, 66), (12, 63, 35)]
    image = balls((24, 80, 80), centres, [4, 4, 4], sizes)
    split = on_the_whole(examples.watershed, image, voxel_size_um=sizes, **SPLIT)
    assert ndimage.label(split[0, 0])[1] == 3


def many_balls(count: int) -> np.ndarray:
    """Balls of radius 4 to 7 all over; with 140 of them, most touch several others."""
    rng = np.random.default_rng(5)
    centres = rng.uniform(0, 1, (count, 3)) * (30, 90, 100)
    return balls((30, 90, 100), centres, rng.uniform(4, 7, count))


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


CONFIGS = Path(__file__).parent.parent / "configs"

SOURCE, TARGET = "in.czi", "out.zarr"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda p: p.stem)
def test_every_config_loads(path: Path) -> None:
    config = Config.load(path)
    assert Path(config.input.path).is_absolute()
    for task in config.tasks:
        if task.kind == "function":
            assert callable(getattr(examples, task.function.removeprefix("examples:")))
            assert Path(task.folder) == CONFIGS


def run_config(
    folder: Path,
    name: str,
    image: np.ndarray,
    block: dict[str, int],
    more: dict[str, dict[str, Any]],
) -> Path:
    """A run of a config's own tasks on another image, with a quick denoiser.

    `more` is by task: what of it suits the small image.
    """
    config = json.loads((CONFIGS / f"{name}.json").read_text())
    chunks = {"z": image.shape[2]} | block
    config |= {
        "input": {"path": str(write_czi(folder / SOURCE, image))},
        "output": {"path": str(folder / TARGET), "chunks": chunks},
        "denoise": {"kind": "median", "size": {"y": 3, "x": 3}},
        "blocks": {"shape": block},
        "workers": {"kind": "local", "count": 2},
    }
    for task in config["tasks"]:
        if task["kind"] == "function":
            task["folder"] = str(CONFIGS)
        task.update(more.get(task["name"], {}))
    assert set(more) <= {task["name"] for task in config["tasks"]}
    end = cli(write_config(folder / "config.json", config))
    assert end.returncode == 0, end.stdout + end.stderr
    output = folder / TARGET
    assert len(list(ledger_lines(output))) > image.shape[0]
    return output


def test_zscore_json_is_scipy_s_zscore_of_the_denoised_image(tmp_path: Path) -> None:
    image = small_image((5, 2, 3, 40, 44))
    output = run_config(tmp_path, "zscore", image, {"y": 32, "x": 32}, {})
    expected = stats.zscore(output_of(output).astype(np.float64), axis=0)
    scores = output_of(tmp_path / "out.zscore.zarr")
    assert scores.dtype == np.float32
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
    assert len(list(ledger_lines(output, "zscore"))) == 4


def test_registration_json_is_the_functions_on_the_whole(tmp_path: Path) -> None:
    """And the known shifts are found; the image has a pyramid, being large enough."""
    shifts = np.array([(0, 0, 0), (-1, 4, -6), (1, -7.4, 4.2)])
    blob = blobs((10, 264, 80), shifts)
    image = np.concatenate([blob, blob[:, :, ::-1]], axis=1).astype(np.uint16)
    output = run_config(tmp_path, "registration", image, {"y": 96, "x": 48}, {})
    denoised = output_of(output)
    coarse = np.asarray(zarr.open_array(output / "1", mode="r")[...])
    assert coarse.shape == (3, 2, 10, 132, 40)
    factor = (1, 1, 2, 2)
    expected = on_the_whole(examples.estimate_shifts, coarse, factor=factor)
    found = np.load(tmp_path / "out.zarr.run" / "tasks" / "shifts" / "values.npy")
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found, shifts, atol=0.5)
    registered = output_of(tmp_path / "out.registered.zarr")
    moved = shifted(denoised, np.round(found, 3))
    np.testing.assert_allclose(registered, moved, rtol=0, atol=1e-2)
    assert np.abs(registered - denoised).max() > 100
    scores = output_of(tmp_path / "out.zscore.zarr")
    expected = on_the_whole(examples.zscore, registered)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_watershed_json_numbers_what_the_function_splits(tmp_path: Path) -> None:
    image = many_balls(140).astype(np.uint16)
    split = {
        "params": {"channel": 0, "threshold": 300, "min_distance": 4},
        "blocks": {"context": {"z": 26, "y": 26, "x": 26}},
    }
    output = run_config(
        tmp_path, "watershed", image, {"y": 32, "x": 48}, {"split": split}
    )
    smooth = output_of(tmp_path / "out.smooth.zarr")
    expected = ndimage.gaussian_filter(
        output_of(output).astype(np.float64), (0, 0, 0.5, 1, 1)
    )
    np.testing.assert_allclose(smooth, expected, rtol=1e-5)
    mask = on_the_whole(
        examples.watershed, smooth, voxel_size_um=(0.3, 0.145, 0.145), **split
    )
    np.testing.assert_array_equal(output_of(output / "labels" / "split"), mask)
    pieces, count = ndimage.label(mask[0, 0])
    assert count > ndimage.label(smooth[0, 0] > 300)[1]
    sizes = np.bincount(pieces.ravel())
    large = np.flatnonzero(sizes[1:] >= 20) + 1
    assert len(large) > 10
    ids = np.zeros(count + 1, np.uint32)
    ids[large] = np.arange(1, len(large) + 1)
    cells = output_of(output / "labels" / "cells")
    np.testing.assert_array_equal(cells[0, 0], ids[pieces])
    table = pd.read_csv(tmp_path / "out.cells.csv")
    assert table["id"].tolist() == list(range(1, len(large) + 1))
    assert table["voxels"].tolist() == sizes[large].tolist()
