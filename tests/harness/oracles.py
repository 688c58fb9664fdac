"""Chains of tasks on small images, and the same by scipy on whole arrays."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from denoise_daisy import run
from harness import config_for, load, output_of

SCALE = (30.0, 1.0, 0.3, 0.145, 0.145)
"""Of (t, c, z, y, x), as `write_czi` has it unless told otherwise."""

SIGMA = {"z": 0.7, "y": 1.3, "x": 1.0}

SIGMAS = (0, 0, 0.7, 1.3, 1.0)

CHUNKS = {"z": 4, "y": 16, "x": 16}

NAMES = ("nuclei", "membrane")


def speckles(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Noisy bright objects all over, a few voxels large, uint16, (t, c, z, y, x)."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), (0, 0, 1, 2.5, 2.5))
    noise = rng.normal(0, 30, shape)
    image = np.clip(2000 + 600 * blobs / blobs.std() + noise, 0, 65535)
    return np.rint(image).astype(np.uint16)


def filter_config(source: Path, target: Path, /, **sections: Any) -> dict[str, Any]:
    """A config whose denoising is a median of 3 x 3 unless told otherwise."""
    denoise = sections.pop("denoise", {"kind": "median", "size": {"y": 3, "x": 3}})
    tasks = sections.pop("tasks", [])
    sections["output"] = {"chunks": CHUNKS} | sections.get("output", {})
    config = config_for(source, target, **sections)
    del config["noise"]
    return config | {"denoise": denoise, "tasks": tasks}


def denoised_of(image: np.ndarray) -> np.ndarray:
    """The oracle of that denoising."""
    return ndimage.median_filter(image, (1, 1, 1, 3, 3))


def smooth_of(image: np.ndarray, sigmas: tuple[float, ...] = SIGMAS) -> np.ndarray:
    """The oracle of smoothing."""
    return ndimage.gaussian_filter(image.astype(np.float64), sigmas)


def labels_of(mask: np.ndarray, connectivity: int = 1, least: int = 1) -> np.ndarray:
    """The oracle of labelling, each time point and channel by itself."""
    structure = ndimage.generate_binary_structure(3, connectivity)
    labels = np.zeros(mask.shape, np.uint32)
    for t, c in np.ndindex(mask.shape[:2]):
        found, _ = ndimage.label(mask[t, c], structure)
        sizes = np.bincount(found.ravel())
        kept = sizes >= least
        kept[0] = False
        labels[t, c] = np.where(kept, np.cumsum(kept), 0)[found]
    return labels


def go(config: dict[str, Any], **options: Any) -> str:
    """A start to its end, with real workers; what it says."""
    said: list[str] = []
    run(load(config), say=said.append, **options)
    return "\n".join(said)


def mask_of(output: Path, task: str) -> np.ndarray:
    """All voxels of a mask, or of labels, beside an output's own."""
    return output_of(output / "labels" / task)


def image_of(output: Path, task: str) -> Path:
    """The OME-Zarr that a task writes beside an output."""
    return output.with_name(f"{output.name.removesuffix('.zarr')}.{task}.zarr")


def run_dir_of(output: Path) -> Path:
    return output.with_name(output.name + ".run")


Lines = dict[str, list[str]]


def ledgers(output: Path) -> Lines:
    """Every line of all ledgers, by stage."""
    folders = sorted((run_dir_of(output) / "ledger").iterdir())
    return {
        folder.name: [
            line
            for file in sorted(folder.glob("*.jsonl"))
            for line in file.read_text().splitlines()
        ]
        for folder in folders
    }


def blocks_since(before: Lines, output: Path) -> dict[str, list[tuple[int, ...]]]:
    """Blocks done since, by stage; of a stage done anew, all."""
    found = {}
    for stage, lines in ledgers(output).items():
        # Lines of different starts differ in their epoch.
        new = [json.loads(line) for line in set(lines) - set(before.get(stage, ()))]
        done = sorted(tuple(line["block"]) for line in new if line["status"] == "done")
        if done:
            found[stage] = done
    return found


def counts_since(before: Lines, output: Path) -> dict[str, int]:
    return {stage: len(done) for stage, done in blocks_since(before, output).items()}


def chain(value: float, **more: dict[str, Any]) -> list[dict[str, Any]]:
    """Smooth, threshold and label, with what is added to each by its name."""
    tasks: list[dict[str, Any]] = [
        {"kind": "smooth", "name": "soft", "sigma": SIGMA},
        {"kind": "threshold", "name": "bright", "input": "soft", "value": value},
        {"kind": "label", "name": "cells", "input": "bright", "table": "csv"},
    ]
    return [task | more.get(task["name"], {}) for task in tasks]


VALUE, OTHER_VALUE = 2100.0, 2250.0

ALL = {
    "denoise": 3,
    "soft": 3,
    "bright": 3,
    "cells": 3,
    "cells.pieces": 3,
    "cells.union": 1,
    "cells.table": 1,
}
"""Blocks of the run that the tests below begin with."""

OF_CELLS = {stage: count for stage, count in ALL.items() if stage.startswith("cells")}
