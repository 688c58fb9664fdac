"""What there is to Zarrs beside voxels: levels, sizes, names, axes, collections."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from demo_czi import write_czi

from denoise_daisy.images.formats import (
    describe,
    described_image,
    is_image,
    scenes_of,
)
from denoise_daisy.outputs.ome_zarr import open_array
from denoise_daisy.runs.output_metadata import create
from denoise_daisy.runs.output_metadata import describe as describe_output
from harness import config_for, load, small_image
from harness.czi_files import ALL, noise
from harness.opened import opened, refused
from harness.prepared import resolved
from harness.zarr_files import UNITS, write_04, write_05, write_plain, write_plate


def change(document: Path, **values: Any) -> None:
    """Set some values of a document in JSON."""
    document.write_text(json.dumps(json.loads(document.read_text()) | values))


def multiscale(axes: list[Any], **more: Any) -> dict[str, Any]:
    """OME's metadata of an image, as the specification has them."""
    shown = {"axes": axes, "datasets": [{"path": "0"}], "version": "0.4"} | more
    return {"multiscales": [shown]}


# Levels, sizes, names.


def test_a_level_has_the_sizes_of_its_voxels(tmp_path: Path) -> None:
    voxels = noise((2, 1, 4, 32, 48))
    units = {"t": "minute", "z": "nanometer", "y": "millimeter", "x": "angstrom"}
    scale = {"t": 1.5, "z": 300.0, "y": 1e-4, "x": 1500.0}
    path = write_04(tmp_path / "a.zarr", voxels, levels=[2], scale=scale, units=units)
    image = opened(path)
    assert image.scale_um == (0.3, 0.1, 0.15)
    assert image.time_step_s == 90.0
    np.testing.assert_array_equal(image[ALL], voxels)
    level = opened(path / "s1")
    assert level.scale_um == (0.3, 0.2, 0.3)
    assert level.time_step_s == 90.0
    np.testing.assert_array_equal(level[ALL], zarr.open_array(path / "s1")[:])
    assert opened(path / "s0").identity == image.identity


def test_a_level_is_found_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = {"t": 1.0, "z": 1.0, "y": 0.5, "x": 0.5}
    voxels = noise((1, 1, 1, 8, 8))
    write_04(tmp_path / "a.zarr", voxels, scale=scale, units=UNITS)
    (tmp_path / "a.zarr/s0/0/0/0/0/0").unlink()
    monkeypatch.chdir(tmp_path)
    assert opened("a.zarr/s0").scale_um == (1.0, 0.5, 0.5)
    monkeypatch.chdir("a.zarr")
    assert opened("s0").scale_um == (1.0, 0.5, 0.5)
    assert opened("s0").has_gaps


@pytest.mark.parametrize(
    ("unit", "micrometers"), [("meter", 1e6), ("µm", 1.0), ("foo", None), (None, None)]
)
def test_sizes_without_a_unit_are_unknown(
    unit: str | None, micrometers: float | None, tmp_path: Path
) -> None:
    path = write_05(tmp_path / "a.zarr", noise((6, 7)), "yx", (8, 8))
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    axes = [{"name": a, "type": "space", "unit": unit} for a in "yx"]
    attributes["ome"]["multiscales"][0]["axes"] = [
        {k: v for k, v in axis.items() if v} for axis in axes
    ]
    change(path / "zarr.json", attributes=attributes)
    image = opened(path)
    assert image.scale_um == (None, micrometers, micrometers)
    assert image.time_step_s is None
    assert any("how large" in w for w in image.warnings) is (micrometers is None)


def test_steps_to_coordinates_are_those_of_the_level_and_of_the_image(
    tmp_path: Path,
) -> None:
    group: Any = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=noise((2, 3, 4, 5)), chunks=(2, 3, 4, 5))
    axes = [
        {"name": name, "unit": unit}
        for name, unit in zip("tzyx", ("second", *["micrometer"] * 3), strict=True)
    ]
    group.attrs.update(
        multiscale(
            axes,
            datasets=[
                {
                    "path": "0",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [1, 0.5, 0.25, 0.25]},
                        {"type": "translation", "translation": [0, 1.5, 2.5, 0.3]},
                    ],
                }
            ],
            coordinateTransformations=[{"type": "scale", "scale": [3, 2, 1, 1]}],
        )
    )
    image = opened(tmp_path / "a.zarr")
    assert image.scale_um == (1.0, 0.25, 0.25)
    assert image.time_step_s == 3.0
    # 3 / 1 and 2.5 / 0.25; 0.3 / 0.25 is no whole number.
    assert image.origin == (0, 3, 10, 0)


