"""What viewers are told of a run's channels, before it is begun and after."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from denoise_daisy import run
from denoise_daisy.config import Config
from denoise_daisy.viewing.layers import layers_of

NAMES, COLORS = ["DAPI", "GFP"], ["0000FF", "FF8000"]
"""Other colours than channels have of which the file tells none."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of an OME-TIFF of two channels, and a mask of both."""
    voxels = np.random.default_rng(0).poisson(50, (2, 1, 24, 24)).astype(np.uint16)
    named = [int(f"{color}FF", 16) for color in COLORS]
    told = {
        "axes": "CZYX",
        "Channel": {
            "Name": NAMES,
            "Color": [n - (1 << 32) * (n >= 1 << 31) for n in named],
        },
    }
    tifffile.imwrite(tmp_path / "in.ome.tif", voxels, metadata=told)
    file = tmp_path / "c.json"
    values = {
        "input": {"path": "in.ome.tif"},
        "output": {"path": "out.zarr"},
        "denoise": {"kind": "median", "size": {"y": 3, "x": 3}},
        "workers": {"count": 1},
        "tasks": [{"kind": "threshold", "name": "bright", "value": 50}],
    }
    file.write_text(json.dumps(values))
    return file


def test_channels_look_before_a_run_as_after_it_and_labels_have_their_names(
    config: Path,
) -> None:
    before = {layer.name: layer.color for layer in layers_of(config, print)}
    for what in ("raw", "denoised"):
        colors = [before[f"{what}: {name}"] for name in NAMES]
        assert colors == COLORS
    run(Config.load(config), say=lambda _: None)
    layers = layers_of(config.parent / "out.zarr", print)
    after = {layer.name: layer.color for layer in layers}
    assert before.items() <= after.items()
    assert {layer.name for layer in layers if layer.kind == "labels"} == {
        f"bright: {name}" for name in NAMES
    }
