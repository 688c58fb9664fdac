"""What stages read: the image as it was taken, or what other stages wrote."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.geometry import FULL_RESOLUTION, LevelTransform
from denoise_daisy.images.image import Channel, Image, as_array, roi_of

if TYPE_CHECKING:
    from funlib.persistence import Array

ZERO = Coordinate(0, 0, 0, 0)


class Source(Protocol):
    """An array of ``(t, c, z, y, x)`` that stages read."""

    @property
    def transform(self) -> LevelTransform:
        """Where its voxels lie in the image."""

    @property
    def roi(self) -> Roi:
        """All there is to read, in its own voxels of ``(t, z, y, x)``."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """One per position along c."""

    @property
    def dtype(self) -> str:
        """Type of a voxel."""

    @property
    def method(self) -> str:
        """How it came from the level before; empty for what is no level."""

    def read(self, roi: Roi) -> np.ndarray:
        """The voxels ``(t, c, z, y, x)`` of a Roi within its own."""


def voxel_bytes(source: Source) -> int:
    """Bytes of a position of ``(t, z, y, x)``, all channels together."""
    return len(source.channels) * np.dtype(source.dtype).itemsize


@dataclass(frozen=True)
class Raw:
    """The image as it was taken."""

    image: Image
    padding: Coordinate = ZERO
    """Layers mirrored behind the image's end, by axis; fewer than it has."""
    transform: LevelTransform = FULL_RESOLUTION
    method: str = ""

    @property
    def roi(self) -> Roi:
        """The whole image, context and all, and its mirrored layers."""
        return roi_of(self.image).grow(0, self.padding)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Those that are denoised."""
        return self.image.channels

    @property
    def dtype(self) -> str:
        """Type of a voxel."""
        return self.image.dtype.name

    def read(self, roi: Roi) -> np.ndarray:
        """The voxels of a Roi."""
        image = roi_of(self.image)
        behind = Coordinate(max(0, n) for n in roi.end - image.end)
        if not any(behind):
            return np.asarray(self._array[roi])
        # What lies there may be the mirror image of layers before the Roi.
        begin = Coordinate(map(min, roi.begin, image.end - behind - 1))
        inside = Roi(begin, roi.end - begin).intersect(image)
        t, z, y, x = ((0, n) for n in behind)
        voxels = np.pad(self._array[inside], (t, (0, 0), z, y, x), mode="reflect")
        t, z, y, x = roi.begin - begin
        return voxels[t:, :, z:, y:, x:]

    @cached_property
    def _array(self) -> "Array":
        return as_array(self.image, ZERO)
