"""Grey levels of regions, the same in whatever order their voxels are measured.

Sums of floats depend on the order, and so a table on the blocks that it was measured
in.  Here a sum is a whole number of units, kept as digits of 24 bits that are added
without a carry, which 10^11 voxels can't overflow; only the end result is rounded.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

BITS = 24
"""Of a digit."""


@dataclass(frozen=True, slots=True)
class Digits:
    """How the grey levels of a type are added up."""

    unit: int
    """Grey levels count as multiples of 2 to the power of this; others are rounded."""

    levels: int
    """Digits of a grey level."""

    squares: int
    """Digits of the square of one."""


OF_INTEGERS = {1: Digits(0, 1, 1), 2: Digits(0, 1, 2), 4: Digits(0, 2, 3)}
"""By the bytes of a voxel, of types without a sign."""

OF_FLOATS = Digits(-56, 4, 8)
"""Of float32 nothing is rounded from 2^-32 on; from 2^40 on nothing can be counted.
All other types are taken as float32."""

REDUCED_BY: dict[str, np.ufunc] = {
    "levels": np.add,
    "squares": np.add,
    "lowest": np.minimum,
    "highest": np.maximum,
    "uncounted": np.add,
}
"""What becomes of the columns of regions that are joined."""


@dataclass(frozen=True, slots=True)
class Intensities:
    """What the voxels of regions measure in a channel; no numbers where some are none.

    The mean is the float nearest to it.  The standard deviation is that of all voxels
    (divided by their number, not by one less), the root of the float nearest to its
    square.
    """

    mean: np.ndarray
    std: np.ndarray
    min: np.ndarray
    max: np.ndarray


def columns(channels: int, dtype: Any) -> list[tuple[str, str, tuple[int, ...]]]:
    """Columns of a table of regions, for grey levels of a type.

    ``levels`` and ``squares`` are sums of their digits and of those of their squares,
    ``lowest`` and ``highest`` the extremes, ``uncounted`` the number of those that
    can't be counted, as they are no finite number or too large.
    """
    digits = _digits_of(dtype)
    return [
        ("levels", "<i8", (channels, digits.levels)),
        ("squares", "<i8", (channels, digits.squares)),
        ("lowest", "<f8", (channels,)),
        ("highest", "<f8", (channels,)),
        ("uncounted", "<i8", (channels,)),
    ]


def measured(image: np.ndarray, starts: np.ndarray) -> dict[str, np.ndarray]:
    """These columns of the runs of a flat image that begin at `starts`."""
    digits, units = _digits_of(image.dtype), _in_units(image)
    strange = (~_can_be_counted(image)).astype(np.int64)

    def sums(numbers: np.ndarray, count: int) -> np.ndarray:
        each = [np.add.reduceat(d, starts) for d in _digits(numbers, count)]
        return np.stack(each, axis=-1)

    with np.errstate(invalid="ignore"):  # minimum of what is no number
        extremes = (
            np.minimum.reduceat(image, starts),
            np.maximum.reduceat(image, starts),
        )
    return {
        "levels": sums(units, digits.levels),
        "squares": sums(units * units, digits.squares),
        "lowest": extremes[0],
        "highest": extremes[1],
        "uncounted": np.add.reduceat(strange, starts),
    }


def intensities(table: np.ndarray, channel: int, dtype: Any) -> Intensities:
    """What regions measure in a channel of that type, by a table that has `columns`."""
    unit = _digits_of(dtype).unit
    means, deviations = np.empty(len(table)), np.empty(len(table))
    levels, squares = (
        table[name][:, channel].tolist() for name in ("levels", "squares")
    )
    rows = zip(table["voxels"].tolist(), levels, squares, strict=True)
    for i, (voxels, level, square) in enumerate(rows):
        total, of_squares = _whole(level), _whole(square)
        means[i] = math.ldexp(total / voxels, unit)
        variance = (voxels * of_squares - total * total) / (voxels * voxels)
        deviations[i] = math.ldexp(math.sqrt(variance), unit)
    strange = table["uncounted"][:, channel] > 0
    means[strange] = deviations[strange] = np.nan
    return Intensities(
        means, deviations, table["lowest"][:, channel], table["highest"][:, channel]
    )


def _digits_of(dtype: Any) -> Digits:
    kind = np.dtype(dtype)
    return OF_INTEGERS.get(kind.itemsize, OF_FLOATS) if kind.kind in "bu" else OF_FLOATS


def _can_be_counted(image: np.ndarray) -> np.ndarray:
    if _digits_of(image.dtype) is not OF_FLOATS:
        return np.ones(image.shape, bool)
    most = 2.0 ** (OF_FLOATS.levels * BITS + OF_FLOATS.unit)
    return np.asarray(np.abs(image.astype(np.float64)) < most)


def _in_units(image: np.ndarray) -> np.ndarray:
    """Grey levels as whole numbers of units: uint64, or float64 without a fraction."""
    if _digits_of(image.dtype) is not OF_FLOATS:
        return image.astype(np.uint64)
    numbers = np.where(_can_be_counted(image), image, 0).astype(np.float32)
    return np.rint(np.ldexp(numbers.astype(np.float64), -OF_FLOATS.unit))


def _digits(numbers: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """The digits of whole numbers, the least first, int64; signed as the number is."""
    digit: np.ndarray
    higher: np.ndarray
    for _ in range(count):
        if numbers.dtype.kind == "u":
            digit = numbers & np.uint64((1 << BITS) - 1)
            higher = numbers >> np.uint64(BITS)
        else:
            higher = np.trunc(numbers * 2.0**-BITS)
            digit = numbers - higher * 2.0**BITS
        yield digit.astype(np.int64)
        numbers = higher


def _whole(digits: list[int]) -> int:
    return sum(digit << (BITS * place) for place, digit in enumerate(digits))
