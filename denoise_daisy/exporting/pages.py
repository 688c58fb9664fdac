"""The pages of what is exported, read a few planes at a time."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from denoise_daisy.exporting.choice import Choice, Part
from denoise_daisy.exporting.picture import StoredLevel

SLAB_BYTES = 1 << 28
"""Of the planes that are held at once."""

BOX_BYTES = 1 << 26
"""Of the chunks that are read at once to fill them."""


def pages(
    choice: Choice, part: Part, told: Callable[[], object]
) -> Iterator[np.ndarray]:
    """Pages ``(y, x)`` of a level, in the order of t, then z, then c.

    `told` is called at each.
    """
    t, z, _, _ = part.box
    for i in range(t.start, t.stop):
        shown = iter(part.planes)
        plane = next(shown, None)
        for first, last in _slabs(part, len(choice.picture.channels)):
            slab = _slab(part, slice(i, i + 1), slice(first, last))
            while plane is not None and plane + z.start < last:
                for channel in choice.channels:
                    told()
                    yield slab[channel, plane + z.start - first]
                plane = next(shown, None)
            del slab


def _slabs(part: Part, channels: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 plane of what is held at once, cut where chunks are cut."""
    _, z, _, _ = part.box
    y, x = part.plane_shape
    layout = part.level.layout
    plane_bytes = channels * y * x * np.dtype(layout.dtype).itemsize
    chunk, most = layout.chunks[2], max(1, SLAB_BYTES // plane_bytes)
    first = z.start
    while first < z.stop:
        last = min(first - first % chunk + chunk, first + most, z.stop)
        yield first, last
        first = last


def _slab(part: Part, t: slice, z: slice) -> np.ndarray:
    """Planes of a time point, ``(c, z, y, x)``, read in boxes of whole chunks."""
    _, _, y, x = part.box
    level = part.level
    channels = level.layout.shape[1]
    shape = (channels, z.stop - z.start, *part.plane_shape)
    slab = np.empty(shape, level.layout.dtype)
    height, width = _box_shape(level)
    for ys, xs in itertools.product(_cut(y, height), _cut(x, width)):
        here = slice(ys.start - y.start, ys.stop - y.start)
        there = slice(xs.start - x.start, xs.stop - x.start)
        slab[:, :, here, there] = level.read((t, z, ys, xs))[0]
    return slab


def _box_shape(level: StoredLevel) -> tuple[int, int]:
    """Voxels along (y, x) of which whole chunks are read at once."""
    _, _, depth, height, width = level.layout.chunks
    channels, across = level.layout.shape[1], level.layout.shape[4]
    chunk = channels * depth * height * width * np.dtype(level.layout.dtype).itemsize
    most = max(1, BOX_BYTES // chunk)
    columns = min(most, -(-across // width))
    return height * max(1, most // columns), width * columns


def _cut(part: slice, length: int) -> Iterator[slice]:
    """A part, cut where multiples of a length lie."""
    first = part.start
    while first < part.stop:
        last = min(first - first % length + length, part.stop)
        yield slice(first, last)
        first = last
