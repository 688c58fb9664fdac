"""How an image is cut: block shape, memory and work, before anything is started."""

import heapq
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from funlib.geometry import Coordinate
from pydantic import FiniteFloat, NonNegativeInt, PositiveInt

from denoise_daisy.blockwise.limits import Limits, Pace
from denoise_daisy.blockwise.many_cuts import ManyCuts
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES, BlockGrid
from denoise_daisy.sections import FinitePositive, Section, SpaceTime, by_axis

WORKER_BYTES = 200 << 20
"""Memory of a worker before its first block: Python and its libraries.

57 MiB of it are pyarrow's, which pandas imports where it is installed.
"""

SCIPY_BYTES = 24 << 20
"""More of it where tasks or filters need SciPy, scikit-image or pandas."""

TRIED_SHAPES = 4096
"""Up to this many block shapes, all are tried."""

NO_TIME = Pace.known(0.0)

SIMULATED_BLOCKS = 64
"""Up to this many blocks, who computes which one matters to the time."""


class TaskBlocks(Section):
    """How a task's volume is cut."""

    shape: dict[SpaceTime, PositiveInt] | Literal["auto"] = "auto"
    """Voxels that a block writes, by axis (an axis not named: t 1, else the whole
    axis), or auto: as the denoising is cut."""


class Skip(Section):
    """Which blocks are written as they are, for nothing is in them."""

    below: FiniteFloat
    """Grey level: those that read no voxel above it, their context included."""


class Blocks(Section):
    """How the image is cut."""

    shape: dict[SpaceTime, PositiveInt] | Literal["auto"] = "auto"
    """Voxels that a block writes, by axis (an axis not named: t 1, else the whole
    axis), or auto: the shape that is done soonest within memory_gib."""

    context: dict[SpaceTime, NonNegativeInt] | Literal["exact"] = "exact"
    """Voxels read around a block.  exact: as many as make the result that of the whole
    image bit for bit.  Fewer, by axis, are faster and inexact (an axis not named:
    exact)."""

    skip: Skip | None = None
    """Blocks of empty space, written as they are instead of denoised; null: none.  The
    result then depends on the blocks, whose shape is kept from start to start."""

    memory_gib: FinitePositive | Literal["auto"] = "auto"
    """Memory of one worker; auto: this machine's free memory shared among workers."""

    @property
    def as_is_because(self) -> str:
        """Why blocks are written as they are, where any are."""
        if self.skip is None:
            return "the file holds nothing of them"
        return f"nothing they read is above {self.skip.below:g} (blocks.skip)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What decides a worker's memory and the time of a run beside the geometry."""

    bytes_per_voxel: int
    """Memory per voxel that a block reads, all channels together."""

    base: int
    """Memory of a worker before its first block, in bytes."""

    workers: int
    """How many share the blocks."""

    pace: Pace = NO_TIME
    """How long a block takes."""

    def memory(self, grid: BlockGrid) -> int:
        """Peak memory of a worker in bytes."""
        return self.base + grid.largest_read * self.bytes_per_voxel

    def is_within(self, grid: BlockGrid, seconds: float) -> bool:
        """Whether every block is done in that time."""
        return self.pace.is_within(grid.largest_shape, seconds)

    def time(self, grid: BlockGrid) -> Fraction:
        """When the last worker is done, in voxels of one channel that it computes.

        It is exact, so that equals are known as such.
        """
        if grid.size > SIMULATED_BLOCKS:
            rounds = math.ceil(grid.size / self.workers)
            return Fraction(grid.voxels_read * rounds, grid.size)
        busy = [0] * min(self.workers, grid.size)
        read = [lengths.tolist() for lengths in grid.read_lengths]
        for lengths in itertools.product(*read):
            heapq.heapreplace(busy, busy[0] + math.prod(lengths))
        return Fraction(max(busy))


