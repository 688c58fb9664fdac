"""What a CZI does not hold, though its ranges span it: missing planes and gaps."""

import math
from collections.abc import Iterator, Mapping
from itertools import islice, pairwise
from typing import Any, NamedTuple

import numpy as np

from denoise_daisy.algorithms.coverage import covered_areas
from denoise_daisy.images.czi_entries import SubBlocks
from denoise_daisy.images.tilings import Tile, Tilings

PLANE_DIMENSIONS = "TCZ"
_AT_ONCE = 1 << 16
"""Tiles, of whole planes, whose areas are computed together."""

_LARGEST = int(np.iinfo(np.int64).max)


class Gaps(NamedTuple):
    """What the file does not hold and pylibCZIrw therefore reads as zeros."""

    warnings: list[str]
    """The same in words."""
    tilings: Tilings | None
    """What it holds; None where that is everything."""
    planes: int
    """How many planes it holds something of."""


def find_gaps(
    blocks: SubBlocks, starts: Mapping[str, int], sizes: Mapping[str, int]
) -> Gaps:
    """What a scene lacks of what its sub-blocks span."""
    planes, bounds, order = _planes(blocks)
    kinds = _Kinds({}, [])
    of_planes = np.zeros(len(planes), np.int64)
    first = 0
    while first < len(planes):
        last = int(np.searchsorted(bounds, bounds[first] + _AT_ONCE, "right")) - 1
        last = max(last, first + 1)
        own = bounds[first : last + 1]
        columns = (blocks.starts, blocks.sizes)
        rows = order[own[0] : own[-1]]
        tiles = np.stack([c[d][rows] for c in columns for d in "YX"], 1)
        of_planes[first:last] = kinds.of(tiles, own - own[0])
        first = last
    covered = np.concatenate(kinds.areas) / (sizes["X"] * sizes["Y"])
    warnings = [
        *_missing_planes(planes, starts, sizes),
        *_uncovered(covered[of_planes]),
    ]
    if not warnings:
        return Gaps([], None, len(planes))
    whole = ((0, 0, sizes["Y"], sizes["X"]),)
    layouts = [
        _layout(data, (starts["Y"], starts["X"])) if part < 1 else whole
        for data, part in zip(kinds.numbers, covered, strict=True)
    ]
    shape = [sizes.get(d, 1) for d in PLANE_DIMENSIONS]
    origin = [starts.get(d, 0) for d in PLANE_DIMENSIONS]
    places = planes.astype(np.int64) - origin
    return Gaps(warnings, _tilings(layouts, of_planes, places, shape), len(planes))


def _layout(data: bytes, origin: tuple[int, int]) -> tuple[Tile, ...]:
    """The tiles of a plane, counted from the image's first pixel."""
    tiles = np.frombuffer(data, np.int32).reshape(-1, 4).astype(np.int64)
    tiles[:, :2] -= origin
    return tuple(map(tuple, np.unique(tiles, axis=0).tolist()))


def _tilings(
    layouts: list[tuple[Tile, ...]],
    of_planes: np.ndarray,
    places: np.ndarray,
    shape: list[int],
) -> Tilings:
    """All planes with their layouts, those that are missing between them as well."""
    distinct: dict[tuple[Tile, ...], int] = {(): 0}
    numbers = np.array([distinct.setdefault(tiles, len(distinct)) for tiles in layouts])
    # Before the first plane, and behind each of them: what is not there is missing.
    nexts = np.concatenate([np.zeros((1, 3), np.int64), places])
    nexts[1:, 2] += 1
    for axis in (2, 1):
        over = nexts[:, axis] == shape[axis]
        nexts[over, axis], nexts[over, axis - 1] = 0, nexts[over, axis - 1] + 1
    rows = np.zeros((2 * len(places) + 1, 4), np.int64)
    rows[0::2, :3], rows[1::2, :3] = nexts, places
    rows[1::2, 3] = numbers[of_planes]
    used = np.ones(len(rows), bool)
    used[0:-1:2] = (rows[0:-1:2, :3] != rows[1::2, :3]).any(axis=1)
    used[-1] = rows[-1, 0] < shape[0]
    rows = rows[used]
    fresh = np.append(True, rows[1:, 3] != rows[:-1, 3])
    return Tilings(tuple(distinct), tuple(map(tuple, rows[fresh].tolist())))


