"""Chains of tasks, through real workers, against the same done to the whole image.

The oracles are scipy, scikit-image and numpy on whole arrays.  A green run would mean
nothing if one block spanned an image or no object crossed a border, so the images are
full of objects and each case says how many blocks there are.  What a start has computed
is told by the lines that it added to the ledgers: right bytes alone would be had by
computing everything again, too.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaozarrs
import zarr
from demo_czi import write_czi
from scipy import ndimage
from skimage import filters
from skimage.measure import regionprops_table
from support import cli, config_for, load, output_of, small_image, write_config

from denoise_daisy import plan, run
from denoise_daisy.czi import open_czi
from denoise_daisy.errors import InputError
from denoise_daisy.rundir import find
from denoise_daisy.verification import verify

SCALE = (30.0, 1.0, 0.3, 0.145, 0.145)
"""Of (t, c, z, y, x), as `write_czi` has it unless told otherwise."""

SIGMA = {"z": 0.7, "y": 1.3, "x": 1.0}

SIGMAS = (0, 0, 0.7, 1.3, 1.0)

CHUNKS = {"z": 4, "y": 16, "x": 16}

NAMES = ("nuclei", "membrane")


def speckles(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Noisy bright objects all over, a few voxels large, uint16, (t, c, z, y, x)."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), (0, 0, 1, 2.5, 2.5))
    noise = rng.normal(0, 30, shape)
    image = np.clip(2000 + 600 * blobs / blobs.std() + noise, 0, 65535)
    return np.rint(image).astype(np.uint16)


def filter_config(source: Path, target: Path, /, **sections: Any) -> dict[str, Any]:
    """A config whose denoising is a median of 3 x 3 unless told otherwise."""
    denoise = sections.pop("denoise", {"kind": "median", "size": {"y": 3, "x": 3}})
    tasks = sections.pop("tasks", [])
    sections["output"] = {"chunks": CHUNKS} | sections.get("output", {})
    config = config_for(source, target, **sections)
    del config["noise"]
    return config | {"denoise": denoise, "tasks": tasks}


def denoised_of(image: np.ndarray) -> np.ndarray:
    """The oracle of that denoising."""
    return ndimage.median_filter(image, (1, 1, 1, 3, 3))


def smooth_of(image: np.ndarray, sigmas: tuple[float, ...] = SIGMAS) -> np.ndarray:
    """The oracle of smoothing."""
    return ndimage.gaussian_filter(image.astype(np.float64), sigmas)


def labels_of(mask: np.ndarray, connectivity: int = 1, least: int = 1) -> np.ndarray:
    """The oracle of labelling, each time point and channel by itself."""
    structure = ndimage.generate_binary_structure(3, connectivity)
    labels = np.zeros(mask.shape, np.uint32)
    for t, c in np.ndindex(mask.shape[:2]):
        found, _ = ndimage.label(mask[t, c], structure)
        sizes = np.bincount(found.ravel())
        kept = sizes >= least
        kept[0] = False
        labels[t, c] = np.where(kept, np.cumsum(kept), 0)[found]
    return labels


def go(config: dict[str, Any], **options: Any) -> str:
    """A start to its end, with real workers; what it says."""
    said: list[str] = []
    run(load(config), say=said.append, **options)
    return "\n".join(said)


def mask_of(output: Path, task: str) -> np.ndarray:
    """All voxels of a mask, or of labels, beside an output's own."""
    return output_of(output / "labels" / task)


def image_of(output: Path, task: str) -> Path:
    """The OME-Zarr that a task writes beside an output."""
    return output.with_name(f"{output.name.removesuffix('.zarr')}.{task}.zarr")


def run_dir_of(output: Path) -> Path:
    return output.with_name(output.name + ".run")


Lines = dict[str, list[str]]


def ledgers(output: Path) -> Lines:
    """Every line of all ledgers, by stage."""
    folders = sorted((run_dir_of(output) / "ledger").iterdir())
    return {
        folder.name: [
            line
            for file in sorted(folder.glob("*.jsonl"))
            for line in file.read_text().splitlines()
        ]
        for folder in folders
    }


def blocks_since(before: Lines, output: Path) -> dict[str, list[tuple[int, ...]]]:
    """Blocks done since, by stage; of a stage done anew, all."""
    found = {}
    for stage, lines in ledgers(output).items():
        # Lines of different starts differ in their epoch.
        new = [json.loads(line) for line in set(lines) - set(before.get(stage, ()))]
        done = sorted(tuple(line["block"]) for line in new if line["status"] == "done")
        if done:
            found[stage] = done
    return found


