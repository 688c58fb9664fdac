"""What a CZI does not hold, though its ranges span it: missing planes and gaps."""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from denoise_daisy.algorithms.coverage import covered_areas
from denoise_daisy.images.czi_entries import SubBlocks

PLANE_DIMENSIONS = "TCZ"
_AT_ONCE = 1 << 16
"""Tiles, of whole planes, whose areas are computed together."""

_LARGEST = int(np.iinfo(np.int64).max)


def gaps(
    blocks: SubBlocks, starts: Mapping[str, int], sizes: Mapping[str, int]
) -> list[str]:
    """What the file does not hold and pylibCZIrw therefore reads as zeros."""
    planes, bounds, order = _planes(blocks)
    areas = np.zeros(len(planes))
    first = 0
    while first < len(planes):
        last = int(np.searchsorted(bounds, bounds[first] + _AT_ONCE, "right")) - 1
        last = max(last, first + 1)
        own = bounds[first : last + 1]
        columns = (blocks.starts, blocks.sizes)
        rows = order[own[0] : own[-1]]
        tiles = np.stack([c[d][rows] for c in columns for d in "YX"], 1)
        areas[first:last] = _areas(tiles, own - own[0])
        first = last
    return [
        *_missing_planes(planes, starts, sizes),
        *_uncovered(areas / (sizes["X"] * sizes["Y"])),
    ]


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


def _areas(tiles: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Pixels of each plane that are covered, of planes tiled alike computed once."""
    data, width = tiles.tobytes(), tiles.strides[0]
    kinds: dict[bytes, int] = {}
    of_planes = [
        kinds.setdefault(data[a:b], len(kinds))
        for a, b in pairwise((bounds * width).tolist())
    ]
    groups = np.repeat(np.arange(len(kinds)), [len(k) // width for k in kinds])
    tiles = np.frombuffer(b"".join(kinds), tiles.dtype).reshape(-1, 4).astype(np.int64)
    begins, shapes = tiles[:, :2], tiles[:, 2:]
    return covered_areas(groups, begins, begins + shapes)[of_planes]


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
        f" first: {where}); they are read as 0."
    )


def _uncovered(covered: np.ndarray) -> Iterator[str]:
    """Of each plane, which part is covered by tiles."""
    if planes := np.count_nonzero(covered < 1):
        yield (
            f"{planes} of {len(covered)} planes have gaps between tiles (up to"
            f" {1 - covered.min():.1%} of the plane); they are read as 0."
        )
