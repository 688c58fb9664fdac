"""The segments that a CZI file is made of, and its header.

Layout: ZISRAW file format of the ZEISS CZI specification.
"""

import os
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from denoise_daisy.errors import InputError

_SEGMENT = struct.Struct("<16sqq")
HEADER = struct.Struct("<4i16s16siqqiq")
"""Of a file, behind its segment's own 32 bytes."""


class Header(NamedTuple):
    """What a file tells at its beginning."""

    guid: str
    directory_at: int
    """Byte where the segment of its sub-blocks' directory begins."""
    metadata_at: int
    """That of its metadata; 0 where it has none."""
    attachments_at: int
    """That of its attachments' directory; 0 where it has none."""


@contextmanager
def opened(path: str) -> Iterator["CziFile"]:
    """A file, for as long as its segments are read.

    Raises
    ------
    InputError
        It is absent, or the system can't read it.
    """
    try:
        if Path(path).is_fifo() or Path(path).is_socket():
            raise ValueError("it is a pipe or socket")  # noqa: TRY301 - as any other
        with Path(path).open("rb") as file:
            yield CziFile(path, file, os.fstat(file.fileno()))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"The input {path!r} can't be read ({reason}). Expected a CZI file; check"
            " input.path."
        ) from error


class CziFile:
    """A file that is open; `file` goes on from what was looked at last."""

    def __init__(self, path: str, file: BinaryIO, status: os.stat_result) -> None:
        self.path = path
        self.file = file
        self.status = status

    def header(self) -> Header:
        """What it tells at its beginning; InputError where it is no CZI."""
        self._refuse_other_formats()
        self.segment(0, "ZISRAWFILE")
        data = self.file.read(HEADER.size)
        if len(data) < HEADER.size:
            raise self.damaged("its header ends too early")
        *_, guid, part, directory_at, metadata_at, _, attachments_at = HEADER.unpack(
            data
        )
        if part != 0:
            raise InputError(
                f"The input {self.path!r} is part {part} of a CZI split over several"
                " files. Expected a file in one piece; save it so in ZEN."
            )
        return Header(
            str(uuid.UUID(bytes_le=guid)), directory_at, metadata_at, attachments_at
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

    def segment(self, position: int, name: str) -> int:
        """Bytes of a segment's data, all there; the next to be read is their first.

        Raises
        ------
        InputError
            There is no such segment, or it is cut short.
        """
        end_of_file = self.status.st_size
        found, used = "nothing", 0
        if 0 <= position <= end_of_file - _SEGMENT.size:
            self.file.seek(position)
            identifier, allocated, used = _SEGMENT.unpack(self.file.read(_SEGMENT.size))
            used = used or allocated
            found = identifier.rstrip(b"\0").decode("latin-1")
        if found != name:
            raise self.damaged(f"{name} expected at byte {position}, found {found!r}")
        end = position + _SEGMENT.size + used
        if used < 0 or end > end_of_file:
            raise self.damaged(f"{name} should end at byte {end}")
        return int(used)

    def damaged(self, what: str) -> InputError:
        """The refusal of a file of which something is not as it should be."""
        return InputError(
            f"The input {self.path!r} is cut short or damaged: {what}, and the file has"
            f" {self.status.st_size} bytes. Expected a complete CZI; copy it again, or"
            " finish its acquisition."
        )
