"""Chains of tasks, through real workers, against the same done to the whole image.

The oracles are scipy, scikit-image and numpy on whole arrays.  A green run would mean
nothing if one block spanned an image or no object crossed a border, so the images are
full of objects and each case says how many blocks there are.  What a start has computed
is told by the lines that it added to the ledgers: right bytes alone would be had by
computing everything again, too.
"""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaozarrs
from demo_czi import write_czi
from scipy import ndimage
from skimage import filters
from skimage.measure import regionprops_table

from denoise_daisy import plan
from denoise_daisy.errors import InputError
from denoise_daisy.images.czi import open_czi
from harness import here, load, ome_of, output_of, voxels_of, write_config
from harness.oracles import (
    NAMES,
    SCALE,
    SIGMA,
    chain,
    counts_since,
    denoised_of,
    filter_config,
    go,
    image_of,
    labels_of,
    ledgers,
    mask_of,
    run_dir_of,
    smooth_of,
    speckles,
)

CASES: dict[str, dict[str, Any]] = {
    "blocks in z, y and x": {
        "shape": (2, 2, 7, 50, 44),
        "blocks": {"shape": {"z": 4, "y": 32, "x": 32}},
        "counts": {"denoise": 16, "soft": 16, "bright": 16, "cells": 16},
    },
    "a region off 0, and each task cut in another way": {
        "shape": (3, 2, 10, 64, 60),
        "roi": {"t": [1, 3], "z": [3, 10], "y": [5, 60], "x": [9, 58]},
        "blocks": {"shape": {"y": 32}},
        "tasks": {
            "soft": {"blocks": {"shape": {"z": 4, "y": 32, "x": 32}}},
            "bright": {
                "blocks": {"shape": {"y": 16}},
                "workers": {"kind": "local", "count": 1},
            },
            "cells": {"blocks": {"shape": {"z": 4, "x": 32}}},
        },
        "counts": {"denoise": 4, "soft": 16, "bright": 8, "cells": 8},
    },
    "corners join, small objects are left out, no shards": {
        "shape": (2, 2, 5, 40, 33),
        "blocks": {"shape": {"y": 16}},
        "output": {"shards": None},
        "tasks": {"cells": {"connectivity": 3, "min_voxels": 8}},
        "counts": {"denoise": 6, "soft": 6, "bright": 6, "cells": 6},
    },
    "larger than 256, from a row on that is no multiple of the factor": {
        "shape": (2, 2, 3, 290, 40),
        "roi": {"y": [7, 280]},
        "blocks": {"shape": {"y": 128}},
        "counts": {
            "denoise": 6,
            "cells": 6,
            "pyramid.1": 6,
            "soft.pyramid.1": 6,
            "bright.pyramid.1": 6,
            "cells.pyramid.1": 6,
        },
        "levels": 2,
    },
}


