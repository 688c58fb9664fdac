"""What a CZI does not hold, though its ranges span it: missing planes and gaps."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from denoise_daisy.images.czi_directory import SubBlock

PLANE_DIMENSIONS = "TCZ"

Rectangle = tuple[int, int, int, int]
"""x, y, width and height in pixels of the document."""


def gaps(
    blocks: list[SubBlock], starts: dict[str, int], sizes: dict[str, int]
) -> list[str]:
    """What the file does not hold and pylibCZIrw therefore reads as zeros."""
    tiles: dict[tuple[int, ...], set[Rectangle]] = defaultdict(set)
    for block in blocks:
        plane = tuple(block.start.get(d, 0) for d in PLANE_DIMENSIONS)
        x, y = block.start["X"], block.start["Y"]
        tiles[plane].add((x, y, block.size["X"], block.size["Y"]))
    return [*_missing_planes(tiles, starts, sizes), *_uncovered(tiles, sizes)]


def _missing_planes(
    tiles: Mapping[tuple[int, ...], set[Rectangle]],
    starts: Mapping[str, int],
    sizes: Mapping[str, int],
) -> Iterator[str]:
    expected = math.prod(sizes.get(d, 1) for d in PLANE_DIMENSIONS)
    if len(tiles) == expected:
        return
    ranges = [
        range(starts.get(d, 0), starts.get(d, 0) + sizes.get(d, 1))
        for d in PLANE_DIMENSIONS
    ]
    first = next(p for p in itertools.product(*ranges) if p not in tiles)
    where = ", ".join(
        f"{d} {i - r.start}"
        for d, i, r in zip(PLANE_DIMENSIONS, first, ranges, strict=True)
    )
    yield (
        f"{expected - len(tiles)} of {expected} planes are missing in the file (the"
        f" first: {where}); they are read as 0."
    )


def _uncovered(
    tiles: Mapping[tuple[int, ...], set[Rectangle]], sizes: Mapping[str, int]
) -> Iterator[str]:
    arrangements = Counter(frozenset(rectangles) for rectangles in tiles.values())
    area = sizes["X"] * sizes["Y"]
    holes = {tiling: 1 - _covered(tiling) / area for tiling in arrangements}
    planes = sum(n for tiling, n in arrangements.items() if holes[tiling] > 0)
    if planes:
        yield (
            f"{planes} of {len(tiles)} planes have gaps between tiles (up to"
            f" {max(holes.values()):.1%} of the plane); they are read as 0."
        )


def _covered(rectangles: Iterable[Rectangle]) -> int:
    """Pixels covered by at least one rectangle, by a sweep along x."""
    rectangles = list(rectangles)
    edges = sorted({x for x, _, w, _ in rectangles} | {r[0] + r[2] for r in rectangles})
    covered = 0
    for left, right in pairwise(edges):
        reached = -(1 << 62)
        for _, y, _, h in sorted(
            (r for r in rectangles if r[0] <= left < r[0] + r[2]), key=lambda r: r[1]
        ):
            covered += (right - left) * max(0, y + h - max(y, reached))
            reached = max(reached, y + h)
    return covered
