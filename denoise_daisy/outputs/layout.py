"""How an output lies on disk: type, chunks and shards, as asked for and as chosen."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from funlib.geometry import Coordinate
from pydantic import AfterValidator, Field, PositiveInt, model_validator

from denoise_daisy.errors import InputError
from denoise_daisy.sections import AnyAxis, OutputType, Section, by_axis
from denoise_daisy.wording import AsItStands

ARRAY_AXES = "tczyx"
"""The axes of every array."""

OmeVersion = Literal["0.5", "0.4"]
"""Of OME-NGFF."""

V3: OmeVersion = "0.5"
"""That which lies in Zarr v3."""

V2: OmeVersion = "0.4"
"""That which lies in Zarr v2."""

ARRAY_METADATA: dict[OmeVersion, str] = {V3: "zarr.json", V2: ".zarray"}
"""Document by which an array is one."""

MAX_SHARD_BYTES = 256 << 20


EXPORTED = {".tif": ".ome.tif", ".tiff": ".ome.tif", ".btf": ".ome.tif", ".ozx": ".ozx"}
"""Endings of files that an output can be exported to, by that of its path."""

OTHERS = (
    *(".czi", ".lif", ".nd2", ".lsm", ".ims", ".klb"),
    *(".h5", ".hdf5", ".hdf", ".he5", ".n5", ".npy", ".npz", ".zip", ".json"),
)
"""Endings of other things that are no OME-Zarr."""


def named_as_folder(path: str) -> str:
    """An output's path, which is not named as a file of another format.

    Raises
    ------
    AsItStands
        It is; with what to do.
    """
    stem, ending = os.path.splitext(path.rstrip("/"))  # noqa: PTH122 - {name} is in it
    if ending.lower() not in (*EXPORTED, *OTHERS):
        return path
    stem = stem.removesuffix(".ome")
    advice = f"Expected a name such as {stem + '.zarr'!r}"
    if exported := EXPORTED.get(ending.lower()):
        advice += (
            f": write to that, and then: denoise-daisy export {stem}.zarr"
            f" {stem}{exported}"
        )
    raise AsItStands(
        f"{path!r} is named as a file of another format, but an OME-Zarr, a folder, is"
        f" written. {advice}"
    )


class Output(Section):
    """The OME-Zarr to write."""

    path: Annotated[str, Field(min_length=1), AfterValidator(named_as_folder)]
    """Folder to make; a relative path counts from the config file."""

    ome_version: OmeVersion = "0.5"
    """Of OME-NGFF.  0.5 is Zarr v3 with shards; 0.4 is Zarr v2, which more viewers
    read, as those in Fiji, and which has no shards: each chunk is a file."""

    dtype: OutputType = "input"
    """Integers are rounded to nearest and clipped; clipped voxels are reported."""

    chunks: dict[AnyAxis, PositiveInt] = {}
    """Voxels of a chunk by axis.  An axis not named: t 1, c 1; along z, y and x as many
    as make it about a cube in micrometers, of 0.5 to 2 MiB uncompressed, with which
    the blocks are done soonest.  A run that goes on keeps its chunks."""

    shards: dict[AnyAxis, PositiveInt] | Literal["auto"] | None = "auto"
    """Voxels of a shard by axis (an axis not named: one chunk, all channels), null for
    no sharding, or auto: whole shards tile a block and hold all channels, 256 MiB each
    uncompressed at most; none with ome_version 0.4."""

    compression_level: Annotated[int, Field(ge=0, le=9)] = 1
    """Level of the zstd compressor."""

    durability: Literal["fsync", "none"] = "fsync"
    """fsync: a block counts as done once it would outlive a power cut; none: once the
    system has it, which is faster on slow file systems."""

    @model_validator(mode="after")
    def _shards_are_of_v3(self) -> Self:
        if self.ome_version == V2 and isinstance(self.shards, dict):
            raise ValueError(
                "no shards with ome_version 0.4, whose Zarr v2 has none: leave shards"
                ' out, or set ome_version to "0.5"'
            )
        return self

    @property
    def has_shards(self) -> bool:
        """Whether arrays lie in shards."""
        return self.shards is not None and self.ome_version == V3


@dataclass(frozen=True, slots=True)
class Layout:
    """How the array lies on disk; shapes are of ``(t, c, z, y, x)``."""

    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    compression_level: int
    ome_version: OmeVersion = V3
    has_channels: bool = True
    """Whether axis c is on disk; without it, there is one channel."""

    def stored(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Of five numbers along (t, c, z, y, x), those of the axes on disk."""
        t, c, *zyx = shape
        return (t, c, *zyx) if self.has_channels else (t, *zyx)

    @property
    def axes(self) -> str:
        """Those on disk."""
        return ARRAY_AXES if self.has_channels else ARRAY_AXES.replace("c", "")

    @property
    def metadata(self) -> str:
        """Name of the document by which the array is one."""
        return ARRAY_METADATA[self.ome_version]

    @property
    def keys(self) -> str:
        """Folder of all its chunks or shards in the array's."""
        return "c" if self.ome_version == V3 else ""

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


def without_c(shape: Sequence[int]) -> Coordinate:
    """A shape of ``(t, c, z, y, x)`` as one of ``(t, z, y, x)``."""
    t, _, z, y, x = shape
    return Coordinate(t, z, y, x)


def with_c(shape: Sequence[int], channels: int) -> tuple[int, ...]:
    """A shape of ``(t, z, y, x)`` as one of ``(t, c, z, y, x)``."""
    t, z, y, x = shape
    return t, channels, z, y, x


def chunks_of(output: Output, shape: Sequence[int]) -> tuple[int, ...]:
    """The chunks of an array of that ``(t, c, z, y, x)``, no larger than it.

    Along an axis that `output` does not name they are as long as the array.
    """
    whole = dict(zip(ARRAY_AXES, shape, strict=True))
    return tuple(map(min, by_axis(output.chunks, ARRAY_AXES, whole), shape))


def explicit_shards(
    output: Output, shape: Sequence[int], chunks: Sequence[int]
) -> tuple[int, ...] | None:
    """The shards that a config names, of ``(t, c, z, y, x)``; None if it names none.

    Raises
    ------
    InputError
        They are no multiple of the chunks, or do not hold all channels.
    """
    if not isinstance(output.shards, dict):
        return None
    default = dict(zip(ARRAY_AXES, chunks, strict=True)) | {"c": shape[1]}
    asked = by_axis(output.shards, ARRAY_AXES, default)
    # A shard larger than the image is as good as one that just holds it.
    most = (-(-n // c) * c for n, c in zip(shape, chunks, strict=True))
    shards = tuple(map(min, asked, most))
    for axis, shard, chunk, n in zip(ARRAY_AXES, shards, chunks, shape, strict=True):
        if shard % chunk:
            raise InputError(
                f"output.shards.{axis} is {shard}, no multiple of the chunk's"
                f" {chunk} voxels. The nearest that is: "
                f"{max(1, round(shard / chunk)) * chunk}."
            )
        if axis == "c" and shard < n:
            raise InputError(
                f"output.shards.c is {shard}, but a block writes all {n} channels"
                f" at once. Expected {-(-n // chunk) * chunk}."
            )
    return shards


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
