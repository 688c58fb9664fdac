"""A block's result, fitted to what is to be written: trimmed, rounded, clipped."""

import numpy as np
from funlib.geometry import Roi


def trim(block: np.ndarray, read_roi: Roi, write_roi: Roi) -> np.ndarray:
    """The part to write, a view of ``(t, c, z, y, x)``.

    Raises
    ------
    ValueError
        The array is neither as large as what was read nor as what is written.
    """
    if block.ndim == 5:
        voxels = (block.shape[0], *block.shape[2:])
        if voxels == tuple(write_roi.shape):
            return block
        if voxels == tuple(read_roi.shape):
            t, z, y, x = (write_roi - read_roi.begin).to_slices()
            return block[t, :, z, y, x]
    raise ValueError(
        f"an array of shape {block.shape} came out, where t, c, z, y, x were expected,"
        f" with {tuple(read_roi.shape)} (as read) or {tuple(write_roi.shape)} voxels"
        " (as written) along t, z, y, x"
    )


def convert(block: np.ndarray, dtype: str) -> tuple[np.ndarray, int]:
    """The block as another type, and how many voxels had to be clipped for it.

    Integers are rounded to nearest (to even at .5) and clipped to the type's range;
    NaN becomes 0.  A float `block` may be overwritten.
    """
    wanted = np.dtype(dtype).newbyteorder("<")
    if dtype == "float32" or block.dtype in (wanted, np.bool_):
        return np.ascontiguousarray(block, wanted), 0
    limits = np.iinfo(dtype)
    if block.dtype.kind == "f":
        if limits.max >> (np.finfo(block.dtype).nmant + 1):
            # The largest uint32 is no float32: it would be clipped to one more.
            block = block.astype(np.float64)
        np.rint(block, out=block)
    fits = (block >= limits.min) & (block <= limits.max)
    clipped = block.size - int(np.count_nonzero(fits))
    if clipped:
        if block.dtype.kind == "f":
            # In place, for there may be little memory; of NaN and 0 this takes 0.
            np.fmax(block, limits.min, out=block)
            np.fmin(block, limits.max, out=block)
        else:
            block = np.clip(block, limits.min, limits.max)
    return np.ascontiguousarray(block, wanted), clipped
