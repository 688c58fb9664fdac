"""Blocks and their context, in integer voxels of ``(t, z, y, x)``; no I/O.

Positions count from the image's first voxel.  Channels are no axis here: ndsafir
compares patches over all channels, so every block holds all of them.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from funlib.geometry import Coordinate, Roi

AXES = ("t", "z", "y", "x")

Index = tuple[int, ...]
"""Position of a block in its grid, in blocks of ``(t, z, y, x)``."""


@dataclass(frozen=True, slots=True)
class Stencil:
    """What one output voxel of ndsafir depends on, per axis ``(t, z, y, x)``.

    The tiling law: a crop is denoised to the bits of the whole image where the crop
    begins at a multiple of ``stride`` (counted from the image's first voxel), at
    least ``reach`` before the voxels in question, and ends at least ``reach`` behind
    them; a crop that ends at the image's own border needs no context there.
    """

    stride: Coordinate
    """Distance of ndsafir's patches, which start at the crop's first voxel."""

    reach: Coordinate
    """Voxels beyond an output voxel that can change it."""

    smallest: Coordinate
    """Least extent of an array that ndsafir survives (1 is fine in t and z, too)."""


def stencil(patch: Coordinate, active_dimensions: str, max_iter: int) -> Stencil:
    """The tiling law of ndsafir for patch radii ``p`` and ``n`` iterations.

    Iteration k searches a window of ``2 ** (k - 1)`` voxels in x and y, of ``k - 1``
    in z and, from the fourth on, of ``k - 3`` in t; z and t only where active.  Each
    iteration adds two patch radii, and a patch off the grid at the far end one voxel.
    Measured on ndsafir 2026.1014a0 and tested against the installed version.
    """
    n = max_iter
    t, z = patch[0], patch[1]
    search_t = (n - 3) * (n - 2) // 2 if "t" in active_dimensions and n >= 3 else 0
    search_z = n * (n - 1) // 2 if "z" in active_dimensions else 0
    return Stencil(
        stride=Coordinate(max(1, t), *(p + 1 for p in patch[1:])),
        reach=Coordinate(
            2 * t * n + 1 + search_t if t or search_t else 0,
            2 * z * n + 1 + search_z,
            *(2 * p * n + 2**n - 1 for p in patch[2:]),
        ),
        smallest=Coordinate(1, *(2 * p + 1 for p in patch[1:])),
    )


def largest_radius(axis: str, extent: int) -> int | None:
    """The largest patch radius that ndsafir survives on an axis of that many voxels.

    None where every radius is fine.  A larger one crashes the process: y and x need
    ``2 p + 1`` voxels (2 are enough for p = 1), z as well unless it has just one.
    """
    if axis == "t" or (axis == "z" and extent == 1):
        return None
    return 1 if extent == 2 else (extent - 1) // 2


@dataclass(frozen=True)
class BlockGrid:
    """A volume cut into blocks that tile it exactly once."""

    image: Roi
    """The whole image, from 0; read ROIs are clipped to it."""

    volume: Roi
    """What is written; blocks are counted from its begin."""

    block_shape: Coordinate
    """Voxels one block writes.  The last block along an axis may write fewer."""

    context: Coordinate
    """Voxels read beyond each side of what is written, before snapping and clipping."""

    stencil: Stencil
    """Its stride is the grid that read ROIs begin on, whatever the context."""

    @cached_property
    def shape(self) -> Index:
        """Number of blocks per axis."""
        pairs = zip(self.volume.shape, self.block_shape, strict=True)
        return tuple(math.ceil(extent / block) for extent, block in pairs)

    @property
    def size(self) -> int:
        """Number of blocks."""
        return math.prod(self.shape)

    def indices(self) -> Iterator[Index]:
        """All blocks in C order, the order in which they are handed out."""
        return itertools.product(*(range(count) for count in self.shape))

    def flat(self, index: Index) -> int:
        """Position of a block in C order."""
        position = 0
        for i, count in zip(index, self.shape, strict=True):
            position = position * count + i
        return position

    def index_at(self, begin: Coordinate) -> Index:
        """The block whose write ROI begins there."""
        steps = zip(begin - self.volume.begin, self.block_shape, strict=True)
        return tuple(distance // block for distance, block in steps)

    def write_roi(self, index: Index) -> Roi:
        """What the block writes, in voxels of the image."""
        axes = [self._write_range(axis, i) for axis, i in enumerate(index)]
        return _roi(axes)

    def read_roi(self, index: Index) -> Roi:
        """What the block reads: its write ROI and context by the tiling law."""
        axes = [self._read_range(axis, i) for axis, i in enumerate(index)]
        return _roi(axes)

    @cached_property
    def read_lengths(self) -> tuple[tuple[int, ...], ...]:
        """Per axis, how many voxels the blocks of each position read."""
        return self._lengths(self._read_range)

    @cached_property
    def write_lengths(self) -> tuple[tuple[int, ...], ...]:
        """Per axis, how many voxels the blocks of each position write."""
        return self._lengths(self._write_range)

    @property
    def voxels_written(self) -> int:
        """Voxels that all blocks write together, of one channel."""
        return math.prod(self.volume.shape)

    def voxels_in(self, mask: np.ndarray) -> int:
        """Voxels that the blocks of a mask (by flat index) write, of one channel."""
        blocks, total = mask.reshape(self.shape), 0
        # Only the last block along an axis has a length of its own.
        for part in itertools.product((slice(0, -1), slice(-1, None)), repeat=4):
            ranges = zip(self.write_lengths, part, strict=True)
            voxels = math.prod(max(lengths[s], default=0) for lengths, s in ranges)
            total += voxels * int(np.count_nonzero(blocks[part]))
        return total

    @property
    def voxels_read(self) -> int:
        """Voxels that all blocks read together, of one channel."""
        return math.prod(sum(lengths) for lengths in self.read_lengths)

    @property
    def largest_read(self) -> int:
        """Voxels of the largest read ROI, of one channel."""
        return math.prod(max(lengths) for lengths in self.read_lengths)

    def _lengths(
        self, range_of: Callable[[int, int], tuple[int, int]]
    ) -> tuple[tuple[int, ...], ...]:
        lengths = []
        for axis, count in enumerate(self.shape):
            ranges = (range_of(axis, i) for i in range(count))
            lengths.append(tuple(end - begin for begin, end in ranges))
        return tuple(lengths)

    def _write_range(self, axis: int, i: int) -> tuple[int, int]:
        begin = self.volume.begin[axis] + i * self.block_shape[axis]
        return begin, min(begin + self.block_shape[axis], self.volume.end[axis])

    def _read_range(self, axis: int, i: int) -> tuple[int, int]:
        stride = self.stencil.stride[axis]
        image_end = self.image.end[axis]
        begin, end = self._write_range(axis, i)
        begin -= self.context[axis]
        end = min(end + self.context[axis], image_end)
        begin = max(0, begin - begin % stride)
        # A context smaller than the law's may leave a crop that crashes ndsafir.
        smallest = self.stencil.smallest[axis]
        if end - begin < smallest:
            end = min(begin + smallest, image_end)
            begin = max(0, min(begin, end - smallest))
            begin -= begin % stride
        return begin, end


def _roi(ranges: list[tuple[int, int]]) -> Roi:
    return Roi([b for b, _ in ranges], [e - b for b, e in ranges])
