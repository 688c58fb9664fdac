"""What happens to one block: read with context, denoise, trim, write, make durable."""

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.denoiser import denoise
from denoise_daisy.files import sync
from denoise_daisy.geometry import Index
from denoise_daisy.job import Job
from denoise_daisy.ome_zarr import files_of


class UnwantedError(Exception):
    """The run that the block belongs to was replaced by another."""


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of a block that is on disk; names as in the ledger."""

    crc: int
    clipped: int
    read_seconds: float
    denoise_seconds: float
    write_seconds: float


def denoise_block(job: Job, index: Index, is_wanted: Callable[[], bool]) -> Result:
    """Do one block; on return its files are in place, and durable if so configured.

    Raises
    ------
    UnwantedError
        `is_wanted`, asked just before writing, said no; nothing was written.
    """
    assert job.noise is not None, "a worker's job is calibrated"  # noqa: S101
    read_roi, write_roi = job.grid.read_roi(index), job.grid.write_roi(index)
    started = time.perf_counter()
    image = job.source[read_roi]
    was_read = time.perf_counter()
    result = denoise(image, job.config.denoise, job.noise, job.threads)
    del image
    was_denoised = time.perf_counter()
    voxels, clipped = convert(trim(result, read_roi, write_roi), job.layout.dtype)
    del result
    if not is_wanted():
        raise UnwantedError(f"The output of block {list(index)} is another run's now.")
    _write(job, write_roi, voxels)
    if job.config.output.durability == "fsync":
        _sync_block(job, write_roi)
    return Result(
        crc=checksum(voxels),
        clipped=clipped,
        read_seconds=round(was_read - started, 3),
        denoise_seconds=round(was_denoised - was_read, 3),
        write_seconds=round(time.perf_counter() - was_denoised, 3),
    )


def trim(block: np.ndarray, read_roi: Roi, write_roi: Roi) -> np.ndarray:
    """The part to write of what was read, a view of ``(t, c, z, y, x)``."""
    t, z, y, x = (write_roi - read_roi.begin).to_slices()
    return block[t, :, z, y, x]


def convert(block: np.ndarray, dtype: str) -> tuple[np.ndarray, int]:
    """The block as another type, and how many voxels had to be clipped for it.

    Integers are rounded to nearest (to even at .5) and clipped to the type's range;
    what is no number becomes 0.  `block` is overwritten.
    """
    if dtype == "float32":
        return np.ascontiguousarray(block, "<f4"), 0
    limits = np.iinfo(dtype)
    np.rint(block, out=block)
    fits = (block >= limits.min) & (block <= limits.max)
    clipped = block.size - int(np.count_nonzero(fits))
    if clipped:
        np.nan_to_num(block, copy=False, nan=0.0)
        np.clip(block, limits.min, limits.max, out=block)
    return np.ascontiguousarray(block, np.dtype(dtype).newbyteorder("<")), clipped


def checksum(block: np.ndarray) -> int:
    """CRC-32 of the voxels in C order, little-endian."""
    little = block.dtype.newbyteorder("<")
    return zlib.crc32(np.ascontiguousarray(block, little).data)


def _write(job: Job, write_roi: Roi, voxels: np.ndarray) -> None:
    try:
        job.target[write_roi] = voxels
    except (ValueError, RuntimeError):
        # Zarr looks into a shard that is there, and chokes on a torn one.  Removing it
        # beforehand could lose what another writer has just finished.
        for file in _files(job, write_roi):
            file.unlink(missing_ok=True)
        job.target[write_roi] = voxels


def _files(job: Job, write_roi: Roi) -> list[Path]:
    inside = write_roi - job.grid.volume.begin
    return list(files_of(job.output, job.layout, inside))


def _sync_block(job: Job, write_roi: Roi) -> None:
    folders: set[Path] = set()
    for file in _files(job, write_roi):
        sync(file)
        folders.update(p for p in file.parents if job.output in p.parents)
    for folder in sorted(folders, reverse=True):
        sync(folder)
