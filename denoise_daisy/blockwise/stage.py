"""Stages: what a run is made of, each a Daisy task with blocks and a ledger of its own.

A task of the config is one stage or several.  A stage reads arrays (the raw image, or
what other stages wrote) through `Stage.read_block` and `Block.read`, and files of other
stages through `Stage.read_file`; it writes an array, a file per block, or one file.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.limits import Pace
from denoise_daisy.blockwise.sources import Source
from denoise_daisy.blockwise.targets import Block, FilePerBlock, SingleFile, Target
from denoise_daisy.geometry import (
    FULL_RESOLUTION,
    BlockGrid,
    BlockRanges,
    Index,
    LevelTransform,
    block_ranges,
)
from denoise_daisy.run_dir.record import StageRecord

QUICK = 1.0
"""Seconds of a block of this program's own of which no more is known."""

ONLY_BLOCK: Index = (0, 0, 0, 0)
"""The first block; of a stage that writes one file the only one."""


def nothing() -> None:
    """What a stage has to load, or to leave, that computes with what is there."""


def nowhere(_: BaseException) -> str | None:
    """Where an error of a stage came up that runs no code of the user's."""


def computed(_: Block) -> None:
    """What a block is written as where all are computed."""


@dataclass(frozen=True, kw_only=True)
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

    left: Callable[[Block], np.ndarray | None] = computed
    """An array like that, of a block that is written without being computed; or None.
    """

    parameters: Mapping[str, Any]
    """Everything that decides its bytes, by name; plain JSON."""

    target: Target
    """Where its blocks go."""

    transform: LevelTransform = FULL_RESOLUTION
    """Where its voxels lie in the image."""

    reads_parts: bool = False
    """Whether its computation reads, by `Block.read`, just the parts that it wants."""

    read_write_conflict: bool = False
    """Whether a block sees what its neighbours write."""

    probed: Mapping[str, Any] | None = None
    """What had to be found out before it could be built, to be kept with the run."""

    load: Callable[[], object] = nothing
    """Loads what it computes with; called once in every worker, at its start."""

    engine: Callable[[], str | None] = nothing
    """Names what it computes with, where there is a choice; asked once it is loaded."""

    unload: Callable[[], object] = nothing
    """Called once when a worker ends."""

    where: Callable[[BaseException], str | None] = nowhere
    """Where in code of the user's an error came up: file, line and function."""

    is_essential: bool = False
    """Whether the run stops when all of it fails, rather than go on without it."""

    memory: int | None = None
    """Bytes that a worker takes at most for a block; None where that is not known."""

    pace: Pace | None = None
    """How long a block takes, by the shape that it reads; None where not known."""

    is_users: bool = False
    """Whether it computes by code of the user's, of which nothing is known."""

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of what decides its bytes."""
        return fingerprint_of(self.parameters)

    @cached_property
    def usual_seconds(self) -> float | None:
        """About what a block takes; None where only doing one would tell."""
        if self.is_essential or self.is_users:
            return None
        if self.pace is None:
            return QUICK
        return self.pace.seconds(self.grid.largest_shape)

    @property
    def array(self) -> Level | None:
        """The array that it writes, if it writes one."""
        return self.target if isinstance(self.target, Level) else None

    @property
    def file_shape(self) -> Coordinate:
        """Voxels of an output file, ``(t, z, y, x)``."""
        return self.target.file_shape(self.grid)

    def read_block(self, index: Index) -> Block:
        """Read what a block needs."""
        roi = self.grid.read_roi(index)
        numbers = range(0 if self.reads_parts else len(self.sources))
        return Block(
            index=index,
            read_roi=roi,
            write_roi=self.grid.write_roi(index),
            arrays=tuple(self._read(number, roi) for number in numbers),
            read=self._read,
        )

    def _read(self, number: int, roi: Roi) -> np.ndarray:
        """The part of a source that a Roi of this stage covers."""
        source = self.sources[number]
        there = self.transform.convert(roi, source.transform)
        return source.read(there.intersect(source.roi))

    def read_file(self, index: Index) -> bytes:
        """The file that a block of a stage without an array has written.

        Raises
        ------
        FileNotFoundError
            It is gone.
        DamagedError
            It is not what was written.
        """
        if not isinstance(self.target, FilePerBlock | SingleFile):
            raise TypeError(f"stage {self.name!r} writes an array, no files")
        return self.target.read_file(self.grid, index)

    def index_at(self, write_roi: Roi) -> Index:
        """The block with that write ROI, in voxels of the image, as Daisy has it."""
        return self.grid.index_at(self.transform.from_image(write_roi).begin)

    def block_ranges_of(self, other: "Stage") -> BlockRanges:
        """The blocks of another stage that each block of this one reads, per axis."""
        return block_ranges(self.grid, self.transform, other.grid, other.transform)

    def record(self, folder: Path) -> StageRecord:
        """What is to be kept of it; `folder` is that of the run's output."""
        t, z, y, x = self.grid.block_shape
        return StageRecord(
            fingerprint=self.fingerprint,
            parameters=dict(self.parameters),
            block_shape=(t, z, y, x),
            probed=None if self.probed is None else dict(self.probed),
            output=str(self.target.place.relative_to(folder)),
        )


def fingerprint_of(parameters: Mapping[str, Any]) -> str:
    """A short name for what decides the bytes of something."""
    text = json.dumps(parameters, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
