"""Labels, tables and found thresholds, where they are cut and placed most awkwardly.

The oracles are scipy, scikit-image and numpy on whole arrays; where things lie is told
by the OME metadata that the run wrote, for a table and a viewer must not tell two
stories.  A green run would mean nothing if pieces met otherwise than across a border,
if a region began at 0, or if half a voxel made no difference: each test asserts what it
depends on.
"""

import itertools
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from demo_czi import write_czi
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import regionprops

from denoise_daisy import run
from denoise_daisy.resolved.resolve import restore
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import find
from harness import ledger_lines, load, ome_of, output_of, voxels_of
from harness.shared import once

NAMES = ("nuclei", "membrane")

SCALE_UM = (0.2, 0.145, 0.16)
"""Of (z, y, x): of a size for each axis, and all axes are halved from level to level.
"""

REGION = {"t": [1, 3], "z": [3, 12], "y": [7, 98], "x": [5, 88]}
"""Off 0, odd, and of an odd number of voxels along z, y and x."""

CUT = (slice(1, 3), slice(None), slice(3, 12), slice(7, 98), slice(5, 88))


def speckles(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Noisy bright objects all over, some voxels large, uint16, (t, c, z, y, x)."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), (0, 0, 1.5, 4, 4))
    noise = rng.normal(0, 30, shape)
    image = np.clip(2000 + 600 * blobs / blobs.std() + noise, 0, 65535)
    return np.rint(image).astype(np.uint16)


def do(
    folder: Path, image: np.ndarray, *tasks: dict[str, Any], **sections: Any
) -> Path:
    """Run these tasks, the denoising being a filter; the output."""
    source = write_czi(folder / "in.czi", image, names=NAMES, scale_um=SCALE_UM)
    config: dict[str, Any] = {
        "input": {"path": str(source)},
        "output": {"path": str(folder / "out.zarr")},
        "denoise": {"kind": "median", "size": {"y": 3, "x": 3}},
        "workers": {"kind": "local", "count": 2},
        "tasks": list(tasks),
    }
    for name, values in sections.items():
        config[name] = config.get(name, {}) | values
    run(load(config), say=lambda _: None)
    return folder / "out.zarr"


# Blocks that touch

BLOCK = (5, 6, 7)
"""Of the labelling, voxels of (z, y, x)."""

GRID = (3, 4, 5)
"""Blocks along each axis; each a number of its own, or one could stand for another."""

STEPS = [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
"""From a voxel to each half of its neighbours."""


def pairs_across_borders() -> tuple[np.ndarray, "Counter[tuple[int, ...]]"]:
    """Pairs of voxels that touch across a border of blocks, and how many by their step.

    There is one pair across each face, edge and corner that blocks share, far from all
    others; the steps from voxel to voxel take turns.
    """
    mask = np.zeros(np.multiply(BLOCK, GRID), bool)
    counts: Counter[tuple[int, ...]] = Counter()
    # In halves of blocks: even numbers are borders, odd ones the middle of a block.
    for halves in itertools.product(*(range(1, 2 * n) for n in GRID)):
        crossed = [half % 2 == 0 for half in halves]
        fitting = [step for step in STEPS if [bool(d) for d in step] == crossed]
        if fitting:
            step = min(fitting, key=lambda step: counts[step])
            counts[step] += 1
            middle = [h * n // 2 for h, n in zip(halves, BLOCK, strict=True)]
            # Across a border, the voxel before it or after it comes first.
            first = [m - (d == 1) for m, d in zip(middle, step, strict=True)]
            mask[tuple(first)] = mask[tuple(np.add(first, step))] = True
    return mask, counts


def label_pairs(folder: Path) -> Path:
    """Label these pairs in all three ways; the output."""
    mask, _ = pairs_across_borders()
    labels = [
        {
            "kind": "label",
            "name": f"objects{connectivity}",
            "input": "mask",
            "connectivity": connectivity,
            "blocks": {"shape": dict(zip("zyx", BLOCK, strict=True))},
        }
        for connectivity in (1, 2, 3)
    ]
    return do(
        folder,
        mask[np.newaxis, np.newaxis] * np.uint16(1000),
        {"kind": "threshold", "name": "mask", "input": "raw", "value": 500},
        *labels,
        output={"chunks": dict(zip("zyx", BLOCK, strict=True))},
        blocks={"shape": {}},
    )


@pytest.fixture(scope="session")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run that has labelled these pairs in all three ways."""
    return once(tmp_path_factory, "paired", label_pairs)


@pytest.mark.parametrize("connectivity", [1, 2, 3])
def test_objects_that_meet_in_a_face_an_edge_or_a_corner_of_blocks_are_joined(
    connectivity: int, paired: Path
) -> None:
    """A block's last neighbour, across a corner, is a plane, a row and a block away."""
    mask, counts = pairs_across_borders()
    assert counts.keys() == set(STEPS)
    assert min(counts.values()) >= 6
    labels = output_of(paired / "labels" / f"objects{connectivity}")[0, 0]
    structure = ndimage.generate_binary_structure(3, connectivity)
    expected, objects = ndimage.label(mask, structure)
    apart = sum(
        n for step, n in counts.items() if np.count_nonzero(step) > connectivity
    )
    assert objects == sum(counts.values()) + apart
    blocks = {tuple(x["block"]) for x in ledger_lines(paired, f"objects{connectivity}")}
    assert blocks == {(0, *index) for index in np.ndindex(GRID)}
    np.testing.assert_array_equal(labels, expected)


# Tables of what is labelled on a level

VALUE = 2300.0

ON_LEVELS = {
    "cells": ("out.zarr/2", "out.zarr/labels/bright/0"),
    "parts": ("out.zarr/1", "out.zarr/labels/fine/1"),
}
"""Labels by their task: the image that they measure, and the mask that they are of."""


def label_levels(folder: Path, method: str) -> Path:
    """Label a level, and a mask's level; the folder."""
    of_masks = {"mean": "mode", "nearest": "nearest"}[method]
    tasks: list[dict[str, Any]] = [
        {"kind": "pyramid", "name": "image", "levels": 2, "method": method},
        {"kind": "smooth", "name": "soft", "input": "image.2", "sigma": {"x": 1}},
        {"kind": "threshold", "name": "bright", "input": "image.2", "value": VALUE},
        {"kind": "threshold", "name": "fine", "value": VALUE},
        {"kind": "pyramid", "name": "mask", "input": "fine", "levels": 1}
        | {"method": of_masks},
        {"kind": "label", "name": "cells", "input": "bright", "table": "csv"}
        | {"intensity": "image.2"},
        {"kind": "label", "name": "parts", "input": "mask.1", "table": "csv"}
        | {"intensity": "image.1"},
    ]
    do(folder, speckles((3, 2, 14, 101, 93)), *tasks, input={"roi": REGION})
    return folder


@pytest.fixture(scope="session", params=["mean", "nearest"])
def level_run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run whose labels are of a level, or of a mask's level."""
    name = f"levels-{request.param}"
    return once(tmp_path_factory, name, partial(label_levels, method=request.param))


def place_of(level: Path) -> tuple[np.ndarray, np.ndarray]:
    """Scale and translation along (z, y, x) that a level's own metadata tell."""
    [multiscale] = ome_of(level.parent)["multiscales"]
    [dataset] = [d for d in multiscale["datasets"] if d["path"] == level.name]
    told = {t["type"]: t[t["type"]] for t in dataset["coordinateTransformations"]}
    return np.array(told["scale"][2:]), np.array(told["translation"][2:])


@pytest.mark.parametrize("task", ON_LEVELS)
def test_a_table_of_a_level_measures_the_level_where_its_metadata_place_it(
    task: str, level_run: Path
) -> None:
    image, mask = (level_run / level for level in ON_LEVELS[task])
    scale, translation = place_of(image)
    voxels = voxels_of(image)
    labels = output_of(level_run / "out.zarr" / "labels" / task)
    np.testing.assert_array_equal(labels > 0, voxels_of(mask) > 0)
    table = pd.read_csv(level_run / f"out.{task}.csv")
    groups = [rows for _, rows in table.groupby(["t", "channel"], sort=False)]
    places = list(np.ndindex(labels.shape[:2]))
    assert len(groups) == len(places) == 4
    for (t, c), rows in zip(places, groups, strict=True):
        regions = regionprops(labels[t, c], np.moveaxis(voxels[t], 0, -1))
        assert len(regions) > 5
        assert set(rows["channel"]) == {NAMES[c]}
        assert rows["label"].tolist() == [region.label for region in regions]
        assert rows["voxels"].tolist() == [region.area for region in regions]
        # In voxels of the level, counted from its first.
        sides = [f"{axis}_{side}" for side in ("begin", "end") for axis in "zyx"]
        boxes = [region.bbox for region in regions]
        np.testing.assert_array_equal(rows[sides], boxes)
        centroids = [region.centroid * scale + translation for region in regions]
        found = rows[[f"centroid_{axis}_um" for axis in "zyx"]]
        np.testing.assert_allclose(found, centroids, rtol=1e-9)
        for what in ("mean", "std", "min", "max"):
            expected = [region[f"intensity_{what}"] for region in regions]
            found = rows[[f"{what}_intensity_{name}" for name in NAMES]]
            np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("made", "level"),
    [
        ("out.zarr/labels/bright/0", "out.zarr/2"),
        ("out.zarr/labels/cells/0", "out.zarr/2"),
        ("out.soft.zarr/0", "out.zarr/2"),
        ("out.zarr/labels/fine/1", "out.zarr/1"),
        ("out.zarr/labels/parts/0", "out.zarr/1"),
    ],
)
def test_what_is_made_of_a_level_lies_where_the_level_lies(
    made: str, level: str, level_run: Path
) -> None:
    scale, translation = place_of(level_run / level)
    first = np.multiply([REGION[axis][0] for axis in "zyx"], SCALE_UM)
    assert (translation > first - 1e-9).all()
    found = place_of(level_run / made)
    np.testing.assert_allclose(found, (scale, translation), rtol=1e-9)


@pytest.mark.parametrize("task", ON_LEVELS)
def test_the_rows_of_a_table_join_with_the_labels(task: str, level_run: Path) -> None:
    """By label, t and c, though labels begin at 1 in each time point and channel."""
    table = pd.read_csv(level_run / f"out.{task}.csv")
    labels = output_of(level_run / "out.zarr" / "labels" / task)
    assert table["id"].is_unique
    assert table["label"].duplicated().any()
    assert not table[["label", "t", "c"]].duplicated().any()
    voxels = pd.DataFrame(np.argwhere(labels), columns=list("tczyx"))
    voxels["label"] = labels[labels > 0]
    joined = voxels.merge(table, on=["label", "t", "c"], validate="many_to_one")
    assert len(joined) == len(voxels)
    assert (joined.groupby("id").size().to_numpy() == table["voxels"]).all()
    for axis in "zyx":
        inside = joined[axis].between(
            joined[f"{axis}_begin"], joined[f"{axis}_end"] - 1
        )
        assert inside.all()
    step, first = 30.0, REGION["t"][0]
    assert (table["time_s"] == (first + table["t"]) * step).all()


def test_a_mask_that_has_changed_since_its_pieces_were_counted_is_found_out(
    level_run: Path,
) -> None:
    """Else its objects would get the numbers of others."""
    run_dir = find(level_run / "out.zarr")
    stages = restore(RunRecord.of(run_dir), run_dir).stages
    (cells,) = [stage for stage in stages if stage.name == "cells"]
    block = cells.read_block((0, 0, 0, 0))
    pieces = ndimage.label(block.arrays[0][0, 0])[1]
    assert np.unique(cells.compute(block)).size > 1
    block.arrays[0][0, 0] = 0
    with pytest.raises(ValueError, match=f"has 0 pieces now and had {pieces} before"):
        cells.compute(block)


# Values found in a region

SOURCES = {"usual": "denoised", "early": "raw", "coarse": "levels.1"}
"""What thresholds are found of, by their tasks."""


def test_a_threshold_is_that_of_the_region_and_of_nothing_else(tmp_path: Path) -> None:
    """Which has few enough voxels to be sampled whole."""
    image = speckles((3, 2, 14, 101, 93), seed=5)
    image[:, 1] += 5000
    # All around, other grey levels; what begins at 0 has some of these.
    region = np.zeros(image.shape, bool)
    region[CUT] = True
    image[~region] //= 3
    tasks = [
        {"kind": "threshold", "name": name, "input": source, "method": "otsu"}
        for name, source in SOURCES.items()
    ]
    levels = {"kind": "pyramid", "name": "levels", "levels": 1}
    output = do(tmp_path, image, levels, *tasks, input={"roi": REGION})
    denoised = ndimage.median_filter(image, (1, 1, 1, 3, 3))[CUT]
    np.testing.assert_array_equal(output_of(output), denoised)
    level = voxels_of(output / "1")
    expected = {"usual": denoised, "early": image[CUT], "coarse": level}
    for name, voxels in expected.items():
        values = [threshold_otsu(voxels[:, c]) for c in range(2)]
        file = tmp_path / "out.zarr.run" / "tasks" / name / "value.json"
        assert json.loads(file.read_text())["values"] == pytest.approx(values)
        mask = voxels > np.reshape(values, (1, 2, 1, 1, 1))
        np.testing.assert_array_equal(output_of(output / "labels" / name), mask)
        assert (mask.mean(axis=(0, 2, 3, 4)) > 0.1).all()
    at_0 = image[tuple(slice(0, n) for n in denoised.shape)]
    for elsewhere in (image, at_0):
        for c in range(2):
            value = threshold_otsu(elsewhere[:, c])
            assert abs(value - threshold_otsu(image[CUT][:, c])) > 50
