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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from denoise_daisy.errors import InputError
from denoise_daisy.images.czi_entries import (
    SMALLEST_ENTRY,
    TOO_SHORT,
    SubBlocks,
    parse,
)

_SEGMENT = struct.Struct("<16sqq")
_HEADER = struct.Struct("<4i16s16siqqi")
_DIRECTORY_HEADER = 128

_PIECE = 1 << 22
"""Bytes of the directory that are in memory at once."""

_MOST_BYTES = 1 << 30
"""Of a directory, seven million sub-blocks of six dimensions; more are damage."""


@dataclass(frozen=True, slots=True)
class Directory:
    """All sub-blocks of a file, and what identifies it."""

    sub_blocks: SubBlocks
    identity: dict[str, str | int]
    """The file's size, times and id, and a checksum of the directory's own bytes."""
    size: int
    """Bytes of the file."""


def read_directory(path: str) -> Directory:
    """Read the directory and check that the file holds all that it names.

    Raises
    ------
    InputError
        The file is absent, is no CZI, is cut short, or its directory is damaged.
    """
    with _opened(path) as reader:
        return reader.directory()


def read_identity(path: str) -> dict[str, str | int]:
    """What identifies the file as it is now; its directory's entries are not looked at.

    Raises
    ------
    InputError
        The file is absent, is no CZI, or is cut short.
    """
    with _opened(path) as reader:
        return reader.identity()


@contextmanager
def _opened(path: str) -> Iterator["_Reader"]:
    try:
        if Path(path).is_fifo() or Path(path).is_socket():
            raise ValueError("it is a pipe or socket")  # noqa: TRY301 - as any other
        with Path(path).open("rb") as file:
            yield _Reader(path, file, os.fstat(file.fileno()))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"The input {path!r} can't be read ({reason}). Expected a CZI file; check"
            " input.path."
        ) from error


class _Header(NamedTuple):
    guid: str
    directory_at: int
    metadata_at: int


class _Reader:
    def __init__(self, path: str, file: BinaryIO, status: os.stat_result) -> None:
        self.path = path
        self.file = file
        self.status = status
        self.checksum = hashlib.sha256()

    def identity(self) -> dict[str, str | int]:
        header = self._header()
        for _ in self._pieces(self._directory_bytes(header)):
            pass
        return self._identity(header)

    def directory(self) -> Directory:
        header = self._header()
        if header.metadata_at:
            self._segment(header.metadata_at, "ZISRAWMETADATA")
        used = self._directory_bytes(header)
        pieces = self._pieces(used)
        try:
            sub_blocks = self._sub_blocks(pieces, used)
        except ValueError as error:
            raise self._damaged(str(error)) from error
        for _ in pieces:
            pass
        self._segment(int(sub_blocks.positions.max()), "ZISRAWSUBBLOCK")
        return Directory(sub_blocks, self._identity(header), self.status.st_size)

    def _header(self) -> _Header:
        self._refuse_other_formats()
        self._segment(0, "ZISRAWFILE")
        data = self.file.read(_HEADER.size)
        if len(data) < _HEADER.size:
            raise self._damaged("its header ends too early")
        _, _, _, _, _, guid, part, directory_at, metadata_at, _ = _HEADER.unpack(data)
        if part != 0:
            raise InputError(
                f"The input {self.path!r} is part {part} of a CZI split over several"
                " files. Expected a file in one piece; save it so in ZEN."
            )
        return _Header(str(uuid.UUID(bytes_le=guid)), directory_at, metadata_at)

    def _identity(self, header: _Header) -> dict[str, str | int]:
        return {
            "size": self.status.st_size,
            "mtime_ns": self.status.st_mtime_ns,
            "guid": header.guid,
            "directory_sha256": self.checksum.hexdigest(),
        }

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

    def _segment(self, position: int, name: str) -> int:
        """Bytes of a segment's data, all there; the next to be read is their first."""
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
        return int(used)

    def _directory_bytes(self, header: _Header) -> int:
        used = self._segment(header.directory_at, "ZISRAWDIRECTORY")
        if used > _MOST_BYTES:
            raise self._damaged(f"its sub-block directory has {used} bytes")
        return used

    def _pieces(self, left: int) -> Iterator[bytes]:
        """The bytes of the directory, its header first; they go into the checksum."""
        length = _DIRECTORY_HEADER
        while data := self.file.read(min(length, left)):
            self.checksum.update(data)
            left -= len(data)
            length = _PIECE
            yield data

    def _sub_blocks(self, pieces: Iterator[bytes], used: int) -> SubBlocks:
        header = next(pieces, b"")
        count = int.from_bytes(header[:4], "little", signed=True)
        if len(header) < 4 or count > (used - len(header)) // SMALLEST_ENTRY:
            raise ValueError(TOO_SHORT)
        if count < 1:
            raise InputError(
                f"The input {self.path!r} is a CZI without any image data. Expected at"
                " least one plane; was its acquisition or export finished?"
            )
        return parse(pieces, count)

    def _damaged(self, what: str) -> InputError:
        return InputError(
            f"The input {self.path!r} is cut short or damaged: {what}, and the file has"
            f" {self.status.st_size} bytes. Expected a complete CZI; copy it again, or"
            " finish its acquisition."
        )
