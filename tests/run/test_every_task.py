"""One small run per kind of task, each against the same done to the whole image.

Each image has several blocks; what else can be asked of a task stands in other files.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from demo_czi import write_czi
from scipy import ndimage

from denoise_daisy import run
from harness import config_for, ledger_lines, load, output_of, small_image, whole_image
from harness.oracles import denoised_of, filter_config, image_of, mask_of, speckles

SHAPE = (1, 1, 4, 32, 64)

ONE_WORKER = {"blocks": {"shape": {"y": 32, "x": 32}}, "workers": {"count": 1}}

TWICE = """
def twice(block, context):
    return 2.0 * block
"""


def done_blocks(output: Path, stage: str) -> int:
    return sum(line["status"] == "done" for line in ledger_lines(output, stage))


def test_denoising(tmp_path: Path) -> None:
    image = small_image(SHAPE)
    source, output = write_czi(tmp_path / "in.czi", image), tmp_path / "out.zarr"
    settings = {"output": {"dtype": "float32", "chunks": {"y": 16, "x": 16}}}
    config = config_for(source, output, **settings, **ONE_WORKER)
    run(load(config))
    np.testing.assert_array_equal(output_of(output), whole_image(image, config))
    assert done_blocks(output, "denoise") == 2


@pytest.fixture
def denoised(tmp_path: Path) -> np.ndarray:
    """Of the image that `do` denoises."""
    image = speckles(SHAPE)
    write_czi(tmp_path / "in.czi", image)
    return denoised_of(image)


def do(folder: Path, /, **task: Any) -> Path:
    """A run of one task behind the denoising; its output."""
    output = folder / "out.zarr"
    config = filter_config(folder / "in.czi", output, tasks=[task], **ONE_WORKER)
    run(load(config))
    assert done_blocks(output, "denoise") == 2
    return output


def test_smooth(tmp_path: Path, denoised: np.ndarray) -> None:
    output = do(tmp_path, kind="smooth", name="soft", sigma={"y": 1.3, "x": 1.0})
    expected = ndimage.gaussian_filter(denoised.astype(np.float64), (0, 0, 0, 1.3, 1))
    found = output_of(image_of(output, "soft"))
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_threshold(tmp_path: Path, denoised: np.ndarray) -> None:
    output = do(tmp_path, kind="threshold", name="bright", value=2100.0)
    np.testing.assert_array_equal(mask_of(output, "bright"), denoised > 2100)


def test_label(tmp_path: Path, denoised: np.ndarray) -> None:
    output = tmp_path / "out.zarr"
    bright = {"kind": "threshold", "name": "bright", "value": 2100.0}
    cells = {"kind": "label", "name": "cells", "input": "bright"}
    tasks = [bright, cells]
    run(load(filter_config(tmp_path / "in.czi", output, tasks=tasks, **ONE_WORKER)))
    expected, count = ndimage.label(denoised[0, 0] > 2100)
    assert count > 3
    np.testing.assert_array_equal(mask_of(output, "cells")[0, 0], expected)


def test_function(tmp_path: Path, denoised: np.ndarray) -> None:
    (tmp_path / "mine.py").write_text(TWICE)
    code = {"function": "mine:twice", "folder": str(tmp_path)}
    output = do(tmp_path, kind="function", name="double", **code)
    found = output_of(image_of(output, "double"))
    np.testing.assert_array_equal(found, 2.0 * denoised)


def test_pyramid(tmp_path: Path, denoised: np.ndarray) -> None:
    """Planes are 0.3 um apart and voxels 0.145 um wide: only y and x are halved."""
    output = do(tmp_path, kind="pyramid", name="levels", levels=1, method="nearest")
    found = zarr.open_array(output / "1", mode="r")
    np.testing.assert_array_equal(found[...], denoised[..., ::2, ::2])
