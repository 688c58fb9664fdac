"""How an image is cut: block shape, memory and work, before anything is started."""

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.denoiser import BYTES_PER_VOXEL
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES, BlockGrid

GIB = 1 << 30

WORKER_BYTES = 224 << 20
"""Memory of a worker before its first block: Python and its libraries.

57 MiB of it are pyarrow's, which pandas imports where it is installed.
"""

TASKS_BYTES = 48 << 20
"""More of it where tasks or filters need SciPy, scikit-image or pandas."""

TRIED_SHAPES = 4096
"""Up to this many block shapes, all are tried."""

SIMULATED_BLOCKS = 64
"""Up to this many blocks, who computes which one matters to the time."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What decides a worker's memory beside the geometry."""

    channels: int
    input_itemsize: int
    """Bytes per voxel of the image."""

    workers: int
    """How many share the blocks."""

    base: int = WORKER_BYTES
    """Memory of a worker before its first block."""

    def memory(self, grid: BlockGrid) -> int:
        """Peak memory of a worker in bytes."""
        per_voxel = self.channels * (BYTES_PER_VOXEL + self.input_itemsize)
        return self.base + grid.largest_read * per_voxel

    def time(self, grid: BlockGrid) -> float:
        """When the last worker is done, in voxels of one channel that it computes."""
        if grid.size > SIMULATED_BLOCKS:
            return grid.voxels_read / grid.size * math.ceil(grid.size / self.workers)
        busy = [0] * min(self.workers, grid.size)
        read = [lengths.tolist() for lengths in grid.read_lengths]
        for lengths in itertools.product(*read):
            heapq.heapreplace(busy, busy[0] + math.prod(lengths))
        return max(busy)


def choose_shape(
    grid: BlockGrid, unit: Coordinate, work: Workload, memory: int
) -> Coordinate:
    """The block shape that is done soonest within `memory` bytes per worker.

    Shapes are multiples of `unit`, the voxels of an output file, or span an axis.  At
    least one block per worker, where the unit allows.  Of equals, the one with most
    blocks that span Y-X planes, then the one with fewest blocks.

    Raises
    ------
    InputError
        Not even the smallest block fits.
    """
    cuts = [replace(grid, block_shape=Coordinate(s)) for s in _shapes(grid, unit)]
    fitting = [cut for cut in cuts if work.memory(cut) <= memory]
    if not fitting:
        smallest = min(work.memory(cut) for cut in cuts)
        raise InputError(
            f"The smallest block, of {'x'.join(map(str, unit))} voxels (t z y x) with"
            f" its context, needs {smallest / GIB:.2f} GiB per worker, but only"
            f" {memory / GIB:.2f} GiB are there. Raise blocks.memory_gib, lower"
            " workers.count, or make output.chunks (or shards) smaller."
        )
    most = max(cut.size for cut in fitting)
    enough = [cut for cut in fitting if cut.size >= min(most, work.workers)]
    best = min(
        enough,
        key=lambda cut: (work.time(cut), cut.shape[2] * cut.shape[3], cut.size),
    )
    return best.block_shape


def _shapes(grid: BlockGrid, unit: Coordinate) -> Iterator[Sequence[int]]:
    """All shapes where they are few, else one for each number of blocks per axis."""
    extent = grid.volume.shape
    counts = [
        np.arange(1, math.ceil(voxels / step) + 1)
        for voxels, step in zip(extent, unit, strict=True)
    ]
    if not grid.stencil.reach[0]:
        counts[0] = counts[0][:1]
    if math.prod(map(len, counts)) > TRIED_SHAPES:
        # Of those with the same number of blocks the smallest reads least, but where
        # the context of a block reaches past the next one.
        for axis, (voxels, step) in enumerate(zip(extent, unit, strict=True)):
            blocks = np.ceil(voxels / (counts[axis] * step))
            _, first = np.unique(blocks, return_index=True)
            counts[axis] = counts[axis][np.sort(first)]
    axes = zip(counts, extent, unit, strict=True)
    return itertools.product(
        *([int(min(n * step, most)) for n in ns] for ns, most, step in axes)
    )


def check_shape(
    shape: Coordinate,
    unit: Coordinate,
    extent: Sequence[int],
    name: str = "blocks.shape",
) -> None:
    """Refuse a block shape that would let two blocks write one file.

    Shapes are voxels of ``(t, z, y, x)``; `name` is the config's for it.
    """
    nearest = [
        min((n, max(1, round(block / u)) * u), key=lambda s: abs(s - min(block, n)))
        for block, u, n in zip(shape, unit, extent, strict=True)
    ]
    legal = all(
        block >= n or block % u == 0
        for block, u, n in zip(shape, unit, extent, strict=True)
    )
    if not legal:
        raise InputError(
            f"{name} is {_by_axis(shape)}, no multiple of the files it would"
            f" write ({_by_axis(unit)}: output.shards, or chunks where unsharded)."
            f" The nearest legal shape is {_by_axis(nearest)}."
        )


def _by_axis(shape: Sequence[int]) -> str:
    return " ".join(f"{a} {n}" for a, n in zip(AXES, shape, strict=True))