def counts_since(before: Lines, output: Path) -> dict[str, int]:
    return {stage: len(done) for stage, done in blocks_since(before, output).items()}


def chain(value: float, **more: dict[str, Any]) -> list[dict[str, Any]]:
    """Smooth, threshold and label, with what is added to each by its name."""
    tasks: list[dict[str, Any]] = [
        {"kind": "smooth", "name": "soft", "sigma": SIGMA},
        {"kind": "threshold", "name": "bright", "input": "soft", "value": value},
        {"kind": "label", "name": "cells", "input": "bright", "table": "csv"},
    ]
    return [task | more.get(task["name"], {}) for task in tasks]


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
    properties = ("label", "num_pixels", "bbox", "centroid", "intensity_mean")
    table, seen = pd.read_csv(path), 0
    for t, c in np.ndindex(labels.shape[:2]):
        expected = regionprops_table(
            labels[t, c].astype(int), np.moveaxis(image[t], 0, -1), properties
        )
        rows = table[(table["t"] == begin[0] + t) & (table["channel"] == NAMES[c])]
        assert rows["id"].tolist() == expected["label"].tolist()
        assert rows["voxels"].tolist() == expected["num_pixels"].tolist()
        for i, axis in enumerate("zyx"):
            first, size = begin[2 + i], SCALE[2 + i]
            for name, column in (("begin", i), ("end", i + 3)):
                box = expected[f"bbox-{column}"] + first
                assert rows[f"{axis}_{name}"].tolist() == box.tolist()
            centroid = (expected[f"centroid-{i}"] + first) * size
            np.testing.assert_allclose(rows[f"centroid_{axis}_um"], centroid, rtol=1e-9)
        for i, channel in enumerate(NAMES):
            np.testing.assert_allclose(
                rows[f"mean_intensity_{channel}"], expected[f"intensity_mean-{i}"]
            )
        seen += len(rows)
    assert seen == len(table) > 0


def check_groups(output: Path, begin: tuple[int, ...], levels: int) -> None:
    """All groups are valid, say where their voxels lie, and the labels are listed."""
    listed = zarr.open_group(output / "labels", mode="r").attrs["ome"]["labels"]
    assert sorted(listed) == ["bright", "cells"]
    masks = [output / "labels" / name for name in listed]
    for path in (output, image_of(output, "soft"), output / "labels", *masks):
        assert yaozarrs.validate_zarr_store(str(path))
    for path in (output, image_of(output, "soft"), *masks):
        [multiscale] = zarr.open_group(path, mode="r").attrs["ome"]["multiscales"]
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
            fine, coarse = (zarr.open_array(path / n, mode="r")[...] for n in "01")
            mean = means_of_cells(fine)
            if fine.dtype == np.uint16:
                np.testing.assert_array_equal(coarse, np.rint(mean))
            else:
                np.testing.assert_allclose(coarse, mean, rtol=1e-6)
            assert coarse.dtype == fine.dtype
    for path in (output / "labels" / "bright", output / "labels" / "cells"):
        assert (path / "1").exists() == (levels > 1)
        if levels > 1:
            fine, coarse = (zarr.open_array(path / n, mode="r")[...] for n in "01")
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
    with pytest.raises(InputError, match=r"channel 2.*has 2.*index below 2"):
        plan(load(config))
    config["tasks"] = [task | {"channel": "nucleus"}]
    refused = cli(write_config(tmp_path / "config.json", config))
    assert refused.returncode == 2, refused.stderr
    assert "'nucleus'" in refused.stderr
    assert "'nuclei', 'membrane'" in refused.stderr
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


VALUE, OTHER_VALUE = 2100.0, 2250.0

ALL = {
    "denoise": 3,
    "soft": 3,
    "bright": 3,
    "cells": 3,
    "cells.pieces": 3,
    "cells.union": 1,
    "cells.table": 1,
}
"""Blocks of the run that the tests below begin with."""

