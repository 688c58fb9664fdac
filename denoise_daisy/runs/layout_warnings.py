"""Outputs that viewers or file systems choke on, as their layout tells."""

import math
from collections.abc import Iterator

import numpy as np

from denoise_daisy.amounts import size
from denoise_daisy.outputs.chunks import SPACE
from denoise_daisy.outputs.layout import Layout
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.tasks.pyramid import Pyramid

MOST_CHUNK_BYTES = 16 << 20
"""A viewer reads whole chunks, for a plane through them as well."""

LEAST_CHUNK_BYTES = 32 << 10
MANY_CHUNKS = 10_000
"""Each chunk is a request; that of small ones matters where they are many."""

MANY_FILES = 1_000_000

LONGEST_EDGE = 10.0
"""Times another: a chunk that is a plate or a rod in the specimen."""

MOST_LEVEL_BYTES = 2 << 30
"""Of a time point of the coarsest level."""


def layout_warnings(run: ResolvedRun) -> Iterator[str]:
    """What of the output's chunks, files and levels should be otherwise, and how."""
    yield from _chunk_size(run.array.layout)
    yield from _flat_chunks(run)
    yield from _many_files(run)
    yield from _coarsest_level(run)


def _chunk_size(layout: Layout) -> Iterator[str]:
    each = math.prod(layout.chunks) * np.dtype(layout.dtype).itemsize
    told = f"A chunk of {_times(layout.chunks)} voxels (t c z y x)"
    many = math.prod(
        math.ceil(n / c) for n, c in zip(layout.shape, layout.chunks, strict=True)
    )
    expected = "Leave output.chunks out, or make it such that a chunk has 0.5 to 2 MiB."
    if each > MOST_CHUNK_BYTES:
        yield (
            f"{told} has {each >> 20} MiB uncompressed, and viewers read whole chunks"
            f" to show a plane. {expected}"
        )
    is_cut = any(
        c < n for c, n in zip(layout.chunks[2:], layout.shape[2:], strict=True)
    )
    if each < LEAST_CHUNK_BYTES and many > MANY_CHUNKS and is_cut:
        yield (
            f"{told} has only {each / 1024:.3g} KiB uncompressed, and there are"
            f" {many} of them, each a request to viewers. {expected}"
        )


def _flat_chunks(run: ResolvedRun) -> Iterator[str]:
    """Of chunks that were named, of voxels whose size is known."""
    named = [axis for axis in SPACE if axis in run.config.output.chunks]
    scale = [um for um in run.image.scale_um if um]
    if not named or len(scale) < len(SPACE):
        return
    _, _, *chunk = run.array.layout.chunks
    _, _, *extent = run.array.layout.shape
    edges = [n * um for n, um in zip(chunk, scale, strict=True)]
    longest = max((e for e, n in zip(edges, chunk, strict=True) if n > 1), default=0.0)
    # What is as long as the image can't be longer.
    cut = (e for e, n, most in zip(edges, chunk, extent, strict=True) if n < most)
    shortest = min(cut, default=math.inf)
    if longest > LONGEST_EDGE * shortest:
        yield (
            f"A chunk is {' x '.join(f'{edge:.3g}' for edge in edges)} um (z y x), one"
            f" edge {longest / shortest:.0f} times as long as another: planes that cut"
            f" it there show little of what a viewer reads. Leave"
            f" {' and '.join(f'output.chunks.{axis}' for axis in named)} out, or choose"
            " edges that are about as long."
        )


def _many_files(run: ResolvedRun) -> Iterator[str]:
    layouts = [stage.array.layout for stage in run.stages if stage.array]
    files = sum(layout.files for layout in layouts)
    if files > MANY_FILES:
        fewer = (
            'Set output.shards to "auto"'
            if run.config.output.shards != "auto"
            else "Make output.chunks larger, or give workers more memory"
        )
        yield (
            f"The run writes {files} files, which file systems and quotas may not"
            f" take, and whose copying takes long. {fewer}."
        )


def _coarsest_level(run: ResolvedRun) -> Iterator[str]:
    """Of the denoised image; a task that makes its levels is taken to mean them.

    Levels that nobody asked for end with small planes, however many there are.
    """
    tasks = run.config.tasks
    if any(isinstance(t, Pyramid) and t.input == "denoised" for t in tasks):
        return
    group = run.array.path.parent
    levels = [
        stage.array.layout
        for stage in run.stages
        if stage.array and stage.array.path.parent == group
    ]
    coarsest = min(levels, key=lambda layout: layout.nbytes)
    per_time = coarsest.nbytes // coarsest.shape[0]
    if per_time > MOST_LEVEL_BYTES:
        yield (
            f"The coarsest level of the output, {_times(coarsest.shape[2:])} voxels"
            f" (z y x), has {size(per_time)} per time point, and viewers read it as a"
            ' whole to show all of it. Add a task of kind "pyramid" with input'
            f' "denoised" and levels {len(levels)} or more.'
        )


def _times(numbers: tuple[int, ...]) -> str:
    return " x ".join(map(str, numbers))
