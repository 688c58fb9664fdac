"""Rows of a CZI's uncompressed tiles, read from where the directory says they lie.

pylibCZIrw reads a whole sub-block for each pixel of it.  Layout: ZISRAW file format of
the ZEISS CZI specification.
"""

import os
import struct
import weakref
from collections.abc import Mapping

import numpy as np

from denoise_daisy.images.czi_entries import SubBlocks
from denoise_daisy.images.czi_positions import RESOLVED_DIMENSIONS
from denoise_daisy.images.czi_tiles import Tiles

_OWN_ENTRY = struct.Struct("<16sqqiiq2siqii6xi")
"""A sub-block's segment: name, sizes allocated and used; then the sizes of metadata,
attachment and data, and the head of an entry, as in the directory."""
_DIMENSION = struct.Struct("<4siifi")
_SEGMENT = 32
_SMALLEST = 256
"""Bytes of a sub-block's segment in front of its metadata, at least."""

_MOST_DIMENSIONS = 32
_MOST_READ = 1.25
"""Bytes of whole rows per byte wanted, at most; else each row's part is read."""

_UNKNOWN, _UNUSUAL = 0, -1


class Rows:
    """The tiles of an image, and the file that holds them."""

    def __init__(
        self, path: str, tiles: Tiles, pixel_type: int, pixel_bytes: int
    ) -> None:
        self._tiles = tiles
        self._pixel_type = pixel_type
        self._pixel_bytes = pixel_bytes
        self._pixels_at = np.full(len(tiles.positions), _UNKNOWN)
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)

    def read(self, plane: Mapping[str, int], y: int, x: int, out: np.ndarray) -> bool:
        """Read a part of a plane, whose first pixel is at y and x, into zeros.

        `plane` has T, C and Z, all as the file counts.  `out` has ``(y, x)``, or ``(y,
        x, sample)``.  False, and anything in `out`, where it takes pylibCZIrw: pixels
        are compressed or are not stored as they are shown.
        """
        rows = self._tiles.shown([plane[d] for d in "TCZ"], (y, x), out.shape[:2])
        if rows is None:
            return False
        try:
            return all(self._paint(row, y, x, out) for row in rows)
        except OSError:
            return False

    def _paint(self, row: int, y: int, x: int, out: np.ndarray) -> bool:
        """Read what a tile has of a part of its plane."""
        begin = self._begin_of(row)
        if begin == _UNUSUAL:
            return False
        top, left, height, width = self._tiles.places[row].tolist()
        first, last = max(y, top), min(y + out.shape[0], top + height)
        start, end = max(x, left), min(x + out.shape[1], left + width)
        part = out[first - y : last - y, start - x : end - x]
        stride, wanted = width * self._pixel_bytes, (end - start) * self._pixel_bytes
        begin += (first - top) * stride + (start - left) * self._pixel_bytes
        if stride > _MOST_READ * wanted:
            return all(
                self._fill(pixels, begin + i * stride) for i, pixels in enumerate(part)
            )
        if stride == wanted and part.flags.c_contiguous:
            return self._fill(part, begin)
        data = np.empty(len(part) * stride, np.uint8)
        if not self._fill(data[: data.size - stride + wanted], begin):
            return False
        lines = data.reshape(len(part), stride)[:, :wanted]
        part[:] = lines.view(part.dtype).reshape(part.shape)
        return True

    def _begin_of(self, row: int) -> int:
        """Byte of a tile's first pixel."""
        if self._pixels_at[row] == _UNKNOWN:
            self._pixels_at[row] = self._find_pixels(row)
        return int(self._pixels_at[row])

    def _find_pixels(self, row: int) -> int:
        """Byte of a tile's first pixel, if its own entry is that of the directory."""
        position = int(self._tiles.positions[row])
        data = os.pread(self._file, _SEGMENT + _SMALLEST, position)
        if len(data) < _OWN_ENTRY.size:
            return _UNUSUAL
        values = _OWN_ENTRY.unpack_from(data)
        name, _, _, metadata, _, size, schema, pixel_type, _, _, compression, count = (
            values
        )
        if (
            name.rstrip(b"\0") != b"ZISRAWSUBBLOCK"
            or (schema, pixel_type, compression) != (b"DV", self._pixel_type, 0)
            or not 0 < count <= _MOST_DIMENSIONS
        ):
            return _UNUSUAL
        end = _OWN_ENTRY.size + count * _DIMENSION.size
        if end > len(data):
            data += os.pread(self._file, end - len(data), position + len(data))
        if end > len(data):
            return _UNUSUAL
        dimensions = _DIMENSION.iter_unpack(data[_OWN_ENTRY.size : end])
        sizes = {d[0].rstrip(b"\0 "): (d[2], d[4]) for d in dimensions}
        height, width = self._tiles.places[row, 2:].tolist()
        if (
            (sizes.get(b"Y"), sizes.get(b"X")) != ((height, height), (width, width))
            or size < height * width * self._pixel_bytes
            or metadata < 0
        ):
            return _UNUSUAL
        begin: int = position + _SEGMENT + max(_SMALLEST, end - _SEGMENT) + metadata
        return begin

    def _fill(self, array: np.ndarray, begin: int) -> bool:
        """Read a C-contiguous array from a byte on; False where the file has ended."""
        view = array.data.cast("B")
        done = 0
        while done < len(view):
            count = os.preadv(self._file, [view[done:]], begin + done)
            if not count:
                return False
            done += count
        return True


def rows_of(
    path: str,
    blocks: SubBlocks,
    scene: int | None,
    fixed: Mapping[str, int],
    pixel: tuple[int, int],
) -> Rows | None:
    """The rows of an image; None where pylibCZIrw has to find its tiles.

    `blocks` are all of the file's in full size, `fixed` positions beyond T, C and Z
    that are not 0, `pixel` a pixel's type and bytes.
    """
    for dimension, sizes in blocks.sizes.items():
        # Of such sub-blocks pylibCZIrw takes part in all positions, or scenes.
        if dimension != "M" and not sizes.all():
            return None
    wanted = np.ones(len(blocks), bool)
    for dimension, starts in blocks.starts.items():
        if dimension not in RESOLVED_DIMENSIONS:
            wanted &= starts == fixed.get(dimension, 0)
    if scene is not None:
        wanted &= blocks.starts["S"] == scene
    if not wanted.any():
        return None
    try:
        return Rows(path, Tiles(blocks.where(wanted), pixel[0]), *pixel)
    except OSError:
        # What is wrong, pylibCZIrw says.
        return None
