"""Statistics of small blocks of planes, from which the noise of an image is told.

A plane is ``(y, x)``, in grey levels.  Noise is seen in what second differences along
both axes leave, ``[1 -2 1] x [1 -2 1] / 6`` (Immerkaer 1996, "Fast noise variance
estimation"): white noise keeps its variance, and of structure only that is left which
bends along y and along x at once.  The same with taps two voxels apart tells whether
the noise of neighbours is independent: if it is, as much is left.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy import ndimage

BLOCK = 8
"""Voxels of a block along y and along x."""

REACH = 2
"""Voxels that the wider filter reaches beyond a block on each side."""

LOOKED_AT = 2**20
"""Floats whose levels are counted, evenly spread over all; of integers, all are."""

MOST_BLOCKS = 300_000
"""More are thinned out evenly."""

_STRIP = 16
"""Rows of blocks that are measured at once: what they take stays in the cache."""

_CELL = 2
"""Voxels along y and along x of the cells whose means tell the texture."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Which grey levels there are, and which tell nothing of the noise."""

    values: np.ndarray
    """Those that were seen, in order."""

    counts: np.ndarray
    """How often, as float64."""

    up_to: np.ndarray
    """How many voxels are of a level or darker."""

    gap: float | None
    """What stands where the image holds nothing, far below all other levels."""

    saturation: float | None
    """The top level, where the detector or the format cut off what was brighter."""

    @property
    def lowest(self) -> float:
        """The lowest level of the image."""
        return float(self.values[0])

    @property
    def highest(self) -> float:
        """The highest level of the image."""
        return float(self.values[-1])

    @property
    def is_black_clipped(self) -> bool:
        """What is darker was clipped to the lowest level, by how many voxels are there.

        They stand out from the next level's by more than those do from the next but
        one's: counts of photons fall off evenly.
        """
        if len(self.counts) < 3 or self.counts[0] < 2e-3 * self.counts.sum():
            return False
        first, second, third = self.counts[:3]
        return bool(first * third > 1.3 * second**2)

    @property
    def saturated(self) -> float:
        """The share of the voxels at the saturated level."""
        if self.saturation is None:
            return 0.0
        return float(self.counts[-1] / self.up_to[-1])

    def quantile(self, share: float) -> float:
        """The level below or at which `share` of the voxels lie."""
        place = int(np.searchsorted(self.up_to, share * self.up_to[-1]))
        return float(self.values[min(place, len(self.values) - 1)])

    def share_below(self, level: float) -> float:
        """The share of the voxels that lie below a level."""
        place = int(np.searchsorted(self.values, level))
        return float(self.up_to[place - 1] / self.up_to[-1]) if place else 0.0


@dataclass(frozen=True, slots=True)
class Blocks:
    """Statistics of blocks; arrays whose first axis is the blocks."""

    mean: np.ndarray
    """Mean grey level."""

    left: np.ndarray
    """Mean squares of what the filter leaves, of ``(blocks, 2, 2)``: with taps one or
    two voxels apart along y, and along x."""

    texture: np.ndarray
    """Four times the variance of the means of 2 x 2 cells: structure, and noise."""

    dark: np.ndarray
    """Share of the voxels that are of the image's lowest level."""

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, which: np.ndarray | slice) -> "Blocks":
        return Blocks(*(getattr(self, field.name)[which] for field in fields(self)))


def levels_of(
    planes: Sequence[np.ndarray], valid: Sequence[np.ndarray | None]
) -> Levels:
    """The grey levels of the valid voxels of planes of ``(y, x)``, of one dtype.

    Raises
    ------
    ValueError
        There is no valid voxel, or one that is no finite number.
    """
    values, counts = _seen(planes, valid)
    if not len(values):
        raise ValueError("no voxel is valid")
    gap = None
    if len(values) > 2:
        steps = np.diff(values)
        is_far = steps[0] > 8 * np.median(steps[1:])
        if is_far and counts[0] > max(2 * counts[1], 1e-3 * counts.sum()):
            gap, values, counts = float(values[0]), values[1:], counts[1:]
    saturation = None
    if len(values) > 1 and counts[-1] > max(2 * counts[-2], 1e-4 * counts.sum()):
        saturation = float(values[-1])
    return Levels(values, counts, np.cumsum(counts), gap, saturation)


