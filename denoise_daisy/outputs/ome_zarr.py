"""Zarr v3 arrays and groups: created, opened to read or to write, checked, removed."""

import asyncio
import errno
import itertools
import json
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import zarr
from funlib.geometry import Roi
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from denoise_daisy.durable import delete, persistently, sync, write_atomic
from denoise_daisy.errors import RefusedError
from denoise_daisy.outputs.encoding import new_array
from denoise_daisy.outputs.layout import Layout
from denoise_daisy.outputs.notes import OWN
from denoise_daisy.outputs.ome_metadata import VERSION

LEVEL = "0"
"""Name of the full-resolution array."""

METADATA = "zarr.json"
"""File of an array's or a group's metadata."""

LABELS = "labels"
"""Name of the group of an image's masks and labels."""


def create_group(path: Path, ome: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Make a group with its OME metadata, or bring that of an existing one up to date.

    `own` is what this program notes in the group beside the OME metadata.  Metadata
    that are damaged are written again.
    """
    if is_damaged_group(path):
        (path / METADATA).unlink()
    group = zarr.open_group(path, mode="a", zarr_format=3)
    group.attrs.update({"ome": ome, OWN: own})
    _sync_metadata(path)


def listed_labels(path: Path) -> list[str]:
    """The labels of an image at `path` by which viewers find them; none if damaged."""
    if not (path / LABELS / METADATA).exists() or is_damaged_group(path / LABELS):
        return []
    ome = zarr.open_group(path / LABELS, mode="r").attrs.get("ome")
    names = ome.get("labels") if isinstance(ome, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else []


def is_damaged_group(path: Path) -> bool:
    """Whether the metadata of a group are there and can't be understood."""
    try:
        persistently(lambda: zarr.open_group(path, mode="r", zarr_format=3))
    except FileNotFoundError:
        return (path / METADATA).exists()
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - whatever zarr makes of a damaged file
        return True
    return False


def _sync_metadata(path: Path) -> None:
    """Make the metadata of an array or group durable, and that it is there."""
    for place in (path / METADATA, path, path.parent):
        sync(place)


def create_labels(path: Path, names: Sequence[str]) -> None:
    """List the labels of an image at `path`, where it has some, beside those there."""
    if not names:
        return
    if is_damaged_group(path / LABELS):
        (path / LABELS / METADATA).unlink()
    group = zarr.open_group(path / LABELS, mode="a", zarr_format=3)
    listed = dict(group.attrs).get("ome", {})
    before = listed.get("labels", []) if isinstance(listed, dict) else []
    ome = {"version": VERSION, "labels": list(dict.fromkeys([*before, *names]))}
    group.attrs.update({"ome": ome})
    _sync_metadata(path / LABELS)


def unlist_labels(path: Path, names: Collection[str]) -> None:
    """Take labels that were deleted from the list of an image at `path`."""
    left = [name for name in listed_labels(path) if name not in names]
    if left != listed_labels(path):
        group = zarr.open_group(path / LABELS, mode="a", zarr_format=3)
        group.attrs.update({"ome": {"version": VERSION, "labels": left}})
        _sync_metadata(path / LABELS)


def create_array(path: Path, layout: Layout) -> None:
    """Make the array of a level, all voxels missing, unless it is there.

    One that is shorter along t, of a run whose image has got longer, gets its length.
    """
    if (path / METADATA).exists():
        check_array(path, layout)
        _lengthen(path / METADATA, layout)
        return
    new_array(path, layout)
    try:
        _sync_metadata(path)
    except OSError:
        # What could not be made durable is made again.
        with suppress(OSError):
            (path / METADATA).unlink()
        raise


def _lengthen(file: Path, layout: Layout) -> None:
    """Write the metadata of an array anew if they have another length along t.

    All its chunks stay as they are.
    """
    metadata = json.loads(file.read_bytes())
    if metadata["shape"] != list(layout.shape):
        longer = metadata | {"shape": list(layout.shape)}
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
        group = persistently(lambda: zarr.open_group(path, mode="r"))
        own = group.attrs.get(OWN)
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
    shorter = *min(array.shape[:1], layout.shape[:1]), *layout.shape[1:]
    if found != (shorter, *expected[1:]):
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
