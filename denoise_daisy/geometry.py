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
    """Smallest shape of an array that ndsafir denoises (1 is fine in t and z, too)."""


def stencil(patch: Coordinate, active_dimensions: str, max_iter: int) -> Stencil:
    """The tiling law of ndsafir for patch radii ``p`` and ``n`` iterations.

    Iteration k searches a window of ``2 ** (k - 1)`` voxels in x and y, of ``k - 1``
    in z and, from the fourth on, of ``k - 3`` in t; z and t only where active.  Each
    iteration adds two patch radii, and a patch off the grid at the far end one voxel.
    Along z a crop of fewer than ``4 p + 2`` planes is another case to ndsafir even in
    one iteration, so the reach there is never below that of two.
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
            2 * z * max(n, 2) + 1 + search_z,
            *(2 * p * n + 2**n - 1 for p in patch[2:]),
        ),
        smallest=Coordinate(2 * p + 1 for p in patch),
    )


def neighbourhood(reach: Coordinate) -> Stencil:
    """The stencil of a filter that sees so far and has no grid of its own."""
    one = Coordinate([1] * len(AXES))
    return Stencil(stride=one, reach=reach, smallest=one)


def largest_radius(axis: str, voxels: int) -> int | None:
    """The largest patch radius that ndsafir can do on an axis of that many voxels.

    None where every radius is fine: along t and z, if there is just one voxel.  All
    else needs ``2 p + 1``; with less, ndsafir crashes the process or, along t or with 2
    voxels for p = 1, silently returns its input.
    """
    return None if axis in "tz" and voxels == 1 else (voxels - 1) // 2


@dataclass(frozen=True)
class BlockGrid:
    """A volume cut into blocks that tile it exactly once."""

    readable_roi: Roi
    """All there is to read; read ROIs are clipped to it."""

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
        return tuple(math.ceil(voxels / block) for voxels, block in pairs)

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
        return _roi([self.write_range(a, np.array(i)) for a, i in enumerate(index)])

    def read_roi(self, index: Index) -> Roi:
        """What the block reads: its write ROI and context by the tiling law."""
        return _roi([self.read_range(a, np.array(i)) for a, i in enumerate(index)])

    @cached_property
    def read_lengths(self) -> tuple[np.ndarray, ...]:
        """Per axis, how many voxels the blocks of each position read."""
        return self._lengths(self.read_range)

    @cached_property
    def write_lengths(self) -> tuple[np.ndarray, ...]:
        """Per axis, how many voxels the blocks of each position write."""
        return self._lengths(self.write_range)

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
            voxels = math.prod(int(n[s].max(initial=0)) for n, s in ranges)
            total += voxels * int(np.count_nonzero(blocks[part]))
        return total

    @property
    def voxels_read(self) -> int:
        """Voxels that all blocks read together, of one channel."""
        return math.prod(int(lengths.sum()) for lengths in self.read_lengths)

    @property
    def largest_read(self) -> int:
        """Voxels of the largest read ROI, of one channel."""
        return math.prod(self.largest_shape)

    @property
    def largest_shape(self) -> Index:
        """Shape of the largest read ROI."""
        return tuple(int(lengths.max()) for lengths in self.read_lengths)

    @property
    def largest_index(self) -> Index:
        """Of the blocks that read most, the one nearest to the middle."""
        largest = [np.flatnonzero(n == n.max()) for n in self.read_lengths]
        pairs = zip(largest, self.shape, strict=True)
        return tuple(
            int(min(places, key=lambda i: abs(2 * i + 1 - count)))
            for places, count in pairs
        )

    def _lengths(
        self, range_of: Callable[[int, np.ndarray], tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, ...]:
        ranges = [range_of(axis, np.arange(n)) for axis, n in enumerate(self.shape)]
        return tuple(end - begin for begin, end in ranges)

    def write_range(self, axis: int, i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Begin and end of the blocks at these positions along an axis."""
        begin = self.volume.begin[axis] + i * self.block_shape[axis]
        return begin, np.minimum(begin + self.block_shape[axis], self.volume.end[axis])

    def read_range(self, axis: int, i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Begin and end of what the blocks at these positions of an axis read."""
        stride = self.stencil.stride[axis]
        image_begin, image_end = (
            self.readable_roi.begin[axis],
            self.readable_roi.end[axis],
        )
        begin, end = self.write_range(axis, i)
        begin = np.maximum(begin - self.context[axis], image_begin)
        begin -= begin % stride
        end = np.minimum(end + self.context[axis], image_end)
        # A context smaller than the law's may leave a crop that crashes ndsafir.
        smallest = self.stencil.smallest[axis]
        end = np.maximum(end, np.minimum(begin + smallest, image_end))
        begin = np.minimum(begin, np.maximum(end - smallest, image_begin))
        return begin - begin % stride, end


@dataclass(frozen=True, slots=True)
class LevelTransform:
    """Where the voxels of a level lie in the image, ``(t, z, y, x)``."""

    factor: Coordinate
    """Voxels of the image per voxel."""

    origin: Coordinate
    """Voxel of the image where position 0 lies."""

    def to_image(self, roi: Roi) -> Roi:
        """The voxels of the image that a Roi of this level covers."""
        return Roi(roi.begin * self.factor + self.origin, roi.shape * self.factor)

    def from_image(self, roi: Roi) -> Roi:
        """The voxels of this level that cover a Roi of the image."""
        begin = (roi.begin - self.origin) // self.factor
        end = -((self.origin - roi.end) // self.factor)
        return Roi(begin, end - begin)

    def convert(self, roi: Roi, other: "LevelTransform") -> Roi:
        """The voxels of another level that cover a Roi of this one."""
        return roi if other == self else other.from_image(self.to_image(roi))


FULL_RESOLUTION = LevelTransform(Coordinate(1, 1, 1, 1), Coordinate(0, 0, 0, 0))
"""The transform of the image itself."""

BlockRanges = tuple[tuple[np.ndarray, np.ndarray], ...]
"""Per axis, first and last + 1 block of one grid, for the blocks of another."""


def block_ranges(
    reader: BlockGrid,
    reader_transform: LevelTransform,
    writer: BlockGrid,
    writer_transform: LevelTransform,
) -> BlockRanges:
    """Which blocks of `writer` each block of `reader` reads, per axis."""
    result = []
    for axis, count in enumerate(reader.shape):
        begin, end = reader.read_range(axis, np.arange(count))
        factor, origin = reader_transform.factor[axis], reader_transform.origin[axis]
        begin, end = begin * factor + origin, end * factor + origin
        factor, origin = writer_transform.factor[axis], writer_transform.origin[axis]
        step = writer.block_shape[axis] * factor
        first = writer.volume.begin[axis] * factor + origin
        most = writer.shape[axis]
        result.append(
            (
                np.clip((begin - first) // step, 0, most),
                np.clip(-((first - end) // step), 0, most),
            )
        )
    return tuple(result)


def count_in(mask: np.ndarray, ranges: BlockRanges) -> np.ndarray:
    """How many true cells of a 4-D mask lie in each block's range."""
    counts = mask.astype(np.int32)
    for axis, (first, last) in enumerate(ranges):
        sums = np.cumsum(counts, axis, dtype=np.int32)
        zero = np.zeros_like(sums.take([0], axis))
        sums = np.concatenate([zero, sums], axis)
        counts = sums.take(last, axis) - sums.take(first, axis)
    return counts


def _roi(ranges: list[tuple[np.ndarray, np.ndarray]]) -> Roi:
    return Roi([int(b) for b, _ in ranges], [int(e - b) for b, e in ranges])
