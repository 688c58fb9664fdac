"""CZI files as images: pixels through pylibCZIrw, ranges through the directory."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from xml.etree import ElementTree

import numpy as np
from pylibCZIrw import czi as pylibczi

from denoise_daisy.errors import InputError
from denoise_daisy.images import czi_history, czi_metadata
from denoise_daisy.images.channels import channel_numbers
from denoise_daisy.images.czi_attachments import attached_step_s
from denoise_daisy.images.czi_directory import read_directory, read_identity
from denoise_daisy.images.czi_entries import PIXEL_NUMBERS
from denoise_daisy.images.czi_rows import RESOLVED_DIMENSIONS, Rows, rows_of
from denoise_daisy.images.czi_scene import DTYPES, Scene, find_scene, full_size
from denoise_daisy.images.image import Channel
from denoise_daisy.images.tilings import Tilings

_OPENED = ("_reader", "_rows")
"""What belongs to a process."""


@dataclass(frozen=True)
class CziImage:
    """One scene of a CZI file, read plane by plane; picklable, opened when needed.

    Axes are ``(t, c, z, y, x)``.  Of the dimensions that the format knows beyond
    these, scene and tile are resolved here and all others have one position.
    """

    path: str
    scene: int | None
    origin: tuple[int, ...]
    """First index along (t, z, y, x) in the file; negative or large on stages."""
    first_channel: int
    selected: tuple[int, ...]
    """Channels of this image, counted from the file's first."""
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
    def ndim(self) -> int:
        """Five."""
        return 5

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return np.dtype(DTYPES[self.pixel_type])

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        ranges = self._ranges(key)
        block = np.zeros([len(r) for r in ranges], self.dtype)
        if not block.size:
            return block
        t_range, c_range, z_range, y_range, x_range = ranges
        t0, z0, y0, x0 = self.origin
        begin = y0 + y_range[0], x0 + x_range[0]
        for i, t in enumerate(t_range):
            for j, c in enumerate(c_range):
                for k, z in enumerate(z_range):
                    plane = {
                        "T": t0 + t,
                        "C": self.first_channel + self.selected[c],
                        "Z": z0 + z,
                    }
                    self._read(plane, begin, block[i, j, k])
        return block

    @property
    def has_gaps(self) -> bool:
        """Whether the file lacks something of what its channels span."""
        return self.tilings is not None

    def valid(self, key: tuple[slice, ...]) -> np.ndarray | None:
        """Whether the file holds the voxels of five slices; None where it holds all."""
        if self.tilings is None:
            return None
        t, c, z, y, x = self._ranges(key)
        return self.tilings.mask([t, [self.selected[i] for i in c], z], y, x)

    def _ranges(self, key: tuple[slice, ...]) -> list[range]:
        return [
            range(*part.indices(n)) for part, n in zip(key, self.shape, strict=True)
        ]

    def _read(
        self, plane: dict[str, int], begin: tuple[int, int], out: np.ndarray
    ) -> None:
        """Read a part of a plane, from a row and column of the document on."""
        y, x = begin
        if self._rows is None or not self._rows.read(plane, y, x, out):
            height, width = out.shape
            out[:] = self._composed((x, y, width, height), dict(self.fixed) | plane)

    def _composed(
        self, roi: tuple[int, int, int, int], plane: dict[str, int]
    ) -> np.ndarray:
        """What pylibCZIrw makes of a plane's tiles."""
        try:
            # Told no type, pylibCZIrw takes that of channel 0, which need not exist.
            pixels: np.ndarray = self._reader.read(
                roi=roi, plane=plane, scene=self.scene, pixel_type=self.pixel_type
            )
        except (RuntimeError, ValueError) as error:
            where = " ".join(f"{d} {i}" for d, i in plane.items())
            raise InputError(
                f"The plane {where} of {self.path!r} can't be read: {_said(error)}."
                " Expected a complete CZI whose compression pylibCZIrw knows; copy the"
                " file again, or export it again in ZEN."
            ) from error
        return pixels[..., 0]

    @cached_property
    def _rows(self) -> Rows | None:
        pixel = PIXEL_NUMBERS[self.pixel_type], self.dtype.itemsize
        blocks = full_size(read_directory(self.path))
        return rows_of(self.path, blocks, self.scene, dict(self.fixed), pixel)

    @cached_property
    def _reader(self) -> pylibczi.CziReader:
        return pylibczi.CziReader(self.path)

    def current_identity(self) -> dict[str, str | int]:
        """The identity of the file as it is now.

        Raises
        ------
        InputError
            It is no CZI any more, or is cut short.
        """
        return read_identity(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in _OPENED}


def open_czi(
    path: str, scene: int | None = None, channels: Sequence[int | str] | None = None
) -> CziImage:
    """One scene of a CZI file; `scene` may be None where there is none or one.

    Raises
    ------
    InputError
        The file is absent, incomplete or of a kind that can't be denoised, or has no
        such scene or channel.
    """
    found, read = find_scene(path, scene), czi_metadata.read_metadata(path)
    return open_scene(path, found, read, channels)


def open_scene(
    path: str,
    found: Scene,
    read: tuple[ElementTree.Element, list[str]],
    channels: Sequence[int | str] | None = None,
) -> CziImage:
    """A scene that was found in a CZI file, with the metadata that were read of it.

    Raises
    ------
    InputError
        It has no such channel, or can't be read.
    """
    metadata, problems = read
    if found.is_composed:
        _check_opens(path)
    starts, sizes = found.starts, found.sizes
    others = sorted(sizes.keys() - RESOLVED_DIMENSIONS)
    count = sizes.get("C", 1)
    described = czi_metadata.channels(metadata, count, DTYPES[found.pixel_type])
    asked = range(count) if channels is None else channels
    names = [channel.name for channel in described]
    selected = channel_numbers(asked, names, "input.channels", repr(path))
    return CziImage(
        path=path,
        scene=found.number,
        origin=tuple(starts.get(d, 0) for d in "TZYX"),
        first_channel=starts.get("C", 0),
        selected=selected,
        space_time=tuple(sizes.get(d, 1) for d in "TZYX"),
        pixel_type=found.pixel_type,
        fixed=tuple((d, starts[d]) for d in others if starts[d]),
        channels=tuple(described[c] for c in selected),
        scale_um=tuple(czi_metadata.scale_um(metadata, axis) for axis in "ZYX"),
        time_step_s=czi_metadata.time_step_s(metadata)
        or attached_step_s(path, sizes.get("T", 1)),
        identity=found.identity,
        warnings=(
            *problems,
            *czi_metadata.skew(metadata),
            *czi_history.warnings(metadata),
            *found.gaps.warnings,
        ),
        tilings=found.gaps.tilings,
    )


def _check_opens(path: str) -> None:
    """Refuse what pylibCZIrw can't open, of an image that needs it."""
    try:
        pylibczi.CziReader(path)
    except RuntimeError as error:
        raise InputError(
            f"The input {path!r} can't be opened as CZI: {_said(error)}. Expected a"
            " complete file; copy it again, or finish its acquisition."
        ) from error


def _said(error: Exception) -> str:
    """What an error says; pylibCZIrw ends some sentences with a full stop."""
    return str(error).rstrip(".")
