"""How a lazy image is cut: each chunk a block of the denoising that is quickly done."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from funlib.geometry import Coordinate

from denoise_daisy.blockwise.block_shape import fitted
from denoise_daisy.blockwise.limits import Pace
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES, BlockGrid
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.sections import by_axis

SECONDS = 2.0
"""What a chunk may take on this machine; of those, the one with the least context."""

MOST_BYTES = 64 << 20
"""Of the image that a chunk reads, however quickly it is denoised."""

LEAST_EDGE = 32
"""Voxels along y and x of the smallest chunk that is tried."""


def chunks_of(
    run: ResolvedRun, chunks: Mapping[str, int] | None, *, has_run: bool
) -> BlockGrid:
    """The blocks in which an image is denoised when it is looked at.

    `has_run` tells whether the run was started.  Where its result depends on its
    blocks, they are the run's own.

    Raises
    ------
    InputError
        These are not known before it starts, or others are asked for; or no chunks can
        be meant.
    """
    grid = run.denoising.grid
    if not run.is_exact:
        _check_blocks_are_known(run, chunks, has_run=has_run)
        return grid
    if chunks is not None:
        volume = grid.volume.shape
        whole = dict(zip(AXES, (1, *volume[1:]), strict=True))
        asked = by_axis(_checked(chunks), "tzyx", whole)
        return replace(grid, block_shape=fitted(asked, volume))
    pace = run.denoising.pace or Pace.known(0.0)
    bytes_per_voxel = run.image.shape[1] * run.image.dtype.itemsize
    cuts = [replace(grid, block_shape=shape) for shape in _shapes(grid)]
    small = [c for c in cuts if c.largest_read * bytes_per_voxel <= MOST_BYTES]
    small = small or [min(cuts, key=lambda cut: cut.largest_read)]
    quick = [cut for cut in small if pace.is_within(cut.largest_shape, SECONDS)]
    if not quick:
        return min(small, key=lambda cut: pace.steps(cut.largest_shape))
    return min(quick, key=lambda cut: _work(cut, pace))


def _work(cut: BlockGrid, pace: Pace) -> tuple[float, int]:
    """Steps for a voxel that is written, and of equals the fewest chunks."""
    steps = pace.steps(cut.largest_shape) / math.prod(cut.block_shape)
    return steps, cut.size


def _shapes(grid: BlockGrid) -> Iterator[Coordinate]:
    """Powers of two, and whole axes; several time points only where they matter."""
    lengths = []
    for axis, voxels in zip(AXES, grid.volume.shape, strict=True):
        least = LEAST_EDGE if axis in "yx" else 1
        most = voxels if axis != "t" or grid.stencil.reach[0] else 1
        powers = (least << i for i in range(most.bit_length()))
        lengths.append([*(n for n in powers if n < most), most])
    yield from map(Coordinate, itertools.product(*lengths))


def _check_blocks_are_known(
    run: ResolvedRun, chunks: Mapping[str, int] | None, *, has_run: bool
) -> None:
    """Refuse what could not be the run's result, which depends on its blocks."""
    if not run.denoiser.repeats:
        raise InputError(
            f"With {run.config.workers.threads} threads ndsafir does not repeat itself"
            " to the bit, so that nothing can be shown as the run will write it. Set"
            " workers.threads_per_worker to 1, or denoise.engine to auto."
        )
    why = "blocks.skip" if run.config.blocks.skip else "blocks.context"
    if chunks is not None:
        raise InputError(
            f"chunks is {dict(chunks)}, but with {why} the result depends on the run's"
            " blocks, and each chunk has to be one of them. Leave chunks out."
        )
    if run.config.blocks.shape == "auto" and not has_run:
        raise InputError(
            f"With {why} the result depends on the run's blocks, and blocks.shape is"
            " auto: they are chosen when the run starts. Set blocks.shape to see the"
            " run's result without it."
        )


def _checked(chunks: Mapping[str, int]) -> Mapping[str, int]:
    for axis, voxels in chunks.items():
        if axis not in AXES or isinstance(voxels, bool) or int(voxels) < 1:
            raise InputError(
                f"chunks is {dict(chunks)}. Expected voxels by axis, some of"
                f' {" ".join(AXES)}, such as {{"z": 8, "y": 256, "x": 256}}; along an'
                " axis not named a chunk is as long as the image, but 1 along t."
            )
    return chunks
