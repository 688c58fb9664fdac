"""Stages: what a run is made of, each a Daisy task with blocks and a ledger of its own.

A task of the config is one stage or several.  A stage reads arrays (the raw image, or
what other stages wrote) and writes an array of blocks, or a file per block.

What a stage wrote is read by others through `Level.read` and `Stage.load`, which hold
it against the checksums in its ledger: a file that is away for a moment, or is not what
was written, is never computed with.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.arrays import Channel, Image, as_array, extent
from denoise_daisy.checksums import Checksums, checksum, chunk_checksums
from denoise_daisy.files import is_there
from denoise_daisy.geometry import (
    FULL_RESOLUTION,
    BlockGrid,
    Frame,
    Index,
    Windows,
    windows,
)
from denoise_daisy.ome_zarr import (
    METADATA,
    DamagedError,
    Layout,
    damage_told,
    files_of,
    open_array,
    open_written,
)

if TYPE_CHECKING:
    from funlib.persistence import Array

DENOISE = "denoise"
"""The stage that every run has."""

TASK_WORK = 0.02
"""Time that pooling, thresholding or labelling takes, of that for denoising."""


ONLY_BLOCK: Index = (0, 0, 0, 0)
"""The first block, of a stage that writes one file the only one."""

PATIENCE_SECONDS = 5.0
"""A file that is away, or is not what was written, is looked at again for so long."""

LAG_SECONDS = 90.0
"""How late a line of a ledger may show here that another host has written."""

RETRY_SECONDS = 0.25

Result = TypeVar("Result")


class UnrecordedError(Exception):
    """What is to be read is not recorded as done, as far as can be seen here."""


def without_c(shape: tuple[int, ...]) -> Coordinate:
    """A shape of ``(t, c, z, y, x)`` as one of ``(t, z, y, x)``."""
    t, _, z, y, x = shape
    return Coordinate(t, z, y, x)


class Source(Protocol):
    """An array of ``(t, c, z, y, x)`` that stages read."""

    @property
    def frame(self) -> Frame:
        """Where its voxels lie in the image."""

    @property
    def extent(self) -> Roi:
        """All there is to read, in its own voxels of ``(t, z, y, x)``."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """One per position along c."""

    @property
    def dtype(self) -> str:
        """Type of a voxel."""

    @property
    def method(self) -> str:
        """How it came from the level before; empty for what is no level."""

    def read(self, roi: Roi) -> np.ndarray:
        """The voxels ``(t, c, z, y, x)`` of a Roi within the extent."""


@dataclass(frozen=True)
class Raw:
    """The image as it was taken."""

    image: Image
    frame: Frame = FULL_RESOLUTION
    method: str = ""

    @property
    def extent(self) -> Roi:
        """The whole image, context and all."""
        return extent(self.image)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Those that are denoised."""
        return self.image.channels

    @property
    def dtype(self) -> str:
        """Type of a voxel."""
        return self.image.dtype.name

    def read(self, roi: Roi) -> np.ndarray:
        """The voxels of a Roi."""
        return np.asarray(self._array[roi])

    @cached_property
    def _array(self) -> "Array":
        return as_array(self.image, Coordinate(0, 0, 0, 0))


@dataclass(frozen=True)
class Level:
    """An array that a stage writes, a level of an OME-Zarr image or of its labels."""

    path: Path
    layout: Layout
    frame: Frame
    begin: Coordinate
    """Position of its first voxel, ``(t, z, y, x)``."""
    channels: tuple[Channel, ...]
    checksums: Checksums
    """Of its chunks, as its ledger has them."""
    method: str = ""
    """How a level of a pyramid came from the one before; and what is made of it."""
    is_labels: bool = False

    @property
    def extent(self) -> Roi:
        """All there is to read."""
        return Roi(self.begin, without_c(self.layout.shape))

    @property
    def dtype(self) -> str:
        """Type of a voxel."""
        return self.layout.dtype

    @property
    def is_there(self) -> bool:
        """Whether the array is still there to be written to."""
        return is_there(self.path / METADATA)

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
        return patiently(lambda: self._read(roi, self.written))

    def read_so_far(self, roi: Roi) -> np.ndarray:
        """The same where some voxels were not written yet; these are zeros."""
        return patiently(lambda: self._read(roi, self.array, so_far=True))

    def _read(self, roi: Roi, array: "Array", *, so_far: bool = False) -> np.ndarray:
        t, z, y, x = roi.shape
        result = np.empty((t, self.layout.shape[1], z, y, x), self.dtype)
        for layer in self._chunk_layers(roi):
            with damage_told():
                voxels = np.asarray(array[layer])
            self._check(layer, voxels, so_far=so_far)
            part = layer.intersect(roi)
            result[_slices(part - roi.begin)] = voxels[_slices(part - layer.begin)]
        return result

    def _chunk_layers(self, roi: Roi) -> Iterator[Roi]:
        """A Roi grown to whole chunks and cut into layers, one chunk thick in t and z.

        Chunks are read whole anyway; layers save memory.
        """
        chunk = without_c(self.layout.chunks)
        local = roi - self.begin
        first, last = local.begin // chunk, -((-local.end) // chunk)
        for t, z in itertools.product(*(range(first[i], last[i]) for i in (0, 1))):
            begin = Coordinate(t, z, first[2], first[3]) * chunk
            end = Coordinate(t + 1, z + 1, last[2], last[3]) * chunk
            layer = Roi(begin, end - begin) + self.begin
            yield layer.intersect(self.extent)

    def _check(self, layer: Roi, voxels: np.ndarray, *, so_far: bool) -> None:
        """Hold whole chunks against the ledger."""
        found = chunk_checksums(voxels, self.layout.chunks)
        begin = (layer.begin - self.begin) // without_c(self.layout.chunks)
        part = _slices(Roi(begin, without_c(found.shape)))
        expected, known = self.checksums.of(part)
        if not (so_far or known.all()):
            raise UnrecordedError(f"blocks of {self.path} are not recorded as done")
        if (found != expected)[known].any():
            # It may have been done again.
            self.checksums.refresh()
            raise DamagedError(
                f"{self.path} is not what was written, near voxel"
                f" {list(layer.begin)} (t z y x); `verify` finds all such blocks"
            )

    def files(self, roi: Roi) -> list[Path]:
        """The files that hold a Roi."""
        return list(files_of(self.path, self.layout, roi - self.begin))


