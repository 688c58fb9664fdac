"""Runs of a user's functions, which note what they saw."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from demo_czi import write_czi

from harness import (
    cli,
    config_for,
    ledger_lines,
    output_of,
    small_image,
    write_config,
)

SHAPE = (2, 1, 6, 46, 60)

REGION = {"z": [1, 5], "y": [3, 43], "x": [9, 59]}
"""What is written of the image: in each time point 2 x 2 blocks of 32 x 32 voxels."""

CUT = (slice(None), slice(None), *(slice(*REGION[axis]) for axis in "zyx"))

BLOCKS = 8

NOTES = '''
import json
import os
import time
from pathlib import Path

import numpy as np


def note(file, **values):
    """One line in a file that all processes write."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    file = os.open(file, flags, 0o644)
    os.write(file, json.dumps({"pid": os.getpid()} | values).encode() + b"\\n")
    os.close(file)


def box(roi):
    return [list(roi.begin), list(roi.end)]

'''


def config_of(
    folder: Path,
    *tasks: dict[str, Any],
    module: str,
    image: np.ndarray | None = None,
    **sections: Any,
) -> Path:
    """The config of a run with a quick denoiser, its image, and the module own.py."""
    image = small_image(SHAPE) if image is None else image
    (folder / "in.czi").unlink(missing_ok=True)
    layout = {"chunks": {"z": 4, "y": 32, "x": 32}}
    cut = {"shape": {"y": 32, "x": 32}}
    config = config_for(
        write_czi(folder / "in.czi", image),
        folder / "out.zarr",
        **{"output": layout, "blocks": cut} | sections,
    )
    del config["noise"]
    config["denoise"] = {"kind": "median", "size": {"y": 3, "x": 3}}
    config["tasks"] = [{"kind": "function"} | task for task in tasks]
    (folder / "own.py").write_text(NOTES + module)
    return write_config(folder / "config.json", config)


def finish(*words: str | Path, env: dict[str, str] | None = None) -> str:
    done = cli("run", *words, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def array_of(folder: Path, task: str) -> np.ndarray:
    """All voxels of an image or of labels that a task wrote."""
    places = folder / "out.zarr" / "labels" / task, folder / f"out.{task}.zarr"
    (found,) = [path for path in places if path.exists()]
    return output_of(found)


def notes_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def done_blocks(folder: Path, task: str) -> "Counter[tuple[int, ...]]":
    """How often the ledger has each block as done."""
    lines = ledger_lines(folder / "out.zarr", task)
    return Counter(tuple(x["block"]) for x in lines if x["status"] == "done")
