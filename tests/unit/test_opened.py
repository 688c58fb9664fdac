"""`open`: an output as arrays, a chunk for each file, read when computed."""

import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zarr
from funlib.geometry import Coordinate

import denoise_daisy
from denoise_daisy.errors import InputError
from denoise_daisy.outputs.layout import Layout
from denoise_daisy.outputs.ome_groups import create_group
from denoise_daisy.outputs.ome_metadata import Resolution, ome_metadata
from denoise_daisy.outputs.ome_zarr import create_array
from denoise_daisy.outputs.opened_image import open_group
from denoise_daisy.viewing.layers import _of_channels
from harness.czi_files import noise

SHAPE = (2, 3, 5, 20, 30)
CHUNKS = (1, 1, 4, 8, 16)
SHARDS = (1, 3, 4, 16, 16)


def opened(path: Path | str) -> Any:
    return denoise_daisy.open(path).image.data


OME = {
    "version": "0.5",
    "multiscales": [{"datasets": [{"path": "0"}]}],
}


def output(path: Path, shards: tuple[int, ...] | None = SHARDS) -> np.ndarray:
    """An output as a run lays it out, with voxels."""
    voxels = noise(SHAPE)
    create_group(path, OME, {})
    create_array(path / "0", Layout(SHAPE, "uint16", CHUNKS, shards, 1))
    zarr.open_array(path / "0", mode="r+")[...] = voxels
    return voxels


@pytest.mark.parametrize(
    ("shards", "chunks"),
    [
        (SHARDS, ((1, 1), (3,), (4, 1), (16, 4), (16, 14))),
        (None, ((1, 1), (1, 1, 1), (4, 1), (8, 8, 4), (16, 14))),
    ],
)
def test_a_chunk_of_it_is_a_file_of_the_output(
    shards: tuple[int, ...] | None, chunks: tuple[tuple[int, ...], ...], tmp_path: Path
) -> None:
    voxels = output(tmp_path / "out.zarr", shards)
    array = opened(tmp_path / "out.zarr")
    assert array.chunks == chunks
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array.compute(), voxels)
    part = pickle.loads(pickle.dumps(array[1, 2, 3:, ::7]))  # noqa: S301 - our own
    np.testing.assert_array_equal(part.compute(), voxels[1, 2, 3:, ::7])


def test_a_config_and_a_run_directory_stand_for_their_output(tmp_path: Path) -> None:
    voxels = output(tmp_path / "out.zarr")
    (tmp_path / "out.zarr.run").mkdir()
    (tmp_path / "out.zarr.run" / "run.json").touch()
    config = {"input": {"path": "in.czi"}, "output": {"path": "out.zarr"}}
    (tmp_path / "c.json").write_text(json.dumps(config))
    for path in (tmp_path / "out.zarr.run", tmp_path / "c.json"):
        np.testing.assert_array_equal(opened(str(path)).compute(), voxels)


def test_only_what_is_computed_is_read_and_what_is_away_is_no_zero(
    tmp_path: Path,
) -> None:
    voxels = output(tmp_path / "out.zarr")
    (tmp_path / "out.zarr" / "0" / "c" / "1" / "0" / "0" / "1" / "0").unlink()
    array = opened(tmp_path / "out.zarr")
    np.testing.assert_array_equal(array[0].compute(), voxels[0])
    np.testing.assert_array_equal(array[1, :, :, :16].compute(), voxels[1, :, :, :16])
    with pytest.raises(FileNotFoundError):
        array[1].compute()


def test_what_is_written_again_is_not_taken_for_what_was_there(tmp_path: Path) -> None:
    output(tmp_path / "out.zarr")
    before = opened(tmp_path / "out.zarr")
    zarr.open_array(tmp_path / "out.zarr" / "0", mode="r+")[...] = 7
    assert opened(tmp_path / "out.zarr").name != before.name
    assert (opened(tmp_path / "out.zarr") == 7).all().compute()


def test_where_no_output_is_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(
        '{"input": {"path": "in.czi"}, "output": {"path": "out.zarr"}}'
    )
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "zarr.json").write_text("damaged")
    for path in (tmp_path / "c.json", tmp_path / "absent.zarr", tmp_path):
        with pytest.raises(InputError) as caught:
            opened(path)
        assert "Expected a config file" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_of_a_name_that_is_not_there_is_said_which_are(tmp_path: Path) -> None:
    output(tmp_path / "out.zarr")
    output(tmp_path / "out.zarr" / "labels" / "cells")
    labels = zarr.open_group(tmp_path / "out.zarr").require_group("labels")
    labels.attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    opened = denoise_daisy.open(tmp_path / "out.zarr")
    assert opened.labels["cells"].shape == SHAPE
    with pytest.raises(KeyError, match=r"mean 'cells'\?\)\. There are: cells\."):
        opened.labels["cels"]
    for empty in (opened.tasks, opened.tables):
        with pytest.raises(KeyError, match=r"the name 'cells'\. There are none\."):
            empty["cells"]
        assert "cells" not in empty
        assert empty.get("cells") is None


def test_a_level_of_means_lies_where_its_voxels_do(tmp_path: Path) -> None:
    """Two by two voxels from y 400 and x 301 on, of half a micrometer."""
    described: Any = SimpleNamespace(
        time_step_s=None, scale_um=(2.0, 0.5, 0.5), origin=(0, 0, 400, 301)
    )
    begin, factor = Coordinate(0, 0, 0, 0), Coordinate(1, 1, 2, 2)
    level = Resolution("0", begin, factor, is_sampled=False)
    create_group(tmp_path / "a.zarr", ome_metadata("a", described, [level], "mean"), {})
    layout = Layout((1, 1, 1, 8, 8), "uint16", (1, 1, 1, 8, 8), None, 1)
    create_array(tmp_path / "a.zarr" / "0", layout)
    opened = open_group(tmp_path / "a.zarr")
    assert opened.origin == (0, 0, 200, 150)
    assert opened.shift == pytest.approx((0, 0, 200.25, 150.75))
    assert opened.array().roi.begin == (0, 0, 200, 150)
    (layer,) = _of_channels("a", opened, "image")
    assert layer.translate == pytest.approx((0, 0, 200.25, 150.75))  # of 1 um
