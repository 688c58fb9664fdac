"""What happens to one block: read, compute, trim, write, make durable."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.checksums import checksum, chunk_checksums, encoded
from denoise_daisy.files import sync, write_atomic
from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.ome_zarr import DamagedError, damage_told
from denoise_daisy.stages import Level, Stage, patiently

OUTPUT_SECONDS = 30.0
"""An array that is away is waited for so long, with the result of a block in hand."""

SLAB_VOXELS = 1 << 24
"""A block is read back in slabs of about so many voxels."""


class UnwantedError(Exception):
    """The run that the block belongs to was replaced by another."""


class OutputGoneError(Exception):
    """The output was moved or deleted while the run went on."""


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of a block that is on disk; names as in the ledger."""

    crc: int
    chunks: str
    clipped: int
    read_seconds: float
    compute_seconds: float
    write_seconds: float


def do_block(
    stage: Stage, index: Index, *, durable: bool, is_wanted: Callable[[], bool]
) -> Result:
    """Do one block; on return its files are in place, and durable if so wished.

    Raises
    ------
    UnwantedError
        `is_wanted`, asked just before writing, said no; nothing was written.
    OutputGoneError
        The array to write to is not there any more; nothing was written.
    """
    started = time.perf_counter()
    block = stage.block(index)
    was_read = time.perf_counter()
    result = stage.compute(block)
    was_computed = time.perf_counter()
    clipped = 0
    if stage.target is not None:
        result = trim(np.asarray(result), block.read_roi, block.write_roi)
        result, clipped = convert(result, stage.target.dtype)
    del block
    if not is_wanted():
        raise UnwantedError(f"The output of block {list(index)} is another run's now.")
    write_roi = stage.grid.write_roi(index)
    crc = checksum(result)
    if stage.target is not None:
        voxels = np.asarray(result)
        _write_durably(stage.target, write_roi, voxels, durable=durable)
        sums = chunk_checksums(voxels, stage.target.layout.chunks)
    else:
        file = stage.outputs(stage.grid, index)[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, bytes(result))
        sums = np.array(crc, np.uint32)
    return Result(
        crc=crc,
        chunks=encoded(sums),
        clipped=clipped,
        read_seconds=round(was_read - started, 3),
        compute_seconds=round(was_computed - was_read, 3),
        write_seconds=round(time.perf_counter() - was_computed, 3),
    )


def find_damage(stage: Stage, grid: BlockGrid, index: Index, crc: int) -> str | None:
    """What of a block is not as it was written; None where all is.

    `grid` is that of the block, which may be of an earlier shape than the stage's.
    Only a missing file, a codec's error and another checksum are damage; any other
    error is raised.
    """
    try:
        if stage.target is not None:
            found = _checksum_on_disk(stage.target, grid.write_roi(index))
        else:
            found = checksum(stage.outputs(grid, index)[0].read_bytes())
    except FileNotFoundError as error:
        if error.filename is None:
            # All of the array, after it was there a moment ago.
            raise
        folder = stage.place.parent
        return f"{Path(error.filename).relative_to(folder)} is missing"
    except DamagedError as error:
        return f"can't be read ({error})"
    return None if found == crc else "its voxels have changed"


def slab_bytes(target: Level, roi: Roi) -> int:
    """Memory that reading a block back takes, beside what the codecs do."""
    planes = _slab_depth(target, roi)
    _, _, y, x = roi.shape
    return int(planes * y * x * np.dtype(target.dtype).itemsize)


