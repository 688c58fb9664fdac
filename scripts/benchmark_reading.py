"""Bytes that blocks read of a CZI, beside the bytes that they want."""

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_tools import config_for, print_table
from funlib.geometry import Roi
from pylibCZIrw import czi as pylibczi

from denoise_daisy.config import Config
from denoise_daisy.errors import DenoiseDaisyError
from denoise_daisy.images.image import Image, roi_of
from denoise_daisy.resolved.resolve import resolve

SHAPE = (1501, 2048, 1936)
"""Planes of the reference's size, uint16, each a sub-block of its own; (z, y, x)."""

WORKERS = ((128, 1, 4), (32, 4, 16), (8, 16, 64))
"""Number, cores and GiB: README's table of the reference."""

MOST = 1.3
"""Bytes read per byte wanted, context counted as wanted, that it may take."""

PLANES = 8
"""Of a block, that pylibCZIrw is asked for."""


def run(folder: Path, files: Path | None) -> dict[str, Any]:
    """Read blocks as they are planned, at a corner and in the middle."""
    path = _write_sparse(folder / "reference.czi")
    cases: list[tuple[Path, int | None, tuple[int, int, int]]] = [
        (path, None, workers) for workers in WORKERS
    ]
    if files:
        cases += [
            (file, scene, WORKERS[0])
            for file in sorted(files.glob("*.czi"))
            for scene in _scenes(file)
        ]
    found = [
        row
        for file, scene, workers in cases
        for row in _blocks(folder, file, scene, workers)
    ]
    headers = ("file", "block with context", "wanted MiB", "read", "s", "pylibCZIrw")
    print_table(
        headers,
        [
            (
                row["file"],
                " x ".join(map(str, row["shape"])),
                f"{row['wanted'] / 2**20:.1f}",
                f"{row['read']:.3f}",
                f"{row['seconds']:.2f}",
                f"{row['pylibczirw']:.1f}",
            )
            for row in found
        ],
    )
    print(f"Read: bytes per byte wanted; goal: {MOST:g} of the reference")
    worst = max(row["read"] for row in found if row["file"] == path.name)
    print(f"Worst of the reference: {worst:.3f}")
    return {
        "blocks": found,
        "failed": f"It read {worst:.2f} times what it wanted."
        if worst > MOST
        else None,
    }


def _scenes(file: Path) -> list[int | None]:
    with pylibczi.open_czi(str(file)) as reader:
        return [*reader.scenes_bounding_rectangle] or [None]


def _blocks(
    folder: Path, file: Path, scene: int | None, workers: tuple[int, int, int]
) -> Iterator[dict[str, Any]]:
    """What the first block reads, and the one in the middle."""
    count, cores, gib = workers
    config = config_for(
        file,
        folder / "out.zarr",
        count,
        input={"path": str(file), "scene": scene},
        denoise={"patch": {"z": 1, "y": 3, "x": 3}, "max_iter": 4},
        noise={"kind": "gaussian", "noise_std": 5.0},
        workers={"kind": "lsf", "count": count, "cores": cores, "memory_gib": gib},
    )
    try:
        resolved = resolve(Config.model_validate(config), None, "benchmark")
    except DenoiseDaisyError as error:
        print(f"{file.name}, scene {scene}: {error}")
        return
    indices = list(resolved.denoising.grid.indices())
    for index in dict.fromkeys((indices[0], indices[len(indices) // 2])):
        image = resolved.image
        roi = resolved.denoising.grid.read_roi(index).intersect(roi_of(image))
        yield _measured(file, image, scene, roi)


def _measured(file: Path, image: Image, scene: int | None, roi: Roi) -> dict[str, Any]:
    t, z, y, x = roi.to_slices()
    key = (t, slice(None), z, y, x)
    # The directory, which is read once.
    image[slice(0, 1), slice(0, 1), slice(0, 1), slice(0, 1), slice(0, 1)]
    block, seconds, read = _taken(lambda: image[key])
    with pylibczi.open_czi(str(file)) as reader:
        t0, z0, y0, x0 = image.origin
        roi_there = (x0 + x.start, y0 + y.start, block.shape[4], block.shape[3])
        planes = range(min(PLANES, block.shape[2]))

        def compose() -> None:
            for k in planes:
                plane = {"T": t0 + t.start, "C": 0, "Z": z0 + z.start + k}
                reader.read(roi=roi_there, plane=plane, scene=scene)

        compose()
        _, _, composed = _taken(compose)
    wanted = block.nbytes
    part = len(planes) / (block.shape[0] * block.shape[1] * block.shape[2])
    return {
        "file": file.name,
        "scene": scene,
        "shape": block.shape,
        "wanted": wanted,
        "read": read / wanted,
        "seconds": seconds,
        "pylibczirw": composed / (wanted * part),
    }


def _taken(action: Callable[[], Any]) -> tuple[Any, float, int]:
    """What it gives, its seconds, and the bytes that it had read."""
    before, started = _bytes_read(), time.perf_counter()
    result = action()
    return result, time.perf_counter() - started, _bytes_read() - before


def _bytes_read() -> int:
    """By this process so far, from any file, cached or not."""
    [line] = [
        line
        for line in Path("/proc/self/io").read_text().splitlines()
        if line.startswith("rchar:")
    ]
    return int(line.split()[1])


def _write_sparse(path: Path) -> Path:
    """A CZI whose pixels, all of them 0, take no place on the disk."""
    z_size, y_size, x_size = SHAPE
    plane = y_size * x_size * 2
    with pylibczi.create_czi(str(path)) as writer:
        writer.write(np.zeros((1, 1, 1), np.uint16), plane={"T": 0, "Z": 0, "C": 0})
        writer.write_metadata("reference")
    entries = []
    with path.open("r+b") as file:
        at = file.seek(0, 2)
        for z in range(z_size):
            entry = _entry(z, at, y_size, x_size)
            entries.append(entry)
            file.seek(at)
            size = 256 + plane
            file.write(struct.pack("<16sqq", b"ZISRAWSUBBLOCK", size, size))
            file.write(struct.pack("<iiq", 0, 0, plane) + entry)
            at += 32 + size
        data = struct.pack("<i124x", z_size) + b"".join(entries)
        file.seek(at)
        file.write(struct.pack("<16sqq", b"ZISRAWDIRECTORY", len(data), len(data)))
        file.write(data)
        file.seek(32 + 52)
        file.write(struct.pack("<q", at))
    return path


def _entry(z: int, position: int, height: int, width: int) -> bytes:
    dimensions = [
        (b"X", 0, width),
        (b"Y", 0, height),
        (b"Z", z, 1),
        (b"C", 0, 1),
        (b"T", 0, 1),
    ]
    return struct.pack("<2siqii6xi", b"DV", 1, position, 0, 0, 5) + b"".join(
        struct.pack("<4siifi", name, first, size, 0.0, size)
        for name, first, size in dimensions
    )
