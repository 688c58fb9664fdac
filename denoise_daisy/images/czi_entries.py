"""The entries of a CZI's sub-block directory as columns, a row per sub-block.

There may be millions, so they are taken from the directory's bytes piece by piece, and
what is read of them is an array per number.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

MOST_DIMENSIONS = 32
SMALLEST_ENTRY = 72
"""Bytes of an entry that has no dimensions but X and Y."""

_AT_ONCE = 256
"""Entries that are looked at together, where they are not all of one length."""

TOO_SHORT = "its sub-block directory ends too early"
WRONG = "an entry of its sub-block directory is wrong"

_HEAD = np.dtype(
    {
        "names": [
            "schema",
            "pixel_type",
            "position",
            "part",
            "compression",
            "dimensions",
        ],
        "formats": ["S2", "<i4", "<i8", "<i4", "<i4", "<i4"],
        "offsets": [0, 2, 6, 14, 18, 28],
        "itemsize": 32,
    }
)
_DIMENSION = np.dtype(
    [
        ("name", "<u4"),
        ("start", "<i4"),
        ("size", "<i4"),
        ("coordinate", "<f4"),
        ("stored", "<i4"),
    ]
)
PIXEL_TYPES = {
    0: "Gray8",
    1: "Gray16",
    2: "Gray32Float",
    3: "Bgr24",
    4: "Bgr48",
    8: "Bgr96Float",
    9: "Bgra32",
    10: "Gray64ComplexFloat",
    11: "Bgr192ComplexFloat",
    12: "Gray32",
    13: "Gray64",
}
PIXEL_NUMBERS = {name: number for number, name in PIXEL_TYPES.items()}

COMPRESSIONS = {
    0: "none",
    1: "JPEG",
    2: "LZW",
    4: "JPEG XR",
    5: "Zstd0",
    6: "Zstd1",
}


@dataclass(frozen=True, slots=True)
class SubBlocks:
    """Tiles of planes, a row each."""

    positions: np.ndarray
    """Byte in the file where a sub-block's segment begins."""
    pixel_types: np.ndarray
    """Keys of `PIXEL_TYPES`, or what the format does not know."""
    compressions: np.ndarray
    """Keys of `COMPRESSIONS`, or what a camera or system has of its own."""
    is_pyramid: np.ndarray
    """Whether it is a reduced copy of others."""
    starts: dict[str, np.ndarray]
    """First index along each dimension; X and Y in pixels of the document."""
    sizes: dict[str, np.ndarray]
    """Number of indices; 0, as the start, where a row has no such dimension."""

    def __len__(self) -> int:
        return len(self.positions)

    def where(self, rows: np.ndarray) -> "SubBlocks":
        """The rows that are True."""
        if rows.all():
            return self
        return SubBlocks(
            self.positions[rows],
            self.pixel_types[rows],
            self.compressions[rows],
            self.is_pyramid[rows],
            {d: column[rows] for d, column in self.starts.items()},
            {d: column[rows] for d, column in self.sizes.items()},
        )


