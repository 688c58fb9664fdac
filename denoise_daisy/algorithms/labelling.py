"""Connected components of a volume that is labelled block by block; no I/O.

Each block is labelled alone.  Its pieces meet the neighbours' in its outermost planes,
and what touches there is one object.  Arrays are ``(z, y, x)``, of one time point and
one channel.  Connectivity is scikit-image's: voxels touch if they differ by at most one
along each axis, and along at most so many axes (1, 2 or 3).
"""

import io
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoise_daisy.algorithms import intensities

MOST_PAIRS = 4_000_000
"""Pairs that a union keeps before it puts them into effect; 16 bytes each."""

REDUCED_BY: dict[str, np.ufunc] = {
    "first": np.minimum,
    "voxels": np.add,
    "begin": np.minimum,
    "end": np.maximum,
    "sums": np.add,
    **intensities.REDUCED_BY,
}
"""What becomes of a table's columns when pieces are joined."""

COLUMNS = 2
"""Number of this choice of columns, where grey levels are measured."""

Zyx = tuple[int, ...]
"""Three integers, of ``(z, y, x)``: a position, a shape or an offset."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """What is known of a labelled block's pieces, enough to join it with others."""

    faces: tuple[np.ndarray, ...]
    """First and last plane of the labels along z, along y and along x, int32."""

    table: np.ndarray
    """One row per piece, see `table_type`; label 1 is row 0."""


def table_type(channels: int, dtype: Any) -> np.dtype[np.void]:
    """The columns of a table of pieces or objects, in voxels of the whole volume.

    ``first`` is the first voxel's position in C order; ``begin`` and ``end`` are the
    half-open bounding box, ``(z, y, x)``; ``sums`` are the sums of the voxels'
    positions, ``(z, y, x)``.  What follows is of grey levels of `dtype`, by channel.
    """
    return np.dtype(
        [
            ("first", "<i8"),
            ("voxels", "<i8"),
            ("begin", "<i8", (3,)),
            ("end", "<i8", (3,)),
            ("sums", "<f8", (3,)),
            *intensities.columns(channels, dtype),
        ]
    )


def label_block(
    mask: np.ndarray, connectivity: int, out: np.ndarray | None = None
) -> tuple[np.ndarray, int]:
    """Labels of a block, int32, from 1 in the order of first voxels; their number.

    What is not 0 is foreground.  The labels are put into `out` where that is given.
    """
    # A tenth of a second each to import, which only workers need spend.
    from scipy import ndimage  # noqa: PLC0415

    structure = ndimage.generate_binary_structure(3, connectivity)
    labels = np.empty(mask.shape, np.int32) if out is None else out
    return labels, int(ndimage.label(mask, structure, output=labels))


def pieces_of(
    labels: np.ndarray,
    count: int,
    begin: Zyx,
    volume_shape: Zyx,
    image: np.ndarray | None,
) -> Pieces:
    """Describe the pieces of a block, whose labels are 1 to `count`, all in use.

    `begin` is the block's first voxel in the whole volume.  `image` has the block's
    grey levels, ``(c, z, y, x)``; without, there are no channels.
    """
    image = np.empty((0, *labels.shape), np.uint8) if image is None else image
    table = _nothing_yet(count, image)
    z, y, x = begin
    # Plane by plane, for the runs of a noisy block take many times its own memory.
    for i in range(len(labels)):
        at, plane = (z + i, y, x), image[:, i : i + 1]
        runs, owners = _runs(labels[i : i + 1], at, volume_shape, plane)
        here, groups = np.unique(owners, return_inverse=True)
        merged = _merged(runs, groups, len(here))
        for column, join in REDUCED_BY.items():
            table[column][here - 1] = join(table[column][here - 1], merged[column])
    faces = tuple(labels.take(i, axis) for axis in range(3) for i in (0, -1))
    return Pieces(faces, table)


def to_bytes(pieces: Pieces) -> bytes:
    """The pieces as a compressed npz archive, equal for equal pieces."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, pieces.table, *pieces.faces)
    return buffer.getvalue()


def from_bytes(data: bytes) -> Pieces:
    """The pieces that `to_bytes` made these bytes of."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        table, *faces = (archive[f"arr_{i}"] for i in range(7))
    return Pieces(tuple(faces), table)


def forward_neighbours(connectivity: int) -> list[Zyx]:
    """Offsets, in blocks, of the later neighbours in C order that a block can touch.

    Every two blocks that touch are met once, from the earlier one.
    """
    offsets = itertools.product((-1, 0, 1), repeat=3)
    return [o for o in offsets if o > (0, 0, 0) and _distance(o) <= connectivity]


def touching(a: Pieces, b: Pieces, offset: Zyx, connectivity: int) -> np.ndarray:
    """Labels of a and of b whose pieces touch, ``(pairs, 2)`` int64, each pair once.

    Block b lies at `offset` from block a, in blocks: -1, 0 or 1 along each axis, and
    not 0 along all.
    """
    axis = next(axis for axis in range(3) if offset[axis])
    face_a = a.faces[2 * axis + (offset[axis] > 0)]
    face_b = b.faces[2 * axis + (offset[axis] < 0)]
    pairs = [np.empty(0, np.int64)]
    for step in itertools.product(*((o,) if o else (-1, 0, 1) for o in offset)):
        if _distance(step) > connectivity:
            continue
        extents = zip(face_a.shape, face_b.shape, strict=True)
        in_plane = zip(np.delete(offset, axis), np.delete(step, axis), strict=True)
        parts = [_contact(*e, *s) for e, s in zip(extents, in_plane, strict=True)]
        labels_a = face_a[tuple(part for part, _ in parts)]
        labels_b = face_b[tuple(part for _, part in parts)]
        both = (labels_a != 0) & (labels_b != 0)
        # Two labels in one integer: unique is many times faster than on rows.
        pairs.append(labels_a[both].astype(np.int64) << 32 | labels_b[both])
    unique = np.unique(np.concatenate(pairs))
    return np.stack((unique >> 32, unique & 0xFFFFFFFF), axis=1)


