"""CZI files written for tests, and what is done to them."""

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi
from pylibCZIrw import czi as pylibczi

from denoise_daisy.errors import InputError
from denoise_daisy.images.czi import CziImage, open_czi

ALL = (slice(None),) * 5
CELLS = "CellDivision_T3_Z5_CH2_X240_Y170.czi"
LATTICE = "LLS7_small.czi"
MOSAIC = "S3_1Pos_2Mosaic_T2_Z3_CH2_sm.czi"

Tile = tuple[str, np.ndarray, tuple[int, int]]
"""Coordinate text, pixels, and x, y of the first pixel."""

Change = Callable[[bytearray, int, list[int]], None]
"""Gets a file's bytes, where an entry begins, and where its dimensions begin."""

DIRECTORY_AT, METADATA_AT, ATTACHMENTS_AT = 32 + 52, 32 + 60, 32 + 72
"""Bytes of a file at which it says where its directory, its metadata and its
attachments begin."""


def directory_at(data: bytes | bytearray) -> int:
    """Where the directory's segment begins: a number in the file's header."""
    return int(struct.unpack_from("<q", data, DIRECTORY_AT)[0])


def noise(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    """Random values over the whole range of a type."""
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(0, 1e3, shape).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def write_tiles(path: Path, tiles: Iterable[Tile]) -> Path:
    """A CZI of any sub-blocks, which pylibCZIrw's own write() has no words for."""
    with pylibczi.create_czi(str(path)) as writer:
        for number, (where, pixels, (x, y)) in enumerate(tiles):
            samples = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
            data = writer._format_data(np.ascontiguousarray(samples))
            writer._czi_writer.AddTile(where, data, x, y, number, "")
        writer.write_metadata(path.stem)
    return path


def set_xml(path: Path, change: Callable[[str], str]) -> Path:
    with pylibczi.edit_czi(str(path)) as editor:
        xml = editor.read_metadata_xml()
        with editor.edit_session() as builder:
            builder.set_xml(change(xml))
    return path


def with_xml(path: Path, inner: str) -> CziImage:
    """A CZI of two channels whose metadata is this, and nothing else."""
    write_czi(path, noise((1, 2, 1, 8, 8)), time_step_s=None)
    set_xml(
        path, lambda _: f"<ImageDocument><Metadata>{inner}</Metadata></ImageDocument>"
    )
    return open_czi(str(path))


def put(path: Path, at: int, layout: str, value: int) -> Path:
    """Write a number over some bytes of a file."""
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, at, value)
    path.write_bytes(data)
    return path


def patch_entries(path: Path, change: Change) -> Path:
    """Change entries of the directory, and their copies in the sub-blocks."""
    data = bytearray(path.read_bytes())
    begin = directory_at(data)
    (count,) = struct.unpack_from("<i", data, begin + 32)
    at = begin + 32 + 128
    for _ in range(count):
        position, dimensions = (
            struct.unpack_from("<q", data, at + 6)[0],
            struct.unpack_from("<i", data, at + 28)[0],
        )
        for entry in (at, position + 32 + 16):
            change(data, entry, [entry + 32 + 20 * i for i in range(dimensions)])
        at += 32 + 20 * dimensions
    path.write_bytes(data)
    return path


def refusal(path: Path | str, **kwargs: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_czi(str(path), **kwargs)
    said = str(caught.value)
    assert repr(str(path)) in said
    assert "Expected" in said
    assert "\n" not in said
    return said


def with_directory(path: Path, data: bytes) -> Path:
    """A CZI whose directory is replaced by one of these bytes, behind all else."""
    file = bytearray(path.read_bytes())
    struct.pack_into("<q", file, DIRECTORY_AT, len(file))
    segment = struct.pack("<16sqq", b"ZISRAWDIRECTORY", len(data), len(data))
    path.write_bytes(bytes(file) + segment + data)
    return path


def entry(dimensions: Iterable[tuple[bytes, int, int, int]], position: int) -> bytes:
    """An entry of a directory; of each dimension its name, start, size, stored size."""
    parts = [struct.pack("<4siifi", n, a, b, 0.0, c) for n, a, b, c in dimensions]
    head = struct.pack("<2siqii6xi", b"DV", 1, position, 0, 0, len(parts))
    return head + b"".join(parts)


def tiles_directory(
    tiles: Iterable[tuple[int, int, int, int, int]], position: int
) -> bytes:
    """A directory of tiles (z, y, x, height, width), all of the same pixels."""
    entries = [
        entry(
            [
                (b"X", x, width, width),
                (b"Y", y, height, height),
                (b"C", 0, 1, 1),
                (b"Z", z, 1, 1),
                (b"T", 0, 1, 1),
                (b"M", i, 1, 1),
            ],
            position,
        )
        for i, (z, y, x, height, width) in enumerate(tiles)
    ]
    return struct.pack("<i124x", len(entries)) + b"".join(entries)


def first_sub_block(path: Path) -> int:
    """Byte where its segment begins."""
    return path.read_bytes().index(b"ZISRAWSUBBLOCK")


def with_attachment(path: Path, name: bytes, data: bytes) -> Path:
    """A CZI with a single attachment, which lies behind all else."""
    file = path.read_bytes()
    at = len(file)
    about = struct.pack("<2s10xqi16s8s80s", b"A1", at, 0, b"", b"CZTIMS", name)
    size = 256 + len(data)
    file += struct.pack("<16sqq", b"ZISRAWATTACH", size, size)
    file += struct.pack("<q8x", len(data)) + about + bytes(112) + data
    directory = len(file)
    size = 256 + len(about)
    file += struct.pack("<16sqq", b"ZISRAWATTDIR", size, size)
    file += struct.pack("<i252x", 1) + about
    path.write_bytes(file)
    return put(path, ATTACHMENTS_AT, "<q", directory)
