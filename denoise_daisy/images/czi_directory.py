"""The sub-block directory of a CZI file, read from its bytes.

pylibCZIrw reports every dimension as starting at 0, says nothing of where a sub-block
lies in the file, and reads a lost one as zeros.  The directory tells the truth about
all three.  Layout: ZISRAW file format of the ZEISS CZI specification.
"""

import hashlib
import os
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from denoise_daisy.errors import InputError

_SEGMENT = struct.Struct("<16sqq")
_HEADER = struct.Struct("<4i16s16siqqi")
_ENTRY = struct.Struct("<2siqii6xi")
_DIMENSION = struct.Struct("<4sii4xi")
_DIRECTORY_HEADER = 128
_MAX_DIMENSIONS = 32

PIXEL_TYPES = {
    0: "Gray8",
    1: "Gray16",
    2: "Gray32Float",
    3: "Bgr24",
    4: "Bgr48",
    8: "Bgr96Float",
    9: "Bgra32",
    10: "Gray64ComplexFloat",
    11: "Bgr192ComplexFloat",
    12: "Gray32",
    13: "Gray64",
}


@dataclass(frozen=True, slots=True)
class SubBlock:
    """One tile of one plane."""

    pixel_type: str
    position: int
    """Byte in the file where its segment begins."""
    start: dict[str, int]
    """First index along each dimension; X and Y in pixels of the document."""
    size: dict[str, int]
    is_pyramid: bool
    """A reduced copy of other sub-blocks."""


@dataclass(frozen=True, slots=True)
class Directory:
    """All sub-blocks of a file, and what identifies it."""

    sub_blocks: tuple[SubBlock, ...]
    guid: str
    sha256: str
    """Of the directory's own bytes."""
    size: int
    mtime_ns: int


def read_directory(path: str) -> Directory:
    """Read the directory and check that the file holds all that it names.

    Raises
    ------
    InputError
        The file is absent, is no CZI, is cut short, or its directory is damaged.
    """
    try:
        if Path(path).is_fifo() or Path(path).is_socket():
            raise ValueError("it is a pipe or socket")  # noqa: TRY301 - as any other
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            return _Reader(path, file, status).directory()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"The input {path!r} can't be read ({reason}). Expected a CZI file; check"
            " input.path."
        ) from error


class _Reader:
    def __init__(self, path: str, file: BinaryIO, status: os.stat_result) -> None:
        self.path = path
        self.file = file
        self.status = status

    def directory(self) -> Directory:
        self._refuse_other_formats()
        header = _HEADER.unpack(self._segment(0, "ZISRAWFILE", _HEADER.size))
        _, _, _, _, _, guid, part, directory_at, metadata_at, _ = header
        if part != 0:
            raise InputError(
                f"The input {self.path!r} is part {part} of a CZI split over several"
                " files. Expected a file in one piece; save it so in ZEN."
            )
        data = self._segment(directory_at, "ZISRAWDIRECTORY")
        if metadata_at:
            self._segment(metadata_at, "ZISRAWMETADATA", 0)
        sub_blocks = tuple(self._entries(data))
        if not sub_blocks:
            raise InputError(
                f"The input {self.path!r} is a CZI without any image data. Expected at"
                " least one plane; was its acquisition or export finished?"
            )
        last = max(block.position for block in sub_blocks)
        self._segment(last, "ZISRAWSUBBLOCK")
        return Directory(
            sub_blocks=sub_blocks,
            guid=str(uuid.UUID(bytes_le=guid)),
            sha256=hashlib.sha256(data).hexdigest(),
            size=self.status.st_size,
            mtime_ns=self.status.st_mtime_ns,
        )

    def _refuse_other_formats(self) -> None:
        start = self.file.read(16)
        if not start:
            problem = "is empty (0 bytes)"
        elif start.startswith(b"version https://"[:16]):
            problem = (
                "is a Git LFS pointer, not the image itself (run `git lfs pull` where"
                " it came from)"
            )
        elif not start.startswith(b"ZISRAWFILE"):
            problem = f"is no CZI: it begins with {start[:8]!r}"
        else:
            return
        raise InputError(
            f"The input {self.path!r} {problem}. Expected a CZI file; check input.path."
        )

    def _segment(self, position: int, name: str, length: int | None = None) -> bytes:
        """The first `length` bytes of a segment's data; None: check that all is there.

        The directory is read whole; of a sub-block just its end is looked for.
        """
        end_of_file = self.status.st_size
        found, used = "nothing", 0
        if 0 <= position <= end_of_file - _SEGMENT.size:
            self.file.seek(position)
            identifier, allocated, used = _SEGMENT.unpack(self.file.read(_SEGMENT.size))
            used = used or allocated
            found = identifier.rstrip(b"\0").decode("latin-1")
        if found != name:
            raise self._damaged(f"{name} expected at byte {position}, found {found!r}")
        end = position + _SEGMENT.size + used
        if used < 0 or end > end_of_file:
            raise self._damaged(f"{name} should end at byte {end}")
        if name == "ZISRAWSUBBLOCK":
            return b""
        data: bytes = self.file.read(used if length is None else length)
        return data

    def _damaged(self, what: str) -> InputError:
        return InputError(
            f"The input {self.path!r} is cut short or damaged: {what}, and the file has"
            f" {self.status.st_size} bytes. Expected a complete CZI; copy it again, or"
            " finish its acquisition."
        )

    def _entries(self, data: bytes) -> Iterator[SubBlock]:
        try:
            (count,) = struct.unpack_from("<i", data)
            at = _DIRECTORY_HEADER
            for _ in range(count):
                schema, pixel, position, part, _, dimensions = _ENTRY.unpack_from(
                    data, at
                )
                at += _ENTRY.size
                if schema != b"DV" or part or not 0 < dimensions <= _MAX_DIMENSIONS:
                    raise self._damaged("an entry of its sub-block directory is wrong")
                start, size, stored = {}, {}, {}
                for _ in range(dimensions):
                    raw, *numbers = _DIMENSION.unpack_from(data, at)
                    at += _DIMENSION.size
                    name = raw.rstrip(b"\0 ").decode("latin-1")
                    start[name], size[name], stored[name] = numbers
                if min(size.values()) < 1 or not {"X", "Y"} <= size.keys():
                    raise self._damaged("an entry of its sub-block directory is wrong")
                yield SubBlock(
                    pixel_type=PIXEL_TYPES.get(pixel, f"type {pixel}"),
                    position=position,
                    start=start,
                    size=size,
                    is_pyramid=any(0 < stored[d] < size[d] for d in "XY"),
                )
        except struct.error as error:
            raise self._damaged("its sub-block directory ends too early") from error
