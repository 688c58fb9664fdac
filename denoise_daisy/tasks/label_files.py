"""The files that the stages of a label task leave for each other."""

import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.lib.recfunctions import repack_fields

from denoise_daisy.algorithms.labelling import (
    Pieces,
    Union,
    forward_neighbours,
    from_bytes,
    objects,
    to_bytes,
    touching,
)
from denoise_daisy.blockwise.stage import Stage

Position = tuple[int, ...]
"""Of a block within its time point, (z, y, x)."""

Archives = Mapping[Position, Callable[[], bytes]]
"""How the file of each block's pieces is read."""


def packed(pieces: list[Pieces]) -> bytes:
    """The pieces of each channel in one file."""
    return npz(
        {
            f"channel{i}": np.frombuffer(to_bytes(part), np.uint8)
            for i, part in enumerate(pieces)
        }
    )


def joined(
    archives: Archives,
    channel: int,
    *,
    connectivity: int,
    min_voxels: int,
    with_table: bool,
) -> dict[str, np.ndarray]:
    """Ids of all pieces of a time point and channel, block after block.

    ``starts`` is the first piece of each block, in C order; ``ids`` the id of each
    piece; ``objects`` the objects' table, if one is asked for.
    """
    tables = [_unpacked(load(), channel).table for load in archives.values()]
    if not with_table:
        # A sixth of the memory, where there may be millions of pieces.
        tables = [repack_fields(table[["first", "voxels"]]) for table in tables]
    starts = np.cumsum([0, *map(len, tables)])
    table = np.concatenate(tables)
    del tables
    first = dict(zip(archives, starts, strict=False))
    union = Union(len(table))
    for a, b, pairs in _contacts(archives, channel, connectivity):
        union.add(pairs - 1 + (first[a], first[b]))
    ids, table = objects(table, union.roots(), min_voxels)
    result = {"starts": starts, "ids": ids}
    return result | {"objects": table} if with_table else result


def _contacts(
    archives: Archives, channel: int, connectivity: int
) -> Iterator[tuple[Position, Position, np.ndarray]]:
    """Pairs of blocks, and of their pieces, that touch; few blocks are held at once."""
    held: OrderedDict[Position, Pieces] = OrderedDict()
    offsets = forward_neighbours(connectivity)
    planes = [position for position in archives if position[0] == 0]
    rows = [position for position in planes if position[1] == 0]
    for b, load in archives.items():
        held[b] = _unpacked(load(), channel)
        for offset in offsets:
            a = tuple(i - d for i, d in zip(b, offset, strict=True))
            if a in held:
                yield a, b, touching(held[a], held[b], offset, connectivity)
        # The block before this one in every direction is the last still wanted.
        if len(held) > len(planes) + len(rows) + 1:
            held.popitem(last=False)


def _unpacked(data: bytes, channel: int) -> Pieces:
    with np.load(io.BytesIO(data)) as archive:
        return from_bytes(archive[f"channel{channel}"].tobytes())


def npz(arrays: Mapping[str, Any]) -> bytes:
    """Arrays by name as one file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


class Ids:
    """The ids of pieces; those of one time point are held."""

    def __init__(self, union: Stage) -> None:
        self._union = union
        self._version = (-1, -1)
        """Of what is held: the time point, and when its union was written."""
        self._held: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        """Starts and ids, by channel."""

    def of_block(self, t: int, channel: int, place: int) -> np.ndarray:
        """Those of the pieces of a block, by its place in C order."""
        index = (t, 0, 0, 0)
        (file,) = self._union.target.files(self._union.grid, index)
        # A union that was written again has others.
        version = (t, file.stat().st_mtime_ns)
        if version != self._version:
            self._version, self._held = version, {}
        if channel not in self._held:
            with np.load(io.BytesIO(self._union.read_file(index))) as archive:
                arrays = archive[f"starts{channel}"], archive[f"ids{channel}"]
                self._held[channel] = arrays
        starts, ids = self._held[channel]
        return ids[starts[place] : starts[place + 1]]