def _slices(roi: Roi) -> tuple[slice, ...]:
    """A Roi of ``(t, z, y, x)`` as slices of ``(t, c, z, y, x)``."""
    t, z, y, x = roi.to_slices()
    return t, slice(None), z, y, x


def patiently(act: Callable[[], Result], seconds: float = PATIENCE_SECONDS) -> Result:
    """What `act` returns, once a file that is away for a moment is there again."""
    started = time.monotonic()
    while True:
        try:
            return act()
        except UnrecordedError:
            if time.monotonic() - started > LAG_SECONDS:
                raise
        except (FileNotFoundError, DamagedError):
            if time.monotonic() - started > seconds:
                raise
        time.sleep(RETRY_SECONDS)


@dataclass(frozen=True, slots=True)
class Block:
    """A block at work: what was read, and what is to be written."""

    index: Index
    read_roi: Roi
    write_roi: Roi
    arrays: tuple[np.ndarray, ...]
    """One of ``(t, c, z, y, x)`` per source, of the read ROI clipped to what it has."""


@dataclass(frozen=True)
class Stage:
    """A grid of blocks, what they read, and what becomes of them."""

    name: str
    """Of its Daisy task and of its ledger."""

    task: str
    """The task of the config that it belongs to, or ``denoise``."""

    grid: BlockGrid
    """In voxels of its own level."""

    sources: tuple[Source, ...]
    """What its blocks read."""

    after: tuple[str, ...]
    """The stages that write what it reads."""

    compute: Callable[[Block], "np.ndarray | bytes"]
    """From what a block reads to an array of the read or the write ROI, or to a file.
    """

    facts: Mapping[str, Any]
    """Everything that decides its bytes, by name."""

    target: Level | None = None
    """The array that it writes; None where it writes files."""

    folder: Path | None = None
    """Where it writes a file for each block."""

    file: Path | None = None
    """What its only block writes."""

    checksums: Checksums | None = None
    """Of the files that it writes for blocks; those of an array are its target's."""

    frame: Frame = FULL_RESOLUTION
    read_write_conflict: bool = False
    """Whether a block sees what its neighbours write."""

    settled: Any = None
    """What had to be found out before it could be built, to be kept with the run."""

    @property
    def place(self) -> Path:
        """The array, folder or file that it writes."""
        place = self.target.path if self.target else self.folder or self.file
        assert place is not None, "a stage writes one or another"  # noqa: S101
        return place

    @property
    def unit(self) -> Coordinate:
        """Voxels of an output file, ``(t, z, y, x)``."""
        if self.target is None:
            return self.grid.block_shape
        return without_c(self.target.layout.file_shape)

    @property
    def work(self) -> float:
        """Work for a voxel position, in that of denoising one channel of it.

        A rough measure, to guess how much of a run's time is over.
        """
        channels = self.target.layout.shape[1] if self.target else 1
        return channels * (1.0 if self.name == DENOISE else TASK_WORK)

    def block(self, index: Index) -> Block:
        """Read what a block needs."""
        roi = self.grid.read_roi(index)
        return Block(
            index=index,
            read_roi=roi,
            write_roi=self.grid.write_roi(index),
            arrays=tuple(self.read(source, roi) for source in self.sources),
        )

    def read(self, source: Source, roi: Roi) -> np.ndarray:
        """The part of a source that a Roi of this stage covers."""
        there = self.frame.convert(roi, source.frame)
        return source.read(there.intersect(source.extent))

    def load(self, index: Index) -> bytes:
        """The file that a block of a stage without an array has written.

        Raises
        ------
        FileNotFoundError
            It is gone.
        DamagedError
            It is not what was written.
        """
        assert self.checksums is not None, "stages that write files have some"  # noqa: S101
        checksums, (t, z, y, x) = self.checksums, index
        part = tuple(slice(i, i + 1) for i in (t, 0, z, y, x))

        def read() -> bytes:
            data = self.outputs(self.grid, index)[0].read_bytes()
            expected, known = checksums.of(part)
            if not known.all():
                raise UnrecordedError(f"{self.place} is not recorded as done")
            if checksum(data) != expected.item():
                checksums.refresh()
                raise DamagedError(
                    f"The file of block {list(index)} in {self.place} is not what was"
                    " written; `verify` finds all such blocks"
                )
            return data

        return patiently(read)

    def outputs(self, grid: BlockGrid, index: Index) -> list[Path]:
        """The files that a block of a grid of this stage writes."""
        if self.target is not None:
            return self.target.files(grid.write_roi(index))
        if self.file is not None:
            return [self.file]
        return [self.place / f"{'-'.join(map(str, index))}.npz"]

    def index_at(self, write_roi: Roi) -> Index:
        """The block with that write ROI, in voxels of the image, as Daisy has it."""
        return self.grid.index_at(self.frame.from_image(write_roi).begin)

    def windows_on(self, other: "Stage") -> Windows:
        """The blocks of another stage that each block of this one reads, per axis."""
        return windows(self.grid, self.frame, other.grid, other.frame)
