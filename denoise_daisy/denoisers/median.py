"""A median filter as a denoiser."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from funlib.geometry import Coordinate
from pydantic import Field

from denoise_daisy.algorithms.filters import (
    median,
    median_reach,
    scipy_engine,
    scipy_version,
)
from denoise_daisy.blockwise.block_shape import SCIPY_BYTES
from denoise_daisy.denoisers.base import Denoiser, DenoiserSection
from denoise_daisy.geometry import Stencil, neighbourhood
from denoise_daisy.sections import SpaceTime, along_space, by_axis

Size = Annotated[int, Field(ge=1, le=100)]


class MedianFilter(DenoiserSection):
    """A median filter, as scipy.ndimage.median_filter on the whole image."""

    kind: Literal["median"]
    """Median of a window."""

    size: Annotated[
        dict[SpaceTime, Size],
        Field(min_length=1),
        along_space(dict[SpaceTime, Size] | Size),
    ]
    """Voxels of the window by axis; 1 for an axis not named.  A number: along z, y and
    x."""

    def denoiser(self, **_: Any) -> "MedianDenoiser":
        """The filter."""
        return MedianDenoiser(self)


@dataclass(frozen=True)
class MedianDenoiser(Denoiser):
    """The median of a window around each voxel."""

    section: MedianFilter

    kind: ClassVar[str] = "median"
    bytes_per_voxel: ClassVar[int] = 7
    process_bytes: ClassVar[int] = SCIPY_BYTES

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels of the window along ``(t, z, y, x)``."""
        return by_axis(self.section.size, "tzyx", dict.fromkeys("tzyx", 1))

    @property
    def stencil(self) -> Stencil:
        """Its window."""
        return neighbourhood(Coordinate(median_reach(self.size)))

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its window, and SciPy's version."""
        values = self.section.model_dump()
        return {f"denoise.{k}": v for k, v in values.items()} | scipy_version()

    @property
    def engine(self) -> str:
        """SciPy."""
        return scipy_engine()

    def denoise(self, image: np.ndarray) -> np.ndarray:
        """Of the image's type."""
        return median(image, self.size)