def test_channels_are_named_and_coloured_as_omero_says(tmp_path: Path) -> None:
    path = write_04(tmp_path / "a.zarr", noise((1, 2, 1, 8, 8)))
    shown = [
        {"label": "DAPI", "color": "0000ff", "window": {"start": 5, "end": 900}},
        {"color": "no colour", "window": {"start": 9, "end": 9}},
    ]
    change(path / ".zattrs", omero={"channels": shown})
    first, second = opened(path).channels
    assert (first.name, first.color, first.display_range) == (
        "DAPI",
        "0000FF",
        (5, 900),
    )
    assert (second.name, second.display_range) == ("Channel 1", None)
    change(path / ".zattrs", omero={"channels": shown[:1]})
    image = opened(path)
    assert [channel.name for channel in image.channels] == ["DAPI", "Channel 1"]
    assert any("omero" in warning for warning in image.warnings)


# Axes.


@pytest.mark.parametrize("axes", ["yx", "zyx", "cyx", "xyzct", "tyx", "XYC"])
def test_axes_of_any_order_and_number_are_read(axes: str, tmp_path: Path) -> None:
    sizes = dict(zip("tczyx", (2, 3, 4, 5, 6), strict=True))
    stored = noise(tuple(sizes[a] for a in axes.lower()))
    group: Any = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=stored, chunks=stored.shape)
    group.attrs.update(multiscale([{"name": axis} for axis in axes]))
    lacking = [axis for axis in "tczyx" if axis not in axes.lower()]
    wanted = np.einsum(
        f"{axes.lower()}{''.join(lacking)}->tczyx",
        stored[(..., *[None] * len(lacking))],
    )
    image = opened(tmp_path / "a.zarr")
    np.testing.assert_array_equal(image[ALL], wanted)
    key = tuple(slice(n // 2, n) for n in image.shape)
    np.testing.assert_array_equal(image[key], wanted[key])


def test_before_version_03_an_image_has_all_axes(tmp_path: Path) -> None:
    voxels = noise((2, 1, 3, 4, 5))
    group: Any = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=voxels, chunks=(1, 1, 1, 4, 5))
    group.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    np.testing.assert_array_equal(opened(tmp_path / "a.zarr")[ALL], voxels)
    group.attrs["multiscales"] = [
        {"version": "0.3", "axes": list("czxty"), "datasets": [{"path": "0"}]}
    ]
    wanted = voxels.transpose(3, 0, 1, 4, 2)
    np.testing.assert_array_equal(opened(tmp_path / "a.zarr")[ALL], wanted)


def test_a_bare_array_has_the_axes_that_it_names_or_that_are_asked_for(
    tmp_path: Path,
) -> None:
    voxels = noise((3, 4, 5))
    named = write_plain(tmp_path / "named", voxels, dimension_names=list("xyc"))
    assert opened(named).shape == (1, 5, 1, 4, 3)
    assert is_image(named)
    old = write_plain(tmp_path / "old", voxels, zarr_format=2)
    assert opened(old).shape == (1, 1, 3, 4, 5)
    assert opened(old, axes="tyx").shape == (3, 1, 1, 4, 5)
    zarr.open_array(old).attrs["_ARRAY_DIMENSIONS"] = ["time", "x", "y"]
    assert opened(old).shape == (3, 1, 1, 5, 4)
    zarr.open_array(old).attrs["_ARRAY_DIMENSIONS"] = ["dim_0", "dim_1", "dim_2"]
    assert opened(old).shape == (1, 1, 3, 4, 5)
    zarr.open_array(old).attrs["_ARRAY_DIMENSIONS"] = ["phase", "y", "x"]
    assert "'phase'" in refused(old)
    assert opened(old, axes="zyx").shape == (1, 1, 3, 4, 5)
    four = write_plain(tmp_path / "four", noise((2, 3, 4, 5)))
    assert "input.axes" in refused(four)


def test_what_can_not_be_denoised_is_refused(tmp_path: Path) -> None:
    group: Any = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=noise((3, 4, 5)), chunks=(3, 4, 5))
    group.create_array("b", data=np.zeros((3, 4), np.int32), chunks=(3, 4))
    assert "2 arrays: '0', 'b'" in refused(tmp_path / "a.zarr")
    assert "int32" in refused(tmp_path / "a.zarr" / "b")
    axes = [{"name": "phase", "type": "other"}, {"name": "y"}, {"name": "x"}]
    group.attrs.update(multiscale(axes))
    assert "'phase'" in refused(tmp_path / "a.zarr")
    assert opened(tmp_path / "a.zarr", axes="zyx").shape == (1, 1, 3, 4, 5)
    assert "input.scene" in refused(tmp_path / "a.zarr", axes="zyx", scene=1)
    group.attrs.update(multiscale(axes, datasets=[{"path": "7"}]))
    assert "no array" in refused(tmp_path / "a.zarr")
    group.attrs.update(multiscale(axes, datasets=[{"path": "../a.zarr/0"}]))
    assert "'../a.zarr/0'" in refused(tmp_path / "a.zarr")
    assert "There is no Zarr" in refused(tmp_path / "a.zarr" / "none")
    shutil.rmtree(tmp_path / "a.zarr" / "b")
    del group.attrs["multiscales"]
    assert opened(tmp_path / "a.zarr").part == "0"


