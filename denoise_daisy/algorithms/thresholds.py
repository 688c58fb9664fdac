"""Global thresholds: found from samples of an image, and applied to blocks; no I/O."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from funlib.geometry import Roi

Method = Literal["otsu", "li", "triangle"]


def find_threshold(sample: np.ndarray, method: Method) -> float:
    """The grey value that scikit-image's ``threshold_<method>`` finds.

    NaN and infinite values are left out.  Of equal values it is that value, and NaN
    where none is left.

    Parameters
    ----------
    sample
        Voxels of one channel: uint8, uint16 or float32, of any shape.
    """
    # A third of a second to import, which only who looks for a threshold need spend.
    from skimage import filters  # noqa: PLC0415

    # Flat, for an axis of 3 or 4 voxels would be taken for one of colours.
    values = sample.ravel()
    if not np.issubdtype(values.dtype, np.integer):
        values = values[np.isfinite(values)]
    if values.size == 0:
        return math.nan
    if values.min() == values.max():
        return float(values[0])
    return float(getattr(filters, f"threshold_{method}")(values))


def above(block: np.ndarray, values: Sequence[float]) -> np.ndarray:
    """1 where a voxel is strictly above its channel's value, else 0, as uint8.

    `block` is ``(t, c, z, y, x)`` with one value per channel.  Compared is in float64,
    which holds every uint32 and float32.  NaN is never above, nor is anything above it.
    """
    per_channel = np.asarray(values, np.float64).reshape(1, -1, 1, 1, 1)
    is_above: np.ndarray = block > per_channel
    return is_above.view(np.uint8)


def sample_windows(
    shape: Sequence[int], most: int = 32, edge: Sequence[int] = (16, 256, 256)
) -> Iterator[Roi]:
    """Up to `most` windows of one time point, in voxels of ``(t, z, y, x)`` from 0.

    The volume of that shape is cut evenly into windows of at most `edge` voxels of
    ``(z, y, x)``.  If these are too many, they are thinned evenly in C order: the first
    and the last window, thus both ends of each axis, are always among them.
    """
    counts = [math.ceil(n / e) for n, e in zip(shape, (1, *edge), strict=True)]
    total = math.prod(counts)
    chosen = min(most, total)
    for i in range(chosen):
        flat = i * (total - 1) // max(1, chosen - 1)
        index = [int(position) for position in np.unravel_index(flat, counts)]
        cuts = list(zip(shape, counts, index, strict=True))
        begin = [n * position // count for n, count, position in cuts]
        end = [n * (position + 1) // count for n, count, position in cuts]
        yield Roi(begin, [e - b for b, e in zip(begin, end, strict=True)])
