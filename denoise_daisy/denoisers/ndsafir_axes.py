"""The image's axes as ndsafir sees them: those of a movie of single planes in its way.

With `time_as_z` time points are handed over as the planes of a stack, which ndsafir
searches from the second iteration on, and more widely than time points.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from funlib.geometry import Coordinate
from pydantic import AfterValidator, BeforeValidator

from denoise_daisy.denoisers.ndsafir_engine import Algorithm
from denoise_daisy.denoisers.ndsafir_layers import layer_warnings, mirrored_layers
from denoise_daisy.denoisers.ndsafir_steps import elements_compared
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES, Stencil, largest_radius, stencil


def _active_dimensions(value: str) -> str:
    if not value or len(set(value)) < len(value) or not set(value) <= set(AXES):
        raise ValueError('some of the letters "tzyx", each once')
    return "".join(axis for axis in AXES if axis in value)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


ActiveDimensions = Annotated[
    str, AfterValidator(_active_dimensions), BeforeValidator(_lower)
]
"""Axes, in the order of `AXES`, however they were written."""


@dataclass(frozen=True)
class ImageAxes:
    """ndsafir's patches and windows, on the axes of an image.

    Shapes are the image's, ``(t, z, y, x)``.
    """

    algorithm: Algorithm
    """On ndsafir's own axes."""
    time_as_z: bool

    @property
    def stencil(self) -> Stencil:
        """The tiling law."""
        told = self.algorithm
        law = stencil(Coordinate(told.patch), told.active_dimensions, told.max_iter)
        return Stencil(*map(self._turned, (law.stride, law.reach, law.smallest)))

    def turned(self, image: np.ndarray) -> np.ndarray:
        """An image of ``(t, c, z, y, x)`` on ndsafir's axes, or back; a view."""
        return image.swapaxes(0, 2) if self.time_as_z else image

    def check(self, shape: Sequence[int]) -> None:
        """Refuse an image with planes where time is to be z, and too large patches.

        Raises
        ------
        InputError
            With the setting to change.
        """
        if self.time_as_z and shape[1] > 1:
            raise InputError(
                f"denoise.time_as_z is true, but the image has {shape[1]} planes along"
                " z. Expected one, so that time points can be taken for planes. Set"
                " denoise.time_as_z to false."
            )
        sizes = zip(self.algorithm.patch, self._turned(shape), strict=True)
        names = zip(AXES, self._names, strict=True)
        for (axis, name), (radius, voxels) in zip(names, sizes, strict=True):
            largest = largest_radius(axis, voxels)
            if largest is not None and radius > largest:
                raise InputError(
                    f"denoise.patch.{axis} is {radius}, but the image has only {voxels}"
                    f" voxels along {name}; ndsafir needs at least {2 * radius + 1} for"
                    f" that radius. Set it to {largest} or less."
                )

    def padding(self, shape: Sequence[int]) -> Coordinate:
        """As many layers behind each far end as have every voxel in a patch."""
        return self._turned(mirrored_layers(self.algorithm.patch, self._turned(shape)))

    def warnings(self, shape: Sequence[int], end: Sequence[int]) -> Iterator[str]:
        """Layers that lie in no patch, as `Denoiser.warnings`."""
        turned, last = self._turned(shape), self._turned(end)
        return layer_warnings(self.algorithm.patch, turned, last, self._names)

    def steps(self, shape: Sequence[int]) -> float:
        """Elements of patches, times the places that each is compared with."""
        told = self.algorithm
        return elements_compared(
            told.patch, told.active_dimensions, told.max_iter, self._turned(shape)
        )

    @property
    def _names(self) -> str:
        """What the image's axes are called, in ndsafir's order."""
        return "ztyx" if self.time_as_z else "tzyx"

    def _turned(self, sizes: Sequence[int]) -> Coordinate:
        t, z, y, x = sizes
        return Coordinate((z, t, y, x) if self.time_as_z else sizes)
