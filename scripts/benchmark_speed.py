"""Wall time, processor time, memory and exactness beside the other ways to denoise."""

import importlib.util
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from benchmark_tools import (
    OFFSET,
    Usage,
    config_for,
    measure,
    median,
    print_table,
    program,
)
from demo_czi import GAIN, add_noise, truth, write_czi

from denoise_daisy.machine import cores

PATCH = {"y": 3, "x": 3}

TILED = {"chunk": (1, 1, 16, 250, 250), "depth": (0, 0, 8, 16, 16)}
"""ndsafir's tiles: the notebook's edge, and a depth.

With an edge of 256 tiles would begin on ndsafir's grid of patches, by luck (256 - 16 is
a multiple of 4), and the result would be nearly the whole image's.
"""

NOTEBOOK = {"chunk": (1, 7, 250, 250), "overlap": (0, 0, 16, 16)}
"""The notebook's own numbers, of (t, z, y, x)."""

START_SECONDS = 3.0
"""What this program may take to start where ndsafir computes, by its goal."""

WHOLE = "whole image"

BITWISE, FLOAT32 = "denoise_daisy", "denoise_daisy, float32"

NDSAFIR = "denoise_daisy, engine ndsafir"

OURS: dict[str, dict[str, str]] = {
    BITWISE: {},
    FLOAT32: {"precision": "float32"},
    NDSAFIR: {"engine": "ndsafir"},
}
"""This program's ways, and what they add to `denoise` in the config."""

TIMES_AS_FAST = {BITWISE: 3.5, FLOAT32: 10.0}
"""As the whole image, by their goals."""


def run(
    folder: Path, shape: Sequence[int], iterations: int, repeat: int
) -> dict[str, Any]:
    """Measure every way `repeat` times, in turns; print the table."""
    clean = truth((1, 1, *shape))
    noisy = add_noise(clean)
    ways = _prepare(folder, noisy, iterations)
    reference_log = folder / "reference.log"
    measure(_way("whole", folder, folder / "reference.npy", 1), reference_log)
    reference = np.load(folder / "reference.npy")
    usages: dict[str, list[Usage]] = {name: [] for name in ways}
    results: dict[str, dict[str, float]] = {}
    for turn in range(repeat):
        for name, command in ways.items():
            print(f"{turn + 1}/{repeat} {name}...", file=sys.stderr)
            usages[name].append(measure(command, folder / "way.log"))
            results[name] = _compare(folder, name, reference, clean)
    rows = {
        name: asdict(median(usages[name]))
        | results[name]
        | {"rounds": [asdict(usage) for usage in usages[name]]}
        for name in ways
    }
    _print(rows, shape, iterations)
    return {"shape": list(shape), "iterations": iterations, "ways": rows}


