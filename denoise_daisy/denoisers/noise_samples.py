"""Windows of an image that tell of its noise, spread over T, Z and grey levels.

However large the image is, some dozens of its planes are looked at, each in an area of
bounded size; of that, windows are kept from the darkest to the brightest.  A small
image is taken whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from denoise_daisy.images.image import Image

VOXELS = 1 << 24
"""Most voxels that are kept of a channel."""

LOOKS = 48
MOST_LOOKS = 512
"""Areas that are looked at: of a large image, and at most."""

AREA = 2048
"""Voxels of an area along y, and along x, at most."""

WINDOW = 128
"""The same of a window, where an area is not kept whole."""

DENSER = (1, 4, 16)
"""Times as many areas are thought of, where many are missing in the file."""

GOLDEN = 0.618
"""Part of an axis by which places are shifted, so that they meet all of it."""


@dataclass(frozen=True, slots=True)
class Window:
    """A place in a plane of an image, in voxels."""

    t: int
    z: int
    y: tuple[int, int]
    """From the first to behind the last."""
    x: tuple[int, int]

    def key(self, channel: int) -> tuple[slice, ...]:
        """Its slices along (t, c, z, y, x)."""
        points = (slice(n, n + 1) for n in (self.t, channel, self.z))
        return (*points, slice(*self.y), slice(*self.x))


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """What one channel shows in a window."""

    window: Window
    voxels: np.ndarray
    """Grey levels, (y, x)."""
    valid: np.ndarray | None
    """Which of them the file holds, at least one; None: all."""


def sample(image: Image, channel: int) -> list[Sample]:
    """Samples of a channel, T ascending; none where the file holds nothing of it.

    Raises
    ------
    InputError
        They can't be read.
    """
    areas = _areas(image, channel)
    most = VOXELS // max(1, len(areas))
    return [kept for area in areas for kept in _kept(image, channel, area, most)]


def _areas(image: Image, channel: int) -> list[Window]:
    """Areas of planes that are there, evenly spread over T, Z and the plane."""
    *_, height, width = image.shape
    size = min(height, AREA) * min(width, AREA)
    most = max(LOOKS, min(MOST_LOOKS, VOXELS // size))
    every = _EveryArea(image.shape)
    held: list[Window] = []
    for times in DENSER:
        wanted = [every[i] for i in _evenly(len(every), times * most)]
        held = [area for area in wanted if _is_held(image, area.key(channel))]
        if len(held) >= most:
            break
    return [held[i] for i in _evenly(len(held), most)]


@dataclass(frozen=True, slots=True)
class _EveryArea:
    """All areas of an image of ``(t, c, z, y, x)``, each once, T ascending.

    From one time point to the next, areas and depths are shifted: else those that are
    picked evenly may all lie at one depth.
    """

    shape: tuple[int, ...]

    def __len__(self) -> int:
        t, _, z, y, x = self.shape
        return t * z * len(_cut(y, AREA)) * len(_cut(x, AREA))

    def __getitem__(self, i: int) -> Window:
        t_size, _, z_size, y_size, x_size = self.shape
        places = list(product(_cut(y_size, AREA), _cut(x_size, AREA)))
        where = np.unravel_index(i, (t_size, len(places), z_size))
        t, place, z = (int(n) for n in where)
        shift = (t * len(places) + place) * round(GOLDEN * z_size)
        y, x = places[(place + t * round(GOLDEN * len(places))) % len(places)]
        return Window(t, (z + shift) % z_size, y, x)


def _kept(image: Image, channel: int, area: Window, most: int) -> Iterator[Sample]:
    """The area, or windows in it of all brightnesses, of so many voxels at most."""
    key = area.key(channel)
    plane, mask = image[key][0, 0, 0], image.valid(key)
    valid = None if mask is None else mask[0, 0, 0]
    if plane.size <= most:
        yield Sample(area, plane, valid)
        return
    cells = []
    for y, x in product(_cut(plane.shape[0], WINDOW), _cut(plane.shape[1], WINDOW)):
        part = slice(*y), slice(*x)
        there = None if valid is None or valid[part].all() else valid[part]
        level = _level(plane[part], there)
        if level is not None:
            cells.append((level, y, x, there))
    cells.sort(key=lambda cell: cell[:3])
    for i in _evenly(len(cells), most // WINDOW**2):
        _, y, x, there = cells[i]
        top, left = area.y[0], area.x[0]
        rows, columns = (top + y[0], top + y[1]), (left + x[0], left + x[1])
        window = Window(area.t, area.z, rows, columns)
        voxels = plane[slice(*y), slice(*x)].copy()
        yield Sample(window, voxels, None if there is None else there.copy())


def _level(voxels: np.ndarray, valid: np.ndarray | None) -> float | None:
    """Their mean; None where the file holds none of them."""
    if valid is not None:
        voxels = voxels[valid]
    with np.errstate(all="ignore"):  # floats may be inf
        return float(voxels.mean(dtype=float)) if voxels.size else None


def _is_held(image: Image, key: tuple[slice, ...]) -> bool:
    mask = image.valid(key)
    return mask is None or bool(mask.any())


def _evenly(size: int, most: int) -> list[int]:
    """Places in a row of that size, at most so many, from the first to the last."""
    return [round(n) for n in np.linspace(0, size - 1, min(size, most))]


def _cut(size: int, longest: int) -> list[tuple[int, int]]:
    """An axis cut into equal parts, each from its first voxel to behind its last."""
    count = -(-size // longest)
    return list(pairwise(i * size // count for i in range(count + 1)))
