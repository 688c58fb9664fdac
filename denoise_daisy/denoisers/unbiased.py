"""The exact unbiased inverse around an engine's Gaussian mode."""

import numpy as np

from denoise_daisy.algorithms.anscombe import unbiased_inverse
from denoise_daisy.denoisers.engines import Compute
from denoise_daisy.denoisers.native_numbers import stabilize
from denoise_daisy.denoisers.ndsafir_engine import Algorithm
from denoise_daisy.denoisers.noise import NoiseNumbers

UNIT = NoiseNumbers(noise_std=1.0)
"""The noise after the transform."""

BYTES_PER_VOXEL = 4
"""Of the transformed image, beyond what an engine takes."""

VOXELS_AT_ONCE = 1 << 16
"""That are inverted in double precision."""


def unbiased(compute: Compute) -> Compute:
    """Denoises as that, but with the exact inverse in place of ndsafir's."""

    def denoise(
        image: np.ndarray, noise: NoiseNumbers, algorithm: Algorithm, threads: int
    ) -> np.ndarray:
        transformed = image.astype(np.float32, order="C")
        with np.errstate(all="ignore"):
            stabilize(transformed, noise)
        result = compute(transformed, UNIT, algorithm, threads)
        pairs = zip(noise.gains or (), noise.offsets or (), strict=True)
        for c, (gain, offset) in enumerate(pairs):
            for t in range(len(result)):
                _invert(result[t, c].reshape(-1), gain, offset)
        return result

    return denoise


def _invert(voxels: np.ndarray, gain: float, offset: float) -> None:
    """In place; one by one, and so whatever blocks they come in."""
    for begin in range(0, voxels.size, VOXELS_AT_ONCE):
        part = voxels[begin : begin + VOXELS_AT_ONCE]
        part[:] = unbiased_inverse(part, gain, offset)