def choose_shape(
    grid: BlockGrid,
    file_shape: Coordinate,
    work: Workload,
    limits: Limits,
    whose: str = "",
) -> Coordinate:
    """The block shape that is done soonest within what a block may take.

    Shapes are multiples of `file_shape`, the voxels of an output file, or span an axis.
    There is at least one block per worker, where files are small enough.  Of equals,
    the one with most blocks that span Y-X planes, then the one with fewest blocks.
    Where no block is quick enough to be cut for, it is the quickest.

    Raises
    ------
    InputError
        Not even the smallest block fits.
    """
    voxels = "x".join(map(str, file_shape))
    smallest = (
        f"The smallest block{whose}, of {voxels} voxels (t z y x) with its context,"
    )
    smaller = "make output.chunks (or shards) smaller"
    cuts = ManyCuts.of(grid, _lengths(grid, file_shape))
    memory = work.base + cuts.largest_read * work.bytes_per_voxel
    fitting = cuts.where(memory <= limits.memory)
    if not len(fitting):
        raise limits.too_large(smallest, int(memory.min()), smaller)
    best = _soonest(fitting, work)
    if work.is_within(best, limits.seconds_cut_for):
        return best.block_shape
    largest = fitting.largest_shape.tolist()
    quick = [work.pace.is_within(shape, limits.seconds_cut_for) for shape in largest]
    if any(quick):
        return _soonest(fitting.where(np.array(quick)), work).block_shape
    quickest = min(range(len(fitting)), key=lambda i: work.pace.seconds(largest[i]))
    cut = fitting.cut(quickest)
    if not work.is_within(cut, limits.seconds):
        seconds = work.pace.seconds(cut.largest_shape)
        raise limits.too_slow(smallest, seconds, smaller)
    return cut.block_shape


def _soonest(cuts: ManyCuts, work: Workload) -> BlockGrid:
    cuts = cuts.where(cuts.size >= min(int(cuts.size.max()), work.workers))
    workers = np.minimum(cuts.size, work.workers)
    share = cuts.voxels_read / workers
    # No worker has less to do than the mean, nor more than that and a block.
    soonest, latest = share, share + cuts.largest_read
    is_known = cuts.size > SIMULATED_BLOCKS
    rounds = -(-cuts.size // work.workers)
    known = cuts.voxels_read * (rounds / cuts.size)
    soonest, latest = (np.where(is_known, known, bound) for bound in (soonest, latest))
    # Floating point decides only where it is sure.
    possible = cuts.where(soonest <= latest.min() * (1 + 1e-9))
    return min(
        map(possible.cut, range(len(possible))),
        key=lambda cut: (work.time(cut), cut.shape[2] * cut.shape[3], cut.size),
    )


def _lengths(grid: BlockGrid, file_shape: Coordinate) -> list[list[int]]:
    """By axis, all lengths where shapes are few, else one for each number of blocks."""
    volume = grid.volume.shape
    counts = [
        np.arange(1, math.ceil(voxels / step) + 1)
        for voxels, step in zip(volume, file_shape, strict=True)
    ]
    if not grid.stencil.reach[0]:
        counts[0] = counts[0][:1]
    if math.prod(map(len, counts)) > TRIED_SHAPES:
        # Of those with the same number of blocks the smallest reads least, but where
        # the context of a block reaches past the next one.
        for axis, (voxels, step) in enumerate(zip(volume, file_shape, strict=True)):
            blocks = np.ceil(voxels / (counts[axis] * step))
            _, first = np.unique(blocks, return_index=True)
            counts[axis] = counts[axis][np.sort(first)]
    axes = zip(counts, volume, file_shape, strict=True)
    return [[int(min(n * step, most)) for n in ns] for ns, most, step in axes]


def asked_shape(
    shape: Mapping[SpaceTime, int], volume: Sequence[int], span: str = ""
) -> Coordinate:
    """The block shape that a config names, no larger than the volume.

    Along the axes of `span` it is the volume's.  Shapes are ``(t, z, y, x)``.
    """
    default = dict(zip(AXES, (1, *volume[1:]), strict=True))
    asked = by_axis(shape, "tzyx", default)
    return fitted(asked, volume, span)


def fitted(shape: Sequence[int], volume: Sequence[int], span: str = "") -> Coordinate:
    """A block shape no larger than the volume, as large along the axes of `span`."""
    axes = zip(AXES, shape, volume, strict=True)
    return Coordinate(most if axis in span else min(n, most) for axis, n, most in axes)


def check_shape(
    shape: Sequence[int],
    file_shape: Sequence[int],
    volume: Sequence[int],
    name: str = "blocks.shape",
) -> None:
    """Refuse a block shape that would let two blocks write one file.

    Shapes are voxels of ``(t, z, y, x)``; `name` is the config's for it.
    """
    axes = list(zip(shape, file_shape, volume, strict=True))
    if all(block >= most or block % file == 0 for block, file, most in axes):
        return
    nearest = [
        min(
            (most, max(1, round(block / file)) * file),
            key=lambda n: abs(n - min(block, most)),
        )
        for block, file, most in axes
    ]
    raise InputError(
        f"{name} is {_by_axis(shape)}, no multiple of the files it would write"
        f" ({_by_axis(file_shape)}: output.shards, or chunks where unsharded). The"
        f" nearest legal shape is {_by_axis(nearest)}."
    )


def _by_axis(shape: Sequence[int]) -> str:
    return " ".join(f"{a} {n}" for a, n in zip(AXES, shape, strict=True))
