"""The example configs, run as they are, against their functions on the whole image."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from demo_czi import write_czi
from demo_series import write_frames, write_stacks
from scipy import ndimage, stats

import denoise_daisy
from harness import ledger_lines, ome_of, output_of, small_image
from harness.examples import CONFIGS, blobs, examples, many_balls, on_the_whole, shifted
from harness.oracles import go

SOURCE, TARGET = "in.czi", "out.zarr"


def run_config(
    folder: Path,
    name: str,
    image: np.ndarray,
    block: dict[str, int],
    more: dict[str, dict[str, Any]],
) -> Path:
    """A run of a config's own tasks on another image, with a quick denoiser.

    `more` is by task: what of it suits the small image.  A series that a config names
    was written before.
    """
    config = json.loads((CONFIGS / f"{name}.json").read_text())
    chunks = {"z": image.shape[2]} | block
    if config["input"]["path"] == "../demo_data/demo.czi":
        config["input"] = {"path": str(write_czi(folder / SOURCE, image))}
    moved = config["input"]["path"].replace("../demo_data", str(folder))
    config["input"]["path"] = moved
    config |= {
        "output": {"path": str(folder / TARGET), "chunks": chunks},
        "denoise": {"kind": "median", "size": {"y": 3, "x": 3}},
        "blocks": {"shape": block},
        "workers": {"kind": "local", "count": 1 if "_series" in name else 2},
    }
    for task in config.get("tasks", []):
        if task["kind"] == "function":
            task["folder"] = str(CONFIGS)
        task.update(more.get(task["name"], {}))
    assert set(more) <= {task["name"] for task in config.get("tasks", [])}
    go(config)
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


def median_of(image: np.ndarray) -> np.ndarray:
    return ndimage.median_filter(image, (1, 1, 1, 3, 3))


def test_hdf5_series_json_registers_and_scores_all_frames(tmp_path: Path) -> None:
    """The frames are few and small; so their shifts are found at full resolution."""
    shifts = np.array([(0, 0, 0), (0, 3, -4), (0, -4, 2)])
    image = blobs((6, 48, 56), shifts).astype(np.uint16)
    write_frames(tmp_path / "frames", image)
    output = run_config(
        tmp_path,
        "hdf5_series",
        image,
        {"y": 48, "x": 32},
        {"shifts": {"input": "denoised"}},
    )
    denoised = output_of(output)
    np.testing.assert_array_equal(denoised, median_of(image))
    found = np.load(tmp_path / "out.zarr.run" / "tasks" / "shifts" / "values.npy")
    np.testing.assert_allclose(found, shifts, atol=0.5)
    registered = output_of(tmp_path / "out.registered.zarr")
    moved = shifted(denoised, np.round(found, 3))
    np.testing.assert_allclose(registered, moved, rtol=0, atol=1e-2)
    scores = output_of(tmp_path / "out.zscore.zarr")
    expected = on_the_whole(examples.zscore, registered)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
    scale = ome_of(output)["multiscales"][0]["datasets"][0]
    assert scale["coordinateTransformations"][0]["scale"] == [30, 1, 0.3, 0.145, 0.145]


def test_tiff_series_json_denoises_all_stacks(tmp_path: Path) -> None:
    image = small_image((2, 2, 3, 24, 40))
    write_stacks(tmp_path / "stacks", image, ("nuclei", "membrane"))
    output = run_config(tmp_path, "tiff_series", image, {"y": 24, "x": 24}, {})
    # Channels are in the order of their names.
    denoised = denoise_daisy.open(output).image
    assert denoised.shape == image.shape
    np.testing.assert_array_equal(denoised[:], median_of(image[:, ::-1]))
    names = [channel["label"] for channel in ome_of(output)["omero"]["channels"]]
    assert names == ["membrane", "nuclei"]