@pytest.mark.parametrize("name", CASES)
def test_a_chain_of_blocks_is_the_chain_on_the_whole(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    image, output = speckles(case["shape"]), tmp_path / "out.zarr"
    roi = case.get("roi", {})
    t, z, y, x = (slice(*roi.get(axis, (None,))) for axis in "tzyx")
    begin = tuple(roi.get(axis, (0,))[0] for axis in "tczyx")
    denoised = denoised_of(image)[t, :, z, y, x]
    # A value that voxels have: these are not above it.
    expected = smooth_of(denoised)
    value = float(np.quantile(expected.astype(np.float32), 0.8, method="nearest"))
    config = filter_config(
        write_czi(tmp_path / "in.czi", image, names=NAMES),
        output,
        input={"roi": roi},
        output=case.get("output", {}),
        blocks=case["blocks"],
        tasks=chain(value, **case.get("tasks", {})),
    )
    go(config)
    counts = counts_since({}, output)
    assert counts == counts | case["counts"]

    np.testing.assert_array_equal(output_of(output), denoised)
    soft = output_of(image_of(output, "soft"))
    np.testing.assert_allclose(soft, expected, rtol=1e-6)
    mask = mask_of(output, "bright")
    np.testing.assert_array_equal(mask, soft > value)
    assert (soft == value).any()
    label = case.get("tasks", {}).get("cells", {})
    connectivity, least = label.get("connectivity", 1), label.get("min_voxels", 1)
    labels = labels_of(mask, connectivity, least)
    assert (labels.max(axis=(2, 3, 4)) >= 4).all()
    check_borders(output, labels)
    assert (least > 1) == (labels_of(mask, connectivity) != labels).any()
    np.testing.assert_array_equal(mask_of(output, "cells"), labels)
    check_table(tmp_path / "out.cells.csv", labels, denoised, begin)
    check_groups(output, begin, case.get("levels", 1))
    check_levels(output, case.get("levels", 1))


def check_borders(output: Path, labels: np.ndarray) -> None:
    """Objects lie across the blocks' borders along every axis that is cut."""
    shape, cut = json.loads(ledgers(output)["cells"][0])["shape"], 0
    for axis, step in zip((2, 3, 4), shape[1:], strict=True):
        if step < labels.shape[axis]:
            sides = labels.take(step - 1, axis), labels.take(step, axis)
            assert (np.minimum(*sides) > 0).any()
            cut += 1
    assert cut


def check_table(
    path: Path, labels: np.ndarray, image: np.ndarray, begin: tuple[int, ...]
) -> None:
    """Hold a table against that of scikit-image."""
    measured = [f"intensity_{what}" for what in ("mean", "std", "min", "max")]
    properties = ("label", "num_pixels", "bbox", "centroid", *measured)
    table, seen = pd.read_csv(path), 0
    assert table["id"].tolist() == list(range(1, len(table) + 1))
    for t, c in np.ndindex(labels.shape[:2]):
        expected = regionprops_table(
            labels[t, c].astype(int), np.moveaxis(image[t], 0, -1), properties
        )
        rows = table[(table["t"] == t) & (table["c"] == c)]
        assert set(rows["channel"]) == {NAMES[c]}
        assert set(rows["time_s"]) == {(begin[0] + t) * SCALE[0]}
        assert rows["label"].tolist() == expected["label"].tolist()
        assert rows["voxels"].tolist() == expected["num_pixels"].tolist()
        volume = expected["num_pixels"] * np.prod(SCALE[2:])
        np.testing.assert_allclose(rows["volume_um3"], volume, rtol=1e-9)
        for i, axis in enumerate("zyx"):
            first, size = begin[2 + i], SCALE[2 + i]
            for name, column in (("begin", i), ("end", i + 3)):
                box = expected[f"bbox-{column}"]
                assert rows[f"{axis}_{name}"].tolist() == box.tolist()
                faces = (box + first - 0.5) * size
                np.testing.assert_allclose(rows[f"{axis}_{name}_um"], faces, rtol=1e-9)
            centroid = expected[f"centroid-{i}"]
            np.testing.assert_allclose(rows[f"centroid_{axis}"], centroid, rtol=1e-9)
            centroid = (centroid + first) * size
            np.testing.assert_allclose(rows[f"centroid_{axis}_um"], centroid, rtol=1e-9)
        for (i, channel), what in itertools.product(enumerate(NAMES), measured):
            found = rows[f"{what.removeprefix('intensity_')}_intensity_{channel}"]
            np.testing.assert_allclose(found, expected[f"{what}-{i}"])
        seen += len(rows)
    assert seen == len(table) > 0


def check_groups(output: Path, begin: tuple[int, ...], levels: int) -> None:
    """All groups are valid, say where their voxels lie, and the labels are listed."""
    listed = ome_of(output / "labels")["labels"]
    assert sorted(listed) == ["bright", "cells"]
    masks = [output / "labels" / name for name in listed]
    for path in (output, image_of(output, "soft"), output / "labels", *masks):
        assert yaozarrs.validate_zarr_store(str(path))
    for path in (output, image_of(output, "soft"), *masks):
        [multiscale] = ome_of(path)["multiscales"]
        assert [d["path"] for d in multiscale["datasets"]] == list("01")[:levels]
        for level, dataset in enumerate(multiscale["datasets"]):
            factor = 2**level
            scale = np.array(SCALE) * (1, 1, 1, factor, factor)
            # An image's coarser voxel lies in the middle of its cell.
            middle = 0.0 if path in masks else (factor - 1) / 2
            moved = np.add(begin, (0, 0, 0, middle, middle)) * SCALE
            kinds = {t["type"]: t for t in dataset["coordinateTransformations"]}
            assert kinds["scale"]["scale"] == pytest.approx(scale)
            nowhere = {"translation": [0.0] * 5}
            translation = kinds.get("translation", nowhere)["translation"]
            assert translation == pytest.approx(moved)


def check_levels(output: Path, levels: int) -> None:
    """Hold every level 1 against numpy's pooling of the whole level 0."""
    for path in (output, image_of(output, "soft")):
        assert (path / "1").exists() == (levels > 1)
        if levels > 1:
            fine, coarse = (voxels_of(path / n) for n in "01")
            mean = means_of_cells(fine)
            if fine.dtype == np.uint16:
                np.testing.assert_array_equal(coarse, np.rint(mean))
            else:
                np.testing.assert_allclose(coarse, mean, rtol=1e-6)
            assert coarse.dtype == fine.dtype
    for path in (output / "labels" / "bright", output / "labels" / "cells"):
        assert (path / "1").exists() == (levels > 1)
        if levels > 1:
            fine, coarse = (voxels_of(path / n) for n in "01")
            np.testing.assert_array_equal(coarse, fine[..., ::2, ::2])


def means_of_cells(image: np.ndarray) -> np.ndarray:
    """Means of cells of 2 x 2 voxels in y and x, fewer at the end."""
    total, count = image.astype(np.float64), np.ones(image.shape)
    for axis in (3, 4):
        starts = np.arange(0, image.shape[axis], 2)
        total = np.add.reduceat(total, starts, axis)
        count = np.add.reduceat(count, starts, axis)
    return total / count


def test_thresholds_are_those_of_scikit_image_on_the_whole(tmp_path: Path) -> None:
    """Of every channel, of one by its index, of one by its name."""
    # Channels of different grey levels, so that no value is another's.
    image = speckles((2, 2, 6, 50, 44))
    image[:, 1] *= 3
    output = tmp_path / "out.zarr"
    tasks = [
        {"kind": "smooth", "name": "soft", "sigma": SIGMA},
        {"kind": "threshold", "name": "every", "input": "soft", "method": "otsu"},
        {"kind": "threshold", "name": "second", "method": "li", "channel": 1},
        {
            "kind": "threshold",
            "name": "first",
            "method": "triangle",
            "channel": "nuclei",
        },
    ]
    config = filter_config(
        write_czi(tmp_path / "in.czi", image, names=NAMES),
        output,
        blocks={"shape": {"y": 32}},
        tasks=tasks,
    )
    go(config)
    denoised, soft = denoised_of(image), output_of(image_of(output, "soft"))
    assert counts_since({}, output)["every"] == 4
    for task, source, find_value in (
        ("every", soft, filters.threshold_otsu),
        ("second", denoised[:, 1:], filters.threshold_li),
        ("first", denoised[:, :1], filters.threshold_triangle),
    ):
        expected = [find_value(source[:, c].ravel()) for c in range(source.shape[1])]
        file = run_dir_of(output) / "tasks" / task / "value.json"
        found = json.loads(file.read_text())["values"]
        assert found == pytest.approx(expected, rel=1e-9)
        mask = source > np.reshape(expected, (1, -1, 1, 1, 1))
        assert 0 < mask.mean() < 1
        np.testing.assert_array_equal(mask_of(output, task), mask)


def test_a_channel_that_is_not_there_is_refused(tmp_path: Path) -> None:
    source = write_czi(tmp_path / "in.czi", speckles((1, 2, 2, 32, 32)), names=NAMES)
    config = filter_config(source, tmp_path / "out.zarr")
    task = {"kind": "threshold", "name": "bright", "value": 1.0}
    config["tasks"] = [task | {"channel": 2}]
    with pytest.raises(InputError, match=r"is \[2\].*has 2 channels.*some of \[0, 1\]"):
        plan(load(config))
    config["tasks"] = [task | {"channel": "nucleus"}]
    refused = here("run", write_config(tmp_path / "config.json", config))
    assert refused.returncode == 2, refused.stderr
    assert "'nucleus'" in refused.stderr
    assert "0 'nuclei', 1 'membrane'" in refused.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "in.czi"]


