"""Filters whose output voxel depends on a window of the input; no I/O.

Blocks are arrays of ``(t, c, z, y, x)``, of which each channel is filtered by itself.
Widths and reaches are in voxels of ``(t, z, y, x)``.  Beyond its border an image goes
on as its mirror image.  A block read with its reach, or to the image's border where
that is nearer, is filtered to the bits of the whole image.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

GAUSSIAN_BYTES = 13
"""Peak memory of a Gaussian per voxel beside the input, until it is of the output's
type."""

TRUNCATE = 4.0
"""Where a Gaussian ends, in standard deviations."""


def gaussian(block: np.ndarray, sigma: Sequence[float]) -> np.ndarray:
    """The block convolved with a Gaussian of that standard deviation, as float64."""
    t, z, y, x = sigma
    result: np.ndarray = _ndimage().gaussian_filter(
        block,
        (t, 0, z, y, x),
        output=np.float64,
        mode="reflect",
        truncate=TRUNCATE,
    )
    return result


def gaussian_reach(sigma: Sequence[float]) -> tuple[int, ...]:
    """Voxels beyond an output voxel that can change it."""
    return tuple(int(TRUNCATE * width + 0.5) for width in sigma)


def median(block: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The median of a window of `size` voxels around each, of the block's type.

    A window of even extent has its additional voxel before its centre, and of an even
    number of values the larger one in the middle is taken.
    """
    t, z, y, x = size
    result: np.ndarray = _ndimage().median_filter(
        block, (t, 1, z, y, x), mode="reflect"
    )
    return result


def median_reach(size: Sequence[int]) -> tuple[int, ...]:
    """Voxels beyond an output voxel that can change it, on the side with more."""
    return tuple(extent // 2 for extent in size)


def scipy_version() -> dict[str, str]:
    """What may change the bytes of these filters."""
    return {"scipy": version("scipy")}


def scipy_engine() -> str:
    """What computes these filters, in words."""
    return " ".join(*scipy_version().items())


def _ndimage() -> Any:
    """A tenth of a second to import, which only workers need spend."""
    from scipy import ndimage  # noqa: PLC0415

    return ndimage
