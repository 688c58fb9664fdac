"""The other ways to denoise a stack, each a program of its own for the benchmark.

python scripts/benchmark_ways.py whole|tiled|notebook FOLDER OUTPUT COUNT

FOLDER holds noisy.npy and noisy.czi, (t, c, z, y, x) with one channel, and
settings.json.  COUNT is the number of threads of the whole image's, of workers of
the notebook's.
"""

import itertools
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array
import ndsafir
import numpy as np
import zarr
from dask.distributed import LocalCluster
from pylibCZIrw import czi

from denoise_daisy.machine import cores

Box = tuple[range, ...]
"""Voxels along (t, z, y, x)."""


def denoiser(settings: dict[str, Any], threads: int) -> Any:
    """Ndsafir with all its settings; takes an array of ``(t, c, z, y, x)``."""
    return partial(
        ndsafir.denoise_poisson_gaussian,
        axes="TCZYX",
        gains=[settings["gain"]],
        offsets=[settings["offset"]],
        patch=settings["patch"],
        active_dimensions="zyx",
        max_iter=settings["iterations"],
        nthreads=threads,
    )


def whole(folder: Path, output: Path, settings: dict[str, Any], threads: int) -> None:
    """The whole image at once."""
    np.save(output, denoiser(settings, threads)(np.load(folder / "noisy.npy")))


def tiled(folder: Path, output: Path, settings: dict[str, Any], _: int) -> None:
    """What `python -m ndsafir --chunk --depth` does: dask's overlapping tiles.

    As there, every tile takes all cores, and dask's threads take as many tiles.
    """
    chunk, depth = settings["tiled"]["chunk"], settings["tiled"]["depth"]
    image = dask.array.from_array(np.load(folder / "noisy.npy"), chunks=chunk)
    result = image.map_overlap(
        denoiser(settings, 0),
        depth=tuple(depth),
        allow_rechunk=False,
        meta=np.array((), dtype=np.float32),
    )
    result.to_zarr(output, overwrite=True, compute=True)


def notebook(folder: Path, output: Path, settings: dict[str, Any], count: int) -> None:
    """Delayed tasks per chunk: load with overlap, denoise, trim, save to a Zarr array.

    The cores are shared among the workers, each of which has one thread of dask's.
    """
    source = folder / "noisy.czi"
    extent = czi_extent(source)
    chunk, overlap = settings["notebook"]["chunk"], settings["notebook"]["overlap"]
    zarr.create_array(
        output,
        shape=(extent[0], 1, *extent[1:]),
        chunks=(1, 1, 1, *chunk[2:]),
        dtype="float32",
        overwrite=True,
    )
    denoise = dask.delayed(denoiser(settings, max(1, cores() // count)))
    tasks = []
    for write in chunk_boxes(extent, chunk):
        read = grown(write, overlap, extent)
        block = denoise(dask.delayed(load)(source, read))
        tasks.append(dask.delayed(save)(output, block, read, write))
    dask.config.set({"distributed.scheduler.worker-saturation": 1.0})
    with (
        LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        cluster.get_client(),
    ):
        dask.compute(*tasks)


def czi_extent(path: Path) -> tuple[int, ...]:
    """Voxels along (t, z, y, x) of a CZI that begins at 0."""
    with czi.open_czi(str(path)) as reader:
        box = reader.total_bounding_box
        return tuple(box[axis][1] - box[axis][0] for axis in "TZYX")


def chunk_boxes(extent: tuple[int, ...], chunk: list[int]) -> list[Box]:
    """What each chunk writes."""
    axes = [
        [range(begin, min(begin + step, end)) for begin in range(0, end, step)]
        for end, step in zip(extent, chunk, strict=True)
    ]
    return list(itertools.product(*axes))


def grown(box: Box, overlap: list[int], extent: tuple[int, ...]) -> Box:
    """The box and its overlap, as far as there is an image."""
    return tuple(
        range(max(0, part.start - o), min(end, part.stop + o))
        for part, o, end in zip(box, overlap, extent, strict=True)
    )


def load(path: Path, box: Box) -> np.ndarray:
    """The voxels of a box, ``(t, c, z, y, x)``."""
    t_range, z_range, y_range, x_range = box
    block = np.empty((len(t_range), 1, *map(len, box[1:])), np.uint16)
    roi = (x_range.start, y_range.start, len(x_range), len(y_range))
    with czi.open_czi(str(path)) as reader:
        for (i, t), (j, z) in itertools.product(enumerate(t_range), enumerate(z_range)):
            pixels = reader.read(plane={"T": t, "C": 0, "Z": z}, roi=roi)
            block[i, 0, j] = pixels[..., 0]
    return block


def save(output: Path, block: np.ndarray, read: Box, write: Box) -> None:
    """Write what is left of a block without its overlap."""
    inner = [
        slice(w.start - r.start, w.stop - r.start)
        for r, w in zip(read, write, strict=True)
    ]
    outer = [slice(w.start, w.stop) for w in write]
    array = zarr.open_array(output, mode="r+")
    array[outer[0], :, *outer[1:]] = block[inner[0], :, *inner[1:]]


def main() -> None:
    """One way, as the command line says."""
    name, folder, output, count = sys.argv[1:]
    settings = json.loads((Path(folder) / "settings.json").read_text())
    ways = {"whole": whole, "tiled": tiled, "notebook": notebook}
    ways[name](Path(folder), Path(output), settings, int(count))


if __name__ == "__main__":
    main()
