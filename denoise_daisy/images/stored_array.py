"""Arrays of named axes as images: what HDF5, NumPy, TIFF and Zarr have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images.image import COLORS, Channel, FiveAxes

IMAGE_AXES = "tczyx"

DTYPES = ("uint8", "uint16", "float32")
"""Types of voxels that can be denoised."""


@dataclass(frozen=True)
class StoredArray(FiveAxes):
    """An array of named axes, seen as an image of ``(t, c, z, y, x)``.

    A format's image inherits from it, and reads a part of what it stores.
    """

    path: str
    part: str
    """Which array of the file; empty where it has just one."""
    axes: str
    """As stored, the slowest first; each of t c z y x at most once."""
    stored_shape: tuple[int, ...]
    """Of these axes."""
    pixel_type: str
    """uint8, uint16 or float32."""
    selected: tuple[int, ...]
    channels: tuple[Channel, ...]
    scale_um: tuple[float | None, ...]
    time_step_s: float | None
    identity: dict[str, str | int]
    warnings: tuple[str, ...]

    @property
    def origin(self) -> tuple[int, ...]:
        """All begin at 0."""
        return 0, 0, 0, 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along (t, c, z, y, x)."""
        sizes = dict(zip(self.axes, self.stored_shape, strict=True))
        t, _, z, y, x = (sizes.get(axis, 1) for axis in IMAGE_AXES)
        return t, len(self.selected), z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return np.dtype(self.pixel_type)

    @property
    def has_gaps(self) -> bool:
        """The file holds all, unless a format knows better."""
        return False

    def valid(self, key: tuple[slice, ...]) -> np.ndarray | None:
        """The file holds all, unless a format knows better."""
        del key
        return None

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        ranges = self.ranges(key)
        block = np.empty([len(r) for r in ranges], self.dtype)
        if not block.size:
            return block
        for channels, numbers in _runs([self.selected[i] for i in ranges[1]]):
            part = dict(zip(IMAGE_AXES, ranges, strict=True)) | {"c": numbers}
            slices = [slice(part[a].start, part[a].stop) for a in self.axes]
            block[:, channels] = in_order(self._voxels(tuple(slices)), self.axes)
        return block

    def _voxels(self, part: tuple[slice, ...]) -> np.ndarray:
        """A part of the stored array, none of it empty, of its axes.

        Raises
        ------
        InputError
            It can't be read.
        """
        raise NotImplementedError

    def current_identity(self) -> dict[str, str | int]:
        """The identity of what lies there now."""
        raise NotImplementedError

    def earlier_identity(self, times: int) -> dict[str, str | int] | None:
        """Nothing tells, unless a format knows better."""
        del times
        return None


def _runs(channels: Sequence[int]) -> list[tuple[slice, range]]:
    """Where channels that follow each other go to, and which they are."""
    found: list[tuple[slice, range]] = []
    for i, channel in enumerate(channels):
        if found and found[-1][1].stop == channel:
            place, numbers = found[-1]
            found[-1] = slice(place.start, i + 1), range(numbers.start, channel + 1)
        else:
            found.append((slice(i, i + 1), range(channel, channel + 1)))
    return found


def in_order(voxels: np.ndarray, axes: str) -> np.ndarray:
    """An array of these axes as one of ``(t, c, z, y, x)``."""
    order = sorted(range(len(axes)), key=lambda i: IMAGE_AXES.index(axes[i]))
    added = tuple(i for i, axis in enumerate(IMAGE_AXES) if axis not in axes)
    return np.expand_dims(voxels.transpose(order), added)


def checked_axes(path: str, axes: str, shape: Sequence[int]) -> str:
    """The axes of a stored array of that shape, as a file or a config names them.

    Raises
    ------
    InputError
        They are not those of an image.
    """
    problem = (
        f"has {len(shape)} axes ({' x '.join(map(str, shape))})"
        if len(axes) != len(shape)
        else "names an axis twice"
        if len(set(axes)) < len(axes)
        else "has no y and x"
        if not {"y", "x"} <= set(axes)
        else f"has the axes {axes!r}"
        if set(axes) - set(IMAGE_AXES)
        else f"is empty ({' x '.join(map(str, shape))})"
        if 0 in shape
        else ""
    )
    if problem:
        raise InputError(
            f"The array of {path!r} {problem}, and its axes are said to be {axes!r}."
            " Expected each of t c z y x once at most, y and x among them: set"
            " input.axes."
        )
    return axes


def guessed_axes(path: str, shape: Sequence[int], asked: str | None) -> str:
    """The axes of an array whose file does not name them.

    Of two axes y and x, of three z; of more, a config has to say.

    Raises
    ------
    InputError
        They can't be known, or are not those of an image.
    """
    if asked is None and not 2 <= len(shape) <= 3:
        raise InputError(
            f"The array of {path!r} has {len(shape)} axes"
            f" ({' x '.join(map(str, shape))}), and the file does not name them."
            ' Expected input.axes, such as "tczyx".'
        )
    return checked_axes(path, asked or "zyx"[-len(shape) :], shape)


def checked_dtype(path: str, dtype: np.dtype[Any], what: str = "") -> str:
    """The name of a type of voxels, whatever its byte order.

    Raises
    ------
    InputError
        It is of a kind that can't be denoised.
    """
    if dtype.name not in DTYPES:
        raise InputError(
            f"The input {path!r}{what} has voxels of {dtype.name}. Expected one of"
            f" {', '.join(DTYPES)}; convert it."
        )
    return dtype.name


def plain_channels(count: int, names: Sequence[str | None] = ()) -> tuple[Channel, ...]:
    """So many channels, with names as far as the file has them."""
    colors = COLORS[count > 1]
    told = [*names, *[None] * count]
    return tuple(
        Channel(told[i] or f"Channel {i}", colors[i % len(colors)])
        for i in range(count)
    )
