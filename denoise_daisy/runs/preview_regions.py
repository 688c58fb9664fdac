"""Which small regions of an image a preview shows: asked for, or chosen."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES
from denoise_daisy.images.image import Image, valid_in

PLANES = 9
"""Planes that are looked at, spread over T and Z."""

FIELDS, FIELD_EDGE, WHOLE_PLANE = 3, 1024, 8_000_000
"""A plane of more voxels, all channels together, is looked at in fields of that edge:
so many along y and along x, spread evenly."""

CELL = 4
"""Edge of the cells whose means tell structure from noise, in voxels."""


@dataclass(frozen=True, slots=True)
class Region:
    """A small part of an image."""

    roi: Roi
    """In voxels of the image, ``(t, z, y, x)``."""
    why: str
    """What it was chosen for."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    roi: Roi
    brightness: float
    structure: float

    @property
    def plane(self) -> tuple[int, int]:
        t, z, _, _ = self.roi.begin
        return t, z


def asked_region(text: str, volume: Roi, shape: Sequence[int]) -> Region:
    """The region that ``z=0:4,y=0:48,x=0:48`` means, or ``z=3``, within the volume.

    Along an axis not named it lies in the middle, and has the extent of `shape`.

    Raises
    ------
    InputError
        It means none, or one that the run does not write.
    """
    begin = [
        b + (e - b - n) // 2
        for b, e, n in zip(volume.begin, volume.end, shape, strict=True)
    ]
    end = [b + n for b, n in zip(begin, shape, strict=True)]
    for part in text.split(","):
        axis, first, last = range_of(text, part)
        i = AXES.index(axis)
        if not volume.begin[i] <= first < last <= volume.end[i]:
            raise InputError(
                f"--roi {text!r} asks for {axis} {first}:{last}, but the run writes"
                f" {axis} {volume.begin[i]}:{volume.end[i]}. Expected a range within"
                " that."
            )
        begin[i], end[i] = first, last
    return Region(
        Roi(begin, [e - b for b, e in zip(begin, end, strict=True)]), "as asked"
    )


def range_of(text: str, part: str) -> tuple[str, int, int]:
    """Axis, first and last + 1 voxel of a part of an option such as ``z=0:4,y=3``.

    Raises
    ------
    InputError
        It is no range.
    """
    axis, _, numbers = part.strip().partition("=")
    first, colon, last = numbers.partition(":")
    if axis in AXES and first.strip().isdecimal():
        if not colon:
            return axis, int(first), int(first) + 1
        if last.strip().isdecimal():
            return axis, int(first), int(last)
    raise InputError(
        f"--roi {text!r} can't be used: {part!r} is no range. Expected voxels by axis,"
        " such as z=0:4,y=0:48,x=0:48."
    )


