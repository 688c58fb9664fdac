"""Images of one kind, seen as one: the time points of one after those of the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images.image import Channel, FiveAxes, Image


@dataclass(frozen=True)
class JoinedImages(FiveAxes):
    """Some images behind each other along t, of ``(t, c, z, y, x)``.

    It is as large as the largest along z, y and x; what is not in the others is 0, and
    not valid.
    """

    images: tuple[Image, ...]
    """At least one, of the same channels and type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along (t, c, z, y, x)."""
        shapes = [image.shape for image in self.images]
        times = sum(shape[0] for shape in shapes)
        return (
            times,
            shapes[0][1],
            *(max(n) for n in list(zip(*shapes, strict=True))[2:]),
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return self.images[0].dtype

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Those of the first."""
        return self.images[0].channels

    @property
    def selected(self) -> tuple[int, ...]:
        """Those of the first."""
        return self.images[0].selected

    @property
    def origin(self) -> tuple[int, ...]:
        """There is none."""
        return 0, 0, 0, 0

    @property
    def scale_um(self) -> tuple[float | None, ...]:
        """Those of the first."""
        return self.images[0].scale_um

    @property
    def time_step_s(self) -> float | None:
        """There is none."""
        return None

    @property
    def identity(self) -> dict[str, str | int]:
        """It is nobody's input."""
        return {}

    def current_identity(self) -> dict[str, str | int]:
        """It is nobody's input."""
        return {}

    def earlier_identity(self, times: int) -> dict[str, str | int] | None:
        """It is nobody's input."""
        del times
        return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each image has its own."""
        return ()

    @property
    def has_gaps(self) -> bool:
        """Whether one has, or they differ in size."""
        sizes = {image.shape[2:] for image in self.images}
        return len(sizes) > 1 or any(image.has_gaps for image in self.images)

    @cached_property
    def _times(self) -> list[tuple[Image, int]]:
        """Of each time point the image, and which it is there."""
        return [(image, t) for image in self.images for t in range(image.shape[0])]

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        times, *others = self.ranges(key)
        block = np.zeros([len(times), *map(len, others)], self.dtype)
        for i, (image, t) in enumerate(self._times[t] for t in times):
            part = image[slice(t, t + 1), *key[1:]][0]
            block[i][tuple(slice(n) for n in part.shape)] = part
        return block

    def valid(self, key: tuple[slice, ...]) -> np.ndarray | None:
        """Whether an image holds these voxels; None where all are there."""
        if not self.has_gaps:
            return None
        times, *others = self.ranges(key)
        mask = np.zeros([len(times), *map(len, others)], bool)
        for i, (image, t) in enumerate(self._times[t] for t in times):
            own = slice(t, t + 1), *key[1:]
            ends = zip(key[1:], image.shape[1:], strict=True)
            there = tuple(slice(len(range(*k.indices(n)))) for k, n in ends)
            held = image.valid(own)
            mask[i][there] = True if held is None else held[0]
        return None if mask.all() else mask


def joined(images: Sequence[Image]) -> Image:
    """Images behind each other along t.

    Raises
    ------
    InputError
        They differ in their number of channels, or in their type.
    """
    kinds = {(image.shape[1], image.dtype.name) for image in images}
    if len(kinds) > 1:
        said = ", ".join(f"{n} channels of {dtype}" for n, dtype in sorted(kinds))
        raise InputError(
            f"The images differ: there are such of {said}. Expected images of one kind"
            " where noise.shared is true; denoise each kind by a config of its own."
        )
    return images[0] if len(images) == 1 else JoinedImages(tuple(images))