def test_raw_is_read_beside_the_denoising_and_beyond_the_region(tmp_path: Path) -> None:
    """Smoothing sees what lies around the region, as denoising does.

    Nothing of it waits for the denoising; it can run alone.
    """
    image, output = speckles((3, 1, 9, 60, 52)), tmp_path / "out.zarr"
    sigma, sigmas = {"t": 0.5, "z": 1.0, "y": 2.0}, (0.5, 0, 1.0, 2.0, 0)
    roi = {"t": [1, 3], "z": [2, 8], "y": [10, 55], "x": [3, 50]}
    part = (slice(1, 3), slice(None), slice(2, 8), slice(10, 55), slice(3, 50))
    config = filter_config(
        write_czi(tmp_path / "in.czi", image),
        output,
        input={"roi": roi},
        blocks={"shape": {"y": 16}},
        tasks=[{"kind": "smooth", "name": "soft", "input": "raw", "sigma": sigma}],
    )
    go(config, tasks=["soft"])
    assert counts_since({}, output) == {"soft": 6}
    soft = output_of(image_of(output, "soft"))
    whole = smooth_of(image, sigmas)[part]
    np.testing.assert_allclose(soft, whole, rtol=1e-6)
    assert not np.allclose(whole, smooth_of(image[part], sigmas), rtol=1e-3)
    before = ledgers(output)
    go(config)
    assert counts_since(before, output) == {"denoise": 6}
    np.testing.assert_array_equal(output_of(output), denoised_of(image)[part])


