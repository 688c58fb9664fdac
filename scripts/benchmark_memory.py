"""A worker's peak memory beside what the plan says, for each stage of a chain.

A run is made of each case; then a fresh process, with all that a worker has loaded,
does the largest block of each stage again, reading and writing included.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_tools import config_for, measure, print_table, program
from demo_czi import write_czi
from funlib.geometry import Roi

from denoise_daisy.blockwise.process_block import process_block
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.machine import peak_memory
from denoise_daisy.resolved.resolve import restore
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.worker.process import use_one_core

MIB = 1 << 20

FOREGROUND = 155
"""Of the images' noise three voxels in ten are above it: there are hardly more pieces
in any mask."""

ENGINES: dict[str, dict[str, str]] = {
    "ndsafir": {"engine": "ndsafir"},
    "bitwise": {"precision": "bitwise"},
    "float32": {"precision": "float32"},
}
"""What each adds to `denoise` in the config."""

TASKS: tuple[dict[str, Any], ...] = (
    {"kind": "smooth", "name": "soft", "sigma": {"z": 1, "y": 1, "x": 1}},
    {"kind": "smooth", "name": "soft16", "sigma": {"y": 2, "x": 2}, "dtype": "uint16"},
    {"kind": "threshold", "name": "mask", "input": "raw", "value": FOREGROUND},
    {"kind": "threshold", "name": "found", "method": "li"},
)

LABELS: tuple[dict[str, Any], ...] = (
    {"kind": "label", "name": "cells", "input": "mask"},
    {"kind": "label", "name": "told", "input": "mask", "table": "csv"},
)

LARGE_MIB = 400
"""Memory that it matters to know."""


@dataclass(frozen=True, slots=True)
class Case:
    """An image and how it is cut."""

    shape: tuple[int, ...]
    """``(t, c, z, y, x)``."""
    dtype: str
    output: str
    blocks: dict[str, int]
    """blocks.shape; an axis not named is not cut."""
    denoise: dict[str, Any] = field(default_factory=dict)
    tasks: Sequence[dict[str, Any]] = TASKS

    @property
    def name(self) -> str:
        """The case in a few words."""
        cut = " ".join(f"{axis} {n}" for axis, n in self.blocks.items()) or "one block"
        size = "x".join(map(str, self.shape))
        return f"{size} {self.dtype} -> {self.output}, {cut}"


CASES = (
    Case((1, 1, 8, 64, 64), "uint16", "uint16", {}, tasks=TASKS + LABELS),
    Case((1, 1, 32, 640, 640), "uint16", "uint16", {}, tasks=TASKS + LABELS[:1]),
    Case((1, 1, 1, 4096, 4096), "uint16", "input", {}),
    Case((1, 1, 1, 6000, 5000), "uint8", "float32", {"y": 4096}),
    Case((12, 1, 1, 1024, 1024), "uint16", "input", {"t": 12}),
    Case((6, 1, 8, 512, 512), "uint16", "input", {"t": 6}, {"patch": {"t": 1}}),
    Case((1, 2, 32, 512, 640), "uint8", "float32", {}, tasks=TASKS + LABELS[1:]),
    Case((1, 2, 24, 640, 640), "uint16", "input", {}),
    Case((2, 2, 24, 512, 512), "float32", "uint16", {}, tasks=TASKS + LABELS[1:]),
    Case((2, 1, 48, 1024, 512), "uint16", "float32", {"y": 896}),
    Case((1, 1, 64, 640, 512), "float32", "input", {}),
    Case((1, 1, 64, 1024, 1024), "uint16", "uint16", {}),
)


def run(folder: Path) -> dict[str, Any]:
    """Run every case, the denoising with each engine in turn; print the table."""
    rows = []
    for i, case in enumerate(CASES):
        place = folder / str(i)
        place.mkdir()
        engine = list(ENGINES)[i % len(ENGINES)]
        found = _run_case(place, case, engine)
        print(f"{case.name} ({engine})", flush=True)
        _print(found)
        rows += [row | {"case": case.name, "engine": engine} for row in found]
    print(f"All cases, where the peak is {LARGE_MIB} MiB or more: measured / planned")
    _print_ratios(rows)
    return {"stages": rows}


def _run_case(folder: Path, case: Case, engine: str) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    image = rng.normal(150, 10, case.shape).astype(case.dtype)
    source = write_czi(folder / "image.czi", image, time_step_s=None)
    config = config_for(
        source,
        folder / "output.zarr",
        case.shape[1],
        denoise={
            "patch": {"y": 1, "x": 1},
            "max_iter": 1,
            **case.denoise,
            **ENGINES[engine],
        },
        output={"dtype": case.output},
        blocks={"shape": case.blocks},
        tasks=case.tasks,
    )
    (folder / "config.json").write_text(json.dumps(config))
    measure(program(folder / "config.json"), folder / "run.log")
    run_dir = RunDir(folder / "output.zarr.run")
    resolved = restore(RunRecord.of(run_dir), run_dir)
    large = [
        stage
        for stage in resolved.stages
        if stage.memory is None or stage.memory >= LARGE_MIB * MIB or case is CASES[0]
    ]
    return [_measured(stage, run_dir) for stage in large]


def _measured(stage: Stage, run_dir: RunDir) -> dict[str, Any]:
    command = [sys.executable, __file__, str(run_dir.path), stage.name]
    done = subprocess.run(command, check=True, capture_output=True)
    peak, seconds = map(float, done.stdout.split())
    shape = stage.grid.largest_shape
    return {
        "stage": stage.name,
        "voxels": stage.grid.largest_read,
        "plan_seconds": stage.pace.seconds(shape) if stage.pace else None,
        "seconds": seconds,
        "plan_mib": None if stage.memory is None else stage.memory / MIB,
        "peak_mib": peak / MIB,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    header = (
        *("stage", "Mvoxel read", "plan MiB", "peak MiB", "peak / plan"),
        *("plan s", "s"),
    )
    table = [
        (
            row["stage"],
            f"{row['voxels'] / 1e6:.2f}",
            "-" if row["plan_mib"] is None else f"{row['plan_mib']:.0f}",
            f"{row['peak_mib']:.0f}",
            "-" if row["plan_mib"] is None else f"{_ratio(row):.2f}",
            "-" if row["plan_seconds"] is None else f"{row['plan_seconds']:.2f}",
            f"{row['seconds']:.2f}",
        )
        for row in rows
    ]
    print_table(header, table)


def _print_ratios(rows: list[dict[str, Any]]) -> None:
    large = [
        r for r in rows if r["plan_mib"] is not None and r["peak_mib"] >= LARGE_MIB
    ]
    table = []
    for stage in dict.fromkeys(row["stage"] for row in large):
        ratios = [_ratio(row) for row in large if row["stage"] == stage]
        numbers = min(ratios), sum(ratios) / len(ratios), max(ratios)
        table.append((stage, str(len(ratios)), *(f"{n:.2f}" for n in numbers)))
    print_table(("stage", "cases", "least", "mean", "most"), table)


def _ratio(row: dict[str, Any]) -> float:
    ratio: float = row["peak_mib"] / row["plan_mib"]
    return ratio


def _do_largest_block(run_dir: RunDir, name: str) -> None:
    """Do it again, and print the bytes that this process took."""
    use_one_core()
    run = restore(RunRecord.of(run_dir), run_dir)
    stage = next(s for s in run.stages if s.name == name)
    stage.load()
    index = stage.grid.largest_index
    for source in stage.sources:
        # What is imported for the first read is no block's time.
        source.read(Roi(source.roi.begin, (1, 1, 1, 1)))
    started = time.process_time()
    process_block(stage, index, durable=False, is_wanted=lambda: True)
    print(peak_memory(), time.process_time() - started)


if __name__ == "__main__":
    _do_largest_block(RunDir(Path(sys.argv[1])), sys.argv[2])
