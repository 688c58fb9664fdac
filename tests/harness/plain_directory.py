"""The sub-block directory of a CZI, read number by number as the format has it."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from denoise_daisy.images.czi_entries import SubBlocks

ENTRY = struct.Struct("<2siqii6xi")
DIMENSION = struct.Struct("<4siifi")
HEADER = 128


@dataclass(frozen=True)
class SubBlock:
    """One tile of one plane."""

    pixel_type: int
    position: int
    start: dict[str, int]
    size: dict[str, int]
    is_pyramid: bool


class DamagedError(Exception):
    pass


def plain_sub_blocks(data: bytes) -> list[SubBlock]:
    """Those of a directory, of which these are the bytes of its segment."""
    try:
        return list(_entries(data))
    except struct.error as error:
        raise DamagedError from error


def _entries(data: bytes) -> Iterator[SubBlock]:
    (count,) = struct.unpack_from("<i", data)
    names: set[str] = set()
    at = HEADER
    for _ in range(count):
        schema, pixel, position, part, _, dimensions = ENTRY.unpack_from(data, at)
        at += ENTRY.size
        if schema != b"DV" or part or not 0 < dimensions <= 32:
            raise DamagedError
        start: dict[str, int] = {}
        size: dict[str, int] = {}
        stored: dict[str, int] = {}
        for _ in range(dimensions):
            raw, first, length, _, kept = DIMENSION.unpack_from(data, at)
            at += DIMENSION.size
            name = raw.rstrip(b"\0 ").decode("latin-1")
            if name in start or length < 1:
                raise DamagedError
            start[name], size[name], stored[name] = first, length, kept
        names |= start.keys()
        if not {"X", "Y"} <= start.keys() or len(names) > 32:
            raise DamagedError
        is_pyramid = any(0 < stored[d] < size[d] for d in "XY")
        yield SubBlock(pixel, position, start, size, is_pyramid)


def rows(blocks: SubBlocks) -> list[SubBlock]:
    """Columns as one value per row."""
    found = []
    for i in range(len(blocks)):
        there = [d for d, sizes in blocks.sizes.items() if sizes[i]]
        found.append(
            SubBlock(
                pixel_type=int(blocks.pixel_types[i]),
                position=int(blocks.positions[i]),
                start={d: int(blocks.starts[d][i]) for d in there},
                size={d: int(blocks.sizes[d][i]) for d in there},
                is_pyramid=bool(blocks.is_pyramid[i]),
            )
        )
    return found
