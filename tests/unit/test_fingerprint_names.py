"""What fingerprints hold, by name, against lists that stand here a second time.

A name too few lets a run go on over blocks of other settings; one too many throws away
what was done, at the next start after an upgrade.
"""

from pathlib import Path
from typing import Any

import pytest

from harness import config_for, load, small_czi
from harness.prepared import resolved

EVERY_RUN = {
    "input size",
    "input mtime_ns",
    "input guid",
    "input directory_sha256",
    "input.scene",
    "input.roi",
    "input.channels",
    "input.axes",
    "input.select",
    "output.dtype",
    "output.chunks",
    "output.shards",
    "output.compression_level",
    "denoise.kind",
    "algorithm",
    "exact",
}

NDSAFIR = EVERY_RUN | {
    "denoise.patch",
    "denoise.active_dimensions",
    "denoise.max_iter",
    "denoise.pvalue",
    "noise.kind",
    "noise.gains",
    "noise.offsets",
    "noise.noise_std",
    "ndsafir",
}

INEXACT = NDSAFIR | {
    "blocks.shape",
    "blocks.context",
    "workers.threads_per_worker",
}

TWO_THREADS = {"workers": {"threads_per_worker": 2}}

ITSELF = {"denoise": {"engine": "ndsafir"}}

GAUSSIAN_NOISE = {"kind": "gaussian", "noise_std": 20.0}

MEDIAN = {"kind": "median", "size": {"y": 3}}

GAUSSIAN = {"kind": "gaussian", "sigma": {"y": 1.0}}

RUNS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "ndsafir": ({}, NDSAFIR),
    "mirrored": ({"denoise": {"cover": "all"}}, NDSAFIR | {"denoise.cover"}),
    "unbiased": ({"denoise": {"inverse": "unbiased"}}, NDSAFIR | {"denoise.inverse"}),
    "Gaussian noise": ({"noise": GAUSSIAN_NOISE}, NDSAFIR),
    "too little context": ({"blocks": {"context": {"y": 1}}}, INEXACT),
    "blocks skipped": (
        {"blocks": {"skip": {"below": 300.0}}},
        INEXACT | {"blocks.skip"},
    ),
    "two threads": (TWO_THREADS, NDSAFIR),
    "ndsafir itself": (ITSELF, NDSAFIR),
    "ndsafir itself, two threads": (
        ITSELF | TWO_THREADS,
        INEXACT,
    ),
    "median": ({"denoise": MEDIAN}, EVERY_RUN | {"denoise.size", "scipy"}),
    "Gaussian": ({"denoise": GAUSSIAN}, EVERY_RUN | {"denoise.sigma", "scipy"}),
}

ARRAY = {"dtype", "channels", "chunks", "shards", "compression_level"}

ONE_CHANNEL = ARRAY | {"axes"}
"""Of labels that have no axis of channels on disk."""

THRESHOLD = {"kind", "value", "method", "channel", "reads"}

PIECES = {"kind", "connectivity", "reads", "block_shape"}

OF_IMAGE, OF_MASK = {"input denoised"}, {"input bright"}

UNION = PIECES | OF_MASK | OF_IMAGE | {"min_voxels", "columns"}

FUNCTION = {
    "kind",
    "function",
    "setup",
    "teardown",
    "params",
    "output",
    "span",
    "read_write_conflict",
    "reads",
    "block_shape",
    "context",
    "dtype",
    "channels",
}

TASKS: list[dict[str, Any]] = [
    {"kind": "smooth", "name": "soft", "sigma": {"y": 1.0}},
    {"kind": "threshold", "name": "bright", "value": 500.0},
    {"kind": "threshold", "name": "found", "method": "otsu"},
    {"kind": "label", "name": "cells", "input": "bright", "table": "csv"},
    {"kind": "pyramid", "name": "levels", "levels": 1},
    {"kind": "function", "name": "twice", "function": "own:twice"}
    | {"dtype": "uint16", "channels": 1},
    {"kind": "function", "name": "sum", "function": "own:total"}
    | {"output": "values", "span": "tzyx"},
]

STAGES = {
    "soft": {"kind", "sigma", "reads", "scipy"} | ARRAY | OF_IMAGE,
    "bright": THRESHOLD | ONE_CHANNEL | OF_IMAGE,
    "found.value": THRESHOLD | OF_IMAGE | {"scikit-image"},
    "found": THRESHOLD | ONE_CHANNEL | OF_IMAGE | {"scikit-image"},
    "cells.pieces": PIECES | OF_MASK | OF_IMAGE | {"columns"},
    "cells.union": UNION,
    "cells": PIECES | ONE_CHANNEL | OF_MASK | {"min_voxels"},
    "cells.table": UNION
    | {"table", "scale_um", "first_voxel", "time_step_s", "channel_names"},
    "levels.1": {"kind", "method", "factors", "input level"} | ARRAY,
    "twice": FUNCTION | ARRAY | OF_IMAGE,
    "sum": FUNCTION | OF_IMAGE,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    small_czi(folder / "in.czi", (1, 1, 4, 32, 32))
    (folder / "own.py").write_text("twice = total = lambda block, context: block * 2\n")
    return folder


def config_of(folder: Path, sections: dict[str, Any]) -> dict[str, Any]:
    config = config_for(folder / "in.czi", folder / "out.zarr")
    for name, values in sections.items():
        config[name] = values if "kind" in values else config.get(name, {}) | values
    if config["denoise"].get("kind", "ndsafir") != "ndsafir":
        del config["noise"]
    return config


@pytest.mark.parametrize("name", RUNS)
def test_the_denoising_is_known_by_these_and_no_others(name: str, folder: Path) -> None:
    sections, names = RUNS[name]
    run = resolved(load(config_of(folder, sections)))
    assert run.denoising.parameters.keys() == names


def test_a_task_is_known_by_these_and_no_others(folder: Path) -> None:
    """Besides the code of a function, whose parts are named by their files."""
    tasks = [
        task | ({"folder": str(folder)} if task["kind"] == "function" else {})
        for task in TASKS
    ]
    run = resolved(load(config_of(folder, {"denoise": MEDIAN}) | {"tasks": tasks}))
    found = {
        stage.name: {
            name
            for name in stage.parameters
            if not name.startswith(("code ", "package "))
        }
        for stage in run.stages
    }
    assert found == STAGES | {"denoise": RUNS["median"][1]}
    for name in ("twice", "sum"):
        [stage] = [stage for stage in run.stages if stage.name == name]
        assert "code own" in stage.parameters
