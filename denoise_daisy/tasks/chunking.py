"""Which chunks a run's arrays have: as named, as recorded, or as suits its blocks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.blockwise.block_shape import (
    Blocks,
    TaskBlocks,
    Workload,
    choose_shape,
)
from denoise_daisy.blockwise.limits import Limits
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import BlockGrid
from denoise_daisy.outputs.chunks import chunk_shapes
from denoise_daisy.outputs.layout import (
    ARRAY_AXES,
    Layout,
    Output,
    auto_shards,
    with_c,
    without_c,
)
from denoise_daisy.sections import by_axis
from denoise_daisy.tasks.base import AnyTask
from denoise_daisy.tasks.builder import StageBuilder
from denoise_daisy.tasks.cutting import Cutting
from denoise_daisy.tasks.denoise import DENOISE, Denoising

AS_SOON = Fraction(102, 100)
"""Chunks whose blocks are done within so many times the least are as good."""

FEW_FILES, TIMES_FILES = 1000, 4
"""So many files, or so many times the least, are as good.  A block of a prime number of
chunks along each axis makes a file of each."""


def with_chunks(
    asked: Denoising, tasks: Sequence[AnyTask], builder: StageBuilder, work: Workload
) -> Cutting:
    """The cutting, with a chunk length for each axis, for all arrays of the run.

    A run that goes on keeps its chunks, whoever goes on with it.  In a new one, axes
    that the config leaves open get lengths near a cube of the specimen, and of those
    the ones with which the denoising is done soonest: blocks are whole chunks.
    """
    cutting, image = builder.cutting, builder.image
    output, shape = cutting.output, with_c(cutting.volume.shape, image.shape[1])
    kept = _recorded(builder)
    if kept is None:
        dtype = image.dtype.name if output.dtype == "input" else output.dtype
        candidates = chunk_shapes(
            shape,
            np.dtype(dtype).itemsize,
            image.scale_um,
            output.chunks,
            _steps(output, (asked.blocks, *(t.blocks for t in tasks)), cutting.volume),
        )
        kept = candidates[0]
        if asked.blocks.shape == "auto" and not isinstance(output.shards, dict):
            grid = asked.grid(image, cutting.volume)
            kept = _Choice(shape, dtype, grid, work, builder).of(candidates)
    default = dict(zip(ARRAY_AXES, kept, strict=True))
    lengths = by_axis(output.chunks, ARRAY_AXES, default)
    chunks = dict(zip(ARRAY_AXES, lengths, strict=True))
    return replace(cutting, output=output.model_copy(update={"chunks": chunks}))


def _recorded(builder: StageBuilder) -> tuple[int, ...] | None:
    record = builder.recorded.get(DENOISE)
    chunks = record.parameters.get("output.chunks") if record else None
    return tuple(chunks) if isinstance(chunks, list) else None


def _steps(
    output: Output, blocks: Iterable[Blocks | TaskBlocks], volume: Roi
) -> dict[str, int]:
    """By axis, what the shards and blocks that a config names have in common.

    Chunks that divide it are legal with all of them; 0: nothing is named, or spans all.
    """
    named: list[Mapping[Any, int]] = [
        each.shape for each in blocks if isinstance(each.shape, dict)
    ]
    if isinstance(output.shards, dict):
        named.append(output.shards)
    extent = dict(zip("tzyx", volume.shape, strict=True))
    return {
        axis: math.gcd(*(n for n in lengths if n < extent[axis]))
        for axis in extent
        if (lengths := [each[axis] for each in named if axis in each])
    }


@dataclass(frozen=True, slots=True)
class _Tried:
    """Chunks, and what comes of them."""

    chunks: tuple[int, ...]

    is_slow: bool
    """Whether a block takes longer than is good."""

    time: Fraction
    """When all blocks are done, in voxels of one channel that a worker computes."""

    files: int
    """Of the array, in the largest shards that tile a block."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """What decides between chunks that are near cubes."""

    shape: tuple[int, ...]
    dtype: str
    grid: BlockGrid
    """The volume as one block."""
    work: Workload
    builder: StageBuilder

    def of(self, candidates: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        """The first of those whose blocks are done soonest, and in few files."""
        if len(candidates) == 1:
            return candidates[0]
        limits = self.builder.limits(DENOISE)
        tried = [t for c in candidates if (t := self._tried(c, limits))]
        if not tried:
            # Blocks of these are named in the refusal.
            return min(candidates, key=math.prod)
        slow, least = min((t.is_slow, t.time) for t in tried)
        soon = [t for t in tried if t.is_slow == slow and t.time <= least * AS_SOON]
        few = max(FEW_FILES, TIMES_FILES * min(t.files for t in soon))
        return next(t.chunks for t in soon if t.files <= few)

    def _tried(self, chunks: tuple[int, ...], limits: Limits) -> _Tried | None:
        """What comes of some chunks; None where not even the smallest block fits."""
        try:
            block = choose_shape(self.grid, without_c(chunks), self.work, limits)
        except InputError:
            return None
        cut = replace(self.grid, block_shape=block)
        whole = with_c(block, self.shape[1])
        shards = auto_shards(whole, self.shape, chunks, self.dtype)
        return _Tried(
            chunks=chunks,
            is_slow=not self.work.is_within(cut, limits.seconds_cut_for),
            time=self.work.time(cut),
            files=Layout(self.shape, self.dtype, chunks, shards, 0).files,
        )
