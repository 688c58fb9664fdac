"""Shapes that the chunks of an array may have: near cubes of the specimen.

A viewer reads whole chunks, whichever way it cuts through them, so that their edges
should be about as long in micrometers along z, y and x.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from denoise_daisy.sections import AnyAxis

SPACE = "zyx"

Lengths = dict[str, int]
"""Voxels by axis."""

LEAST_BYTES, IDEAL_BYTES, MOST_BYTES = 1 << 19, 1 << 20, 1 << 21
"""Of a chunk, uncompressed: smaller ones cost a request each for little, and of larger
ones a viewer reads mostly what it does not show."""

USUAL_ANISOTROPY = 4.0
"""How much coarser z is taken to be than y and x where that was not recorded: as the
planes of a usual stack are.  A guess wrong by four either way is still no plate."""

LONGEST_EDGE = 2.0
"""So many times as long as another that could be longer, where that can be had."""

TRIED = 16
"""So many shapes are proposed at most."""


def chunk_shapes(
    shape: Sequence[int],
    itemsize: int,
    scale_um: Sequence[float | None],
    named: Mapping[AnyAxis, int],
    steps: Mapping[str, int],
) -> list[tuple[int, ...]]:
    """Chunks of ``(t, c, z, y, x)`` for an array of that shape, best cube first.

    All have 0.5 to 2 MiB where the array is large enough, and none is larger than it.

    Parameters
    ----------
    itemsize
        Bytes of a voxel.
    scale_um
        Size of a voxel along ``(z, y, x)`` in micrometer; None where not recorded.
    named
        Chunk lengths that are settled, by axis.
    steps
        By axis, what the chunk has to divide along it; 0: nothing.
    """
    extent = dict(zip("tczyx", shape, strict=True))
    settled = {"t": 1, "c": 1, **named}
    settled = {axis: min(n, extent[axis]) for axis, n in settled.items()}
    free = [axis for axis in SPACE if axis not in settled]
    own_bytes = itemsize * math.prod(settled.values())
    most = {axis: extent[axis] for axis in free}
    scale = dict(zip(SPACE, known_scale(scale_um), strict=True))
    ideal = _cube(most, scale, IDEAL_BYTES / own_bytes)

    def octaves_off(sizes: Lengths) -> float:
        return round(sum(math.log2(n / ideal[a]) ** 2 for a, n in sizes.items()), 9)

    lengths = [_lengths(most[a], ideal[a], steps.get(a, 0)) for a in free]
    shapes: list[Lengths] = [
        dict(zip(free, sizes, strict=True)) for sizes in itertools.product(*lengths)
    ]
    shapes.sort(key=octaves_off)
    good = [
        sizes
        for sizes in shapes
        if LEAST_BYTES <= own_bytes * math.prod(sizes.values()) <= MOST_BYTES
        and _is_cubic(sizes, most, scale)
    ]
    best = good[:TRIED] or [_nearest_in_size(shapes, own_bytes)]
    return [tuple((settled | sizes)[axis] for axis in extent) for sizes in best]


def known_scale(scale_um: Sequence[float | None]) -> tuple[float, float, float]:
    """Size of a voxel along ``(z, y, x)``, as of a usual stack where not recorded."""
    z, y, x = scale_um
    plane = y or x or (z / USUAL_ANISOTROPY if z else 1.0)
    return z or plane * USUAL_ANISOTROPY, y or plane, x or plane


def _cube(
    extent: Lengths, scale: Mapping[str, float], voxels: float
) -> dict[str, float]:
    """By axis, the voxels of a cube of so many, cut at the array's own extent."""

    def cut(edge: float) -> dict[str, float]:
        return {a: min(max(1.0, edge / scale[a]), n) for a, n in extent.items()}

    low = 0.0
    high = max((n * scale[axis] for axis, n in extent.items()), default=0.0)
    for _ in range(64):
        middle = (low + high) / 2
        if math.prod(cut(middle).values()) < voxels:
            low = middle
        else:
            high = middle
    return cut(high)


def _lengths(extent: int, ideal: float, step: int) -> list[int]:
    """Lengths within an octave of the ideal one, or the nearest that there is.

    Of those that make as many chunks of an axis, the shortest: all are alike then.
    """
    if step:
        known = sorted(n for n in range(1, step + 1) if step % n == 0)
    else:
        friendly = sorted({n for n in _friendly(4 * ideal) if n < extent} | {extent})
        by_count: dict[int, int] = {}
        for n in friendly:
            by_count.setdefault(math.ceil(extent / n), n)
        known = list(by_count.values())
    near = [n for n in known if ideal / 2 <= n <= ideal * 2]
    return near or [min(known, key=lambda n: abs(math.log2(n / ideal)))]


def _friendly(most: float) -> Iterator[int]:
    """Numbers of few bits: 1, 2, 3, 4, 6, 8, 12, 16, 32, 48, 64, 80, ... 128, 160."""
    yield from (1, 2, 3, 4, 6, 8, 12)
    length = 16
    while length <= most:
        yield length
        length += max(16, 1 << (length.bit_length() - 3))


def _is_cubic(sizes: Lengths, most: Lengths, scale: Mapping[str, float]) -> bool:
    """Whether no edge is much longer than another that could be longer."""
    edges = {axis: n * scale[axis] for axis, n in sizes.items()}
    longest = max((edges[axis] for axis, n in sizes.items() if n > 1), default=0.0)
    return all(
        longest <= LONGEST_EDGE * edge or sizes[axis] == most[axis]
        for axis, edge in edges.items()
    )


def _nearest_in_size(shapes: Sequence[Lengths], own_bytes: int) -> Lengths:
    """The best cube of those whose size is off the ideal by fewest octaves."""

    def off(sizes: Lengths) -> float:
        octaves = math.log2(own_bytes * math.prod(sizes.values()) / IDEAL_BYTES)
        return round(max(0.0, abs(octaves) - 1.0), 9)

    return min(shapes, key=off)
