"""A denoiser, given nothing but noise: what it leaves of that."""

from collections.abc import Sequence

import numpy as np

from denoise_daisy.algorithms.residuals import pure_noise
from denoise_daisy.blockwise.fit import convert
from denoise_daisy.denoisers.base import Denoiser
from denoise_daisy.denoisers.noise import Models

NOISE_SHAPE = (5, 9, 96, 96)
"""Of the pure noise that is denoised, ``(t, z, y, x)``, where that is enough and a
block reads as much."""


def noise_shape(denoiser: Denoiser, read: Sequence[int]) -> tuple[int, ...]:
    """That of the noise for blocks that read so many voxels of ``(t, z, y, x)``."""
    axes = zip(read, denoiser.stencil.smallest, NOISE_SHAPE, strict=True)
    return tuple(min(n, max(least, usual)) for n, least, usual in axes)


def denoised_noise(
    denoiser: Denoiser,
    models: Models,
    levels: Sequence[float],
    shape: Sequence[int],
    types: tuple[str, str],
) -> tuple[np.ndarray, np.ndarray]:
    """Pure noise of a level in each channel, and it denoised, ``(t, c, z, y, x)``.

    `types` are those of the image and of the output.
    """
    noise = np.stack(
        [
            pure_noise(shape, level, *model, seed=c)
            for c, (level, model) in enumerate(zip(levels, models, strict=True))
        ],
        axis=1,
    )
    taken, _ = convert(noise, types[0])
    written, _ = convert(denoiser.denoise(taken), types[1])
    return taken, written


def noise_left(before: np.ndarray, after: np.ndarray) -> tuple[float, ...]:
    """Of each channel, the standard deviation after denoising, over before."""
    channels = zip(before.swapaxes(0, 1), after.swapaxes(0, 1), strict=True)
    return tuple(_inner_sd(a) / max(_inner_sd(b), 1e-12) for b, a in channels)


def _inner_sd(voxels: np.ndarray) -> float:
    """Of ``(t, z, y, x)``, away from the borders, where patches see less."""
    inner = tuple(slice(n // 8, n - n // 8) for n in voxels.shape)
    return float(voxels[inner].std(dtype=np.float64))
