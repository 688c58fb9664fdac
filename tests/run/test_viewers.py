"""Viewers show labels over the objects that they are of, and `view` shows all of it.

napari runs in a process of its own, on a virtual display; where things are is told by
the pixels of its picture.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from denoise_daisy.errors import InputError
from denoise_daisy.runs.contrast import BLACK, WHITE
from denoise_daisy.viewing import napari_window, neuroglancer_server
from denoise_daisy.viewing.layers import layers_of
from harness import cli, here, ome_of, output_of, voxels_of

HARNESS = Path(__file__).parents[1] / "harness"

SCALE = (30.0, 0.3, 0.145, 0.145)


@pytest.fixture
def display() -> list[str]:
    """What a command goes behind that draws."""
    program = shutil.which("xvfb-run")
    if program is None:
        pytest.skip("no xvfb-run on this system")
    return [program, "-a", "-s", "-screen 0 1600x1200x24"]


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_napari_shows_a_mask_where_the_image_is_bright(
    version: str, versions: Path, display: list[str]
) -> None:
    """The second channel, at the second time point: the mask is of all above 2100."""
    output = versions / version / "out.zarr"
    words = [output, "out: Channel 1", "labels/labels/bright", 2100, 1, 3]
    done = subprocess.run(
        [*display, sys.executable, HARNESS / "napari_look.py", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    image, labels = (told["layers"][name] for name in words[1:3])
    assert image == labels
    assert image["ndim"] == 4
    assert image["scale"] == pytest.approx(SCALE)
    assert image["units"] == ["second", "micrometer", "micrometer", "micrometer"]
    seen = [told["seen"][name] for name in words[1:3]]
    bright, masked = (np.array([list(row) for row in rows]) for rows in seen)
    share = np.mean(bright == "#")
    assert 0.02 < share < 0.7
    assert np.mean(bright != masked) < 0.02 * share


def test_view_draws_a_picture(
    versions: Path, display: list[str], tmp_path: Path
) -> None:
    """Without a display that would be a refusal; it finds a virtual one by itself."""
    assert display
    picture = tmp_path / "view.png"
    asked = ("--screenshot", picture, "--at", "t=1,z=3")
    done = cli("view", versions / "0.5/config.json", *asked, env={"DISPLAY": ""})
    assert done.returncode == 0, done.stderr
    seen = imread(picture)
    middle = seen[seen.shape[0] // 4 : seen.shape[0] // 2, seen.shape[1] // 2 :, :3]
    assert middle.std() > 0.1


def test_a_place_where_no_picture_can_be_is_refused_at_once(
    versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {
        tmp_path: "it is a folder",
        tmp_path / "no" / "x.png": "there is no such folder",
    }
    for place, why in places.items():
        refused = here("view", versions / "0.5/out.zarr", "--screenshot", place)
        assert refused.returncode == 2
        assert why in refused.stderr
    monkeypatch.setattr(os, "access", lambda *_: False)
    refused = here("view", versions / "0.5/out.zarr", "--screenshot", tmp_path / "x")
    assert refused.returncode == 2
    assert "nothing can be written into its folder" in refused.stderr


def test_layers_are_those_of_the_run_of_one_scale(versions: Path) -> None:
    output = versions / "0.5" / "out.zarr"
    layers = {layer.name: layer for layer in layers_of(output, print)}
    expected = [f"{name}: Channel {c}" for name in ("raw", "denoised") for c in (0, 1)]
    assert layers.keys() > {*expected, "bright", "cells", "both: Channel 1"}
    assert {layer.scale for layer in layers.values()} == {SCALE}
    assert {layer.units for layer in layers.values()} == {("s", "um", "um", "um")}
    denoised = output_of(output)
    raw, residual = (layers[f"{n}: Channel 1"] for n in ("raw", "residual"))
    found = np.asarray(layers["denoised: Channel 1"].levels[0])
    np.testing.assert_array_equal(found, denoised[:, 1])
    np.testing.assert_array_equal(
        np.asarray(residual.levels[0]) + denoised[:, 1], np.asarray(raw.levels[0])
    )
    mask = np.asarray(layers["bright"].levels[0])
    np.testing.assert_array_equal(mask, denoised[:, 1] > 2100)
    assert layers["denoised: Channel 1"].window == raw.window


def test_what_was_not_begun_is_computed_where_it_is_seen(
    versions: Path, tmp_path: Path
) -> None:
    config = json.loads((versions / "0.5/config.json").read_text())
    config["output"]["path"] = str(tmp_path / "other.zarr")
    (tmp_path / "c.json").write_text(json.dumps(config))
    layers = {x.name: x for x in layers_of(tmp_path / "c.json", print)}
    plane = np.asarray(layers["denoised: Channel 1"].levels[0][1, 3])
    np.testing.assert_array_equal(plane, output_of(versions / "0.5/out.zarr")[1, 1, 3])
    assert not (tmp_path / "other.zarr").exists()


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_contrast_is_that_of_what_was_written(version: str, versions: Path) -> None:
    output = versions / version / "out.zarr"
    attributes = ome_of(output)
    voxels = voxels_of(output / "0")
    for i, channel in enumerate(attributes["omero"]["channels"]):
        window, planes = channel["window"], voxels[:, i].reshape(12, -1)
        assert window["start"] == pytest.approx(np.percentile(planes, BLACK))
        brightest = np.percentile(planes, WHITE, axis=1).max()
        assert window["end"] == pytest.approx(brightest)


def test_neuroglancer_is_told_of_every_layer(
    versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    neuroglancer = pytest.importorskip("neuroglancer")
    layers = layers_of(versions / "0.5" / "out.zarr", print)
    state = neuroglancer.ViewerState()
    for layer in layers:
        neuroglancer_server._add(neuroglancer, state, layer)
    assert [layer.name for layer in state.layers] == [layer.name for layer in layers]
    space = neuroglancer_server._space(neuroglancer, layers[0])
    assert space.units == ("s", "m", "m", "m")
    assert space.scales == pytest.approx([30, 0.3e-6, 0.145e-6, 0.145e-6])


def test_what_is_not_installed_is_said_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (napari_window, neuroglancer_server):
        monkeypatch.setattr(module, "find_spec", lambda _: None)
    for check, name in (
        (napari_window.check_napari, "napari"),
        (neuroglancer_server.check_neuroglancer, "neuroglancer"),
    ):
        with pytest.raises(InputError, match=re.escape(f"denoise-daisy[{name}]")):
            check()


def test_where_there_is_nothing_to_look_at_is_refused(tmp_path: Path) -> None:
    done = here("view", "--neuroglancer", tmp_path / "absent.zarr")
    assert done.returncode == 2
    assert "nothing to look at" in done.stderr