FILTERS: dict[str, dict[str, Any]] = {
    "median, blocks in y": {
        "denoise": {"kind": "median", "size": {"z": 3, "y": 5, "x": 3}},
        "blocks": {"y": 16},
        "dtype": "input",
    },
    "median of even windows and time, blocks in z and x": {
        "denoise": {"kind": "median", "size": {"t": 2, "z": 2, "y": 3, "x": 4}},
        "blocks": {"t": 2, "z": 4, "x": 16},
        "dtype": "input",
    },
    "gaussian as it is, blocks in y and x": {
        "denoise": {"kind": "gaussian", "sigma": {"y": 1.5, "x": 1.0}},
        "blocks": {"y": 32, "x": 16},
        "dtype": "float32",
    },
    "gaussian rounded, blocks in z and y": {
        "denoise": {"kind": "gaussian", "sigma": {"t": 0.6, "z": 1.0, "y": 2.0}},
        "blocks": {"z": 4, "y": 16},
        "dtype": "input",
    },
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_give_the_whole_image_bit_for_bit(name: str, tmp_path: Path) -> None:
    """They see what lies around the region, and the image's mirror image beyond it."""
    case = FILTERS[name]
    image, output = speckles((3, 2, 8, 44, 40)), tmp_path / "out.zarr"
    roi = {"z": [1, 8], "y": [6, 44]}
    config = filter_config(
        write_czi(tmp_path / "in.czi", image),
        output,
        denoise=case["denoise"],
        input={"roi": roi},
        output={"dtype": case["dtype"]},
        blocks={"shape": case["blocks"]},
    )
    go(config)
    assert counts_since({}, output)["denoise"] >= 9
    if case["denoise"]["kind"] == "median":
        size = [case["denoise"]["size"].get(axis, 1) for axis in "tczyx"]
        expected = ndimage.median_filter(image, size)
    else:
        sigma = [case["denoise"]["sigma"].get(axis, 0.0) for axis in "tczyx"]
        expected = ndimage.gaussian_filter(image.astype(np.float64), sigma)
        if case["dtype"] == "input":
            expected = np.rint(expected)
    expected = expected.astype(np.float32 if case["dtype"] == "float32" else np.uint16)
    np.testing.assert_array_equal(output_of(output), expected[:, :, 1:8, 6:44])


def test_a_chain_on_a_real_czi_is_scipy_on_the_whole(
    tmp_path: Path, real_czi: Callable[[str], Path]
) -> None:
    source, output = real_czi("LLS7_small.czi"), tmp_path / "out.zarr"
    image = open_czi(str(source))[(slice(None),) * 5]
    denoised = denoised_of(image)
    value = float(np.quantile(smooth_of(denoised), 0.9))
    config = filter_config(
        source,
        output,
        blocks={"shape": {"y": 32, "x": 32}},
        tasks=chain(value),
    )
    go(config)
    assert counts_since({}, output)["cells"] == 8
    soft, labels = output_of(image_of(output, "soft")), mask_of(output, "cells")
    np.testing.assert_allclose(soft, smooth_of(denoised), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(mask_of(output, "bright"), soft > value)
    np.testing.assert_array_equal(labels, labels_of(soft > value))
    table = pd.read_csv(output.with_name("out.cells.csv"))
    assert len(table) == labels.max(axis=(2, 3, 4)).sum() >= 4


def test_levels_types_and_tables_are_as_asked_for(tmp_path: Path) -> None:
    """What the defaults leave aside: other pyramids, whole numbers, Parquet, raw."""
    image = speckles((1, 2, 6, 40, 44), seed=11)
    source = write_czi(tmp_path / "in.czi", image, names=NAMES)
    output = tmp_path / "out.zarr"
    config = filter_config(
        source,
        output,
        tasks=[
            {"kind": "pyramid", "name": "few", "levels": 2, "method": "nearest"},
            {
                "kind": "smooth",
                "name": "soft",
                "sigma": {"y": 1, "x": 1},
                "dtype": "input",
            },
            {"kind": "threshold", "name": "bright", "input": "raw", "value": 2600},
            {
                "kind": "label",
                "name": "cells",
                "input": "bright",
                "table": "parquet",
                "intensity": "raw",
            },
            {
                "kind": "pyramid",
                "name": "coarse",
                "input": "cells",
                "levels": 1,
                "method": "mode",
            },
        ],
    )
    go(config)
    denoised = output_of(output)
    for level, (z, yx) in {1: (1, 2), 2: (2, 4)}.items():
        found = voxels_of(output / str(level))
        np.testing.assert_array_equal(found, denoised[:, :, ::z, ::yx, ::yx])
    assert not (output / "3").exists()
    ome = json.loads((output / "zarr.json").read_text())["attributes"]["ome"]
    [multiscale] = ome["multiscales"]
    assert multiscale["type"] == "nearest"
    # The first voxel of a cell lies where it lay.
    assert all(len(d["coordinateTransformations"]) == 1 for d in multiscale["datasets"])
    soft = output_of(image_of(output, "soft"))
    assert soft.dtype == np.uint16
    np.testing.assert_array_equal(
        soft, np.rint(smooth_of(denoised, (0, 0, 0, 1, 1))).astype(np.uint16)
    )
    cells = mask_of(output, "cells")
    np.testing.assert_array_equal(cells, labels_of(image > 2600))
    coarse = voxels_of(output / "labels" / "cells" / "1")
    for _, c, z, y, x in np.argwhere(coarse != cells[..., ::2, ::2])[:200]:
        cell = cells[0, c, z, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        ids, counts = np.unique(cell, return_counts=True)
        assert coarse[0, c, z, y, x] == ids[counts.argmax()]
    table = pd.read_parquet(tmp_path / "out.cells.parquet")
    for c, name in enumerate(NAMES):
        rows = table[table["channel"] == name]
        assert len(rows) == cells[0, c].max() > 3
        means = ndimage.mean(image[0, c], cells[0, c], rows["label"])
        np.testing.assert_allclose(rows[f"mean_intensity_{name}"], means)