def parse(pieces: Iterable[bytes], count: int) -> SubBlocks:
    """So many entries, from the bytes of all of them in pieces of any length.

    Raises
    ------
    ValueError
        There are fewer, or one is damaged.
    """
    blocks = SubBlocks(
        np.zeros(count, np.int64),
        np.zeros(count, np.int32),
        np.zeros(count, np.int32),
        np.zeros(count, bool),
        {},
        {},
    )
    rest, done = b"", 0
    for piece in pieces:
        data = rest + piece
        words = np.frombuffer(data, "<i4", len(data) // 4)
        begins, end = _chain(words, count - done)
        if begins.size:
            _fill(blocks, done, words, begins)
        done += len(begins)
        rest = data[4 * end :]
        if done == count:
            break
    if done < count:
        raise ValueError(TOO_SHORT)
    return blocks


def _chain(words: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Where whole entries begin, and where the last of them ends.

    Most are as long as the one before: it is looked how far that holds, and only where
    it does not, entry by entry.
    """
    found = [np.zeros(0, np.int64)]
    at, left, run = 0, most, _AT_ONCE
    while left and (length := _length(words, at)):
        fit = min(left, run, (len(words) - at) // length)
        alike = words[at + 7 : at + fit * length : length] == words[at + 7]
        count = fit if alike.all() else int(alike.argmin())
        begins = np.arange(at, at + count * length, length)
        run *= 4
        if count < min(fit, _AT_ONCE):
            begins, run = _walk(words[at:], min(left, _AT_ONCE)) + at, _AT_ONCE
        found.append(begins)
        at = int(begins[-1]) + _length(words, int(begins[-1]))
        left -= len(begins)
    return np.concatenate(found), at


def _length(words: np.ndarray, at: int) -> int:
    """Words of the entry that begins there; 0 where it is not whole."""
    if at + 8 > len(words):
        return 0
    dimensions = int(words[at + 7])
    if not 0 < dimensions <= MOST_DIMENSIONS:
        raise ValueError(WRONG)
    length = 8 + 5 * dimensions
    return length if at + length <= len(words) else 0


def _walk(words: np.ndarray, most: int) -> np.ndarray:
    """Where the first entries begin, of which the first is whole."""
    numbers = words.astype(np.int32, copy=False).data
    begins: list[int] = []
    at = 0
    while len(begins) < most and at + 8 <= len(numbers):
        dimensions = numbers[at + 7]
        end = at + 8 + 5 * dimensions
        if not 0 < dimensions <= MOST_DIMENSIONS or end > len(numbers):
            break
        begins.append(at)
        at = end
    return np.array(begins, np.int64)


def _records(words: np.ndarray, begins: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """What begins at these words."""
    windows = sliding_window_view(words, dtype.itemsize // 4)[begins]
    records: np.ndarray = windows.view(dtype)[:, 0]
    return records


def _fill(blocks: SubBlocks, first: int, words: np.ndarray, begins: np.ndarray) -> None:
    """Put the entries that begin at these words into the rows from the first on."""
    heads = _records(words, begins, _HEAD)
    if (heads["schema"] != b"DV").any() or heads["part"].any():
        raise ValueError(WRONG)
    rows = slice(first, first + len(begins))
    blocks.positions[rows] = heads["position"]
    blocks.pixel_types[rows] = heads["pixel_type"]
    blocks.compressions[rows] = heads["compression"]
    for i in range(heads["dimensions"].max(initial=0)):
        there = np.flatnonzero(heads["dimensions"] > i)
        dimensions = _records(words, begins[there] + 8 + 5 * i, _DIMENSION)
        names = dimensions["name"]
        for name in names[:1] if (names == names[0]).all() else np.unique(names):
            named = names == name
            text = name.tobytes().rstrip(b"\0 ").decode("latin-1")
            _put(blocks, text, first + there[named], dimensions[named])
    for axis in "XY":
        if axis not in blocks.sizes or not blocks.sizes[axis][rows].all():
            raise ValueError(WRONG)


def _put(
    blocks: SubBlocks, name: str, rows: np.ndarray, dimensions: np.ndarray
) -> None:
    """Put a dimension of this name into its columns."""
    if name not in blocks.sizes:
        if len(blocks.sizes) == MOST_DIMENSIONS:
            raise ValueError(WRONG)
        for columns in (blocks.starts, blocks.sizes):
            columns[name] = np.zeros(len(blocks), np.int32)
    if (dimensions["size"] < 1).any() or blocks.sizes[name][rows].any():
        raise ValueError(WRONG)
    blocks.starts[name][rows] = dimensions["start"]
    blocks.sizes[name][rows] = dimensions["size"]
    if name in ("X", "Y"):
        reduced = dimensions["stored"] < dimensions["size"]
        blocks.is_pyramid[rows] |= reduced & (dimensions["stored"] > 0)
