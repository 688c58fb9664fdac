"""How alike an image is to a reference, by scikit-image."""

from dataclasses import dataclass

import numpy as np

WINDOW = 7
"""Edge of the windows of SSIM, in voxels."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of an image and a reference that shows the same without noise."""

    psnr: float | None
    """Peak signal-to-noise ratio in dB, over the reference's range; None where they are
    the same."""
    ssim: float | None
    """Mean structural similarity of the planes, 1 at best; None of tiny planes."""


def likeness(image: np.ndarray, reference: np.ndarray) -> Likeness:
    """That of two stacks of planes ``(..., y, x)``, on the reference's range."""
    # Half a second to import, which only those spend who have a reference.
    from skimage.metrics import (  # noqa: PLC0415
        peak_signal_noise_ratio,
        structural_similarity,
    )

    truth, found = reference.astype(np.float64), image.astype(np.float64)
    extent = float(np.ptp(truth)) or 1.0
    is_same = np.array_equal(truth, found)
    psnr = (
        None
        if is_same
        else float(peak_signal_noise_ratio(truth, found, data_range=extent))
    )
    if min(truth.shape[-2:]) < WINDOW:
        return Likeness(psnr, None)
    planes = (a.reshape(-1, *a.shape[-2:]) for a in (truth, found))
    each = [
        structural_similarity(a, b, data_range=extent, win_size=WINDOW)
        for a, b in zip(*planes, strict=True)
    ]
    return Likeness(psnr, float(np.mean(each)))