def _slab_depth(target: Level, roi: Roi) -> int:
    """Planes that are read at once: whole chunks, as many as SLAB_VOXELS holds."""
    chunk = target.layout.chunks[2]
    _, _, y, x = roi.shape
    return int(chunk * max(1, SLAB_VOXELS // (chunk * y * x)))


def _checksum_on_disk(target: Level, roi: Roi) -> int:
    """The checksum of a block as it is read back, slab by slab."""
    t_range, z_range, y, x = (roi - target.begin).to_slices()
    depth, crc = _slab_depth(target, roi), 0
    for t in range(t_range.start, t_range.stop):
        for c in range(target.layout.shape[1]):
            for z in range(z_range.start, z_range.stop, depth):
                planes = slice(z, min(z + depth, z_range.stop))
                with damage_told():
                    crc = checksum(target.written_zarr[t, c, planes, y, x], crc)
    return crc


def trim(block: np.ndarray, read_roi: Roi, write_roi: Roi) -> np.ndarray:
    """The part to write, a view of ``(t, c, z, y, x)``.

    Raises
    ------
    ValueError
        The array has neither the extent of what was read nor that of what is written.
    """
    if block.ndim == 5:
        extent = (block.shape[0], *block.shape[2:])
        if extent == tuple(write_roi.shape):
            return block
        if extent == tuple(read_roi.shape):
            t, z, y, x = (write_roi - read_roi.begin).to_slices()
            return block[t, :, z, y, x]
    raise ValueError(
        f"an array of shape {block.shape} came out, where t, c, z, y, x were expected,"
        f" with {tuple(read_roi.shape)} (as read) or {tuple(write_roi.shape)} voxels"
        " (as written) along t, z, y, x"
    )


def convert(block: np.ndarray, dtype: str) -> tuple[np.ndarray, int]:
    """The block as another type, and how many voxels had to be clipped for it.

    Integers are rounded to nearest (to even at .5) and clipped to the type's range;
    what is no number becomes 0.  A float `block` may be overwritten.
    """
    wanted = np.dtype(dtype).newbyteorder("<")
    if dtype == "float32" or block.dtype in (wanted, np.bool_):
        return np.ascontiguousarray(block, wanted), 0
    limits = np.iinfo(dtype)
    if block.dtype.kind == "f":
        if limits.max >> (np.finfo(block.dtype).nmant + 1):
            # The largest uint32 is no float32: it would be clipped to one more.
            block = block.astype(np.float64)
        np.rint(block, out=block)
    fits = (block >= limits.min) & (block <= limits.max)
    clipped = block.size - int(np.count_nonzero(fits))
    if clipped:
        if block.dtype.kind == "f":
            np.nan_to_num(block, copy=False, nan=0.0)
        block = np.clip(block, limits.min, limits.max)
    return np.ascontiguousarray(block, wanted), clipped


def _write_durably(
    target: Level, write_roi: Roi, voxels: np.ndarray, *, durable: bool
) -> None:
    """Write to an array, once it is there again should it be away for a moment."""

    def write() -> None:
        if not target.is_there:
            raise FileNotFoundError(target.path)
        _write(target, write_roi, voxels)
        if durable:
            _sync(target, write_roi)

    try:
        patiently(write, OUTPUT_SECONDS)
    except FileNotFoundError as error:
        raise OutputGoneError(
            f"The array {str(target.path)!r} was moved or deleted during the run"
            f" ({error})."
        ) from error


def _write(target: Level, write_roi: Roi, voxels: np.ndarray) -> None:
    channels = target.layout.shape[1]
    if voxels.shape[1] != channels:
        raise ValueError(
            f"{voxels.shape[1]} channels came out, where {channels} were expected"
        )
    try:
        target.array[write_roi] = voxels
    except (ValueError, RuntimeError):
        # Zarr looks into a shard that is there, and chokes on a torn one.  Removing it
        # beforehand could lose what another writer has just finished.
        for file in target.files(write_roi):
            file.unlink(missing_ok=True)
        target.array[write_roi] = voxels


def _sync(target: Level, write_roi: Roi) -> None:
    folders: set[Path] = set()
    for file in target.files(write_roi):
        sync(file)
        folders.update(p for p in file.parents if target.path in (p, *p.parents))
    for folder in sorted(folders, reverse=True):
        sync(folder)
