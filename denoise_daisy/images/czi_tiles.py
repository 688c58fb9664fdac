"""The tiles of a CZI's planes, and which of them lies on top.

As pylibCZIrw shows them (libCZI's scaling accessor): that of the highest M; those
without lie below, and of alike ones the last in the directory lies on top.  Of more
than sixteen tiles, pylibCZIrw has alike ones in an order that depends on the part that
it is asked for (`std::sort`); here it is this one, whatever the blocks of an image.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from denoise_daisy.images.czi_entries import SubBlocks

_PLANE = "TCZ"

_INT32 = np.iinfo(np.int32)


class Tiles:
    """Sub-blocks of an image, sorted by planes; a row each."""

    positions: np.ndarray
    """Byte in the file where a sub-block's segment begins."""
    places: np.ndarray
    """First row and column, height and width."""

    def __init__(self, blocks: SubBlocks, pixel_type: int) -> None:
        def column(columns: Mapping[str, np.ndarray], name: str) -> Any:
            return columns.get(name, nothing)

        nothing = np.zeros(len(blocks), np.int32)
        columns = [column(blocks.starts, d) for d in _PLANE]
        self._first = [int(along.min()) for along in columns]
        self._sizes = [
            int(along.max()) - first + 1
            for along, first in zip(columns, self._first, strict=True)
        ]
        keys = np.zeros(len(blocks), np.int64)
        for along, first, size in zip(columns, self._first, self._sizes, strict=True):
            keys *= size
            keys += along
            keys -= first
        order = (
            slice(None)
            if (keys[1:] >= keys[:-1]).all()
            else np.argsort(keys, kind="stable")
        )
        self._keys = keys[order]
        self.positions = blocks.positions[order]
        axes = [c[d] for c in (blocks.starts, blocks.sizes) for d in "YX"]
        self.places = np.stack([along[order] for along in axes], 1)
        plain = (blocks.compressions == 0) & (blocks.pixel_types == pixel_type)
        self._plain = plain[order]
        numbers = column(blocks.starts, "M")
        # To pylibCZIrw, the largest number is none, and so is the smallest.
        is_none = (column(blocks.sizes, "M") <= 0) | (numbers == _INT32.max)
        self._numbers = np.where(is_none, _INT32.min, numbers)[order]

    def shown(
        self, plane: list[int], begin: tuple[int, int], shape: tuple[int, ...]
    ) -> list[int] | None:
        """The tiles in a part of a plane, as rows, the lowest first.

        `plane` is its T, C and Z, `begin` the first pixel's Y and X, all as the file
        counts.  None where it takes pylibCZIrw: pixels are compressed or of another
        type.
        """
        key = 0
        for at, first, size in zip(plane, self._first, self._sizes, strict=True):
            if not 0 <= at - first < size:
                return []
            key = key * size + at - first
        low, high = np.searchsorted(self._keys, [key, key + 1])
        tiles = self.places[low:high].astype(np.int64)
        begins, ends = tiles[:, :2], tiles[:, :2] + tiles[:, 2:]
        meets = (begins < np.add(begin, shape)) & (ends > begin)
        rows = low + np.flatnonzero(meets.all(axis=1))
        if not self._plain[rows].all():
            return None
        found: list[int] = rows[np.argsort(self._numbers[rows], kind="stable")].tolist()
        return found