def _prepare(
    folder: Path, noisy: np.ndarray, iterations: int
) -> dict[str, Sequence[str | Path]]:
    """Write what the ways read; their command lines."""
    np.save(folder / "noisy.npy", noisy)
    source = write_czi(folder / "noisy.czi", noisy, time_step_s=None)
    settings = {
        "gain": GAIN,
        "offset": OFFSET,
        "patch": [0, 0, 0, PATCH["y"], PATCH["x"]],
        "iterations": iterations,
        "tiled": TILED,
        "notebook": NOTEBOOK,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return {
        WHOLE: _way("whole", folder, folder / f"{WHOLE}.npy", cores()),
        **_tiled(folder, noisy, settings),
        "notebook, 1 worker": _way("notebook", folder, folder / "one.zarr", 1),
        "notebook, worker per core": _way(
            "notebook", folder, folder / "many.zarr", cores()
        ),
        **{name: _ours(name, source, iterations) for name in OURS},
    }


def _ours(name: str, source: Path, iterations: int) -> Sequence[str | Path]:
    config = config_for(
        source,
        source.with_name(f"{name}.zarr"),
        1,
        denoise={"patch": PATCH, "max_iter": iterations, **OURS[name]},
        output={"dtype": "float32", "chunks": {"z": 32, "y": 64, "x": 64}},
    )
    path = source.with_name(f"{name}.json")
    path.write_text(json.dumps(config))
    return [*program(path), "--overwrite"]


def _way(name: str, folder: Path, output: Path, count: int) -> list[str | Path]:
    ways = Path(__file__).with_name("benchmark_ways.py")
    return [sys.executable, ways, name, folder, output, str(count)]


def _tiled(
    folder: Path, noisy: np.ndarray, settings: dict[str, Any]
) -> dict[str, Sequence[str | Path]]:
    """Ndsafir's tiled command line, or its recipe where that can't be imported."""
    needed = ("bioio", "bioio_ome_tiff", "bioio_ome_zarr", "dask_jobqueue", "ome_types")
    if not all(map(importlib.util.find_spec, needed)):
        name = "ndsafir tiled (its recipe)"
        return {name: _way("tiled", folder, folder / "tiled.zarr", 0)}
    tifffile.imwrite(
        folder / "noisy.ome.tif", noisy, metadata={"axes": "TCZYX"}, ome=True
    )
    options = {
        "--input": folder / "noisy.ome.tif",
        "--output": folder / "tiled.ome.tif",
        "--patch": ",".join(map(str, settings["patch"])),
        "--max_iter": str(settings["iterations"]),
        "--axes": "ZYX",
        "--noise": f"{GAIN},{OFFSET}",
        "--chunk": ",".join(map(str, TILED["chunk"])),
        "--depth": ",".join(map(str, TILED["depth"])),
    }
    words = [f"{name}={value}" for name, value in options.items()]
    return {"ndsafir tiled (its command)": [sys.executable, "-m", "ndsafir", *words]}


def _compare(
    folder: Path, name: str, reference: np.ndarray, clean: np.ndarray
) -> dict[str, float]:
    """How far the result is from the whole image's, and from the truth."""
    result = _result(folder, name).reshape(reference.shape)
    difference = np.abs(result.astype(np.float64) - reference)
    error = result.astype(np.float64) - (clean + 100)
    return {
        "largest_difference": float(difference.max()),
        "rms_difference": float(np.sqrt(np.mean(difference**2))),
        "rms_error": float(np.sqrt(np.mean(error**2))),
    }


def _result(folder: Path, name: str) -> np.ndarray:
    if name == WHOLE:
        return np.asarray(np.load(folder / f"{WHOLE}.npy"))
    if name in OURS:
        return np.asarray(zarr.open_array(folder / f"{name}.zarr" / "0")[...])
    if name.startswith("notebook"):
        output = "one.zarr" if "1" in name else "many.zarr"
        return np.asarray(zarr.open_array(folder / output)[...])
    if (folder / "tiled.ome.tif").exists():
        return np.asarray(tifffile.imread(folder / "tiled.ome.tif"))
    return np.asarray(zarr.open_array(folder / "tiled.zarr")[...])


def _print(
    rows: dict[str, dict[str, Any]], shape: Sequence[int], iterations: int
) -> None:
    size, rounds = "x".join(map(str, shape)), len(rows[WHOLE]["rounds"])
    print(f"{size} (z y x), patch y3 x3, {iterations} iterations, {rounds} rounds")
    header = (
        *("way", "wall s", "min", "max", "CPU s", "MiB", "x wall", "x CPU"),
        *("largest diff", "rms diff", "rms error"),
    )
    base = rows[WHOLE]
    table = []
    for name, row in rows.items():
        walls = [usage["wall_seconds"] for usage in row["rounds"]]
        numbers = (row["wall_seconds"], min(walls), max(walls), row["cpu_seconds"])
        table.append(
            (
                name,
                *(f"{number:.1f}" for number in numbers),
                f"{row['peak_mib']:.0f}",
                f"{row['wall_seconds'] / base['wall_seconds']:.2f}",
                f"{row['cpu_seconds'] / base['cpu_seconds']:.2f}",
                f"{row['largest_difference']:.3g}",
                f"{row['rms_difference']:.3g}",
                f"{row['rms_error']:.2f}",
            )
        )
    print_table(header, table)
    _print_goals(rows)


def _print_goals(rows: dict[str, dict[str, Any]]) -> None:
    for name, goal in TIMES_AS_FAST.items():
        wall, cpu = _times_as_fast(rows[name], rows[WHOLE])
        print(
            f"Goal {name} {goal:g} x as fast as {WHOLE}: {wall:.2f} x (CPU {cpu:.2f} x)"
        )
    limit = 1.10 * rows[WHOLE]["wall_seconds"] + START_SECONDS
    print(
        f"Goal {NDSAFIR} 1.10 x {WHOLE} + {START_SECONDS:g} s = {limit:.1f} s:"
        f" {rows[NDSAFIR]['wall_seconds']:.1f} s"
    )
    for name, row in rows.items():
        if name == WHOLE or name in OURS:
            continue
        wall, cpu = _times_as_fast(rows[NDSAFIR], row)
        print(f"Goal {NDSAFIR} 1.6 x as fast as {name}: {wall:.2f} x (CPU {cpu:.2f} x)")
    for name in (BITWISE, NDSAFIR):
        print(f"Goal {name} difference 0: {rows[name]['largest_difference']:g}")


def _times_as_fast(row: dict[str, Any], other: dict[str, Any]) -> tuple[float, float]:
    """How often a way fits into the other's time: of each round, and of processors."""
    pairs = zip(other["rounds"], row["rounds"], strict=True)
    wall = statistics.median(a["wall_seconds"] / b["wall_seconds"] for a, b in pairs)
    return wall, other["cpu_seconds"] / row["cpu_seconds"]
