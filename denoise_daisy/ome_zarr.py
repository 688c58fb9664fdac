"""The outputs: OME-Zarr 0.5 images and labels on Zarr v3, written in whole shards."""

import asyncio
import errno
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from funlib.geometry import Coordinate, Roi
from zarr.abc.store import ByteRequest, Store
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from denoise_daisy.arrays import Channel, Image
from denoise_daisy.errors import RefusedError
from denoise_daisy.files import delete, sync, write_atomic

LEVEL = "0"
"""Name of the full-resolution array."""

METADATA = "zarr.json"
"""File of an array's or a group's metadata."""

LABELS = "labels"
"""Name of the group of an image's masks and labels."""

VERSION = "0.5"
"""Of OME-NGFF."""

MAX_SHARD_BYTES = 256 << 20

AXES = (
    ("t", "time", "second"),
    ("c", "channel", None),
    ("z", "space", "micrometer"),
    ("y", "space", "micrometer"),
    ("x", "space", "micrometer"),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the array lies on disk; shapes are of ``(t, c, z, y, x)``."""

    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    compression_level: int

    @property
    def file_shape(self) -> tuple[int, ...]:
        """Voxels of one file: a shard, or a chunk where there are no shards."""
        return self.shards or self.chunks

    @property
    def nbytes(self) -> int:
        """Size uncompressed."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def files(self) -> int:
        """Number of files of the array."""
        return math.prod(
            math.ceil(n / f) for n, f in zip(self.shape, self.file_shape, strict=True)
        )


def auto_shards(
    block: Sequence[int], shape: Sequence[int], chunks: Sequence[int], dtype: str
) -> tuple[int, ...]:
    """The largest shards, up to 256 MiB each, that tile a block of that shape.

    All shapes are of ``(t, c, z, y, x)``.  Along an axis that the block spans any
    number of chunks will do, since no other block touches its shards.
    """
    counts = [math.ceil(b / c) for b, c in zip(block, chunks, strict=True)]
    spans = [b >= n for b, n in zip(block, shape, strict=True)]
    legal = [
        list(range(count, 0, -1)) if span else _divisors(count)
        for count, span in zip(counts, spans, strict=True)
    ]
    chosen = [sizes[0] for sizes in legal]
    chunk_bytes = math.prod(chunks) * np.dtype(dtype).itemsize
    for axis in (0, 2, 3, 4):
        for count in legal[axis]:
            chosen[axis] = count
            if math.prod(chosen) * chunk_bytes <= MAX_SHARD_BYTES:
                return tuple(n * c for n, c in zip(chosen, chunks, strict=True))
    return tuple(n * c for n, c in zip(chosen, chunks, strict=True))


def _divisors(number: int) -> list[int]:
    """From the largest to 1."""
    return [d for d in range(number, 0, -1) if number % d == 0]


def create_group(path: Path, ome: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Make a group with its OME metadata, or bring that of an existing one up to date.

    `own` is what this program notes in the group beside the OME metadata.
    """
    group = zarr.open_group(path, mode="a", zarr_format=3)
    group.attrs.update({"ome": ome, "denoise_daisy": own})
    sync(path / METADATA)


def create_labels(path: Path, names: Sequence[str]) -> None:
    """List the labels of an image at `path`, where it has some, beside those there."""
    if not names:
        return
    group = zarr.open_group(path / LABELS, mode="a", zarr_format=3)
    listed = dict(group.attrs).get("ome", {})
    before = listed.get("labels", []) if isinstance(listed, dict) else []
    ome = {"version": VERSION, "labels": list(dict.fromkeys([*before, *names]))}
    group.attrs.update({"ome": ome})
    sync(path / LABELS / METADATA)


def create_array(path: Path, layout: Layout) -> None:
    """Make the array of a level, all voxels missing, unless it is there."""
    if (path / METADATA).exists():
        check_array(path, layout)
        return
    zarr.create_array(
        path,
        zarr_format=3,
        shape=layout.shape,
        dtype=layout.dtype,
        chunks=layout.chunks,
        shards=layout.shards,
        compressors=[
            BloscCodec(
                cname="zstd", clevel=layout.compression_level, shuffle="bitshuffle"
            ),
            Crc32cCodec(),
        ],
        fill_value=0,
        dimension_names=[name for name, _, _ in AXES],
    )
    sync(path / METADATA)


class DamagedError(Exception):
    """What lies on disk is not what was written."""


class _WrittenFiles(LocalStore):
    """The files of an array all of whose voxels that are asked for were written.

    For Zarr a chunk that is absent is one of zeros.
    """

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        return self._there(key, await super().get(key, prototype, byte_range))

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        value = super().get_sync(key, prototype=prototype, byte_range=byte_range)
        return self._there(key, value)

    def _there(self, key: str, value: Buffer | None) -> Buffer | None:
        if value is None and key.startswith("c/"):
            path = str(self.root / key)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return value


class _FilesToWrite(LocalStore):
    """The files of an array that was made before.

    Zarr would make the array's folder again, where it was deleted or moved away.
    """

    async def _open(self, **_: Any) -> None:
        await Store._open(self)  # noqa: SLF001 - past LocalStore's, which makes a folder

    def _ensure_open_sync(self) -> None:
        self._is_open = True

    async def set(self, key: str, value: Buffer) -> None:
        await asyncio.to_thread(self.set_sync, key, value)

    def set_sync(self, key: str, value: Buffer) -> None:
        path = self.root / key
        for parent in reversed(path.parents):
            if self.root in parent.parents and not parent.exists():
                parent.mkdir(exist_ok=True)
        write_atomic(path, memoryview(value.as_buffer_like()), durable=False)


def open_array(path: Path) -> Any:
    """A level as Zarr array to write to; chunks of zeros are written like all others.

    Zarr would leave them out, or delete them, and so an all-zero block could not be
    told from a missing one.  Voxels that were not written are read as zeros.

    Raises
    ------
    FileNotFoundError
        It is not there, or, in writing, not there any more.
    """
    array: Any = zarr.open_array(_FilesToWrite(path), mode="r+")
    return array.with_config({"write_empty_chunks": True})


def open_written(path: Path) -> Any:
    """A level as Zarr array to read from, in which no chunk may be absent.

    Reading raises FileNotFoundError where one is.
    """
    return zarr.open_array(_WrittenFiles(path, read_only=True), mode="r")


@contextmanager
def damage_told() -> Iterator[None]:
    """Tell errors of the codecs, thus damaged files, from all others.

    Raises
    ------
    DamagedError
        Instead of what Zarr raises at bytes that no writer has written.
    """
    try:
        yield
    except ValueError as error:
        raise DamagedError(str(error)) from error
    except RuntimeError as error:
        # Threads that can't be started are a RuntimeError, too.
        if "blosc" not in str(error):
            raise
        raise DamagedError(str(error)) from error


def limit_threads() -> None:
    """Let this process read and write on one core."""
    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 2})


def own_attributes(path: Path) -> dict[str, Any] | None:
    """What this program noted in a group that it made; None in any other folder."""
    try:
        own = zarr.open_group(path, mode="r").attrs.get("denoise_daisy")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(
            f"{str(path)!r} can't be read ({error.strerror}), so that nothing is known"
            " of who made it. Expected a folder that can be; correct that."
        ) from error
    except Exception:  # noqa: BLE001 - whatever zarr makes of somebody's zarr.json
        return None
    return own if isinstance(own, dict) else None


def files_of(path: Path, layout: Layout, roi: Roi) -> Iterator[Path]:
    """The files of an array that hold a Roi of voxels of ``(t, z, y, x)``."""
    begin = (roi.begin[0], 0, *roi.begin[1:])
    end = (roi.end[0], layout.shape[1], *roi.end[1:])
    ranges = [
        range(b // f, math.ceil(e / f))
        for b, e, f in zip(begin, end, layout.file_shape, strict=True)
    ]
    for position in itertools.product(*ranges):
        yield path.joinpath("c", *map(str, position))


def check_array(path: Path, layout: Layout) -> None:
    """Refuse an array that is gone, can't be opened, or is laid out otherwise."""
    try:
        array = open_written(path)
    except Exception as error:
        raise RefusedError(
            f"The array {str(path)!r} can't be opened ({error}), though blocks of it"
            " are recorded as done. Put it back, or start anew with --overwrite."
        ) from error
    found = (array.shape, array.dtype.name, array.chunks, array.shards)
    expected = (layout.shape, layout.dtype, layout.chunks, layout.shards)
    if found != expected:
        raise RefusedError(
            f"The array {str(path)!r} is of shape, type, chunks and shards {found}."
            f" Expected {expected}. Move it away, and start again."
        )


def remove_image(path: Path) -> None:
    """Delete an output of this program; cut short, it can be tried again.

    Of a link to a folder, the folder is emptied and the link is kept.
    """
    for child in path.iterdir():
        if child.name != METADATA:
            delete(child)
    # By its own attributes it is known as this program's, so it goes last.
    delete(path / METADATA)
    if not path.is_symlink():
        path.rmdir()


@dataclass(frozen=True, slots=True)
class Resolution:
    """A level of a multiscale image, as its metadata tell of it."""

    path: str
    begin: Coordinate
    """Where its first voxel begins, in voxels of the image, ``(t, z, y, x)``."""
    factor: Coordinate
    """Voxels of the image per voxel, ``(t, z, y, x)``."""
    is_sampled: bool
    """Whether a voxel is the first one of its cell, rather than all of it."""


def ome_metadata(
    name: str, image: Image, levels: Sequence[Resolution], method: str
) -> dict[str, Any]:
    """The "ome" attribute of OME-NGFF 0.5: axes, units, scales and translations.

    `method` is how a level came from the one before.  An axis whose scale is not
    recorded has scale 1 and no unit.
    """
    steps = [image.time_step_s, None, *image.scale_um]
    scale = [step or 1.0 for step in steps]
    axes = [
        {"name": axis, "type": kind} | ({"unit": unit} if unit and step else {})
        for (axis, kind, unit), step in zip(AXES, steps, strict=True)
    ]
    datasets = []
    for level in levels:
        factor = (level.factor[0], 1, *level.factor[1:])
        first = level.begin + Coordinate(image.origin)
        # A voxel lies at its centre: that of its cell, or of the one that it was.
        shift = [0.0 if level.is_sampled else (f - 1) / 2 for f in factor]
        offset = [o + d for o, d in zip((first[0], 0, *first[1:]), shift, strict=True)]
        own_scale = [s * f for s, f in zip(scale, factor, strict=True)]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": own_scale}]
        if any(offset):
            translation = [o * s for o, s in zip(offset, scale, strict=True)]
            transformations.append({"type": "translation", "translation": translation})
        datasets.append(
            {"path": level.path, "coordinateTransformations": transformations}
        )
    multiscale: dict[str, Any] = {"name": name, "axes": axes, "datasets": datasets}
    if len(levels) > 1:
        multiscale["type"] = method
    return {"version": VERSION, "multiscales": [multiscale]}


def display_metadata(
    channels: Sequence[Channel],
    windows: Sequence[tuple[float, float]],
    value_range: tuple[float, float],
    planes: int,
) -> dict[str, Any]:
    """The "omero" attribute of an image: how viewers show it.

    `windows` are the grey levels shown as black and as full colour, by channel;
    `planes` is its extent along z.
    """
    low, high = value_range
    return {
        "channels": [
            {
                "label": channel.name,
                "color": channel.color,
                "active": True,
                "window": {"start": start, "end": end, "min": low, "max": high},
            }
            for channel, (start, end) in zip(channels, windows, strict=True)
        ],
        "rdefs": {"defaultT": 0, "defaultZ": planes // 2, "model": "color"},
    }
