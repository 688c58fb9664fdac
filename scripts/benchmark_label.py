"""Labelling a volume far larger than what any of its processes holds.

The real stages of a label task, on a mask that is computed where it is read.  Each
stage is done in a process of its own, which tells its peak memory:

python scripts/benchmark_label.py FOLDER MASK SHAPE STAGE
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from benchmark_tools import print_table
from funlib.geometry import Roi

from denoise_daisy.blockwise.limits import Limits
from denoise_daisy.blockwise.process_block import process_block
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.config import Config
from denoise_daisy.geometry import FULL_RESOLUTION, LevelTransform
from denoise_daisy.images.image import Channel, read_serially
from denoise_daisy.machine import peak_memory
from denoise_daisy.outputs.ome_zarr import create_array, limit_threads
from denoise_daisy.run_dir.ledger_lines import Entry, LedgerWriter
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.tasks.builder import Product, StageBuilder
from denoise_daisy.tasks.cutting import Cutting
from denoise_daisy.tasks.places import Places

SHAPE = (800, 1000, 1250)
"""A thousand million voxels, in ten thousand blocks."""

NOISE_SHAPE = (400, 500, 500)
"""At most: almost every voxel of noise's foreground is an object."""

BLOCK = (40, 50, 50)

FOREGROUND = 0.15
"""Share of the voxels."""

PERIOD, CUT = 16, 160
"""Distance of the tubes, and their length."""

GOAL_MIB = 2e9 / 2**20

TASK = "objects"

RUN = "benchmark"


@dataclass(frozen=True)
class Mask:
    """A source of stages, the same wherever it is computed."""

    name: str
    """``tubes`` or ``noise``."""
    shape: tuple[int, ...]
    """``(z, y, x)``."""
    transform: ClassVar[LevelTransform] = FULL_RESOLUTION
    channels: ClassVar[tuple[Channel, ...]] = (Channel("mask", "FFFFFF"),)
    dtype: ClassVar[str] = "uint8"
    method: ClassVar[str] = ""

    @property
    def roi(self) -> Roi:
        """All of it."""
        return Roi((0, 0, 0, 0), (1, *self.shape))

    def read(self, roi: Roi) -> np.ndarray:
        """Voxels of ``(t, c, z, y, x)``."""
        axes = zip(roi.begin[1:], roi.end[1:], strict=True)
        mask = {"tubes": tubes, "noise": noise}[self.name](
            *np.ix_(*(np.arange(begin, end) for begin, end in axes))
        )
        return mask.astype(np.uint8)[np.newaxis, np.newaxis]


