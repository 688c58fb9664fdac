"""Arrays of Zarr v3 and v2: created, opened to read or to write, checked."""

import asyncio
import errno
import itertools
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import zarr
from funlib.geometry import Roi
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from denoise_daisy.durable import persistently, sync, write_atomic
from denoise_daisy.errors import RefusedError
from denoise_daisy.outputs.encoding import is_chunk, new_array
from denoise_daisy.outputs.five_axes import OneChannel, stored_shape
from denoise_daisy.outputs.layout import Layout

LEVEL = "0"
"""Name of the full-resolution array."""


def create_array(path: Path, layout: Layout) -> None:
    """Make the array of a level, all voxels missing, unless it is there.

    One that is shorter along t, of a run whose image has got longer, gets its length.
    """
    document = path / layout.metadata
    if document.exists():
        check_array(path, layout)
        _lengthen(document, layout)
        return
    new_array(path, layout)
    try:
        for place in (*(p for p in path.iterdir() if p.is_file()), path, path.parent):
            sync(place)
    except OSError:
        # What could not be made durable is made again.
        with suppress(OSError):
            document.unlink()
        raise


def _lengthen(file: Path, layout: Layout) -> None:
    """Write the metadata of an array anew if they have another length along t.

    All its chunks stay as they are.
    """
    metadata = json.loads(file.read_bytes())
    shape = list(layout.stored(layout.shape))
    if metadata["shape"] != shape:
        longer = metadata | {"shape": shape}
        write_atomic(file, json.dumps(longer, indent=2))


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
        if value is None and is_chunk(key):
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
    """A level as array to write to; chunks of zeros are written like all others.

    Zarr would leave them out, or delete them, and so an all-zero block could not be
    told from a missing one.  Voxels that were not written are read as zeros.

    Raises
    ------
    FileNotFoundError
        It is not there, or, in writing, not there any more.
    """
    array: Any = zarr.open_array(_FilesToWrite(path), mode="r+")
    return _of_five_axes(array.with_config({"write_empty_chunks": True}))


def open_written(path: Path) -> Any:
    """A level as array to read from, in which no chunk may be absent.

    Reading raises FileNotFoundError where one is.
    """
    return _of_five_axes(zarr.open_array(_WrittenFiles(path, read_only=True), mode="r"))


def open_so_far(path: Path) -> Any:
    """A level as array to read from; what was not written yet is zeros."""
    store = LocalStore(path, read_only=True)
    return _of_five_axes(zarr.open_array(store, mode="r"))


def _of_five_axes(array: Any) -> Any:
    """An array of ``(t, c, z, y, x)``, whether or not c is on disk."""
    return OneChannel(array) if array.ndim == len("tzyx") else array


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


def files_of(path: Path, layout: Layout, roi: Roi) -> Iterator[Path]:
    """The files of an array that hold a Roi of voxels of ``(t, z, y, x)``."""
    begin = (roi.begin[0], 0, *roi.begin[1:])
    end = (roi.end[0], layout.shape[1], *roi.end[1:])
    ranges = [
        range(b // f, math.ceil(e / f))
        for b, e, f in zip(begin, end, layout.file_shape, strict=True)
    ]
    for position in itertools.product(*ranges):
        yield path.joinpath(layout.keys, *map(str, layout.stored(position)))


def array_facts(path: Path) -> tuple[tuple[int, ...], str]:
    """Shape ``(t, c, z, y, x)`` and type of an array."""
    array = open_written(path)
    return tuple(map(int, array.shape)), str(array.dtype.name)


def check_array(path: Path, layout: Layout) -> None:
    """Refuse an array that is gone, can't be opened, or is laid out otherwise.

    It may be shorter along t, if it is yet to get its length.
    """
    try:
        array = persistently(lambda: open_written(path))
    except Exception as error:
        raise RefusedError(
            f"The array {str(path)!r} can't be opened ({error}), though blocks of it"
            " are recorded as done. Put it back, or start over with --overwrite."
        ) from error
    found = (array.shape, array.dtype.name, array.chunks, array.shards)
    expected = (layout.shape, layout.dtype, layout.chunks, layout.shards)
    if (axes := len(stored_shape(array))) != len(layout.axes):
        raise RefusedError(
            f"The array {str(path)!r} has {axes} axes. Expected {len(layout.axes)}, as"
            " this version writes them. Move it away, and start again."
        )
    shorter = *min(array.shape[:1], layout.shape[:1]), *layout.shape[1:]
    if found != (shorter, *expected[1:]):
        raise RefusedError(
            f"The array {str(path)!r} is of shape, type, chunks and shards {found}."
            f" Expected {expected}. Move it away, and start again."
        )
