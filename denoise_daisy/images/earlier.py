"""What tells the first time points of an image from others: some of their voxels.

All would take as long as denoising them.  So a format says of an image, beside these,
where in its files the time points lie: `Image.earlier_identity`.
"""

import hashlib

import numpy as np

from denoise_daisy.images.image import Image

MOST_PLANES = 16
"""Planes that are looked at, the first and the last among them."""

WINDOW = 256
"""Voxels along y and x of what is looked at of a plane."""

SPREAD = 0.7549, 0.5698
"""Steps along y and x, in planes, that put windows everywhere in turn (R2)."""


def sampled(image: Image, times: int) -> str:
    """A checksum of voxels of the first `times` time points, whatever comes after them.

    Raises
    ------
    InputError
        They can't be read.
    """
    _, channels, depth, height, width = image.shape
    counts = times, channels, depth
    planes = int(np.prod(counts))
    checksum = hashlib.sha256()
    for i, number in enumerate(np.linspace(0, planes - 1, min(planes, MOST_PLANES))):
        place = np.unravel_index(round(number), counts)
        begins = [
            int(max(0, n - WINDOW) * (i * step % 1))
            for n, step in zip((height, width), SPREAD, strict=True)
        ]
        t, c, z = (slice(int(p), int(p) + 1) for p in place)
        y, x = (slice(b, b + WINDOW) for b in begins)
        voxels = image[t, c, z, y, x]
        checksum.update(voxels.astype(voxels.dtype.newbyteorder("<")).tobytes())
    return checksum.hexdigest()