OF_CELLS = {stage: count for stage, count in ALL.items() if stage.startswith("cells")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The config of a chain that is done."""
    folder = tmp_path_factory.mktemp("finished")
    config = filter_config(
        write_czi(folder / "in.czi", speckles((1, 1, 4, 96, 40))),
        folder / "out" / "out.zarr",
        blocks={"shape": {"y": 32}},
        tasks=chain(VALUE),
    )
    (folder / "out").mkdir()
    go(config)
    assert counts_since({}, folder / "out" / "out.zarr") == ALL
    return config


@pytest.fixture
def config(finished: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Its config where a copy of all that it wrote lies, of the test's own."""
    shutil.copytree(Path(finished["output"]["path"]).parent, tmp_path / "out")
    copied: dict[str, Any] = json.loads(json.dumps(finished))
    copied["output"]["path"] = str(tmp_path / "out" / "out.zarr")
    return copied


def test_another_value_redoes_the_task_and_what_reads_it(
    config: dict[str, Any],
) -> None:
    output = Path(config["output"]["path"])
    before, labels = ledgers(output), mask_of(output, "cells")
    said = go(config | {"tasks": chain(OTHER_VALUE)})
    assert "Task bright is done anew: value was 2100.0, is 2250.0." in said
    assert "Task cells is done anew: what it reads has changed." in said
    assert "Task soft" not in said
    assert counts_since(before, output) == {"bright": 3} | OF_CELLS
    soft = output_of(image_of(output, "soft"))
    expected = labels_of(soft > OTHER_VALUE)
    assert (expected != labels).any()
    np.testing.assert_array_equal(mask_of(output, "cells"), expected)
    assert pd.read_csv(output.with_name("out.cells.csv"))["id"].max() == expected.max()


def test_a_task_that_is_added_is_all_that_runs(config: dict[str, Any]) -> None:
    output = Path(config["output"]["path"])
    before = ledgers(output)
    dim = {"kind": "threshold", "name": "dim", "input": "soft", "value": 1900.0}
    said = go(config | {"tasks": [*config["tasks"], dim]})
    assert "done anew" not in said
    assert f"{sum(ALL.values())} skipped (done before)" in said
    assert counts_since(before, output) == {"dim": 3}
    soft = output_of(image_of(output, "soft"))
    np.testing.assert_array_equal(mask_of(output, "dim"), soft > 1900)
    listed = zarr.open_group(output / "labels", mode="r").attrs["ome"]["labels"]
    assert sorted(listed) == ["bright", "cells", "dim"]


def test_a_task_taken_out_and_put_back_is_not_done_again(
    config: dict[str, Any],
) -> None:
    """But it is if what it reads was changed in between."""
    output = Path(config["output"]["path"])
    before = ledgers(output)
    two = config["tasks"][:2]
    fewer = sum(ALL.values()) - sum(OF_CELLS.values())
    assert f"All {fewer} blocks were done before" in go(config | {"tasks": two})
    assert f"All {sum(ALL.values())} blocks were done before" in go(config)
    assert ledgers(output) == before
    go(config | {"tasks": chain(OTHER_VALUE)[:2]})
    assert counts_since(before, output) == {"bright": 3}
    go(config | {"tasks": chain(OTHER_VALUE)})
    assert counts_since(before, output) == {"bright": 3} | OF_CELLS
    expected = labels_of(mask_of(output, "bright"))
    np.testing.assert_array_equal(mask_of(output, "cells"), expected)


def test_other_workers_redo_nothing(config: dict[str, Any]) -> None:
    """Neither those of the run nor those of a task, nor how often blocks are tried."""
    output = Path(config["output"]["path"])
    before = ledgers(output)
    config["workers"] = {"kind": "local", "count": 1, "max_retries": 7}
    own = {"workers": {"kind": "local", "count": 1}, "max_retries": 0}
    config["tasks"] = chain(VALUE, soft=own, cells={"max_retries": 9})
    assert f"All {sum(ALL.values())} blocks were done before" in go(config)
    assert ledgers(output) == before


def test_only_the_tasks_asked_for_are_done(
    finished: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "out.zarr"
    config = finished | {"output": {"path": str(output), "chunks": CHUNKS}}
    path = write_config(tmp_path / "config.json", config)
    with pytest.raises(InputError, match=r"'denoise', of which 3 .* --task denoise"):
        go(config, tasks=["soft"])
    with pytest.raises(InputError, match=r"no task 'cells\.pieces'.* bright, cells"):
        go(config, tasks=["cells.pieces"])
    refused = cli("run", path, "--task", "denoise", "--task", "bright")
    assert refused.returncode == 2, refused.stderr
    assert "--task soft" in refused.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]

    go(config, tasks=["denoise", "soft"])
    assert counts_since({}, output) == {"denoise": 3, "soft": 3}
    before = ledgers(output)
    with pytest.raises(InputError, match="--task bright"):
        go(config, tasks=["cells"])
    assert ledgers(output) == before
    # A finished task is no reason to start anything.
    assert "All 3 blocks were done before" in go(config, tasks=["soft"])
    go(config, tasks=["cells", "bright"])
    assert counts_since(before, output) == {"bright": 3} | OF_CELLS
    other = mask_of(Path(finished["output"]["path"]), "cells")
    np.testing.assert_array_equal(mask_of(output, "cells"), other)


MODULE = """
def double(block, context):
    if tuple(context.write_roi.begin) == {bad!r}:
        raise ValueError("there is a fly on the lens")
    return block.astype("float32") * 2


def negative(block, context):
    if tuple(context.write_roi.begin) == {bad!r}:
        raise KeyError("no fly")
    return -block.astype("float32")
"""


def test_a_block_that_fails_takes_along_those_that_read_it_and_no_others(
    tmp_path: Path,
) -> None:
    """Once its function is corrected, that is done anew, with all that reads it."""
    image, output = speckles((1, 1, 2, 160, 24)), tmp_path / "out.zarr"
    typed = {"kind": "function", "dtype": "float32", "channels": 1}
    tasks = [
        typed | {"name": "twice", "function": "flies:double", "max_retries": 1},
        typed | {"name": "minus", "function": "flies:negative", "max_retries": 0},
        {"kind": "smooth", "name": "soft", "input": "twice", "sigma": {"y": 2.0}},
        {"kind": "threshold", "name": "bright", "input": "soft", "value": 4200.0},
        {"kind": "label", "name": "cells", "input": "bright"},
    ]
    config = filter_config(
        write_czi(tmp_path / "in.czi", image),
        output,
        blocks={"shape": {"y": 32}},
        tasks=tasks,
    )
    path = write_config(tmp_path / "config.json", config)
    (tmp_path / "flies.py").write_text(MODULE.format(bad=(0, 0, 32, 0)))
    failed = cli(path, timeout=90)
    assert failed.returncode == 3, failed.stderr
    every = [(0, 0, i, 0) for i in range(5)]
    # Smoothing sees 8 voxels beyond a block, which all lie in the next.
    alive = {
        "denoise": every,
        "twice": [every[0], *every[2:]],
        "minus": [every[0], *every[2:]],
        "soft": every[3:],
        "bright": every[3:],
        "cells.pieces": every[3:],
    }
    assert blocks_since({}, output) == alive
    bad = [
        (stage, json.loads(line))
        for stage, lines in ledgers(output).items()
        for line in lines
        if json.loads(line)["status"] == "failed"
    ]
    assert Counter(stage for stage, _ in bad) == {"twice": 2, "minus": 1}
    for stage, line in bad:
        assert tuple(line["block"]) == every[1]
        assert line["reason"] == "exception"
        function = "in double" if stage == "twice" else "in negative"
        assert function in line["traceback"]
    assert "1 of 5 blocks of twice failed for good" in failed.stderr
    assert "there is a fly on the lens" in failed.stderr
    for stage, orphans in (
        ("soft", "3 of 5"),
        ("bright", "3 of 5"),
        ("cells.pieces", "3 of 5"),
        ("cells.union", "1 of 1"),
        ("cells", "5 of 5"),
    ):
        assert f"{orphans} blocks of {stage} wait for blocks that" in failed.stderr
    assert "of minus wait" not in failed.stderr
    assert "of denoise" not in failed.stderr

    before = ledgers(output)
    (tmp_path / "flies.py").write_text(MODULE.format(bad=None))
    done = cli(path, timeout=90)
    assert done.returncode == 0, done.stderr
    assert "Task twice is done anew: code flies was" in done.stdout
    assert blocks_since(before, output) == {
        "twice": every,
        "minus": every,
        "soft": every,
        "bright": every,
        "cells.pieces": every,
        "cells.union": [(0, 0, 0, 0)],
        "cells": every,
    }
    twice = denoised_of(image).astype(np.float32) * 2
    np.testing.assert_array_equal(output_of(image_of(output, "twice")), twice)
    np.testing.assert_array_equal(output_of(image_of(output, "minus")), twice / -2)
    soft = output_of(image_of(output, "soft"))
    np.testing.assert_allclose(soft, smooth_of(twice, (0, 0, 0, 2, 0)), rtol=1e-6)
    np.testing.assert_array_equal(mask_of(output, "cells"), labels_of(soft > 4200))


def test_tasks_begin_long_before_the_denoising_ends(tmp_path: Path) -> None:
    """By the workers' logs, whose lines have milliseconds, and one clock."""
    image, output = small_image((5, 1, 4, 256, 64)), tmp_path / "out.zarr"
    whole = {"blocks": {"shape": {"t": 1}}}
    config = config_for(
        write_czi(tmp_path / "in.czi", image),
        output,
        # Slow enough for a scheduler that looks at the ledgers now and then.
        denoise={"patch": {"z": 1, "y": 3, "x": 3}, "max_iter": 4},
        output={"chunks": {"z": 4, "y": 32, "x": 64}},
        blocks={"shape": {"y": 32}},
    )
    config["tasks"] = chain(400.0, bright=whole, cells=whole)
    go(config)
    counts = counts_since({}, output)
    assert (counts["denoise"], counts["soft"], counts["cells"]) == (40, 40, 5)
    done = re.compile(r"^(\S+ \S+) Block \[.*\] of (\S+): done\.$", re.MULTILINE)
    logs = sorted((run_dir_of(output) / "logs").glob("local-*.log"))
    lines = sorted(line for log in logs for line in done.findall(log.read_text()))
    order = [stage for _, stage in lines]
    assert order.count("denoise") == 40
    assert order[: order.index("soft")].count("denoise") < 40 / 3
    assert order[: order.index("cells.pieces")].count("denoise") < 40
    mask = output_of(image_of(output, "soft")) > 400
    np.testing.assert_array_equal(mask_of(output, "cells"), labels_of(mask))


def test_damage_anywhere_in_the_chain_is_found_and_redone_with_its_readers(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """And nothing else: the readers may have been computed from the damage."""
    output = Path(config["output"]["path"])
    soft, labels = output_of(image_of(output, "soft")), mask_of(output, "cells")
    shard = image_of(output, "soft") / "0/c/0/0/0/1/0"
    voxels = bytearray(shard.read_bytes())
    voxels[len(voxels) // 3] ^= 0x10
    shard.write_bytes(voxels)
    pieces = run_dir_of(output) / "tasks" / "cells.pieces" / "0-0-2-0.npz"
    whole = pieces.read_bytes()
    pieces.write_bytes(whole[:-1])
    (run_dir_of(output) / "tasks" / "cells.union" / "0-0-0-0.npz").unlink()

    found = cli("verify", write_config(tmp_path / "config.json", config))
    assert found.returncode == 3, found.stderr
    assert f"3 of {sum(ALL.values())} blocks are not what was written" in found.stderr
    assert "soft block [0, 0, 1, 0]:" in found.stderr
    assert "cells.pieces block [0, 0, 2, 0]:" in found.stderr
    assert (
        "cells.union block [0, 0, 0, 0]: cells.union/0-0-0-0.npz is missing"
        in found.stderr
    )

    before = ledgers(output)
    go(config)
    assert blocks_since(before, output) == {
        "soft": [(0, 0, 1, 0)],
        "bright": [(0, 0, 1, 0)],
        "cells.pieces": [(0, 0, 1, 0), (0, 0, 2, 0)],
        "cells.union": [(0, 0, 0, 0)],
        "cells": [(0, 0, 0, 0), (0, 0, 1, 0), (0, 0, 2, 0)],
        "cells.table": [(0, 0, 0, 0)],
    }
    np.testing.assert_array_equal(output_of(image_of(output, "soft")), soft)
    np.testing.assert_array_equal(mask_of(output, "cells"), labels)
    assert pieces.stat().st_size == len(whole)
    assert f"All {sum(ALL.values())} blocks are as" in verify(find(output))


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
        found = zarr.open_array(output / str(level), mode="r")[...]
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
    coarse = zarr.open_array(output / "labels" / "cells" / "1", mode="r")[...]
    for _, c, z, y, x in np.argwhere(coarse != cells[..., ::2, ::2])[:200]:
        cell = cells[0, c, z, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        ids, counts = np.unique(cell, return_counts=True)
        assert coarse[0, c, z, y, x] == ids[counts.argmax()]
    table = pd.read_parquet(tmp_path / "out.cells.parquet")
    for c, name in enumerate(NAMES):
        rows = table[table["channel"] == name]
        assert len(rows) == cells[0, c].max() > 3
        means = ndimage.mean(image[0, c], cells[0, c], rows["id"])
        np.testing.assert_allclose(rows[f"mean_intensity_{name}"], means)
