"""Reading an array and holding it against the checksums in a ledger."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.patience import UnrecordedError
from denoise_daisy.outputs.layout import Layout, without_c
from denoise_daisy.outputs.ome_zarr import DamagedError, damage_told
from denoise_daisy.run_dir.checksums import Checksums, chunk_checksums

if TYPE_CHECKING:
    from funlib.persistence import Array


class Checked(Protocol):
    """What must be known of an array to check it."""

    @property
    def path(self) -> Path:
        """Its folder."""

    @property
    def layout(self) -> Layout:
        """How it lies on disk."""

    @property
    def roi(self) -> Roi:
        """All of it, in voxels of ``(t, z, y, x)``."""

    @property
    def checksums(self) -> Checksums:
        """Of its chunks."""


def checked(
    level: Checked, roi: Roi, array: "Array", *, so_far: bool = False
) -> np.ndarray:
    """The voxels ``(t, c, z, y, x)`` of a Roi of an array, as they were written.

    `array` is what to read from; with `so_far` chunks may be missing.

    Raises
    ------
    DamagedError
        They are not what was written.
    UnrecordedError
        No line of the ledger tells what was written.
    """
    t, z, y, x = roi.shape
    result = np.empty((t, level.layout.shape[1], z, y, x), level.layout.dtype)
    for layer in _chunk_layers(level, roi):
        with damage_told():
            voxels = np.asarray(array[layer])
        _check(level, layer, voxels, so_far=so_far)
        part = layer.intersect(roi)
        result[_slices(part - roi.begin)] = voxels[_slices(part - layer.begin)]
    return result


def _chunk_layers(level: Checked, roi: Roi) -> Iterator[Roi]:
    """A Roi grown to whole chunks and cut into layers, one chunk thick in t and z.

    Chunks are read whole anyway; layers save memory.
    """
    chunk, origin = without_c(level.layout.chunks), level.roi.begin
    local = roi - origin
    first, last = local.begin // chunk, -((-local.end) // chunk)
    for t, z in itertools.product(*(range(first[i], last[i]) for i in (0, 1))):
        begin = Coordinate(t, z, first[2], first[3]) * chunk
        end = Coordinate(t + 1, z + 1, last[2], last[3]) * chunk
        layer = Roi(begin, end - begin) + origin
        yield layer.intersect(level.roi)


def _check(level: Checked, layer: Roi, voxels: np.ndarray, *, so_far: bool) -> None:
    """Hold whole chunks against the ledger."""
    chunks = level.layout.chunks
    found = chunk_checksums(voxels, chunks)
    begin = (layer.begin - level.roi.begin) // without_c(chunks)
    part = _slices(Roi(begin, without_c(found.shape)))
    expected, known = level.checksums.of(part)
    if not (so_far or known.all()):
        raise UnrecordedError(f"blocks of {level.path} are not recorded as done")
    if (found != expected)[known].any():
        # It may have been done again.
        level.checksums.refresh()
        raise DamagedError(
            f"{level.path} is not what was written, near voxel {list(layer.begin)}"
            " (t z y x); `verify` finds all such blocks"
        )


def _slices(roi: Roi) -> tuple[slice, ...]:
    """A Roi of ``(t, z, y, x)`` as slices of ``(t, c, z, y, x)``."""
    t, z, y, x = roi.to_slices()
    return t, slice(None), z, y, x