# Collections.


def test_images_of_bioformats2raw_are_scenes(tmp_path: Path) -> None:
    root: Any = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    images = [noise((1, 1, 1, 4, 5), seed=i) for i in range(2)]
    for i, voxels in enumerate(images):
        write_04(tmp_path / "a.zarr" / str(i), voxels)
    assert "2 images: 0 '0', 1 '1'" in refused(tmp_path / "a.zarr")
    ome = root.create_group("OME")
    ome.attrs["series"] = ["1", "0"]
    (tmp_path / "a.zarr/OME/METADATA.ome.xml").write_text(
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0" Name="cells"/><Image ID="Image:1" Name="dish"/></OME>'
    )
    found = scenes_of(str(tmp_path / "a.zarr"))
    assert [(scene.number, scene.name) for scene in found] == [
        (0, "cells"),
        (1, "dish"),
    ]
    for scene, voxels in enumerate(reversed(images)):
        image = opened(tmp_path / "a.zarr", scene=scene)
        np.testing.assert_array_equal(image[ALL], voxels)
        np.testing.assert_array_equal(described_image(describe(image))[ALL], voxels)
        assert image.current_identity() == image.identity
    assert "scene is 2" in refused(tmp_path / "a.zarr", scene=2)
    ome.attrs["series"] = ["0"]
    np.testing.assert_array_equal(opened(tmp_path / "a.zarr")[ALL], images[0])


def test_fields_of_a_plate_are_scenes_with_their_wells(tmp_path: Path) -> None:
    voxels = noise((4, 1, 1, 4, 5))
    fields = [field[None] for field in voxels]
    path = write_plate(tmp_path / "plate.zarr", ["A/6", "B/5"], fields)
    found = scenes_of(str(path))
    assert [scene.well for scene in found] == [("A", "6")] * 2 + [("B", "5")] * 2
    assert [scene.name for scene in found] == ["A/6/0", "A/6/1", "B/5/0", "B/5/1"]
    for scene in range(4):
        part = opened(path, scene=scene)[ALL]
        np.testing.assert_array_equal(part, voxels[scene][None])
    part = opened(path / "B" / "5", scene=1)[ALL]
    np.testing.assert_array_equal(part, voxels[3][None])
    np.testing.assert_array_equal(opened(path / "B/5/0")[ALL], voxels[2][None])
    shutil.rmtree(path / "B" / "5")
    assert "'B/5'" in refused(path, scene=0)


# This program's own.


def test_an_output_of_this_program_is_read_with_all_that_it_says(
    tmp_path: Path,
) -> None:
    voxels = small_image((3, 2, 5, 40, 36))
    source = write_czi(
        tmp_path / "in.czi",
        voxels,
        scale_um=(0.5, 0.2, 0.1),
        time_step_s=12.5,
        names=["a", "b"],
    )
    roi = {"t": [1, 3], "z": [2, 5], "y": [3, 33], "x": [10, 36]}
    config = config_for(
        source, tmp_path / "out.zarr", noise_channels=2, input={"roi": roi}
    )
    run = resolved(load(config))
    create(run, describe_output(run))
    part = voxels[1:3, :, 2:5, 3:33, 10:36]
    open_array(run.output / "0")[:] = part
    image = opened(run.output)
    np.testing.assert_array_equal(image[ALL], part)
    assert image.scale_um == (0.5, 0.2, 0.1)
    assert image.time_step_s == 12.5
    assert image.origin[1:] == (2, 3, 10)
    assert [channel.name for channel in image.channels] == ["a", "b"]
    assert not image.has_gaps
