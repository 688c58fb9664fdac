"""Noise numbers of an image: what its survey says, or ndsafir's own calibration."""

import math
from collections.abc import Iterator

import numpy as np

from denoise_daisy.denoisers.ndsafir_engine import calibrate
from denoise_daisy.denoisers.noise import NoiseMethod, NoiseNumbers, six_digits
from denoise_daisy.denoisers.survey import Survey, survey
from denoise_daisy.errors import InputError
from denoise_daisy.images.image import Image

POSITIONS = 8
"""Places along T and Z that are sampled for ndsafir."""

DEPTH = 16
EDGE = 160
"""Voxels of a sample along z, and along y and x."""

QUANTILES = (0.5, 1.0)
"""Of the windows of a plane, by mean grey level, those that are sampled."""


def find_noise(
    image: Image, kind: str, method: NoiseMethod, known: NoiseNumbers | None
) -> tuple[NoiseNumbers, Survey]:
    """The noise numbers, calibrated unless known, and what the image tells of them.

    Samples that tell nothing are no reason to refuse a run whose numbers are known.

    Raises
    ------
    InputError
        The numbers are not known, and the samples can't be read or tell nothing.
    """
    found = survey(image)
    if known is not None:
        return known, found
    if method == "ndsafir":
        return ndsafir_numbers(image, kind), found
    return robust_numbers(found, kind), found


def robust_numbers(found: Survey, kind: str) -> NoiseNumbers:
    """What a survey says of the noise; of all channels together if it is Gaussian.

    To six digits, so that a person who copies them gets the same bytes.

    Raises
    ------
    InputError
        A channel tells nothing of it.
    """
    fits = [channel.fit for channel in found.channels]
    if kind == "gaussian":
        variance = math.fsum(fit.noise_std**2 for fit in fits) / len(fits)
        return NoiseNumbers(noise_std=six_digits(math.sqrt(variance)))
    gains = (six_digits(fit.gain) for fit in fits)
    return NoiseNumbers((*gains,), tuple(six_digits(fit.offset) for fit in fits))


def ndsafir_numbers(image: Image, kind: str) -> NoiseNumbers:
    """What ndsafir's own calibration finds.

    Raises
    ------
    InputError
        The samples can't be read or tell nothing, or it finds impossible noise.
    """
    return _calibrate(image, sample_image(image), kind)


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