def measure(
    planes: Sequence[np.ndarray],
    valid: Sequence[np.ndarray | None],
    levels: Levels,
) -> Blocks:
    """Statistics of the blocks of planes of ``(y, x)``, in grey levels.

    Left out are blocks within `REACH` voxels of one that is not valid, of a gap or
    saturated, and blocks without noise: constant ones, and all at the lowest level.

    Raises
    ------
    ValueError
        All planes are too small.
    """
    parts = [
        part
        for plane, mask in zip(planes, valid, strict=True)
        for part in _measure_plane(plane, mask, levels)
    ]
    if not parts:
        raise ValueError(f"no plane holds a block of {BLOCK + 2 * REACH} voxels a side")
    columns = (
        np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Blocks)
    )
    blocks = Blocks(*columns)
    return blocks[:: max(1, -(-len(blocks) // MOST_BLOCKS))]


def _seen(
    planes: Sequence[np.ndarray], valid: Sequence[np.ndarray | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Levels in order, and how often each is seen."""
    if planes and planes[0].dtype.kind == "u":
        counts = np.zeros(np.iinfo(planes[0].dtype).max + 1)
        for plane, mask in zip(planes, valid, strict=True):
            seen = plane if mask is None else plane[mask]
            counts += np.bincount(seen.ravel(), minlength=len(counts))
        values = np.flatnonzero(counts)
        return values.astype(np.float64), counts[values]
    step = max(1, sum(plane.size for plane in planes) // LOOKED_AT)
    looked_at = [np.empty(0)]
    for plane, mask in zip(planes, valid, strict=True):
        seen = plane.ravel() if mask is None else plane[mask]
        if not np.isfinite(seen).all():
            raise ValueError("some voxels are no finite numbers")
        looked_at.append(seen[::step])
    values, number = np.unique(np.concatenate(looked_at), return_counts=True)
    return values, number.astype(np.float64)


def _measure_plane(
    plane: np.ndarray, mask: np.ndarray | None, levels: Levels
) -> Iterator[Blocks]:
    """The blocks of a plane, some rows of them at a time."""
    rows, columns = ((n - 2 * REACH) // BLOCK for n in plane.shape)
    if rows < 1 or columns < 1:
        return
    wide = slice(0, columns * BLOCK + 2 * REACH)
    for row in range(0, rows, _STRIP):
        count = min(_STRIP, rows - row)
        tall = slice(row * BLOCK, (row + count) * BLOCK + 2 * REACH)
        part = plane[tall, wide]
        with np.errstate(all="ignore"):  # voxels that are not valid may be anything
            blocks = _measure_strip(part, levels)
            fine = blocks.left[:, 0, 0]
            kept = (fine > 0) & np.isfinite(fine) & (blocks.dark < 1)
        useless = np.zeros(part.shape, bool) if mask is None else ~mask[tall, wide]
        for level in (levels.gap, levels.saturation):
            if level is not None:
                useless |= part == level
        if useless.any():
            near = ndimage.maximum_filter(useless, 2 * REACH + 1, mode="constant")
            inside = near[REACH:-REACH, REACH:-REACH].astype(np.float32)
            kept &= _means(inside, BLOCK).ravel() == 0
        yield blocks[kept]


def _measure_strip(part: np.ndarray, levels: Levels) -> Blocks:
    """All blocks of some rows of blocks, with `REACH` voxels around them."""
    values = part.astype(np.float32)
    left = [
        _means(np.square(_second_difference(bent, dx, axis=1)), BLOCK).ravel() / 36
        for bent in (_second_difference(values, dy, axis=0) for dy in (1, 2))
        for dx in (1, 2)
    ]
    inside = values[REACH:-REACH, REACH:-REACH]
    cells = _means(inside, _CELL)
    side = BLOCK // _CELL
    mean = _means(cells, side)
    cells -= mean.repeat(side, axis=0).repeat(side, axis=1)
    texture = _CELL**2 * _means(np.square(cells), side)
    dark = _means((inside == levels.lowest).astype(np.float32), BLOCK)
    by_taps = np.stack(left, axis=1).reshape(-1, 2, 2)
    return Blocks(mean.ravel(), by_taps, texture.ravel(), dark.ravel())


def _second_difference(values: np.ndarray, d: int, axis: int) -> np.ndarray:
    """``[1 -2 1]`` with taps `d` apart along an axis, of all but `REACH` of it."""
    before, middle, after = (
        (slice(None),) * axis + (slice(start, values.shape[axis] - 2 * REACH + start),)
        for start in (REACH - d, REACH, REACH + d)
    )
    difference: np.ndarray = values[before] + values[after]
    difference -= values[middle]
    difference -= values[middle]
    return difference


def _means(values: np.ndarray, side: int) -> np.ndarray:
    """Means of square cells that the array is cut into."""
    height, width = values.shape
    rows = values.reshape(height // side, side, width).sum(axis=1)
    cells: np.ndarray = rows.reshape(len(rows), width // side, side).sum(axis=2)
    return cells / side**2
