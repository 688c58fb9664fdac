"""Which chunks a run's arrays have: as named, as recorded, or as suits its blocks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from funlib.geometry import Coordinate, Roi

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
from denoise_daisy.outputs.layout import ARRAY_AXES, Output, with_c, without_c
from denoise_daisy.sections import by_axis
from denoise_daisy.tasks.base import AnyTask
from denoise_daisy.tasks.builder import StageBuilder
from denoise_daisy.tasks.cutting import Cutting
from denoise_daisy.tasks.denoise import DENOISE, Denoising

AS_SOON = Fraction(102, 100)
"""Chunks whose blocks are done within so many times the least are as good."""


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
            kept = _soonest(candidates, grid, work, builder)
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


def _soonest(
    candidates: Sequence[tuple[int, ...]],
    grid: BlockGrid,
    work: Workload,
    builder: StageBuilder,
) -> tuple[int, ...]:
    """The first of those with which all blocks are done about as soon as can be."""
    if len(candidates) == 1:
        return candidates[0]
    limits = builder.limits(DENOISE)
    found = [
        (*ranked, chunks)
        for chunks in candidates
        if (ranked := _rank(without_c(chunks), grid, work, limits))
    ]
    if not found:
        # The refusal names what the blocks of these would need.
        return min(candidates, key=math.prod)
    slow, least, _ = min(found, key=lambda each: each[:2])
    return next(
        chunks
        for is_slow, time, chunks in found
        if is_slow == slow and time <= least * AS_SOON
    )


def _rank(
    chunk: Coordinate, grid: BlockGrid, work: Workload, limits: Limits
) -> tuple[bool, Fraction] | None:
    """Whether blocks take long, and when all are done; None where none fits."""
    try:
        cut = replace(grid, block_shape=choose_shape(grid, chunk, work, limits))
    except InputError:
        return None
    return not work.is_within(cut, limits.seconds_cut_for), work.time(cut)
