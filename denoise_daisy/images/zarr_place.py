"""Where a Zarr lies, such as a local folder, and what is read there but its voxels."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from denoise_daisy.errors import InputError

ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""What is raised where there is no such file."""


class StoredFile(NamedTuple):
    """A file of a listing."""

    key: str
    """Its path from the place, with slashes."""
    size: int
    """Bytes."""
    mtime_ns: int
    """When it was last written; 0 where the listing does not say."""
    tag: str
    """What a server knows its content by; empty where there is none."""


class Place(Protocol):
    """A folder of a Zarr: a group's or an array's."""

    @property
    def path(self) -> str:
        """Its path or URL."""

    def at(self, path: str) -> "Place":
        """Another folder of the same machine, by its whole path."""

    def read(self, key: str) -> bytes | None:
        """A file; None where there is none.

        Raises
        ------
        InputError
            It can't be read.
        """

    def read_all(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Those files that are there; raises as `read` does."""

    def children(self) -> list[str] | None:
        """Names of what it holds; None where they can't be listed."""

    def chunk_files(self) -> Iterable[StoredFile] | None:
        """All files of an array's chunks; None where they can't be listed.

        Raises
        ------
        InputError
            A folder can't be read.
        """


def within(place: Place, part: str) -> Place:
    """The folder of that path in a place; itself where that is empty."""
    return place.at(joined(place.path, part))


def joined(path: str, part: str) -> str:
    """The path of a part of what lies at a path or URL."""
    return f"{path.rstrip('/')}/{part}" if part else path


@dataclass(frozen=True)
class LocalPlace:
    """A local folder."""

    path: str

    def at(self, path: str) -> "LocalPlace":
        """As `Place` says, as all that follows."""
        return LocalPlace(path)

    def read(self, key: str) -> bytes | None:
        """A file."""
        try:
            return Path(self.path, key).read_bytes()
        except ABSENT:
            return None
        except (OSError, ValueError) as error:
            raise unreadable(joined(self.path, key), error) from error

    def read_all(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Some files."""
        found = {key: self.read(key) for key in keys}
        return {key: data for key, data in found.items() if data is not None}

    def children(self) -> list[str]:
        """In the order of their names."""
        try:
            return sorted(child.name for child in Path(self.path).iterdir())
        except OSError as error:
            raise unreadable(self.path, error) from error

    def chunk_files(self) -> Iterator[StoredFile]:
        """Folders whose names are no part of a chunk's key are not looked at."""
        try:
            yield from _chunk_files(self.path, "")
        except OSError as error:
            raise unreadable(error.filename or self.path, error) from error


def _chunk_files(folder: str, prefix: str) -> Iterator[StoredFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            key = prefix + entry.name
            if entry.name.isdigit() or entry.name == "c":
                if entry.is_dir():
                    yield from _chunk_files(entry.path, f"{key}/")
                    continue
            elif not entry.name[-1].isdigit():
                continue
            try:
                found = entry.stat()
            except FileNotFoundError:
                continue
            yield StoredFile(key, found.st_size, found.st_mtime_ns, "")


def unreadable(path: str, error: BaseException) -> InputError:
    """That a file of a Zarr, or all of it, can't be read."""
    return InputError(
        f"The input {path!r} can't be read ({said(error)}). Expected a Zarr that can"
        " be; check input.path, and who may read it."
    )


def said(error: BaseException) -> str:
    """What an error says, in a line, without what a URL in it may hold of secrets."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    line = " ".join(str(text).split())[:300].rstrip(". ")
    return re.sub(r"//[^/@\s]*@", "//", line)
