"""What an image is to the rest of the program, and images as Daisy's Arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from funlib.geometry import Coordinate, Roi

if TYPE_CHECKING:
    from funlib.persistence import Array


ONE = Coordinate(1, 1, 1, 1)
"""The size of a voxel in voxels."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as a viewer shows it."""

    name: str
    color: str
    """RRGGBB, hexadecimal."""
    display_range: tuple[float, float] | None = None
    """Grey levels shown as black and as full colour, where the file tells."""


COLORS = ("FFFFFF",), ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
"""Of channels whose file names none: of a single one, and of several."""


class FiveAxes:
    """What images of ``(t, c, z, y, x)`` have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along (t, c, z, y, x)."""
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        """Five."""
        return 5

    def ranges(self, key: tuple[slice, ...]) -> list[range]:
        """The voxels of five slices, each from 0 to the shape."""
        return [
            range(*part.indices(n)) for part, n in zip(key, self.shape, strict=True)
        ]


class Image(Protocol):
    """A picklable image of axes ``(t, c, z, y, x)``, read by slicing."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels per axis ``(t, c, z, y, x)``."""

    @property
    def ndim(self) -> int:
        """Five."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel: uint8, uint16 or float32."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """One per position along c."""

    @property
    def selected(self) -> tuple[int, ...]:
        """Which channel of the file each is, counted from 0."""

    @property
    def origin(self) -> tuple[int, ...]:
        """Where the first voxel lies in the acquisition, in voxels of (t, z, y, x)."""

    @property
    def scale_um(self) -> tuple[float | None, ...]:
        """Size of a voxel along (z, y, x) in micrometer; None where not recorded."""

    @property
    def time_step_s(self) -> float | None:
        """Seconds between time points; None where not recorded."""

    @property
    def identity(self) -> dict[str, str | int]:
        """What tells this image from a changed one, whatever its path."""

    def current_identity(self) -> dict[str, str | int]:
        """The identity of what lies there now; the same as long as nothing changed.

        Raises
        ------
        InputError
            It can't be read.
        """

    def earlier_identity(self, times: int) -> dict[str, str | int] | None:
        """What tells its first `times` time points from others, as they are now.

        The same as long as nothing of them changes, however many follow; None where the
        format can't tell.

        Raises
        ------
        InputError
            They can't be read.
        """

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its user should know before denoising it."""

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        """The voxels of five slices, empty ones too: a C-contiguous array of its own.

        Raises
        ------
        InputError
            They can't be read.
        """

    @property
    def has_gaps(self) -> bool:
        """Whether there are voxels that the file does not hold."""

    def valid(self, key: tuple[slice, ...]) -> np.ndarray | None:
        """Whether the file holds these voxels, of the same shape; None if it does.

        What it does not hold, as gaps between tiles, is read as 0.
        """


def roi_of(image: Image) -> Roi:
    """The whole image in voxels of ``(t, z, y, x)``, from 0."""
    t, _, z, y, x = image.shape
    return Roi((0, 0, 0, 0), (t, z, y, x))


def valid_in(image: Image, roi: Roi) -> np.ndarray | None:
    """Whether the file holds the voxels of a Roi of ``(t, z, y, x)`` in the image.

    An array of ``(t, c, z, y, x)``, or None where it holds all of them.
    """
    t, z, y, x = roi.to_slices()
    return image.valid((t, slice(None), z, y, x))


def read_serially() -> Any:
    """Read Arrays without dask's threads, for good or as a context manager.

    What reads them is loaded, so that the first block's time is not that of an import.
    """
    import dask  # noqa: PLC0415 - as below
    import funlib.persistence  # noqa: F401, PLC0415

    return dask.config.set(scheduler="synchronous")


def as_array(
    data: Any,
    begin: Coordinate,
    voxel_size: Coordinate = ONE,
    units: Sequence[str] = ("", "", "", ""),
) -> "Array":
    """An image or Zarr array of ``(t, c, z, y, x)``, sliced by Rois in such units.

    `begin` is the position of its first voxel in ``(t, z, y, x)``.  One dask chunk
    (-1), because funlib.persistence reads through dask and a graph of all Zarr chunks
    costs a second per read at a million chunks.
    """
    # Half a second to import, which a scheduler need not spend.
    from funlib.persistence import Array  # noqa: PLC0415

    return Array(
        data,
        offset=begin,
        voxel_size=voxel_size,
        axis_names=["t", "c", "z", "y", "x"],
        units=[*units],
        types=["time", "channel", "space", "space", "space"],
        chunks=-1,
    )