def tubes(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Tubes that run along x and sway through many blocks, cut into long pieces."""
    z = (z + 40 * np.sin(x / 70)).astype(np.float32)
    y = (y + 40 * np.sin(x / 90 + 1)).astype(np.float32)
    from_axis = (z % PERIOD - PERIOD / 2) ** 2 + (y % PERIOD - PERIOD / 2) ** 2
    number = z.astype(np.int32) // PERIOD * 97 + y.astype(np.int32) // PERIOD * 61
    radius2 = FOREGROUND * PERIOD**2 / math.pi
    return np.asarray((from_axis < radius2) & ((x + number) % CUT != 0))


def noise(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Every voxel by itself, from a hash of its position."""
    factors = zip((z, y, x), (73_856_093, 19_349_663, 83_492_791), strict=True)
    a, b, c = (axis.astype(np.uint32) * np.uint32(factor) for axis, factor in factors)
    value = a ^ b ^ c
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        value = (value ^ (value >> shift)) * np.uint32(factor)
    return np.asarray((value ^ (value >> 16)) < FOREGROUND * 2**32)


def run(folder: Path, shape: tuple[int, ...] | None) -> dict[str, Any]:
    """Label tubes, and noise on a smaller volume; print the tables."""
    shape = shape or SHAPE
    small = tuple(map(min, shape, NOISE_SHAPE))
    cases = (Mask("tubes", shape), Mask("noise", small))
    return {"cases": [_run_case(folder / mask.name, mask) for mask in cases]}


def _run_case(folder: Path, mask: Mask) -> dict[str, Any]:
    folder.mkdir()
    stages = stages_of(folder, mask)
    for stage in stages:
        if stage.array:
            create_array(stage.array.path, stage.array.layout)
    rows = [_in_own_process(folder, mask, stage) for stage in stages]
    with np.load(next((folder / "o.zarr.run/tasks").glob("*.union/*.npz"))) as archive:
        ids = archive["ids0"]
    found = {
        "mask": mask.name,
        "shape": mask.shape,
        "voxels": math.prod(mask.shape),
        "blocks": stages[0].grid.size,
        "pieces": len(ids),
        "objects": int(ids.max(initial=0)),
        "stages": rows,
    }
    print(
        f"{mask.name}: {'x'.join(map(str, mask.shape))} (z y x) in {found['blocks']}"
        f" blocks; {found['pieces']} pieces, {found['objects']} objects"
    )
    header = ("stage", "blocks", "seconds", "peak MiB")
    print_table(
        header,
        [
            (
                str(row["stage"]),
                str(row["blocks"]),
                f"{row['seconds']:.1f}",
                f"{row['peak_mib']:.0f}",
            )
            for row in rows
        ],
    )
    peak = max(row["peak_mib"] for row in rows)
    print(f"Goal: every process below {GOAL_MIB:.0f} MiB: {peak:.0f} MiB")
    return found


def stages_of(folder: Path, mask: Mask) -> Sequence[Stage]:
    """The stages of a label task with a table, as a run lays them out."""
    cut = dict(zip("zyx", BLOCK, strict=True))
    task: dict[str, Any] = {
        "kind": "label",
        "name": TASK,
        "input": "mask",
        "intensity": "mask",
    }
    task |= {"table": "csv", "blocks": {"shape": cut}}
    config = Config.parse(
        json.dumps(
            {
                "input": {"path": "no.czi"},
                "output": {"path": "o.zarr", "chunks": cut},
                "tasks": [task],
            }
        ).encode(),
        name="benchmark",
        folder=folder,
    )
    image: Any = SimpleNamespace(scale_um=(1.0, 1.0, 1.0))
    run_dir = RunDir.of_output(Path(config.output.path))
    cutting = Cutting(config.output, mask.roi, {}, is_restored=False)
    places = Places(run_dir, RUN)
    limits = Limits(memory=sys.maxsize)
    builder = StageBuilder(image, cutting, places, lambda _: limits, 0)
    builder.products["mask"] = Product(mask.name, None, mask)
    config.tasks[0].build(builder)
    return builder.stages


def _in_own_process(folder: Path, mask: Mask, stage: Stage) -> dict[str, Any]:
    shape = "x".join(map(str, mask.shape))
    done = subprocess.run(
        [sys.executable, __file__, str(folder), mask.name, shape, stage.name],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """All blocks of one stage, as the command line says."""
    folder, name, shape, wanted = sys.argv[1:]
    read_serially()
    limit_threads()
    mask = Mask(name, tuple(map(int, shape.split("x"))))
    stage = next(s for s in stages_of(Path(folder), mask) if s.name == wanted)
    ledger = RunDir.of_output(Path(folder, "o.zarr")).ledger(stage.name)
    ledger.mkdir(parents=True)
    writer = LedgerWriter(ledger, RUN, "benchmark", durable=False)
    block_shape = tuple(stage.grid.block_shape)
    started = time.perf_counter()
    for index in stage.grid.indices():
        result = process_block(stage, index, durable=False, is_wanted=lambda: True)
        writer.append(
            Entry(index, block_shape, "done", 1, "benchmark", **asdict(result))
        )
    found = {
        "stage": stage.name,
        "blocks": stage.grid.size,
        "seconds": time.perf_counter() - started,
        "peak_mib": peak_memory() / 2**20,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