class Union:
    """Which of N pieces are one object, by pairs that touch.

    Memory is bounded by N and `MOST_PAIRS`, however many pairs are added.
    """

    def __init__(self, size: int) -> None:
        """`size` pieces, numbered from 0, none of which touch so far."""
        self._roots = np.arange(size, dtype=np.int32)
        self._pairs = np.empty((MOST_PAIRS, 2), np.int64)
        self._kept = 0

    def add(self, pairs: np.ndarray) -> None:
        """Join pieces by their numbers, ``(pairs, 2)``."""
        while len(pairs):
            part = pairs[: len(self._pairs) - self._kept]
            self._pairs[self._kept : self._kept + len(part)] = part
            self._kept += len(part)
            pairs = pairs[len(part) :]
            if self._kept == len(self._pairs):
                self._contract()

    def roots(self) -> np.ndarray:
        """The object of each piece, int32; the objects are numbered densely from 0."""
        self._contract()
        return self._roots

    def _contract(self) -> None:
        from scipy.sparse import coo_array  # noqa: PLC0415 - as above
        from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

        a, b = self._roots[self._pairs[: self._kept]].T
        self._kept = 0
        size = int(self._roots.max(initial=-1)) + 1
        graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(size, size))
        _, joined = connected_components(graph, directed=False)
        self._roots = joined[self._roots]


def objects(
    table: np.ndarray, roots: np.ndarray, smallest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Number the objects: the id of each piece, uint32, and the objects' table.

    `table` has all blocks' pieces, or just ``first`` and ``voxels`` of them; `roots`
    the object of each, numbered densely from 0.
    Ids count from 1 in the order of the objects' first voxels, as if the volume had
    been labelled at once; id i is row i - 1.  Objects of fewer than `smallest` voxels
    are left out, their id is 0.
    """
    merged = _merged(table, roots, int(roots.max(initial=-1)) + 1)
    order = np.argsort(merged["first"])
    order = order[merged["voxels"][order] >= smallest]
    ids = np.zeros(len(merged), np.uint32)
    ids[order] = np.arange(1, len(order) + 1)
    return ids[roots], merged[order]


def _nothing_yet(count: int, image: np.ndarray) -> np.ndarray:
    """A table of pieces of which no voxel has been seen."""
    table = np.zeros(count, table_type(len(image), image.dtype))
    table["first"] = table["begin"] = np.iinfo(np.int64).max
    table["lowest"], table["highest"] = np.inf, -np.inf
    return table


def _runs(
    labels: np.ndarray, begin: Zyx, volume_shape: Zyx, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A table of the runs along x within one label, and the label of each."""
    is_begin = np.ones(labels.shape, bool)
    np.not_equal(labels[..., 1:], labels[..., :-1], out=is_begin[..., 1:])
    starts = np.flatnonzero(is_begin)
    lengths = np.diff(starts, append=labels.size)
    owners = labels.ravel()[starts]
    inside = owners != 0
    runs = np.empty(np.count_nonzero(inside), table_type(len(image), image.dtype))
    starts, lengths, owners = starts[inside], lengths[inside], owners[inside]
    foreground, places = labels != 0, np.cumsum(lengths) - lengths
    for i, channel in enumerate(image):
        measured = intensities.measured(channel[foreground], places)
        for column, values in measured.items():
            runs[column][:, i] = values
    position = np.stack(np.unravel_index(starts, labels.shape), axis=1) + begin
    runs["first"] = np.ravel_multi_index(tuple(position.T), volume_shape)
    runs["voxels"] = lengths
    runs["begin"] = position
    runs["end"] = position + 1
    runs["end"][:, 2] += lengths - 1
    runs["sums"] = position * lengths[:, np.newaxis]
    runs["sums"][:, 2] += lengths * (lengths - 1) / 2
    return runs, owners


def _merged(table: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """One row per group of rows; groups are 0 to `count` - 1, none of them empty."""
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(count))
    merged = np.empty(count, table.dtype)
    for column in table.dtype.names or ():
        # One number of a row at a time: reduceat is many times slower along rows.
        for place in np.ndindex(table.dtype[column].shape):
            values = table[column][:, *place][order]
            merged[column][:, *place] = REDUCED_BY[column].reduceat(values, starts)
    return merged


def _contact(a: int, b: int, offset: int, step: int) -> tuple[slice, slice]:
    """Along one axis, the parts of blocks of a and b voxels that are a step apart."""
    shift = step - (-b, 0, a)[offset + 1]
    first, last = max(0, -shift), min(a, b - shift)
    return slice(first, last), slice(first + shift, last + shift)


def _distance(offset: Zyx) -> int:
    """Number of axes along which a step of at most one voxel or block leads."""
    return sum(map(abs, offset))
