"""The grid of a Zarr array's chunks, and which of them are there."""

import base64
import hashlib
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images.zarr_place import StoredFile

MOST_CHUNKS = 1 << 26
"""Of an array; metadata that make more of them are damaged."""


class Listed(NamedTuple):
    """The files of an array's chunks."""

    missing: str
    """Which chunks have none, packed; empty where all have one."""
    identity: dict[str, str | int]
    """Their number, bytes, latest time, and what a server knows their content by."""


@dataclass(frozen=True)
class ChunkGrid:
    """How an array is cut into files: its chunks, or its shards where it has some."""

    shape: tuple[int, ...]
    """Voxels of the array, of its own axes."""
    chunk: tuple[int, ...]
    """Voxels of a file."""
    prefix: str
    """What keys begin with."""
    separator: str
    """What stands between the numbers of a key."""
    is_sharded: bool

    @property
    def counts(self) -> tuple[int, ...]:
        """Files along each axis."""
        pairs = zip(self.shape, self.chunk, strict=True)
        return tuple(math.ceil(n / size) for n, size in pairs)

    def key(self, position: Sequence[int]) -> str:
        """The key of a file."""
        return self.prefix + self.separator.join(map(str, position))

    def position(self, key: str) -> tuple[int, ...] | None:
        """The position of a key's file; None where it is none of the grid."""
        if not self._key.fullmatch(key):
            return None
        numbers = key.removeprefix(self.prefix).split(self.separator)
        position = tuple(map(int, numbers))
        pairs = zip(position, self.counts, strict=True)
        return position if all(i < n for i, n in pairs) else None

    @cached_property
    def _key(self) -> re.Pattern[str]:
        # Numbers of any length would be an error in int().
        number = r"(?:0|[1-9][0-9]{0,17})"
        numbers = re.escape(self.separator).join([number] * len(self.shape))
        return re.compile(re.escape(self.prefix) + numbers)

    def __getstate__(self) -> dict[str, object]:
        return {k: v for k, v in self.__dict__.items() if k != "_key"}

    def listed(self, files: Iterable[StoredFile]) -> Listed:
        """What a listing tells of the files of this grid."""
        there = np.zeros(self.counts, bool)
        count, size, latest, tags = 0, 0, 0, []
        for file in files:
            position = self.position(file.key)
            if position is None:
                continue
            there[position] = True
            count, size = count + 1, size + file.size
            latest = max(latest, file.mtime_ns)
            if file.tag:
                tags.append(f"{file.key} {file.tag}\n")
        identity: dict[str, str | int] = {
            "chunks": count,
            "bytes": size,
            "mtime_ns": latest,
        }
        if tags:
            text = "".join(sorted(tags)).encode()
            identity["etags_sha256"] = hashlib.sha256(text).hexdigest()
        return Listed("" if there.all() else packed(~there), identity)

    def parts(self, region: Sequence[slice]) -> Iterable[tuple[str, tuple[slice, ...]]]:
        """The files of a region of the array, each its key and all of its voxels."""
        begins = [
            range(part.start // size, math.ceil(part.stop / size))
            for part, size in zip(region, self.chunk, strict=True)
        ]
        for position in product(*begins):
            bounds = zip(position, self.chunk, self.shape, strict=True)
            yield (
                self.key(position),
                tuple(slice(i * size, min(n, (i + 1) * size)) for i, size, n in bounds),
            )


def checked_grid(path: str, grid: ChunkGrid) -> ChunkGrid:
    """A grid that there can be.

    Raises
    ------
    InputError
        The metadata make one that can't.
    """
    axes, sizes = len(grid.shape), len(grid.chunk)
    problem = (
        f"chunks of {sizes} axes"
        if axes != sizes
        else "chunks without voxels"
        if min(grid.chunk, default=1) < 1
        else f"{math.prod(grid.counts)} chunks"
        if math.prod(grid.counts) > MOST_CHUNKS
        else ""
    )
    if problem:
        shape = " x ".join(map(str, grid.shape))
        raise InputError(
            f"The array {path!r} has {problem} and is of {shape} voxels. Expected at"
            f" most {MOST_CHUNKS} chunks, of its own axes; copy the metadata again, or"
            " write the image again in larger chunks."
        )
    return grid


def packed(flags: np.ndarray) -> str:
    """Flags as a short text: most of them are alike, and they go into run.json."""
    return base64.b64encode(zlib.compress(np.packbits(flags).tobytes(), 9)).decode()


def unpacked(text: str, shape: Sequence[int]) -> np.ndarray:
    """The flags of a text, of that shape; none of them set where it is empty."""
    if not text:
        return np.zeros(shape, bool)
    data = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return np.unpackbits(data, count=math.prod(shape)).astype(bool).reshape(shape)
