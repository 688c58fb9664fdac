"""Noise numbers for a run: given, or calibrated once from samples of the image."""

from collections.abc import Iterator

import numpy as np

from denoise_daisy.arrays import Image
from denoise_daisy.config import Gaussian, Noise
from denoise_daisy.denoiser import NoiseNumbers, calibrate
from denoise_daisy.errors import InputError

POSITIONS = 8
"""Places along T and Z that are sampled."""

DEPTH = 16
EDGE = 160
"""Voxels of a sample along z, and along y and x."""

QUANTILES = (0.5, 1.0)
"""Of the windows of a plane, by mean grey level, those that are sampled."""


def given_numbers(noise: Noise, channels: int) -> NoiseNumbers | None:
    """The numbers in the config, None where they are to be calibrated.

    Raises
    ------
    InputError
        Not one number per channel; ndsafir would read past the list's end.
    """
    if isinstance(noise, Gaussian):
        if noise.noise_std is None:
            return None
        return NoiseNumbers(noise_std=noise.noise_std)
    if noise.gains is None or noise.offsets is None:
        return None
    for name, numbers in (("gains", noise.gains), ("offsets", noise.offsets)):
        if len(numbers) != channels:
            raise InputError(
                f"noise.{name} has {len(numbers)} numbers, but {channels} channels are"
                " denoised. Expected one number per channel, or null to calibrate."
            )
    return NoiseNumbers(gains=noise.gains, offsets=noise.offsets)


def calibrate_image(image: Image, kind: str) -> NoiseNumbers:
    """Calibrate from samples spread over T, Z and intensity.

    The samples lie behind each other along y in one array: a fit over all of them sees
    the whole range of intensities, where one sample alone may hold background only.

    Raises
    ------
    InputError
        The samples tell nothing about noise.
    """
    sample = np.concatenate(list(_samples(image)), axis=2)
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
