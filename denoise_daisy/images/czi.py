"""CZI files as images: rows read where they lie, or planes made by pylibCZIrw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images import czi_history, czi_metadata
from denoise_daisy.images.channels import channel_numbers
from denoise_daisy.images.czi_attachments import attached_step_s
from denoise_daisy.images.czi_composer import Composer
from denoise_daisy.images.czi_directory import read_directory, read_identity
from denoise_daisy.images.czi_earlier import earlier_sub_blocks
from denoise_daisy.images.czi_entries import PIXEL_NUMBERS
from denoise_daisy.images.czi_pixels import (
    COLOURS,
    DTYPES,
    RGB,
    colour_warning,
    image_channels,
)
from denoise_daisy.images.czi_positions import RESOLVED_DIMENSIONS
from denoise_daisy.images.czi_rows import Rows, rows_of
from denoise_daisy.images.czi_scene import Scene, find_scene, full_size
from denoise_daisy.images.earlier import sampled
from denoise_daisy.images.image import Channel, FiveAxes
from denoise_daisy.images.tilings import Tilings

_OPENED = ("_composer", "_rows")
"""What belongs to a process."""


@dataclass(frozen=True)
class CziImage(FiveAxes):
    """One scene of a CZI file, read plane by plane; picklable, opened when needed.

    Axes are ``(t, c, z, y, x)``.  Of the dimensions that the format knows beyond
    these, scene and tile are resolved here and all others have one position.  The
    colours of a colour image are channels.
    """

    path: str
    scene: int | None
    origin: tuple[int, ...]
    """First index along (t, z, y, x) in the file; negative or large on stages."""
    first_channel: int
    selected: tuple[int, ...]
    """Channels of this image, counted from the file's first; colours one by one."""
    space_time: tuple[int, ...]
    """Voxels along (t, z, y, x)."""
    pixel_type: str
    fixed: tuple[tuple[str, int], ...]
    """Positions along the dimensions that have just one."""
    channels: tuple[Channel, ...]
    scale_um: tuple[float | None, ...]
    time_step_s: float | None
    identity: dict[str, str | int]
    warnings: tuple[str, ...]
    tilings: Tilings | None = None
    """What the file holds of all its channels; None where that is everything."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along (t, c, z, y, x)."""
        t, z, y, x = self.space_time
        return t, len(self.selected), z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        if self.pixel_type in COLOURS:
            return np.dtype(COLOURS[self.pixel_type][0])
        return np.dtype(DTYPES[self.pixel_type])

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        ranges = self.ranges(key)
        block = np.zeros([len(r) for r in ranges], self.dtype)
        if not block.size:
            return block
        t_range, c_range, z_range, y_range, x_range = ranges
        t0, z0, y0, x0 = self.origin
        begin = y0 + y_range[0], x0 + x_range[0]
        channels = [self.selected[c] for c in c_range]
        for i, t in enumerate(t_range):
            for k, z in enumerate(z_range):
                plane = {"T": t0 + t, "C": self.first_channel, "Z": z0 + z}
                if self._samples > 1:
                    self._read_colours(plane, begin, channels, block[i, :, k])
                    continue
                for j, channel in enumerate(channels):
                    own = plane | {"C": self.first_channel + channel}
                    self._read(own, begin, block[i, j, k])
        return block

    @property
    def has_gaps(self) -> bool:
        """Whether the file lacks something of what its channels span."""
        return self.tilings is not None

    def valid(self, key: tuple[slice, ...]) -> np.ndarray | None:
        """Whether the file holds the voxels of five slices; None where it holds all."""
        if self.tilings is None:
            return None
        t, c, z, y, x = self.ranges(key)
        colours = len(RGB) if self._samples > 1 else 1
        channels = [self.selected[i] // colours for i in c]
        return self.tilings.mask([t, channels, z], y, x)

    @property
    def _samples(self) -> int:
        """Of a pixel in the file."""
        return COLOURS.get(self.pixel_type, ("", 1))[1]

    def _read_colours(
        self,
        plane: dict[str, int],
        begin: tuple[int, int],
        channels: Sequence[int],
        out: np.ndarray,
    ) -> None:
        """Read a part of a plane, whose C is that of the file's first channel."""
        for c in dict.fromkeys(channel // len(RGB) for channel in channels):
            pixels = np.zeros((*out.shape[1:], self._samples), self.dtype)
            self._read(plane | {"C": plane["C"] + c}, begin, pixels)
            for j, channel in enumerate(channels):
                if channel // len(RGB) == c:
                    # They are stored as blue, green, red.
                    out[j] = pixels[..., 2 - channel % len(RGB)]

    def _read(
        self, plane: dict[str, int], begin: tuple[int, int], out: np.ndarray
    ) -> None:
        """Read a part of a plane, from a row and column of the document on."""
        y, x = begin
        if self._rows is None or not self._rows.read(plane, y, x, out):
            height, width = out.shape[:2]
            whole = self._composed((x, y, width, height), dict(self.fixed) | plane)
            out[:] = whole.reshape(out.shape)

    def _composed(
        self, roi: tuple[int, int, int, int], plane: dict[str, int]
    ) -> np.ndarray:
        """What pylibCZIrw makes of a plane's tiles."""
        return self._composer.read(roi, plane, self.scene, self.pixel_type)

    @cached_property
    def _rows(self) -> Rows | None:
        pixel_bytes = self.dtype.itemsize * self._samples
        pixel = PIXEL_NUMBERS[self.pixel_type], pixel_bytes
        blocks = full_size(read_directory(self.path))
        return rows_of(self.path, blocks, self.scene, dict(self.fixed), pixel)

    @cached_property
    def _composer(self) -> Composer:
        return Composer(self.path)

    def current_identity(self) -> dict[str, str | int]:
        """The identity of the file as it is now.

        Raises
        ------
        InputError
            It is no CZI any more, or is cut short.
        """
        return read_identity(self.path)

    def earlier_identity(self, times: int) -> dict[str, str | int] | None:
        """The file's id, where sub-blocks of these time points lie, some voxels."""
        told = earlier_sub_blocks(self.path, self.scene, self.origin[0] + times)
        return told | {"voxels_sha256": sampled(self, times)}

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in _OPENED}


def open_czi(
    path: str,
    scene: int | None = None,
    channels: Sequence[int | str] | None = None,
    select: Mapping[str, int] = MappingProxyType({}),
) -> CziImage:
    """One scene of a CZI file; `scene` may be None where there is none or one.

    `select` has positions along further dimensions, by small letters.

    Raises
    ------
    InputError
        The file is absent, incomplete or of a kind that can't be denoised, or has no
        such scene, position or channel.
    """
    found, read = find_scene(path, scene, select), czi_metadata.read_metadata(path)
    image = open_scene(path, found, read, channels)
    if channels is None:
        return image
    names = [channel.name for channel in image.channels]
    chosen = channel_numbers(channels, names, "input.channels", repr(path))
    described = tuple(image.channels[i] for i in chosen)
    return replace(image, selected=chosen, channels=described)


def open_scene(
    path: str,
    found: Scene,
    read: tuple[ElementTree.Element, list[str]],
    asked: Sequence[int | str] | None = None,
    names: Sequence[str] | None = None,
) -> CziImage:
    """A scene that was found in a CZI file, with the metadata that were read of it.

    It has all channels.  Those that are asked for, by their numbers or these names,
    have to be of one type, which the image then has; None: all of them.

    Raises
    ------
    InputError
        It has no such channels, or they can't be denoised, or it can't be read.
    """
    starts, sizes = found.starts, found.sizes
    metadata, problems = read
    others = sorted(sizes.keys() - RESOLVED_DIMENSIONS)
    types = found.pixel_types
    pixel_type, channels = image_channels(path, types, metadata, asked, names)
    if found.is_composed:
        _check_composed(path, pixel_type)
    return CziImage(
        path=path,
        scene=found.number,
        origin=tuple(starts.get(d, 0) for d in "TZYX"),
        first_channel=starts.get("C", 0),
        selected=tuple(range(len(channels))),
        space_time=tuple(sizes.get(d, 1) for d in "TZYX"),
        pixel_type=pixel_type,
        fixed=tuple((d, starts[d]) for d in others if starts[d]),
        channels=channels,
        scale_um=tuple(czi_metadata.scale_um(metadata, axis) for axis in "ZYX"),
        time_step_s=czi_metadata.time_step_s(metadata)
        or attached_step_s(path, sizes.get("T", 1)),
        identity=found.identity,
        warnings=(
            *problems,
            *czi_metadata.skew(metadata),
            *czi_history.warnings(metadata),
            *colour_warning(pixel_type),
            *found.gaps.warnings,
        ),
        tilings=found.gaps.tilings,
    )


def _check_composed(path: str, pixel_type: str) -> None:
    """Refuse what pylibCZIrw can't read, of an image that needs it."""
    Composer(path)
    if pixel_type == "Bgra32":
        raise InputError(
            f"The input {path!r} has pixels of Bgra32 that are compressed or lie in"
            " tiles, which pylibCZIrw can't read. Expected Bgr24; export it so in ZEN."
        )
