"""TIFF files as images: OME-TIFF, ImageJ's hyperstacks, BigTIFF, plain stacks."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images.earlier import sampled
from denoise_daisy.images.file_identity import identity_of
from denoise_daisy.images.plain_bytes import read_part
from denoise_daisy.images.stored_array import StoredArray
from denoise_daisy.images.tiff_file import CompressedPages


@dataclass(frozen=True)
class TiffImage(StoredArray):
    """One series of pages of a TIFF, or of several that belong together.

    Where the pages lie is known, so that nobody has to go along the file for them.
    """

    siblings: tuple[str, ...]
    """Names of the other files in the folder that have some of the pages."""
    byte_order: Literal["<", ">"]
    """Of the voxels."""
    plain: bool
    """Whether its pages are uncompressed, each in one piece."""
    page_ndim: int
    """How many of the last axes a page has."""
    pages: tuple[tuple[int, int, int, int], ...]
    """Runs of pages at equal distances: the number of their file (0 is that of the
    path), the offset of the first, the step to the next, and how many they are.  The
    offset is that of the voxels of plain pages, and of the directory of others."""

    def _voxels(self, part: tuple[slice, ...]) -> np.ndarray:
        outer, inner = part[: -self.page_ndim], part[-self.page_ndim :]
        lengths = [s.stop - s.start for s in part]
        found = np.empty(lengths, self.dtype)
        sizes = self.stored_shape[: -self.page_ndim]
        for place in np.ndindex(*lengths[: len(outer)]):
            at = [s.start + i for s, i in zip(outer, place, strict=True)]
            number = int(np.ravel_multi_index(at, sizes)) if at else 0
            found[place] = self._page(number, inner)
        return found

    def _place(self, number: int) -> tuple[int, int]:
        """The number of a page's file, and its offset there, see `pages`."""
        run = bisect_right(self._ends, number)
        file, first, step, _ = self.pages[run]
        return file, first + step * (number - (self._ends[run - 1] if run else 0))

    def _page(self, number: int, part: tuple[slice, ...]) -> np.ndarray:
        file, offset = self._place(number)
        path = self._paths[file]
        if not self.plain:
            return self._compressed.read(path, offset, part)
        dtype = self.dtype.newbyteorder(self.byte_order)
        shape = self.stored_shape[-self.page_ndim :]
        try:
            with Path(path).open("rb", buffering=0) as opened:
                return read_part(opened.fileno(), offset, shape, part, dtype)
        except (OSError, EOFError) as error:
            raise InputError(
                f"Page {number} of {path!r} can't be read:"
                f" {getattr(error, 'strerror', None) or error}. Expected the file as it"
                " was when the run began; copy it again."
            ) from error

    @cached_property
    def _ends(self) -> list[int]:
        """The number of the page behind each run."""
        return list(accumulate(count for *_, count in self.pages))

    @property
    def _paths(self) -> list[str]:
        return paths_of(self.path, self.siblings)

    @cached_property
    def _compressed(self) -> CompressedPages:
        return CompressedPages()

    def current_identity(self) -> dict[str, str | int]:
        """The identity of the files as they are now."""
        return identity_of(self._paths)

    def earlier_identity(self, times: int) -> dict[str, str | int] | None:
        """Where the pages of these time points lie, and some voxels.

        None where a page has several time points.
        """
        outer = self.axes[: -self.page_ndim]
        if "t" in self.axes and "t" not in outer:
            return None
        sizes = self.stored_shape[: len(outer)]
        numbers = np.arange(int(np.prod(sizes))).reshape(sizes)
        first = (slice(times if axis == "t" else None) for axis in outer)
        names = ("", *self.siblings)
        checksum = hashlib.sha256(b"plain" if self.plain else b"")
        for number in numbers[tuple(first)].ravel().tolist():
            file, offset = self._place(number)
            checksum.update(f"{names[file]}\0{offset}\0".encode())
        return {
            "pages_sha256": checksum.hexdigest(),
            "voxels_sha256": sampled(self, times),
        }

    def __getstate__(self) -> dict[str, Any]:
        made = ("_ends", "_compressed")
        return {k: v for k, v in self.__dict__.items() if k not in made}


def paths_of(path: str, siblings: Sequence[str]) -> list[str]:
    """The paths of a file and of others in its folder, by name."""
    return [path, *(str(Path(path).parent / name) for name in siblings)]