def _planes(blocks: SubBlocks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (T, C, Z) of all planes in ascending order, and the rows of each.

    These lie between bounds, one more than planes, in the order that comes last.
    """
    nowhere = np.zeros(len(blocks), np.int32)
    where = np.stack([blocks.starts.get(d, nowhere) for d in PLANE_DIMENSIONS], 1)
    order = np.lexsort(where.T[::-1])
    where = where[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (where[1:] != where[:-1]).any(axis=1)
    begins = np.flatnonzero(fresh)
    return where[begins], np.append(begins, len(order)), order


class _Kinds(NamedTuple):
    """The ways in which planes are tiled, numbered in the order of being met."""

    numbers: dict[bytes, int]
    """By the tiles (y, x, height, width), as int32."""
    areas: list[np.ndarray]
    """Pixels that are covered by them, in some arrays."""

    def of(self, tiles: np.ndarray, bounds: np.ndarray) -> list[int]:
        """The numbers of planes whose tiles lie between bounds."""
        data, width, known = tiles.tobytes(), tiles.strides[0], len(self.numbers)
        ends = (bounds * width).tolist()
        # All planes are alike, most often: then one tells of all.
        if len(data) == ends[1] * (len(ends) - 1) and _is_repeated(tiles, bounds):
            ends = ends[:2]
        numbers = [
            self.numbers.setdefault(data[a:b], len(self.numbers))
            for a, b in pairwise(ends)
        ]
        if fresh := list(islice(self.numbers, known, None)):
            self.areas.append(_areas(fresh, tiles.dtype))
        return numbers * ((len(bounds) - 1) // len(numbers))


def _is_repeated(tiles: np.ndarray, bounds: np.ndarray) -> bool:
    """Whether all planes have the tiles of the first, in its order."""
    first = int(bounds[1])
    if (np.diff(bounds) != first).any():
        return False
    return bool((tiles.reshape(-1, first, 4) == tiles[:first]).all())


def _areas(kinds: list[bytes], dtype: np.dtype[Any]) -> np.ndarray:
    """Pixels that are covered by each."""
    tiles = np.frombuffer(b"".join(kinds), dtype).reshape(-1, 4).astype(np.int64)
    width = 4 * dtype.itemsize
    groups = np.repeat(np.arange(len(kinds)), [len(k) // width for k in kinds])
    begins, shapes = tiles[:, :2], tiles[:, 2:]
    return covered_areas(groups, begins, begins + shapes)


def _missing_planes(
    planes: np.ndarray, starts: Mapping[str, int], sizes: Mapping[str, int]
) -> Iterator[str]:
    shape = [sizes.get(d, 1) for d in PLANE_DIMENSIONS]
    expected = math.prod(shape)
    if len(planes) == expected:
        return
    # Where the first planes would be, were none missing, and one behind them.
    numbers = np.arange(len(planes) + 1)
    stride = min(shape[1] * shape[2], _LARGEST)
    whole = np.stack(
        [numbers // stride, numbers // shape[2] % shape[1], numbers % shape[2]], 1
    )
    origin = [starts.get(d, 0) for d in PLANE_DIMENSIONS]
    wrong = (planes - np.array(origin, np.int64) != whole[:-1]).any(axis=1)
    first = whole[int(np.argmax(np.append(wrong, True)))]
    where = ", ".join(f"{d} {i}" for d, i in zip(PLANE_DIMENSIONS, first, strict=True))
    yield (
        f"{expected - len(planes)} of {expected} planes are missing in the file (the"
        f" first: {where}); they stay 0."
    )


def _uncovered(covered: np.ndarray) -> Iterator[str]:
    """Of each plane, which part is covered by tiles."""
    if planes := np.count_nonzero(covered < 1):
        yield (
            f"{planes} of {len(covered)} planes have gaps between tiles (up to"
            f" {1 - covered.min():.1%} of the plane); they stay 0."
        )
