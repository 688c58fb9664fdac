"""A Gaussian filter as a denoiser."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.algorithms.filters import (
    GAUSSIAN_BYTES,
    gaussian,
    gaussian_reach,
    scipy_engine,
    scipy_version,
)
from denoise_daisy.blockwise.block_shape import SCIPY_BYTES
from denoise_daisy.denoisers.base import Denoiser, DenoiserSection
from denoise_daisy.geometry import Stencil, neighbourhood
from denoise_daisy.sections import SigmaByAxis, by_axis


class GaussianFilter(DenoiserSection):
    """A Gaussian filter, as scipy.ndimage.gaussian_filter on the whole image."""

    kind: Literal["gaussian"]
    """Gaussian filter."""

    sigma: SigmaByAxis
    """Standard deviation in voxels, by axis; 0 for an axis not named.  A number: along
    z, y and x."""

    def denoiser(self, **_: Any) -> "GaussianDenoiser":
        """The filter."""
        return GaussianDenoiser(self)


@dataclass(frozen=True)
class GaussianDenoiser(Denoiser):
    """The image convolved with a Gaussian."""

    section: GaussianFilter

    kind: ClassVar[str] = "gaussian"
    bytes_per_voxel: ClassVar[int] = GAUSSIAN_BYTES
    process_bytes: ClassVar[int] = SCIPY_BYTES

    @property
    def sigma(self) -> tuple[float, ...]:
        """Standard deviation in voxels of ``(t, z, y, x)``."""
        return by_axis(self.section.sigma, "tzyx", dict.fromkeys("tzyx", 0.0))

    @property
    def stencil(self) -> Stencil:
        """As far as the Gaussian is taken."""
        return neighbourhood(Coordinate(gaussian_reach(self.sigma)))

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its widths, and SciPy's version."""
        values = self.section.model_dump()
        return {f"denoise.{k}": v for k, v in values.items()} | scipy_version()

    @property
    def engine(self) -> str:
        """SciPy."""
        return scipy_engine()

    def steps(self, shape: Sequence[int], channels: int) -> float:
        """Neighbours along each axis in turn."""
        window = sum(2 * int(reach) + 1 for reach in self.stencil.reach)
        return math.prod(shape) * channels * window

    def denoise(self, image: np.ndarray) -> np.ndarray:
        """As float64."""
        return gaussian(image, self.sigma)
