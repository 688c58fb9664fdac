"""Noise numbers of an image: calibrated from samples spread over T, Z and intensity."""

from collections.abc import Iterator

import numpy as np

from denoise_daisy.denoisers.ndsafir_engine import calibrate
from denoise_daisy.denoisers.noise import NoiseNumbers
from denoise_daisy.denoisers.noise_doubts import clipped, implausible
from denoise_daisy.errors import InputError
from denoise_daisy.images.image import Image

POSITIONS = 8
"""Places along T and Z that are sampled."""

DEPTH = 16
EDGE = 160
"""Voxels of a sample along z, and along y and x."""

QUANTILES = (0.5, 1.0)
"""Of the windows of a plane, by mean grey level, those that are sampled."""


def find_noise(
    image: Image, kind: str, known: NoiseNumbers | None
) -> tuple[NoiseNumbers, tuple[str, ...]]:
    """The noise numbers, calibrated unless known, and what is doubtful about them.

    The image is sampled once for both.  Samples that can't be read are no reason to
    refuse a run whose numbers are known: only the blocks there will fail.

    Raises
    ------
    InputError
        The numbers are not known, and the samples can't be read or tell nothing.
    """
    if known is not None and known.noise_std is not None:
        return known, ()
    try:
        sample = sample_image(image)
    except InputError as error:
        if known is None:
            raise
        unread = f"The noise numbers could not be held against the image: {error}"
        return known, (*implausible(image, known), unread)
    numbers = known or _calibrate(image, sample, kind)
    return numbers, (*implausible(image, numbers), *clipped(image, numbers, sample))


def sample_image(image: Image) -> np.ndarray:
    """Samples of ``(c, z, y, x)`` spread over T, Z and intensity.

    They lie behind each other along y in one array: a fit over all of them sees the
    whole range of intensities, where one sample alone may hold background only.
    """
    return np.concatenate(list(_samples(image)), axis=2)


def _calibrate(image: Image, sample: np.ndarray, kind: str) -> NoiseNumbers:
    for channel, voxels in zip(image.channels, sample, strict=True):
        if not np.isfinite(voxels).all() or voxels.min() == voxels.max():
            raise InputError(
                f"The noise of channel {channel.name!r} can't be calibrated: its"
                " samples are all of one value, or no numbers. Give noise.gains and"
                " noise.offsets, or noise.noise_std."
            )
    return calibrate(sample, kind)


def _samples(image: Image) -> Iterator[np.ndarray]:
    """Windows of ``(c, z, y, x)``, of one shape."""
    t_size, _, z_size, y_size, x_size = image.shape
    depth, height, width = min(z_size, DEPTH), min(y_size, EDGE), min(x_size, EDGE)
    z_steps = max(1, min(POSITIONS, z_size // depth))
    positions = min(POSITIONS, t_size * z_steps)
    for i in range(positions):
        t = round(i * (t_size - 1) / max(1, positions - 1))
        # Depths in turn, so that late time points are not all sampled at the far end.
        z = round((i % z_steps) * (z_size - depth) / max(1, z_steps - 1))
        plane = _read(image, t, slice(z + depth // 2, z + depth // 2 + 1))[0, 0]
        corners = [
            (y, x)
            for y in range(0, y_size - height + 1, height)
            for x in range(0, x_size - width + 1, width)
        ]
        with np.errstate(all="ignore"):  # floats may be inf, or too large to add up
            corners.sort(
                key=lambda c: plane[c[0] : c[0] + height, c[1] : c[1] + width].mean()
            )
        for y, x in sorted({corners[round(q * (len(corners) - 1))] for q in QUANTILES}):
            yield _read(
                image, t, slice(z, z + depth), slice(y, y + height), slice(x, x + width)
            )


def _read(
    image: Image, t: int, z: slice, y: slice = slice(None), x: slice = slice(None)
) -> np.ndarray:
    block: np.ndarray = image[slice(t, t + 1), slice(None), z, y, x][0]
    return block
