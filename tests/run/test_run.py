"""Whole runs through real worker processes: exact, the same however it is cut.

The oracle is ndsafir on the whole image with one thread.  A green run of this file
means nothing if the images were so small that one block spans them; every case asserts
how many blocks there were.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy import Config, plan, run
from denoise_daisy.images.czi import open_czi
from harness import (
    cli,
    config_for,
    here,
    ledger_lines,
    output_of,
    small_czi,
    small_image,
    whole_image,
    write_config,
)
from harness.oracles import go
from harness.shared import once


def run_and_compare(config: dict[str, Any], whole: np.ndarray, blocks: int) -> None:
    """Run, and hold the output against the whole image's result, bit for bit."""
    output = Path(config["output"]["path"])
    go(config)
    lines = list(ledger_lines(output))
    assert len({tuple(line["block"]) for line in lines}) == len(lines) == blocks
    region = [slice(*config["input"].get("roi", {}).get(a, (None,))) for a in "tzyx"]
    expected = whole[region[0], :, *region[1:]]
    np.testing.assert_array_equal(output_of(output), expected)


CASES: dict[str, dict[str, Any]] = {
    "blocks in y and x": {
        "shape": (1, 1, 6, 70, 81),
        "blocks": {"shape": {"y": 32, "x": 48}},
        "count": 6,
    },
    "blocks in z with z patches": {
        "shape": (1, 1, 40, 24, 20),
        "blocks": {"shape": {"z": 8}},
        "denoise": {"patch": {"z": 1, "y": 1, "x": 1}, "max_iter": 2},
        "count": 5,
    },
    "two channels, jointly": {
        "shape": (1, 2, 4, 60, 52),
        "blocks": {"shape": {"y": 16, "x": 16}},
        "count": 16,
    },
    "time points": {
        "shape": (3, 1, 3, 50, 40),
        "blocks": {"shape": {"y": 32}},
        "count": 6,
    },
    "time is searched and has patches": {
        "shape": (12, 1, 2, 40, 36),
        "blocks": {"shape": {"t": 2, "y": 32}},
        "output": {"chunks": {"z": 2, "y": 16, "x": 16}},
        "denoise": {
            "patch": {"t": 1, "y": 1, "x": 1},
            "max_iter": 2,
            "active_dimensions": "tzyx",
        },
        "count": 12,
    },
    "four iterations": {
        "shape": (1, 1, 3, 90, 70),
        "blocks": {"shape": {"y": 32, "x": 32}},
        "denoise": {"patch": {"y": 2, "x": 1}, "max_iter": 4},
        "count": 9,
    },
    "large patches": {
        "shape": (1, 1, 9, 80, 33),
        "blocks": {"shape": {"y": 16}},
        "denoise": {"patch": {"z": 2, "y": 3, "x": 3}, "max_iter": 3},
        "count": 5,
    },
    "gaussian noise": {
        "shape": (1, 1, 5, 64, 64),
        "blocks": {"shape": {"y": 32, "x": 32}},
        "noise": {"kind": "gaussian", "noise_std": 30.0},
        "count": 4,
    },
    "a region that begins off the patch grid": {
        "shape": (2, 1, 12, 77, 83),
        "input": {"roi": {"t": [1, 2], "z": [5, 11], "y": [13, 61], "x": [7, 80]}},
        "blocks": {"shape": {"y": 16, "x": 32}},
        "denoise": {"patch": {"z": 1, "y": 2, "x": 3}, "max_iter": 2},
        "count": 9,
    },
    "no shards": {
        "shape": (1, 2, 4, 50, 50),
        "blocks": {"shape": {"y": 32}},
        "output": {"shards": None},
        "count": 2,
    },
    "z not active": {
        "shape": (1, 1, 10, 40, 40),
        "blocks": {"shape": {"z": 4, "y": 16}},
        "output": {"chunks": {"z": 2, "y": 16, "x": 16}},
        "denoise": {"patch": {"z": 1, "y": 1, "x": 1}, "active_dimensions": "yx"},
        "count": 9,
    },
    "five iterations, pvalue": {
        "shape": (1, 1, 2, 120, 40),
        "blocks": {"shape": {"y": 32}},
        "denoise": {"patch": {"y": 0, "x": 1}, "max_iter": 5, "pvalue": 0.3},
        "count": 4,
    },
    "the last layers mirrored": {
        "shape": (1, 2, 8, 35, 40),
        "mirrored": (0, 0, 1, 0, 1),
        "input": {"roi": {"y": [3, 35], "x": [16, 40]}},
        "blocks": {"shape": {"z": 4, "x": 16}},
        "denoise": {"patch": {"z": 1, "y": 1, "x": 1}, "cover": "all"},
        "count": 4,
    },
    "time as z": {
        "shape": (16, 2, 1, 20, 24),
        "mirrored": (1, 0, 0, 1, 1),
        "input": {"roi": {"t": [2, 16]}},
        "blocks": {"shape": {"t": 5, "y": 16}},
        "output": {"chunks": {"y": 16, "x": 16}},
        "denoise": {
            "patch": {"z": 1, "y": 1, "x": 1},
            "max_iter": 2,
            "time_as_z": True,
            "cover": "all",
        },
        "count": 6,
    },
}


