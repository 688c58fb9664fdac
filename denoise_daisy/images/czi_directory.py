"""The sub-block directory of a CZI file, read from its bytes.

pylibCZIrw reports every dimension as starting at 0, says nothing of where a sub-block
lies in the file, and reads a lost one as zeros.  The directory tells the truth about
all three.  Layout: ZISRAW file format of the ZEISS CZI specification.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from denoise_daisy.errors import InputError
from denoise_daisy.images.czi_entries import (
    SMALLEST_ENTRY,
    TOO_SHORT,
    SubBlocks,
    parse,
)
from denoise_daisy.images.czi_segments import CziFile, Header, opened

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
    with opened(path) as file:
        return _Reader(file).directory()


def read_identity(path: str) -> dict[str, str | int]:
    """What identifies the file as it is now; its directory's entries are not looked at.

    Raises
    ------
    InputError
        The file is absent, is no CZI, or is cut short.
    """
    with opened(path) as file:
        return _Reader(file).identity()


class _Reader:
    def __init__(self, file: CziFile) -> None:
        self.file = file
        self.checksum = hashlib.sha256()

    def identity(self) -> dict[str, str | int]:
        header = self.file.header()
        for _ in self._pieces(self._directory_bytes(header)):
            pass
        return self._identity(header)

    def directory(self) -> Directory:
        header = self.file.header()
        if header.metadata_at:
            self.file.segment(header.metadata_at, "ZISRAWMETADATA")
        used = self._directory_bytes(header)
        pieces = self._pieces(used)
        try:
            sub_blocks = self._sub_blocks(pieces, used)
        except ValueError as error:
            raise self.file.damaged(str(error)) from error
        for _ in pieces:
            pass
        self.file.segment(int(sub_blocks.positions.max()), "ZISRAWSUBBLOCK")
        return Directory(sub_blocks, self._identity(header), self.file.status.st_size)

    def _identity(self, header: Header) -> dict[str, str | int]:
        return {
            "size": self.file.status.st_size,
            "mtime_ns": self.file.status.st_mtime_ns,
            "guid": header.guid,
            "directory_sha256": self.checksum.hexdigest(),
        }

    def _directory_bytes(self, header: Header) -> int:
        used = self.file.segment(header.directory_at, "ZISRAWDIRECTORY")
        if used > _MOST_BYTES:
            raise self.file.damaged(f"its sub-block directory has {used} bytes")
        return used

    def _pieces(self, left: int) -> Iterator[bytes]:
        """The bytes of the directory, its header first; they go into the checksum."""
        length = _DIRECTORY_HEADER
        while data := self.file.file.read(min(length, left)):
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
                f"The input {self.file.path!r} is a CZI without any image data."
                " Expected at least one plane; was its acquisition or export finished?"
            )
        return parse(pieces, count)
