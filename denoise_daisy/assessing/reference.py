"""How like a reference image the output is, beside how like it the raw image was."""

import math
from collections.abc import Sequence

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.algorithms.likeness import Likeness as Found
from denoise_daisy.algorithms.likeness import likeness
from denoise_daisy.assessing.allowance import Allowance
from denoise_daisy.assessing.on_disk import OnDisk, UnreadableError
from denoise_daisy.assessing.places import Place
from denoise_daisy.assessing.values import Likeness
from denoise_daisy.errors import InputError
from denoise_daisy.images.formats import open_image
from denoise_daisy.images.image import Image, roi_of
from denoise_daisy.images.input import OneInput

WHOLE = 4_000_000
"""Voxels, all channels together, up to which all of an image is compared; of a larger
one the places that are looked at anyway."""


def open_reference(path: str, disk: OnDisk) -> tuple[Image, bool]:
    """The reference, and whether it is of the whole image, or just of the output.

    Raises
    ------
    InputError
        It can't be read, or is of another shape.
    """
    image = _opened(path, disk.run.config.input.axes)
    t, z, y, x = disk.volume.shape
    output = (t, disk.run.image.shape[1], z, y, x)
    if tuple(image.shape) == tuple(disk.run.image.shape):
        return image, True
    if tuple(image.shape) == output:
        return image, False
    raise InputError(
        f"The reference {path!r} is of {_said(image.shape)} voxels (t c z y x)."
        f" Expected the shape of the output, {_said(output)}, or that of the whole"
        f" image, {_said(disk.run.image.shape)}."
    )


def _opened(path: str, axes: str | None) -> Image:
    """The reference; a bare array has the axes that the input's was given."""
    try:
        return open_image(OneInput(path=path))
    except InputError:
        if axes is None:
            raise
        return open_image(OneInput(path=path, axes=axes))


def _said(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def likenesses(
    disk: OnDisk, path: str, places: Sequence[Place], allowed: Allowance
) -> list[Likeness]:
    """Of each channel: of all of a small image, of the places in a large one.

    Raises
    ------
    InputError
        The reference can't be used.
    UnreadableError
        The output can't be read.
    """
    reference, is_whole = open_reference(path, disk)
    origin = roi_of(reference).begin if is_whole else disk.volume.begin
    small = math.prod(disk.volume.shape) * reference.shape[1] <= WHOLE
    takes_all = small and disk.is_done(disk.volume)
    rois = [disk.volume] if takes_all else [place.roi for place in places]
    if not rois:
        allowed.leave_out("The reference", "nothing of the output can be read")
        return []
    truth = [_part(reference, roi - origin) for roi in rois]
    after = [disk.denoised(roi) for roi in rois]
    before: list[np.ndarray] | None = None
    if not disk.input_problem:
        try:
            before = [disk.raw(roi) for roi in rois]
        except UnreadableError as error:
            allowed.leave_out("The raw image beside the reference", str(error))
    found = []
    for c, channel in enumerate(disk.channels):
        raw = None if before is None else _compared(before, truth, c)
        denoised = _compared(after, truth, c)
        found.append(
            Likeness(
                channel=channel,
                psnr_raw=None if raw is None else raw.psnr,
                psnr_denoised=denoised.psnr,
                ssim_raw=None if raw is None else raw.ssim,
                ssim_denoised=denoised.ssim,
            )
        )
    return found


def _part(image: Image, roi: Roi) -> np.ndarray:
    t, z, y, x = roi.to_slices()
    return image[t, slice(None), z, y, x]


def _compared(
    images: Sequence[np.ndarray], truth: Sequence[np.ndarray], c: int
) -> Found:
    """All planes of a channel of all parts, which are alike in y and x."""
    one, other = (
        np.concatenate([v[:, c].reshape(-1, *v.shape[3:]) for v in many])
        for many in (images, truth)
    )
    return likeness(one, other)
