"""Functions for tasks of kind "function": copy one, and make it yours.

A task's function gets a block and a context, and returns an array:

- `block` is what the task reads, of ``(t, c, z, y, x)``: the voxels to write and the
  context around them, clipped at the image's border.
- `context` knows where the block lies (`roi` is what was read, `write_roi` what will be
  written, `image_roi` all there is; in voxels of ``(t, z, y, x)``), the `voxel_size_um`
  along ``(z, y, x)``, the `factor` of a pyramid's level along ``(t, z, y, x)``, the
  task's `params`, and its `inputs` by name.
- What it returns has the block's t, z, y and x; the context is trimmed off afterwards.
  For the output "values" it is any small array.

zscore.json, registration.json and watershed.json use these functions.
"""

# scikit-image and scipy say nothing about types.
# mypy: disable-error-code="import-untyped, no-untyped-call, no-any-return"

import math
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.signal.windows import hann
from skimage import segmentation
from skimage.feature import peak_local_max
from skimage.registration import phase_cross_correlation


def zscore(block: np.ndarray, context: Any) -> np.ndarray:
    """How far each voxel is from its mean over time, in standard deviations.

    As scipy.stats.zscore along t, but voxels that never change are 0, not NaN.  Needs
    blocks that span t.

    Returns
    -------
    float32 of ``(t, c, z, y, x)``.
    """
    scores = block - block.mean(axis=0, dtype=np.float64)
    std = scores.std(axis=0)
    scores /= np.where(std > 0, std, 1)
    return scores.astype(np.float32)


def estimate_shifts(block: np.ndarray, context: Any) -> np.ndarray:
    """How far each time point must be moved to lie on the reference.

    Needs one block that spans all, such as a coarse level of the pyramid, and the
    output "values".  Finds shifts of up to about a quarter of the image; an empty time
    point is not moved.

    Params: `channel` to look at (0), time point that is the `reference` (0),
    `upsample` (10): shifts are found to 1 / upsample voxels of the block, and `rounds`
    (4): each looks at what the one before has moved, and so is closer.

    Returns
    -------
    float64 of ``(t, 3)``: voxels of level 0 along ``(z, y, x)``.
    """
    params = context.params
    volumes = block[:, params.get("channel", 0)].astype(np.float64)
    reference = volumes[params.get("reference", 0)]
    shifts = np.zeros((len(volumes), 3))
    for t, volume in enumerate(volumes):
        if not np.ptp(volume) or not np.ptp(reference):
            continue
        for _ in range(params.get("rounds", 4)):
            moved = ndimage.shift(volume, shifts[t], order=1, mode="nearest")
            # The phases of what is smooth, as denoised images are, are mostly noise.
            further, _, _ = phase_cross_correlation(
                _faded(reference),
                _faded(moved),
                upsample_factor=params.get("upsample", 10),
                normalization=None,
            )
            shifts[t] += further
    return shifts * np.asarray(context.factor[1:])


def _faded(volume: np.ndarray) -> np.ndarray:
    """Contrast that fades out towards the borders.

    Otherwise objects cut by a border, which does not move, pull all shifts to 0.
    """
    faded = volume - volume.mean()
    for axis, extent in enumerate(volume.shape):
        along = np.expand_dims(hann(extent + 2)[1:-1], axis=(0, 1))
        faded *= np.moveaxis(along, 2, axis)
    return faded


def apply_shifts(block: np.ndarray, context: Any) -> np.ndarray:
    """Move each time point by its shift, with linear interpolation.

    Needs a context of the largest shift, rounded up.  Voxels that come from outside the
    image are 0.

    Params: `shifts`, the name of the input that holds them: ``(t, 3)``, in voxels along
    ``(z, y, x)``, a row for each time point of the image.

    Returns
    -------
    float32 of ``(t, c, z, y, x)``.

    Raises
    ------
    ValueError
        The context is smaller than a shift; the message says what it must be.
    """
    # Without the rounding errors of 2.9999999999999996, no voxel at the image's border
    # is inside in one block and outside in another.
    shifts = np.round(context.inputs[context.params["shifts"]], 3)
    _check_context(shifts, context)
    first = context.roi.begin[0] - context.image_roi.begin[0]
    moved = np.empty(block.shape, np.float32)
    for t, c in np.ndindex(block.shape[:2]):
        moved[t, c] = ndimage.shift(
            block[t, c], shifts[first + t], np.float32, order=1, mode="constant", cval=0
        )
    return moved


def _check_context(shifts: np.ndarray, context: Any) -> None:
    """Refuse shifts from beyond the block; what lies outside the image is known."""
    read, write, image = context.roi, context.write_roi, context.image_roi
    for axis, letter in enumerate("zyx", start=1):
        forth, back = shifts[:, axis - 1].max(), -shifts[:, axis - 1].min()
        before = write.begin[axis] - read.begin[axis]
        after = read.end[axis] - write.end[axis]
        if (forth > before and read.begin[axis] > image.begin[axis]) or (
            back > after and read.end[axis] < image.end[axis]
        ):
            needed = math.ceil(max(forth, back))
            raise ValueError(
                f"Time points are shifted by up to {max(forth, back):g} voxels along"
                f" {letter}, which is more than the block's context. Expected {needed}"
                f" or more for blocks.context.{letter} of this task."
            )


def watershed(block: np.ndarray, context: Any) -> np.ndarray:
    """Split objects that touch, by a watershed of the distance to their border.

    A block can't number the objects of the whole volume.  So this returns a mask in
    which a line of background runs between touching objects; a label task of
    connectivity 1 on it numbers them over the whole volume.

    Needs a context of a few radii of the largest object, two at least.  With less, an
    object that lies in two blocks may be cut differently in each.

    Params: `channel` to look at (0); `threshold` (0): objects are what is brighter, so
    that a mask can be the input as well; and `min_distance` (5): least distance of the
    centres of two touching objects, in voxels.

    Returns
    -------
    uint8 of ``(t, 1, z, y, x)``: 1 in objects, 0 on lines and in the background.
    """
    params = context.params
    masks = block[:, params.get("channel", 0)] > params.get("threshold", 0)
    sampling = None if None in context.voxel_size_um else context.voxel_size_um
    split = [_split(mask, params.get("min_distance", 5), sampling) for mask in masks]
    return np.stack(split)[:, np.newaxis].astype(np.uint8)


def _split(mask: np.ndarray, min_distance: int, sampling: Any) -> np.ndarray:
    """The mask of ``(z, y, x)`` without the lines between its objects."""
    if not mask.any():
        return mask
    distance = ndimage.distance_transform_edt(mask, sampling)
    # A slight slope: equal distances would be taken in another order in each block.
    z, y, x = np.ogrid[tuple(slice(extent) for extent in mask.shape)]
    distance += 1e-6 * (2**0.5 * z + 3**0.5 * y + 5**0.5 * x)
    pieces, _ = ndimage.label(mask)
    peaks = peak_local_max(distance, min_distance, exclude_border=False, labels=pieces)
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = segmentation.watershed(-distance, markers, mask=mask)
    # Not by watershed_line=True: scikit-image 0.26 may not come to an end with it.
    split = mask.copy()
    for axis in range(mask.ndim):
        along = np.moveaxis(labels, axis, 0)
        is_line = (along[:-1] != along[1:]) & (along[1:] > 0)
        np.moveaxis(split, axis, 0)[:-1][is_line] = False
    return split