@pytest.mark.parametrize("name", CASES)
def test_blocks_give_the_whole_image_bit_for_bit(name: str, tmp_path: Path) -> None:
    case = dict(CASES[name])
    shape, blocks = case.pop("shape"), case.pop("count")
    mirrored = case.pop("mirrored", (0,) * 5)
    image = small_image(shape)
    output = {"dtype": "float32", "chunks": {"z": 4, "y": 16, "x": 16}}
    case["output"] = output | case.get("output", {})
    config = config_for(
        small_czi(tmp_path / "in.czi", shape),
        tmp_path / "out.zarr",
        noise_channels=shape[1],
        **case,
    )
    padded = np.pad(image, [(0, n) for n in mirrored], mode="reflect")
    whole = whole_image(padded, config)[tuple(map(slice, shape))]
    run_and_compare(config, whole, blocks)


@pytest.mark.parametrize(
    ("block", "count"),
    [({"y": 32, "x": 64}, 72), ({"z": 3, "y": 96}, 12), ({"y": 128, "x": 128}, 12)],
    ids=str,
)
def test_a_real_time_lapse_has_no_seams(
    block: dict[str, int],
    count: int,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    real_czi: Callable[[str], Path],
) -> None:
    source = real_czi("CellDivision_T3_Z5_CH2_X240_Y170.czi")
    config = config_for(
        source,
        tmp_path / "out.zarr",
        noise={
            "kind": "poisson-gaussian",
            "gains": [4.1, 3.9],
            "offsets": [5.0, -90.0],
        },
        denoise={"patch": {"y": 2, "x": 2}, "max_iter": 3},
        output={"dtype": "float32", "chunks": {"z": 3, "y": 32, "x": 32}},
        blocks={"shape": block},
    )

    def make(_: Path) -> np.ndarray:
        return whole_image(open_czi(str(source))[(slice(None),) * 5], config)

    run_and_compare(config, once(tmp_path_factory, "time-lapse", make), count)


def test_bytes_depend_on_neither_workers_nor_blocks(tmp_path: Path) -> None:
    """1 and 3 workers, other block shapes: one output, to the byte of each file."""
    source = small_czi(tmp_path / "in.czi", (2, 1, 4, 64, 64))
    layout = {
        "chunks": {"z": 4, "y": 16, "x": 16},
        "shards": {"z": 4, "y": 16, "x": 32},
    }
    trees = []
    for workers, block in [(1, 32), (3, 32), (3, 16), (1, 64)]:
        output = tmp_path / f"out-{workers}-{block}.zarr"
        config = config_for(
            source,
            output,
            output=layout,
            blocks={"shape": {"y": block, "x": 32}},
            workers={"count": workers},
        )
        go(config)
        files = sorted(p for p in (output / "0" / "c").rglob("*") if p.is_file())
        trees.append({str(p.relative_to(output)): p.read_bytes() for p in files})
    assert len(trees[0]) == 16
    assert all(tree == trees[0] for tree in trees[1:])


