"""An array of a Zarr as an image, read through the package zarr."""

import hashlib
import os
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from denoise_daisy.errors import InputError
from denoise_daisy.images.stored_array import StoredArray, in_order
from denoise_daisy.images.zarr_chunks import ChunkGrid, checked_grid, unpacked
from denoise_daisy.images.zarr_nodes import Node, read_node
from denoise_daisy.images.zarr_place import Place, joined, said
from denoise_daisy.images.zarr_server import place_of, remote_options
from denoise_daisy.sections import is_url

if TYPE_CHECKING:
    from zarr import Array


@dataclass(frozen=True)
class ZarrImage(StoredArray):
    """An array of a Zarr, of one level of an image; picklable, opened when needed.

    A chunk that has no file is a gap, and read as 0.  Of a sharded array that goes by
    shards: a chunk that is not in its shard is one of zeros.
    """

    begin: tuple[int, ...]
    """Where the first voxel lies, in voxels of (t, z, y, x)."""
    version: Literal[2, 3]
    """Of the Zarr format: 2 or 3."""
    grid: ChunkGrid
    missing: str | None
    """Which files are missing, packed; empty where none is, None if not known."""

    @property
    def origin(self) -> tuple[int, ...]:
        """Of a crop, say; told by OME's metadata."""
        return self.begin

    @property
    def has_gaps(self) -> bool:
        """Whether files of chunks are missing."""
        return bool(self.missing)

    def valid(self, key: tuple[slice, ...]) -> np.ndarray | None:
        """Whether the file holds the voxels of five slices; None where it holds all."""
        if not self.missing:
            return None
        t, c, z, y, x = self.ranges(key)
        places = [t, [self.selected[i] for i in c], z, y, x]
        missing, sizes = self._gaps
        files = [
            np.array(p, np.int64) // size for p, size in zip(places, sizes, strict=True)
        ]
        if not missing[np.ix_(*map(np.unique, files))].any():
            return None
        mask: np.ndarray = ~missing[np.ix_(*files)]
        return mask

    @cached_property
    def _gaps(self) -> tuple[np.ndarray, list[int]]:
        """Missing files, and voxels of one, both by (t, c, z, y, x)."""
        flags = unpacked(self.missing or "", self.grid.counts)
        sizes = dict(zip(self.axes, self.grid.chunk, strict=True))
        return in_order(flags, self.axes), [sizes.get(axis, 1) for axis in "tczyx"]

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        block = super().__getitem__(key)
        mask = self.valid(key)
        if mask is not None:
            # Zarr has them as the array's fill value.
            block[~mask] = 0
        return block

    def _voxels(self, part: tuple[slice, ...]) -> np.ndarray:
        try:
            return np.asarray(self._array[part])
        except MemoryError:
            raise
        except Exception as error:
            raise self._unreadable(part, error) from error

    def _unreadable(self, part: tuple[slice, ...], error: Exception) -> InputError:
        """Which file of a part it is; zarr does not say."""
        where = "A chunk"
        for key, voxels in self.grid.parts(part):
            try:
                self._array[voxels]
            except Exception as own:  # noqa: BLE001 - whatever codecs make of damage
                where, error = f"The chunk {key!r}", own
                break
        return InputError(
            f"{where} of {joined(self.path, self.part)!r} can't be read:"
            f" {said(error)}. Expected a whole Zarr, compressed in a way that zarr"
            " knows; copy that file again, and check who may read it."
        )

    @property
    def _array(self) -> "Array[Any]":
        # A server's connections are of no use to a process that inherits them.
        process: int | None
        array: Array[Any] | None
        process, array = self.__dict__.get("_opened", (None, None))
        if process != os.getpid() or array is None:
            path, known = joined(self.path, self.part), self.missing
            missing = None if known is None else unpacked(known, self.grid.counts)
            store = _Chunks(_store(path), self.grid, missing)
            array = zarr.open_array(store, mode="r", zarr_format=self.version)
            self.__dict__["_opened"] = os.getpid(), array
        return array

    def current_identity(self) -> dict[str, str | int]:
        """The identity of the array as it is now.

        Raises
        ------
        InputError
            It can't be read any more.
        """
        place = place_of(joined(self.path, self.part))
        return look_at(place, array_node(place)[1], self.grid)[1]

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: self.__dict__[field.name] for field in fields(self)}


class _Chunks(WrapperStore[Store]):
    """The files of an array, none of which is gone that was there before.

    For Zarr a chunk that is absent is one of the fill value.
    """

    def __init__(
        self,
        store: Store,
        grid: ChunkGrid | None = None,
        missing: np.ndarray | None = None,
    ) -> None:
        super().__init__(store)
        self._grid = grid
        self._missing = missing

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        value = await super().get(key, prototype, byte_range)
        if value is None and self._grid and self._missing is not None:
            position = self._grid.position(key)
            if position is not None and not self._missing[position]:
                raise FileNotFoundError("it was there when the image was opened")
        return value


def _store(path: str) -> Store:
    if is_url(path):
        return FsspecStore.from_url(path, remote_options(path), read_only=True)
    return LocalStore(path, read_only=True)


@dataclass(frozen=True)
class ArrayFacts:
    """What the metadata of an array tell."""

    dtype: np.dtype[Any]
    grid: ChunkGrid


def array_facts(path: str, version: Literal[2, 3]) -> ArrayFacts:
    """What the metadata of the array at a path or URL tell.

    Raises
    ------
    InputError
        They are damaged, or zarr does not know how to read such an array.
    """
    try:
        array: Any = zarr.open_array(_store(path), mode="r", zarr_format=version)
        dtype, shape = np.dtype(array.dtype), tuple(map(int, array.shape))
        is_sharded = getattr(array, "shards", None) is not None
        chunk = tuple(map(int, array.shards if is_sharded else array.chunks))
        metadata = array.metadata
        if version == 2:
            prefix, separator = "", metadata.dimension_separator
        else:
            keys = metadata.chunk_key_encoding
            separator = keys.separator
            prefix = "" if keys.name == "v2" else f"c{separator}"
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(
            f"The array {path!r} can't be opened ({said(error)}). Expected one of Zarr"
            " 2 or 3, whose types and compression zarr knows; copy its metadata again."
        ) from error
    grid = ChunkGrid(shape, chunk, prefix, separator, is_sharded)
    return ArrayFacts(dtype, checked_grid(path, grid))


def look_at(
    place: Place, document: bytes, grid: ChunkGrid
) -> tuple[str | None, dict[str, str | int]]:
    """Which files of an array are missing, packed, and its identity.

    Raises
    ------
    InputError
        A folder of it can't be read.
    """
    identity: dict[str, str | int] = {
        "metadata_sha256": hashlib.sha256(document).hexdigest()
    }
    files = place.chunk_files()
    if files is None:
        return None, identity
    listed = grid.listed(files)
    return listed.missing, identity | listed.identity


def array_node(place: Place) -> tuple[Node, bytes]:
    """The array at a place, and its metadata document.

    Raises
    ------
    InputError
        There is none.
    """
    node = read_node(place)
    if node is None or node.array is None:
        raise InputError(
            f"There is no array at {place.path!r}. Expected one of Zarr 2 or 3; check"
            " input.path, and whether the image is whole."
        )
    return node, node.array