def choose_regions(
    image: Image, volume: Roi, shape: Sequence[int], count: int
) -> list[Region]:
    """As many regions of that shape ``(t, z, y, x)``, in different planes if possible.

    Only some planes are read.  The first has the most structure; then come the
    brightest, the dimmest, one of middle brightness, and others with structure.
    Fewer, where there are no more that do not overlap.

    Raises
    ------
    InputError
        All that was looked at is of one value, or holds no finite numbers.
    """
    found = list(_candidates(image, volume, shape))
    if not found:
        raise InputError(
            "There is nothing to preview: wherever the image was looked at, it is of"
            " one value, or holds no finite numbers. Name a part with --roi."
        )
    brightness = sorted(c.brightness for c in found)
    middle = brightness[len(brightness) // 2]
    criteria = [
        ("most structure", lambda c: c.structure),
        ("brightest", lambda c: c.brightness),
        ("dimmest", lambda c: -c.brightness),
        ("middle brightness", lambda c: -abs(c.brightness - middle)),
    ]
    wanted = itertools.chain(criteria, itertools.repeat(criteria[0]))
    chosen: list[_Candidate] = []
    regions: list[Region] = []
    for why, worth in itertools.islice(wanted, count):
        free = [c for c in found if not any(c.roi.intersects(o.roi) for o in chosen)]
        if not free:
            break
        planes = {c.plane for c in chosen}
        elsewhere = [c for c in free if c.plane not in planes]
        chosen.append(max(elsewhere or free, key=worth))
        is_more = len(regions) >= len(criteria)
        regions.append(Region(chosen[-1].roi, "more structure" if is_more else why))
    return regions


def _candidates(
    image: Image, volume: Roi, shape: Sequence[int]
) -> Iterator[_Candidate]:
    """All windows of the planes looked at, with what tells them apart."""
    _, depth, height, width = shape
    rois, means, details = [], [], []
    for (t, z), y, x in _fields(image, volume, depth):
        key = (slice(t, t + 1), slice(None), slice(z + depth // 2, z + depth // 2 + 1))
        there = slice(y.start, y.stop), slice(x.start, x.stop)
        field = image[(*key, *there)][0, :, 0]
        for top, left in itertools.product(
            range(0, field.shape[1] - height + 1, height),
            range(0, field.shape[2] - width + 1, width),
        ):
            window = field[:, top : top + height, left : left + width].astype(float)
            if not np.isfinite(window).all() or not np.ptp(window):
                continue
            roi = Roi((t, z, y.start + top, x.start + left), shape)
            if valid_in(image, roi) is not None:
                continue
            rois.append(roi)
            means.append(window.mean(axis=(1, 2)))
            details.append(_detail(window))
    if rois:
        brightness, structure = (_over_channels(v) for v in (means, details))
        for roi, b, s in zip(rois, brightness, structure, strict=True):
            yield _Candidate(roi, float(b), float(s))


def _fields(
    image: Image, volume: Roi, depth: int
) -> Iterator[tuple[tuple[int, int], range, range]]:
    """First plane ``(t, z)`` and the ranges of y and x of what is looked at."""
    (t0, z0, y0, x0), (times, layers, height, width) = volume.begin, volume.shape
    depths = layers - depth + 1
    is_small = height * width * image.shape[1] <= WHOLE_PLANE
    ranges = [
        [range(begin, begin + extent)] if is_small else _spread(begin, extent)
        for begin, extent in ((y0, height), (x0, width))
    ]
    planes = min(PLANES, times * depths)
    # Depths in turn: late time points are not all looked at in the far layers.
    turns = max(1, min(planes, depths))
    for i in range(planes):
        t = t0 + round(i * (times - 1) / max(1, planes - 1))
        z = z0 + round((i % turns) * (depths - 1) / max(1, turns - 1))
        for y, x in itertools.product(*ranges):
            yield (t, z), y, x


def _spread(begin: int, extent: int) -> list[range]:
    edge = min(FIELD_EDGE, extent)
    starts = [round(i * (extent - edge) / (FIELDS - 1)) for i in range(FIELDS)]
    return [range(begin + s, begin + s + edge) for s in dict.fromkeys(starts)]


def _detail(window: np.ndarray) -> np.ndarray:
    """How much the means of small cells differ, per channel of ``(c, y, x)``."""
    height, width = (max(1, min(CELL, n)) for n in window.shape[1:])
    rows, columns = window.shape[1] // height, window.shape[2] // width
    cut = window[:, : rows * height, : columns * width]
    cells = cut.reshape(-1, rows, height, columns, width).mean(axis=(2, 4))
    return np.asarray(cells.std(axis=(1, 2)))


def _over_channels(values: Sequence[np.ndarray]) -> np.ndarray:
    """One number of each candidate: of each channel in units of the largest, added."""
    table = np.array(values)
    least, most = table.min(axis=0), table.max(axis=0)
    scaled = (table - least) / np.maximum(most - least, 1e-12)
    return np.asarray(scaled.sum(axis=1))


def region_shape(volume: Roi, depth: int, edge: int) -> Coordinate:
    """A shape ``(t, z, y, x)`` of one time point, no larger than the volume."""
    return Coordinate(map(min, (1, depth, edge, edge), volume.shape))
