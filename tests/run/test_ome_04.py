"""An output of OME-NGFF 0.4: the same voxels, in files that older viewers read.

The voxels are those of the same run in 0.5, and what lies on disk is read by zarr,
tensorstore, the validators and three readers of images, which know nothing of this
program.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import bioio_ome_zarr
import ngff_zarr
import numpy as np
import pytest
import tensorstore
import yaozarrs
import zarr
from bioio import BioImage
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v04.image import ImageAttrs
from ome_zarr_models.v04.image_label import ImageLabelAttrs as LabelOf04
from ome_zarr_models.v05.image_label import ImageLabelAttrs as LabelOf05

from harness import cli, output_of, voxels_of, write_config
from harness.ome_models import of_ome
from harness.oracles import SCALE, go
from harness.two_versions import BEGIN, SHAPE

ARRAYS = ["0", "1", "labels/bright/0", "labels/both/0", "labels/cells/0"]
ARRAYS += ["labels/cells/1"]


@pytest.mark.parametrize("array", ARRAYS)
def test_its_voxels_are_those_of_0_5(array: str, versions: Path) -> None:
    expected = voxels_of(versions / "0.5/out.zarr" / array)
    assert expected.any()
    found = versions / "0.4/out.zarr" / array
    np.testing.assert_array_equal(voxels_of(found), expected)
    stored = zarr.open_array(found, mode="r")
    assert stored.metadata.zarr_format == 2
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(found)}}
    read = tensorstore.open(spec, read=True).result().read().result()
    np.testing.assert_array_equal(read.reshape(expected.shape), expected)


def test_an_image_of_a_task_is_of_0_4_too(versions: Path) -> None:
    soft, expected = (versions / v / "out.soft.zarr" for v in ("0.4", "0.5"))
    np.testing.assert_array_equal(output_of(soft), output_of(expected))
    assert json.loads((soft / "0/.zarray").read_text())["zarr_format"] == 2


def test_each_chunk_is_a_file_and_nothing_is_of_zarr_v3(versions: Path) -> None:
    output = versions / "0.4/out.zarr"
    assert not list(output.rglob("zarr.json"))
    array = json.loads((output / "0/.zarray").read_text())
    assert array["dimension_separator"] == "/"
    assert array["compressor"]["id"] == "blosc"
    assert array["compressor"]["cname"] == "zstd"
    chunks = [-(-n // c) for n, c in zip(SHAPE, array["chunks"], strict=True)]
    files = sorted((output / "0").glob("*/*/*/*/*"))
    assert len(files) == np.prod(chunks) > 20
    plan = json.loads(cli("plan", versions / "0.4/config.json", "--json").stdout)
    assert plan["output"]["files"] == len(files)
    assert plan["output"]["shards"] is None


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_validators_take_images_and_labels(version: str, versions: Path) -> None:
    label_models: dict[str, Any] = {"0.4": LabelOf04, "0.5": LabelOf05}
    output = versions / version / "out.zarr"
    places = [output, output.with_name("out.soft.zarr")]
    places += [output / "labels" / name for name in ("bright", "both", "cells")]
    if version == "0.5":
        # That of 0.4 says nothing of its version.
        places.append(output / "labels")
    for place in places:
        assert yaozarrs.validate_zarr_store(str(place))
        # Models of groups of 0.5 can't be made of labels without colours.
        attributes = zarr.open_group(place, mode="r").attrs.asdict()
        told = attributes.get("ome", attributes)
        if place.parent.name == "labels":
            label_models[version].model_validate(told)
        elif place.name != "labels":
            ImageAttrs.model_validate(told)
    if version == "0.4":
        for place in places[:2]:
            assert of_ome(place, "Image", version).multiscales[0].version == version
        assert len(of_ome(output / "labels", "Labels", version).labels) == 3


class Told(NamedTuple):
    """What a reader of images says."""

    levels: list[np.ndarray]
    steps: dict[str, float]
    begins: dict[str, float]
    units: dict[str, str]
    channels: list[str]


def by_ome_zarr_py(place: Path) -> Told:
    """Of labels it reads the image too."""
    nodes = Reader(parse_url(str(place)))()
    image = next(node for node in nodes if node.zarr.basename() == place.name)
    told = image.metadata
    transformations = told["coordinateTransformations"][0]
    steps, begins = (
        {axis["name"]: n for axis, n in zip(told["axes"], each[kind], strict=True)}
        for kind, each in zip(("scale", "translation"), transformations, strict=True)
    )
    units = {axis["name"]: axis["unit"] for axis in told["axes"] if "unit" in axis}
    levels = [np.asarray(level) for level in image.data]
    return Told(levels, steps, begins, units, told.get("channel_names", []))


def by_ngff_zarr(place: Path) -> Told:
    read = ngff_zarr.from_ngff_zarr(place)
    levels = [np.asarray(level.data) for level in read.images]
    first, omero = read.images[0], read.metadata.omero
    units = {axis: unit for axis, unit in first.axes_units.items() if unit}
    names = [channel.label for channel in omero.channels] if omero else []
    return Told(levels, first.scale, first.translation, units, names)


def by_bioio(place: Path) -> Told:
    """It tells nothing of translations."""
    read = BioImage(place, reader=bioio_ome_zarr.Reader)
    steps = {axis.lower(): step for axis, step in read.scale._asdict().items() if step}
    told = read.dimension_properties._asdict()
    units = {axis.lower(): str(told[axis].unit) for axis in "TZYX"}
    levels = []
    for level in read.resolution_levels:
        read.set_resolution_level(level)
        levels.append(read.data)
    return Told(levels, steps, {}, units, read.channel_names)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("read", [by_ome_zarr_py, by_ngff_zarr, by_bioio])
def test_readers_of_images_agree(
    read: Callable[[Path], Told], version: str, versions: Path
) -> None:
    """On what zarr reads, where it is, and what it is called."""
    output = versions / version / "out.zarr"
    for place in (output, output / "labels/both", output / "labels/cells"):
        told = read(place)
        for level, voxels in enumerate(told.levels):
            wanted = voxels_of(place / str(level))
            np.testing.assert_array_equal(voxels.reshape(wanted.shape), wanted)
        assert len(told.levels) == 2
        steps = dict(zip("tczyx", SCALE, strict=True))
        if place.name == "cells" and "c" not in told.steps:
            del steps["c"]
        assert told.steps == pytest.approx(steps)
        begins = dict(zip("tczyx", BEGIN, strict=True))
        wanted_begins = {axis: begins[axis] * step for axis, step in steps.items()}
        assert read is by_bioio or told.begins == pytest.approx(wanted_begins)
        spaces = dict.fromkeys("zyx", "micrometer")
        assert told.units == {"t": "second", **spaces}
    assert read(output).channels == ["Channel 0", "Channel 1"]


def test_its_blocks_are_verified_and_told_of(versions: Path) -> None:
    said = cli("verify", versions / "0.4/out.zarr")
    assert said.returncode == 0, said.stdout
    assert "denoise" in cli("status", versions / "0.4/config.json").stdout


def test_a_damaged_chunk_is_found_and_made_again(
    versions: Path, tmp_path: Path
) -> None:
    """No codec of Zarr v2 has a checksum; the ledger has one."""
    folder = tmp_path / "0.4"
    shutil.copytree(versions / "0.4", folder)
    file = folder / "out.zarr/0/1/0/0/1/1"
    good = file.read_bytes()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 0x10
    file.write_bytes(bad)
    assert cli("verify", folder / "out.zarr").returncode == 3
    config = json.loads((folder / "config.json").read_text())
    config["output"]["path"] = str(folder / "out.zarr")
    go(config)
    assert file.read_bytes() == good


def test_the_version_of_a_run_can_not_be_changed(
    versions: Path, tmp_path: Path
) -> None:
    """Of copies: others verify the runs themselves meanwhile."""
    config = json.loads((versions / "0.4/config.json").read_text())
    for version in ("0.4", "0.5"):
        other = {"0.4": "0.5", "0.5": "0.4"}[version]
        folder = tmp_path / version
        shutil.copytree(versions / version, folder)
        config["output"]["ome_version"] = other
        config["output"]["path"] = str(folder / "out.zarr")
        done = cli("run", write_config(folder / "other.json", config))
        assert done.returncode == 4
        assert "output.ome_version was" in done.stderr