def test_a_finished_run_starts_no_worker(tmp_path: Path) -> None:
    config = write_config(
        tmp_path / "config.json",
        config_for(
            small_czi(tmp_path / "in.czi", (1, 1, 2, 32, 32)), tmp_path / "out.zarr"
        ),
    )
    assert cli(config).returncode == 0
    logs = sorted((tmp_path / "out.zarr.run" / "logs").iterdir())
    again = here("run", config)
    assert again.returncode == 0
    assert "done before" in again.stdout
    assert sorted((tmp_path / "out.zarr.run" / "logs").iterdir()) == logs


def test_integers_are_rounded_to_nearest_and_clipped_voxels_counted(
    tmp_path: Path,
) -> None:
    image = small_image((1, 1, 3, 40, 40))
    config = config_for(
        small_czi(tmp_path / "in.czi", image.shape),
        tmp_path / "out.zarr",
        output={"dtype": "uint8"},
    )
    done = cli(write_config(tmp_path / "config.json", config))
    assert done.returncode == 0, done.stderr
    rounded = np.rint(whole_image(image, config))
    clipped = np.count_nonzero(rounded > 255)
    assert clipped > 0
    np.testing.assert_array_equal(
        output_of(tmp_path / "out.zarr"), np.clip(rounded, 0, 255).astype(np.uint8)
    )
    assert f"{clipped} voxels were beyond the range of uint8" in done.stdout


def test_an_all_zero_block_is_written(tmp_path: Path) -> None:
    """Zarr leaves out chunks of zeros by default; then "missing" means nothing."""
    source = write_czi(tmp_path / "in.czi", np.zeros((1, 1, 2, 32, 64), np.uint16))
    config = config_for(
        source,
        tmp_path / "out.zarr",
        noise={"kind": "gaussian", "noise_std": 1.0},
        output={"chunks": {"y": 32, "x": 32}},
        blocks={"shape": {"x": 32}},
    )
    done = cli(write_config(tmp_path / "config.json", config))
    assert done.returncode == 0, done.stderr
    files = [p for p in (tmp_path / "out.zarr/0/c").rglob("*") if p.is_file()]
    assert len(files) == 2
    assert not output_of(tmp_path / "out.zarr").any()


def test_noise_is_calibrated_once_and_kept(tmp_path: Path) -> None:
    """Within 15 % of the gain the image was made with; a resumed run keeps it."""
    config = config_for(
        small_czi(tmp_path / "in.czi", (2, 1, 16, 96, 96)),
        tmp_path / "out.zarr",
        noise={"kind": "poisson-gaussian"},
        blocks={"shape": {"y": 64}},
        output={"chunks": {"y": 32, "x": 32}},
    )
    path = write_config(tmp_path / "config.json", config)
    assert cli(path).returncode == 0
    run_file = tmp_path / "out.zarr.run" / "run.json"
    noise = json.loads(run_file.read_text())["stages"]["denoise"]["probed"]
    assert noise["gains"] == [pytest.approx(3.92, rel=0.15)]
    for line in (tmp_path / "out.zarr.run/ledger/denoise").glob("*.jsonl"):
        line.unlink()
    again = cli(path)
    assert again.returncode == 0
    assert "Calibrating" not in again.stdout
    assert json.loads(run_file.read_text())["stages"]["denoise"]["probed"] == noise


def test_the_python_interface_does_the_same(tmp_path: Path) -> None:
    image = small_image((1, 1, 2, 40, 40))
    values = config_for(
        small_czi(tmp_path / "in.czi", image.shape),
        tmp_path / "out.zarr",
        output={"dtype": "float32"},
    )
    config = Config.load(write_config(tmp_path / "config.json", values))
    assert "1 blocks" in str(plan(config))
    said: list[str] = []
    run(config, say=said.append)
    assert "1 blocks done" in said[-1]
    np.testing.assert_array_equal(
        output_of(tmp_path / "out.zarr"), whole_image(image, values)
    )
