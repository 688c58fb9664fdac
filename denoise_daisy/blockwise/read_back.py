"""Reading a block back, to hold it against the ledger's checksum."""

from pathlib import Path

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.outputs.ome_zarr import DamagedError, damage_told
from denoise_daisy.run_dir.checksums import checksum

SLAB_VOXELS = 1 << 24
"""A block is read back in slabs of about so many voxels."""


def find_damage(stage: Stage, grid: BlockGrid, index: Index, crc: int) -> str | None:
    """What of a block is not as it was written; None where all is.

    `grid` is that of the block, which may be of an earlier shape than the stage's.
    Only a missing file, a codec's error and another checksum are damage; any other
    error is raised.
    """
    try:
        if stage.array is not None:
            found = _checksum_on_disk(stage.array, grid.write_roi(index))
        else:
            found = checksum(stage.target.files(grid, index)[0].read_bytes())
    except FileNotFoundError as error:
        if error.filename is None:
            # All of the array, after it was there a moment ago.
            raise
        folder = stage.target.place.parent
        return f"{Path(error.filename).relative_to(folder)} is missing"
    except DamagedError as error:
        return f"can't be read ({error})"
    return None if found == crc else "its voxels have changed"


def slab_bytes(array: Level, roi: Roi) -> int:
    """Memory that reading a block back takes, beside what the codecs do."""
    planes = _slab_depth(array, roi)
    _, _, y, x = roi.shape
    return int(planes * y * x * np.dtype(array.dtype).itemsize)


def _slab_depth(array: Level, roi: Roi) -> int:
    """Planes that are read at once: whole chunks, as many as SLAB_VOXELS holds."""
    chunk = array.layout.chunks[2]
    _, _, y, x = roi.shape
    return int(chunk * max(1, SLAB_VOXELS // (chunk * y * x)))


def _checksum_on_disk(array: Level, roi: Roi) -> int:
    """The checksum of a block as it is read back, slab by slab."""
    t_range, z_range, y, x = (roi - array.begin).to_slices()
    depth, crc = _slab_depth(array, roi), 0
    for t in range(t_range.start, t_range.stop):
        for c in range(array.layout.shape[1]):
            for z in range(z_range.start, z_range.stop, depth):
                planes = slice(z, min(z + depth, z_range.stop))
                with damage_told():
                    crc = checksum(array.written_zarr[t, c, planes, y, x], crc)
    return crc
