"""What stages write: an array (`level`), a file for each block, or one file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.patience import UnrecordedError, patiently
from denoise_daisy.durable import make_folders, sync, write_atomic
from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.outputs.ome_zarr import DamagedError
from denoise_daisy.run_dir.checksums import Checksums, checksum, encoded


class OutputGoneError(Exception):
    """The output was moved or deleted while the run went on."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block at work: what was read, and what is to be written."""

    index: Index
    read_roi: Roi
    write_roi: Roi
    arrays: tuple[np.ndarray, ...]
    """One of ``(t, c, z, y, x)`` per source, of the read ROI clipped to what it has;
    none where the stage reads by `read` what it wants."""
    read: Callable[[int, Roi], np.ndarray]
    """The part of a source, by its number, that a Roi of the stage covers."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a block is going to write."""

    data: "np.ndarray | bytes"
    """Voxels of ``(t, c, z, y, x)``, or a file."""
    crc: int
    """See `checksums.checksum`."""
    chunks: str
    """Checksums of its chunks, see `checksums.encoded`."""
    clipped: int = 0
    """Voxels beyond the range of the type, set to its nearest value."""


class Target(Protocol):
    """Where the blocks of a stage go."""

    @property
    def place(self) -> Path:
        """The array, folder or file."""

    @property
    def checksums(self) -> Checksums:
        """What the ledger says of it."""

    @property
    def channels_written(self) -> int:
        """Channels of the array; 1 for files."""

    def file_shape(self, grid: BlockGrid) -> Coordinate:
        """Voxels of a file that it consists of, ``(t, z, y, x)``."""

    def files(self, grid: BlockGrid, index: Index) -> list[Path]:
        """The files that a block writes."""

    def content(self, block: Block, result: "np.ndarray | bytes") -> Content:
        """What is to be written, made of the result of a block's computation."""

    def write(
        self, content: Content, grid: BlockGrid, index: Index, *, durable: bool
    ) -> None:
        """Write it; on return it is in place, and durable if so wished."""


@dataclass(frozen=True)
class _Files:
    """What all targets have in common whose blocks write a file each."""

    place: Path
    checksums: Checksums
    channels_written: int = 1

    def file_shape(self, grid: BlockGrid) -> Coordinate:
        """A file holds a block."""
        return grid.block_shape

    def content(self, _: Block, result: "np.ndarray | bytes") -> Content:
        """The file as it was computed."""
        data = bytes(result)
        crc = checksum(data)
        return Content(data, crc, encoded(np.array(crc, np.uint32)))

    def files(self, grid: BlockGrid, index: Index) -> list[Path]:
        raise NotImplementedError

    def write(
        self, content: Content, grid: BlockGrid, index: Index, *, durable: bool
    ) -> None:
        """Write the file whole, in a folder that is made if need be."""
        (file,) = self.files(grid, index)
        make_folders(file.parent, durable=durable)
        if durable:
            # Another worker may just have made them, and not have got so far.
            for folder in file.parents[1:3]:
                sync(folder)
        write_atomic(file, bytes(content.data), durable=durable)

    def read_file(self, grid: BlockGrid, index: Index) -> bytes:
        """The file of a block, as it was written.

        Raises
        ------
        FileNotFoundError
            It is gone.
        DamagedError
            It is not what was written.
        UnrecordedError
            No line of the ledger tells what was written.
        """
        t, z, y, x = index
        part = tuple(slice(i, i + 1) for i in (t, 0, z, y, x))

        def read() -> bytes:
            data = self.files(grid, index)[0].read_bytes()
            expected, known = self.checksums.of(part)
            if not known.all():
                raise UnrecordedError(f"{self.place} is not recorded as done")
            if checksum(data) != expected.item():
                self.checksums.refresh()
                raise DamagedError(
                    f"The file of block {list(index)} in {self.place} is not what was"
                    " written; `verify` finds all such blocks"
                )
            return data

        return patiently(read)


@dataclass(frozen=True)
class FilePerBlock(_Files):
    """A folder with a file for each block."""

    def files(self, _: BlockGrid, index: Index) -> list[Path]:
        """Named after the block's position in the grid."""
        return [self.place / f"{'-'.join(map(str, index))}.npz"]


@dataclass(frozen=True)
class SingleFile(_Files):
    """What the only block of a stage writes."""

    def files(self, _: BlockGrid, __: Index) -> list[Path]:
        """The file."""
        return [self.place]
