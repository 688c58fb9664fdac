"""An array that a stage writes, and that others read.

What a stage wrote is read through `Level.read` alone, which holds it against the
checksums in the stage's ledger: a file that is away for a moment, or is not what was
written, is never computed with.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.checked_read import checked
from denoise_daisy.blockwise.fit import convert, trim
from denoise_daisy.blockwise.patience import patiently
from denoise_daisy.blockwise.targets import Block, Content, OutputGoneError
from denoise_daisy.durable import is_there, sync
from denoise_daisy.geometry import BlockGrid, Index, LevelTransform
from denoise_daisy.images.image import Channel, as_array
from denoise_daisy.outputs.layout import Layout, without_c
from denoise_daisy.outputs.ome_zarr import (
    files_of,
    open_array,
    open_written,
)
from denoise_daisy.run_dir.checksums import (
    Checksums,
    checksum,
    chunk_checksums,
    encoded,
)
from denoise_daisy.waits import WAITS

if TYPE_CHECKING:
    from funlib.persistence import Array


@dataclass(frozen=True)
class Level:
    """A level of an OME-Zarr image or of its labels: a target, and a source."""

    path: Path
    layout: Layout
    transform: LevelTransform
    begin: Coordinate
    """Position of its first voxel, ``(t, z, y, x)``."""
    channels: tuple[Channel, ...]
    checksums: Checksums
    """Of its chunks, as its ledger has them."""
    method: str = ""
    """How a level of a pyramid came from the one before; and what is made of it."""
    is_labels: bool = False

    @property
    def place(self) -> Path:
        """The array's folder."""
        return self.path

    @property
    def roi(self) -> Roi:
        """All there is to read."""
        return Roi(self.begin, without_c(self.layout.shape))

    @property
    def dtype(self) -> str:
        """Type of a voxel."""
        return self.layout.dtype

    @property
    def channels_written(self) -> int:
        """Number of its channels."""
        return self.layout.shape[1]

    @property
    def is_there(self) -> bool:
        """Whether the array is still there to be written to."""
        return is_there(self.path / self.layout.metadata)

    @cached_property
    def array(self) -> "Array":
        """The array on disk, to write to."""
        return as_array(open_array(self.path), self.begin)

    @cached_property
    def written(self) -> "Array":
        """The array on disk, to read from; what was not written can't be read."""
        return as_array(self.written_zarr, self.begin)

    @cached_property
    def written_zarr(self) -> Any:
        """The same as Zarr has it, ``(t, c, z, y, x)`` from 0."""
        return open_written(self.path)

    def read(self, roi: Roi) -> np.ndarray:
        """The voxels of a Roi, as they were written.

        Raises
        ------
        FileNotFoundError
            A file of them is gone.
        DamagedError
            They are not what was written.
        UnrecordedError
            No line of the ledger tells what was written.
        """
        return patiently(lambda: checked(self, roi, self.written))

    def read_so_far(self, roi: Roi) -> np.ndarray:
        """The same where some voxels were not written yet; these are zeros."""
        return patiently(lambda: checked(self, roi, self.array, so_far=True))

    def file_shape(self, _: BlockGrid) -> Coordinate:
        """Voxels of a shard, or of a chunk without shards, ``(t, z, y, x)``."""
        return without_c(self.layout.file_shape)

    def files(self, grid: BlockGrid, index: Index) -> list[Path]:
        """The files that a block writes."""
        return self.files_in(grid.write_roi(index))

    def files_in(self, roi: Roi) -> list[Path]:
        """The files that hold a Roi."""
        return list(files_of(self.path, self.layout, roi - self.begin))

    def content(self, block: Block, result: "np.ndarray | bytes") -> Content:
        """The block's voxels, trimmed to its write ROI and of the array's type.

        Raises
        ------
        ValueError
            They are not as many voxels or channels as there should be.
        """
        trimmed = trim(np.asarray(result), block.read_roi, block.write_roi)
        voxels, clipped = convert(trimmed, self.dtype)
        channels = self.layout.shape[1]
        if voxels.shape[1] != channels:
            raise ValueError(
                f"{voxels.shape[1]} channels came out, where {channels} were expected"
            )
        sums = chunk_checksums(voxels, self.layout.chunks)
        return Content(voxels, checksum(voxels), encoded(sums), clipped)

    def write(
        self, content: Content, grid: BlockGrid, index: Index, *, durable: bool
    ) -> None:
        """Write a block, once the array is there again should it be away for a moment.

        Raises
        ------
        OutputGoneError
            It is not there any more; nothing was written.
        """
        roi, files = grid.write_roi(index), self.files(grid, index)

        def write() -> None:
            if not self.is_there:
                raise FileNotFoundError(self.path)
            self._write(roi, np.asarray(content.data), files)
            if durable:
                self._sync(files)

        try:
            patiently(write, WAITS.array_away)
        except FileNotFoundError as error:
            raise OutputGoneError(
                f"The array {str(self.path)!r} was moved or deleted during the run"
                f" ({error})."
            ) from error

    def _write(self, roi: Roi, voxels: np.ndarray, files: Iterable[Path]) -> None:
        try:
            self.array[roi] = voxels
        except (ValueError, RuntimeError):
            # Zarr looks into a shard that is there, and chokes on a torn one.  Removing
            # it beforehand could lose what another writer has just finished.
            for file in files:
                file.unlink(missing_ok=True)
            self.array[roi] = voxels

    def _sync(self, files: Iterable[Path]) -> None:
        folders: set[Path] = set()
        for file in files:
            sync(file)
            folders.update(p for p in file.parents if self.path in (p, *p.parents))
        for folder in sorted(folders, reverse=True):
            sync(folder)
