"""Shards of blocks that span an axis; planes with gaps; float sums in their order."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi
from unit.test_czi_tiles import noise

from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.read_back import slab_bytes
from denoise_daisy.errors import RefusedError
from denoise_daisy.geometry import FULL_RESOLUTION
from denoise_daisy.images.czi import open_czi
from denoise_daisy.outputs.layout import Layout, auto_shards
from denoise_daisy.outputs.ome_groups import create_group, create_labels
from denoise_daisy.outputs.ome_metadata import Resolution, ome_metadata
from denoise_daisy.outputs.ome_zarr import check_array, create_array
from denoise_daisy.run_dir.checksums import Checksums
from denoise_daisy.runs.output_files import _array_files_there
from harness import config_for, load, small_czi
from harness.czi_files import write_tiles
from harness.prepared import resolved


def test_along_an_axis_that_a_block_just_spans_any_number_of_chunks_will_do() -> None:
    """Five chunks of 64 MiB each along z: four of them are a shard, and one is left."""
    block = (1, 1, 160, 1024, 1024)
    chunks = (1, 1, 32, 128, 128)
    assert auto_shards(block, block, chunks, "uint16") == (1, 1, 128, 1024, 1024)
    longer = (1, 1, 320, 1024, 1024)
    assert auto_shards(block, longer, chunks, "uint16") == (1, 1, 32, 1024, 1024)


def test_planes_with_the_same_gaps_are_all_counted(tmp_path: Path) -> None:
    """Of three planes two lack the right half."""
    whole, half = noise((10, 20)), noise((10, 10))
    tiles = [("C0T0Z0", whole, (0, 0))]
    tiles += [(f"C0T0Z{z}", half, (0, 0)) for z in (1, 2)]
    [warning] = open_czi(str(write_tiles(tmp_path / "a.czi", tiles))).warnings
    assert "2 of 3 planes have gaps between tiles (up to 50.0%" in warning


def test_a_level_is_moved_by_voxels_of_the_image() -> None:
    """Half a micrometer each; a voxel of two lies half a voxel further on."""
    image: Any = SimpleNamespace(
        time_step_s=None, scale_um=(2.0, 0.5, 0.5), origin=(0, 0, 0, 0)
    )
    begin, factor = Coordinate(0, 0, 4, 8), Coordinate(1, 1, 2, 2)
    level = Resolution("1", begin, factor, is_sampled=False)
    [told] = ome_metadata("out", image, [level], "mean")["multiscales"][0]["datasets"]
    assert told["coordinateTransformations"] == [
        {"type": "scale", "scale": [1.0, 1.0, 2.0, 1.0, 1.0]},
        {"type": "translation", "translation": [0.0, 0.0, 0.0, 2.25, 4.25]},
    ]


def test_a_file_is_there_if_those_of_all_channels_are(tmp_path: Path) -> None:
    layout = Layout((1, 2, 1, 4, 8), "uint16", (1, 1, 1, 4, 4), None, 1)
    create_array(tmp_path / "0", layout)
    array = Level(
        path=tmp_path / "0",
        layout=layout,
        transform=FULL_RESOLUTION,
        begin=Coordinate(0, 0, 0, 0),
        channels=(),
        checksums=Checksums(tmp_path, "run", layout.shape, layout.chunks),
    )
    array.array[array.roi] = np.ones(layout.shape, np.uint16)
    assert _array_files_there(array, (1, 1, 1, 2)).ravel().tolist() == [True, True]
    (tmp_path / "0/c/0/1/0/0/0").unlink()
    assert _array_files_there(array, (1, 1, 1, 2)).ravel().tolist() == [False, True]


@pytest.mark.parametrize(("edge", "planes"), [(128, 1024), (512, 64), (1024, 32)])
def test_a_slab_is_whole_chunks_of_16_million_voxels_at_most(
    edge: int, planes: int, tmp_path: Path
) -> None:
    """Unless one chunk's depth is more."""
    layout = Layout((1, 2, 4096, edge, edge), "uint16", (1, 1, 32, 128, 128), None, 1)
    array = Level(
        path=tmp_path,
        layout=layout,
        transform=FULL_RESOLUTION,
        begin=Coordinate(0, 0, 0, 0),
        channels=(),
        checksums=Checksums(tmp_path, "run", (1, 1, 1, 1, 1), (1, 1, 1, 1, 1)),
    )
    block = Roi((0, 0, 0, 0), (1, 4096, edge, edge))
    assert slab_bytes(array, block) == planes * edge * edge * 2


def test_labels_are_listed_beside_those_there(tmp_path: Path) -> None:
    """A task that is taken out of a config keeps what it has made."""
    create_group(tmp_path / "out.zarr", {"version": "0.5"}, {})
    for names in (["cells", "bright"], ["bright", "dim"], []):
        create_labels(tmp_path / "out.zarr", names)
    text = (tmp_path / "out.zarr/labels/zarr.json").read_text()
    ome = json.loads(text)["attributes"]["ome"]
    assert ome == {"version": "0.5", "labels": ["cells", "bright", "dim"]}


def test_an_output_in_a_folder_named_labels_is_an_image(tmp_path: Path) -> None:
    source = small_czi(tmp_path / "in.czi", (1, 1, 1, 16, 16))
    config = config_for(source, tmp_path / "labels" / "out.zarr")
    config["tasks"] = [
        {"kind": "smooth", "name": "soft", "sigma": 1},
        {"kind": "threshold", "name": "bright", "value": 1},
    ]
    stages = {stage.name: stage for stage in resolved(load(config)).stages}
    kinds = {name: s.array.is_labels for name, s in stages.items() if s.array}
    assert kinds == {"denoise": False, "soft": False, "bright": True}


def test_an_array_with_an_axis_more_on_disk_is_refused(tmp_path: Path) -> None:
    layout = Layout((1, 1, 1, 4, 8), "uint16", (1, 1, 1, 4, 4), None, 1)
    create_array(tmp_path / "0", layout)
    with pytest.raises(RefusedError, match=r"has 5 axes. Expected 4"):
        check_array(tmp_path / "0", replace(layout, has_channels=False))
