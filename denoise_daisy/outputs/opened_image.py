"""An image or labels of an OME-Zarr, opened: arrays with scale, units and names."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.errors import InputError
from denoise_daisy.images.image import as_array
from denoise_daisy.images.ome_ngff import (
    axes_of,
    channels_of,
    is_whole,
    multiscale_of,
    sizes_of,
)
from denoise_daisy.images.zarr_nodes import Node, read_node
from denoise_daisy.images.zarr_place import LocalPlace
from denoise_daisy.outputs.five_axes import stored_shape
from denoise_daisy.outputs.ome_zarr import open_written
from denoise_daisy.reports.notebook import Shown

if TYPE_CHECKING:
    import dask.array as da
    from funlib.persistence import Array

NANO = {"nm": 1e3, "pm": 1e6}
"""Units of length that hold sizes as whole numbers, and how many a micrometer has."""

MILLI = {"ms": 1e3, "us": 1e6}
"""The same of time, of a second."""


@dataclass(frozen=True, eq=False)
class OpenedImage(Shown):
    """An image or labels, read where it is sliced or computed.

    ``image[0, 0, 10]`` is an array of NumPy's, `data` one of dask's.
    """

    path: Path
    """Its group."""

    axes: str
    """A letter for each axis of its arrays, such as ``tczyx``."""

    scale_um: tuple[float | None, ...]
    """Size of a voxel along (z, y, x) in micrometer; None where not recorded."""

    time_step_s: float | None
    """Seconds between time points; None where not recorded."""

    origin: tuple[int, ...]
    """Where its first voxel lies in the acquisition, in voxels of (t, z, y, x); of a
    level whose voxels are means, in which of its own that begins."""

    shift: tuple[float, ...]
    """Where the centre of its first voxel lies, in the same, to a part of a voxel."""

    channels: tuple[str, ...]
    """Names, one per position along c."""

    levels: "tuple[da.Array, ...]" = field(repr=False)
    """The full resolution, and its pyramid: a chunk of each is a file."""

    sources: tuple[Any, ...] = field(repr=False)
    """What the levels are read from: arrays of Zarr, or the image of the input."""

    @property
    def data(self) -> "da.Array":
        """The full resolution as a dask array."""
        return self.levels[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of the full resolution along `axes`."""
        return tuple(self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        dtype: np.dtype[Any] = self.data.dtype
        return dtype

    @property
    def scale(self) -> tuple[float, ...]:
        """For viewers: seconds, micrometers, by axis; 1 of c and where not recorded."""
        known = dict(zip("zyx", self.scale_um, strict=True)) | {"t": self.time_step_s}
        return tuple(known.get(axis) or 1.0 for axis in self.axes)

    @property
    def units(self) -> tuple[str, ...]:
        """Of `scale`: ``s``, ``um``, or empty."""
        known = dict(zip("zyx", self.scale_um, strict=True)) | {"t": self.time_step_s}
        names = {"t": "s", "z": "um", "y": "um", "x": "um"}
        return tuple(names[a] if known.get(a) else "" for a in self.axes)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Voxels of the full resolution, as NumPy slices them.

        Raises
        ------
        FileNotFoundError
            They were not written yet.
        """
        return np.asarray(self.data[key].compute())

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """All of it, in memory."""
        del copy  # it always is one
        return np.asarray(self.data.compute(), dtype)

    def array(self, units: Literal["voxels", "physical"] = "voxels") -> "Array":
        """The full resolution as an Array of funlib.persistence, sliced by Rois.

        Its Rois are of ``(t, z, y, x)``; what comes has all channels.

        Parameters
        ----------
        units
            ``voxels``: of the acquisition, voxel size 1, exact.  ``physical``: for
            Daisy's tasks that count so.  Coordinates are whole numbers, so they are
            of nanometers and milliseconds where all sizes are whole in these, else of
            picometers and microseconds, rounded to one; an axis whose size is not
            recorded is in voxels.

        Raises
        ------
        InputError
            It has not all five axes.
        """
        if self.axes != "tczyx":
            raise InputError(
                f"{str(self.path)!r} has the axes {self.axes}. Expected t c z y x, as"
                " Rois of t z y x need them."
            )
        begin = Coordinate(self.origin)
        if units == "voxels":
            return as_array(self.sources[0], begin)
        time, time_unit = _whole([self.time_step_s], MILLI)
        space, space_unit = _whole(self.scale_um, NANO)
        size = Coordinate(*time, *space)
        names = [
            unit if known else ""
            for known, unit in zip(
                (self.time_step_s, *self.scale_um),
                (time_unit, *[space_unit] * 3),
                strict=True,
            )
        ]
        return as_array(self.sources[0], begin * size, size, names)

    def __str__(self) -> str:
        rows = (f"{name:<10} {text}" for name, text in self._rows)
        return "\n".join(rows)

    @property
    def _rows(self) -> list[tuple[str, str]]:
        shapes = [" x ".join(map(str, level.shape)) for level in self.levels]
        scale = ", ".join(
            f"{axis} {size:.4g} {unit}" if unit else f"{axis} not recorded"
            for axis, size, unit in zip(self.axes, self.scale, self.units, strict=True)
            if axis != "c"
        )
        rows = [
            ("path", str(self.path)),
            ("image", f"{shapes[0]} ({' '.join(self.axes)}) {self.dtype}"),
            ("voxel size", scale),
        ]
        if self.channels:
            rows.append(("channels", ", ".join(self.channels)))
        if len(shapes) > 1:
            rows.append(("levels", ", ".join(shapes)))
        return rows


def open_group(path: Path) -> OpenedImage:
    """The image of a group of an OME-Zarr.

    Raises
    ------
    InputError
        There is none.
    OSError, ValueError, KeyError
        One of its levels can't be opened.
    """
    node = read_node(LocalPlace(str(path)))
    multiscale = multiscale_of(str(path), node.ome) if node else None
    if node is None or multiscale is None:
        raise InputError(f"{str(path)!r} is no image of an OME-Zarr.")
    sources = tuple(open_written(path / d.path) for d in multiscale.datasets)
    count = len(stored_shape(sources[0]))
    on_disk = axes_of(str(path), multiscale, count) or "tczyx"[-count:]
    sizes = sizes_of(str(path), multiscale, multiscale.datasets[0], on_disk)
    # Labels of one channel lack c on disk, and have it here as the image has.
    axes = on_disk if count == len(sources[0].shape) else "tczyx"
    return OpenedImage(
        path=path,
        axes=axes,
        scale_um=sizes.scale_um,
        time_step_s=sizes.time_step_s,
        origin=tuple(round(s) if is_whole(s) else math.floor(s) for s in sizes.shift),
        shift=sizes.shift,
        channels=_names(node, sources[0].shape, axes),
        levels=tuple(as_dask(s, s.shards or s.chunks) for s in sources),
        sources=sources,
    )


def as_dask(
    source: Any,
    chunks: Sequence[int],
    getitem: Callable[[Any, Any], np.ndarray] | None = None,
) -> "da.Array":
    """An array as dask's, read chunk by chunk.

    With a `getitem` of its own it is asked for whole chunks only, by slices.
    """
    # Half a second to import.
    import dask.array as da  # noqa: PLC0415 - heavy

    # By default dask names an array after what it is, and would take one that has been
    # computed again for the one before.
    return da.from_array(source, chunks=tuple(chunks), name=False, getitem=getitem)


def _names(node: Node, shape: Sequence[int], axes: str) -> tuple[str, ...]:
    if "c" not in axes:
        return ()
    channels, _ = channels_of(node.ome, shape[axes.index("c")])
    return tuple(channel.name for channel in channels)


def _whole(
    sizes: Sequence[float | None], units: dict[str, float]
) -> tuple[list[int], str]:
    """Sizes in the first unit in which all are whole numbers, else in the last."""
    scaled = {
        unit: [1.0 if size is None else size * factor for size in sizes]
        for unit, factor in units.items()
    }
    fitting = (
        unit
        for unit, numbers in scaled.items()
        if all(math.isclose(n, round(n), rel_tol=1e-9) for n in numbers)
    )
    chosen = next(fitting, list(units)[-1])
    return [max(1, round(n)) for n in scaled[chosen]], chosen
