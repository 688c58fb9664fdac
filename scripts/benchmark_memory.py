"""A worker's peak memory beside what the plan says, with each engine."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_tools import config_for, measure, print_table, program
from demo_czi import write_czi

from denoise_daisy.blockwise.block_shape import WORKER_BYTES
from denoise_daisy.config import Config
from denoise_daisy.resolved.resolve import resolve

MIB = 1 << 20

ITERATIONS = 1
"""They don't matter to the memory."""

ENGINES: dict[str, dict[str, str]] = {
    "ndsafir": {"engine": "ndsafir"},
    "bitwise": {"precision": "bitwise"},
    "float32": {"precision": "float32"},
}
"""What each adds to `denoise` in the config."""


@dataclass(frozen=True, slots=True)
class Case:
    """An image and how it is cut."""

    shape: tuple[int, ...]
    """``(t, c, z, y, x)``."""
    dtype: str
    output: str
    blocks: dict[str, int]
    """blocks.shape; an axis not named is not cut."""

    @property
    def name(self) -> str:
        """The case in a few words."""
        cut = " ".join(f"{axis} {n}" for axis, n in self.blocks.items()) or "one block"
        size = "x".join(map(str, self.shape))
        return f"{size} {self.dtype} -> {self.output}, {cut}"


CASES = (
    Case((1, 1, 8, 64, 64), "uint16", "uint16", {}),
    Case((1, 1, 32, 640, 640), "uint16", "uint16", {}),
    Case((1, 2, 32, 512, 640), "uint8", "float32", {"y": 256}),
    Case((2, 2, 24, 512, 512), "float32", "uint16", {"y": 128, "x": 256}),
    Case((4, 1, 48, 512, 512), "uint16", "float32", {"y": 128}),
    Case((1, 1, 64, 1024, 1024), "uint16", "float32", {}),
)


def run(folder: Path) -> dict[str, Any]:
    """Run every case with every engine; print the tables."""
    return {"engines": {name: _run_engine(folder / name, name) for name in ENGINES}}


def _run_engine(folder: Path, name: str) -> dict[str, Any]:
    folder.mkdir()
    rows = [_run_case(folder / str(i), case, name) for i, case in enumerate(CASES)]
    print(f"{name}: {rows[0]['engine']}")
    header = (
        *("image (t c z y x), blocks", "blocks", "Mvoxel read", "plan MiB"),
        *("peak MiB", "peak / plan", "bytes / voxel"),
    )
    table = [
        (
            row["case"],
            str(row["blocks"]),
            f"{row['voxels'] / 1e6:.2f}",
            f"{row['plan_mib']:.0f}",
            f"{row['peak_mib']:.0f}",
            f"{row['peak_mib'] / row['plan_mib']:.2f}",
            f"{row['bytes_per_voxel']:.1f}",
        )
        for row in rows
    ]
    print_table(header, table)
    base, slope = _fit(rows)
    print(
        f"Best fit: {base:.0f} MiB + {slope:.1f} bytes per voxel and channel beside the"
        f" input's (the plan: {rows[0]['base_mib']:.0f} MiB +"
        f" {rows[0]['planned_per_voxel']} bytes)"
    )
    return {"cases": rows, "fit": {"worker_mib": base, "bytes_per_voxel": slope}}


def _run_case(folder: Path, case: Case, engine: str) -> dict[str, Any]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    image = rng.normal(150, 10, case.shape).astype(case.dtype)
    source = write_czi(folder / "image.czi", image, time_step_s=None)
    config = config_for(
        source,
        folder / "output.zarr",
        case.shape[1],
        denoise={
            "patch": {"y": 3, "x": 3},
            "max_iter": ITERATIONS,
            **ENGINES[engine],
        },
        output={"dtype": case.output},
        blocks={"shape": case.blocks},
    )
    (folder / "config.json").write_text(json.dumps(config))
    run = resolve(Config.load(folder / "config.json"), None, "benchmark")
    measure(program(folder / "config.json"), folder / "run.log")
    lines = _lines(folder / "output.zarr.run")
    peak = max(line["peak_mib"] for line in lines)
    base = WORKER_BYTES + run.denoiser.process_bytes
    voxels = run.denoising.grid.largest_read * case.shape[1]
    return {
        "case": case.name,
        "engine": " and ".join(sorted({line["engine"] for line in lines})),
        "blocks": run.denoising.grid.size,
        "voxels": voxels,
        "itemsize": image.itemsize,
        "plan_mib": run.memory / MIB,
        "peak_mib": peak,
        "bytes_per_voxel": (peak * MIB - base) / voxels - image.itemsize,
        "base_mib": base / MIB,
        "planned_per_voxel": run.denoiser.bytes_per_voxel,
    }


def _lines(run_dir: Path) -> list[dict[str, Any]]:
    """Those of the denoising's ledger."""
    files = (run_dir / "ledger" / "denoise").glob("*.jsonl")
    return [json.loads(x) for file in files for x in file.read_text().splitlines()]


def _fit(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Memory of an idle worker in MiB, and bytes per voxel, by least squares."""
    voxels = [row["voxels"] for row in rows]
    beside = [row["peak_mib"] * MIB - row["voxels"] * row["itemsize"] for row in rows]
    slope, base = np.polyfit(voxels, beside, 1)
    return float(base) / MIB, float(slope)
