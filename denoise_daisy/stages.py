"""Stages: what a run is made of, each a Daisy task with blocks and a ledger of its own.

A task of the config is one stage or several.  A stage reads arrays (the raw image, or
what other stages wrote) and writes an array of blocks, or a file per block.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.arrays import Channel, Image, as_array, extent
from denoise_daisy.geometry import (
    FULL_RESOLUTION,
    BlockGrid,
    Frame,
    Index,
    Windows,
    windows,
)
from denoise_daisy.ome_zarr import Layout, files_of, open_array

if TYPE_CHECKING:
    from funlib.persistence import Array

DENOISE = "denoise"
"""The stage that every run has."""

TASK_WORK = 0.02
"""Time that pooling, thresholding or labelling takes, of that for denoising."""


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
    def array(self) -> "Array":
        """The voxels, sliced by Rois of ``(t, z, y, x)``."""


@dataclass(frozen=True)
class Raw:
    """The image as it was taken."""

    image: Image
    frame: Frame = FULL_RESOLUTION

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

    @cached_property
    def array(self) -> "Array":
        """The image in voxels of ``(t, z, y, x)``."""
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
    method: str = ""
    """How a level of a pyramid came from the one before."""
    is_labels: bool = False

    @property
    def extent(self) -> Roi:
        """All there is to read."""
        return Roi(self.begin, without_c(self.layout.shape))

    @property
    def dtype(self) -> str:
        """Type of a voxel."""
        return self.layout.dtype

    @cached_property
    def array(self) -> "Array":
        """The array on disk."""
        return as_array(open_array(self.path), self.begin)

    def files(self, roi: Roi) -> list[Path]:
        """The files that hold a Roi."""
        return list(files_of(self.path, self.layout, roi - self.begin))


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
        there = self.frame.convert(roi, source.frame).intersect(source.extent)
        if isinstance(source, Level):
            # Zarr would read zeros, and these would be computed with.
            missing = [file for file in source.files(there) if not file.exists()]
            if missing:
                raise FileNotFoundError(
                    f"{missing[0]} is gone; `verify` finds all such"
                )
        return np.asarray(source.array[there])

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
