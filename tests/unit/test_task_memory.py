"""What a task's blocks take in memory is what was planned: in fresh processes.

A process computes one block, of noise, and fits it to what is written, which takes
most.  Reading and writing are not counted; the array that was read is.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy import Config
from denoise_daisy.blockwise.targets import Block
from denoise_daisy.machine import peak_memory
from harness import config_for, write_config
from harness.forks import in_own_process
from harness.prepared import resolved

SHAPE = (12, 300, 400)


def measured(config: Path, name: str, density: float) -> int:
    """Bytes that the first block of a stage takes in this process."""
    stages = {s.name: s for s in resolved(Config.load(config)).stages}
    stage = stages[name]
    index = (0, 0, 0, 0)
    roi = stage.grid.read_roi(index)
    rng = np.random.default_rng(0)
    before = peak_memory()
    arrays = []
    for source in stage.sources:
        there = stage.transform.convert(roi, source.transform)
        t, z, y, x = there.shape
        array = np.empty((t, 2, z, y, x), source.dtype)
        for plane in array.reshape(-1, y, x):
            noise = rng.random((y, x), np.float32)
            is_mask = source.dtype == "uint8"
            plane[...] = noise < density if is_mask else noise * 70000
        arrays.append(array)
    write = stage.grid.write_roi(index)
    block = Block(index, roi, write, tuple(arrays), lambda *_: np.empty(0))
    stage.target.content(block, stage.compute(block))
    return peak_memory() - before


TASKS: list[dict[str, Any]] = [
    {"kind": "smooth", "name": "soft", "sigma": {"z": 1, "y": 1}, "dtype": "uint8"},
    {"kind": "smooth", "name": "soft32", "sigma": {"z": 1, "y": 1}},
    {"kind": "threshold", "name": "mask", "value": 300},
    {"kind": "label", "name": "cells", "input": "mask"},
    {"kind": "label", "name": "measured", "input": "mask", "table": "csv"},
    {"kind": "label", "name": "measured32", "input": "mask", "table": "csv"}
    | {"intensity": "soft32"},
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    source = write_czi(folder / "in.czi", np.zeros((1, 2, *SHAPE), np.uint16))
    values = config_for(source, folder / "out.zarr", blocks={"shape": {}})
    del values["noise"]
    values["denoise"] = {"kind": "median", "size": {"x": 1}}
    return write_config(folder / "config.json", values | {"tasks": TASKS})


@pytest.mark.parametrize(
    ("stage", "density", "least"),
    [
        ("soft", 0.5, 0.75),
        ("soft32", 0.5, 0.5),
        ("mask", 0.5, 0.5),
        ("cells.pieces", 0.3, 0.5),
        ("cells.pieces", 0.5, 0.25),
        ("measured.pieces", 0.3, 0.5),
        ("measured.pieces", 0.5, 0.25),
        ("measured32.pieces", 0.3, 0.5),
        ("pyramid.1", 0.5, 0.3),
        ("soft32.pyramid.1", 0.5, 0.3),
        ("cells.pyramid.1", 0.5, 0.2),
    ],
)
def test_a_block_takes_at_most_what_was_planned_and_not_far_less(
    stage: str, density: float, least: float, config: Path
) -> None:
    """Of masks, so many of the voxels are foreground."""
    run = resolved(Config.load(config))
    planned = {s.name: s.memory for s in run.stages}[stage]
    assert planned is not None
    # What is before the first block, but for the chunk that is being checked.
    planned -= (200 + 24 - 1) << 20
    taken, code = in_own_process(measured, config, stage, density)
    assert code == 0
    assert least * planned < taken < planned, taken / planned
