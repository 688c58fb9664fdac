"""An image that is denoised where it is looked at: sliced like an array of NumPy."""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoise_daisy.blockwise.checked_read import checked
from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.patience import UnrecordedError
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.geometry import Index
from denoise_daisy.images.image import read_serially
from denoise_daisy.outputs.ome_zarr import DamagedError

CACHE_BYTES = 256 << 20
"""Of the chunks that were seen last."""

_one_at_a_time = threading.Lock()
"""A chunk has all cores, and its memory is counted once; ndsafir itself is not known to
bear two callers."""


class LazyImage:
    """The denoised image, ``(t, c, z, y, x)``, of which what is sliced is computed."""

    ndim = 5

    def __init__(self, denoising: Stage, level: Level, *, has_run: bool) -> None:
        """The blocks of `denoising` are its chunks; `level` is what it writes.

        With `has_run` such a run was started, and may have written some of it.
        """
        self._stage, self._level, self._has_run = denoising, level, has_run
        self._kept: OrderedDict[Index, np.ndarray] = OrderedDict()

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along ``(t, c, z, y, x)``."""
        return self._level.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return np.dtype(self._level.dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        """The voxels of slices and numbers, as of an array of NumPy's.

        Raises
        ------
        InputError
            The image can't be read.
        """
        parts = _parts(key, self.shape)
        result = self._within([part for part, _ in parts])
        return result[tuple(0 if single else slice(None) for _, single in parts)]

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """All of it."""
        del copy  # it always is one
        return np.asarray(self[(slice(None),) * self.ndim], dtype)

    def _within(self, ranges: list[range]) -> np.ndarray:
        """The voxels at these positions along ``(t, c, z, y, x)``."""
        result = np.empty([len(r) for r in ranges], self.dtype)
        channels, axes = np.array(ranges[1], int), [ranges[0], *ranges[2:]]
        steps = zip(axes, self._stage.grid.block_shape, strict=True)
        pieces = [list(_pieces(positions, step)) for positions, step in steps]
        for t, z, y, x in itertools.product(*pieces) if result.size else ():
            chunk = self._chunk((t.block, z.block, y.block, x.block))
            inside = np.ix_(t.inside, channels, z.inside, y.inside, x.inside)
            result[t.place, :, z.place, y.place, x.place] = chunk[inside]
        return result

    def _chunk(self, index: Index) -> np.ndarray:
        """A chunk, computed or read unless it was seen lately."""
        with _one_at_a_time:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
            chunk = self._written(index)
            if chunk is None:
                with read_serially():
                    chunk = self._computed(index)
            self._kept[index] = chunk
            while len(self._kept) > 1 and self._kept_bytes > CACHE_BYTES:
                self._kept.popitem(last=False)
            return chunk

    @property
    def _kept_bytes(self) -> int:
        return sum(chunk.nbytes for chunk in self._kept.values())

    def _computed(self, index: Index) -> np.ndarray:
        """What the run would write there, by what the run would do."""
        block = self._stage.read_block(index)
        left = self._stage.left(block)
        result = self._stage.compute(block) if left is None else left
        return np.asarray(self._level.content(block, result).data)

    def _written(self, index: Index) -> np.ndarray | None:
        """What the run has written there; None where it has not, or it is damaged."""
        if not self._has_run:
            return None
        level, roi = self._level, self._stage.grid.write_roi(index)
        try:
            with read_serially():
                return checked(level, roi, level.written)
        except (UnrecordedError, DamagedError, OSError, ValueError):
            return None

    def __getstate__(self) -> dict[str, Any]:
        """For other processes: what is kept stays here."""
        return self.__dict__ | {"_kept": OrderedDict()}


@dataclass(frozen=True, slots=True)
class _Piece:
    """Positions along an axis that lie in one chunk."""

    block: int
    inside: np.ndarray
    """Where they lie in it."""
    place: slice
    """Where they go in what was asked for."""


def _pieces(positions: range, step: int) -> Iterator[_Piece]:
    there = np.array(positions, int)
    blocks = there // step
    ends = [*(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(there)]
    for begin, end in zip([0, *ends], ends, strict=False):
        block = int(blocks[begin])
        yield _Piece(block, there[begin:end] - block * step, slice(begin, end))


def _parts(key: Any, shape: Sequence[int]) -> list[tuple[range, bool]]:
    """The positions that a key means along each axis, and whether it is one alone.

    Raises
    ------
    IndexError
        It is beyond the image, or neither of slices nor numbers.
    """
    keys = list(key) if isinstance(key, tuple) else [key]
    if not any(k is Ellipsis for k in keys):
        keys.append(Ellipsis)
    at = next(i for i, k in enumerate(keys) if k is Ellipsis)
    missing = len(shape) - len(keys) + 1
    if missing < 0:
        raise IndexError(f"{len(keys) - 1} indices, where the image has {len(shape)}")
    keys[at : at + 1] = [slice(None)] * missing
    found = []
    for k, n in zip(keys, shape, strict=True):
        if isinstance(k, slice):
            found.append((range(n)[k], False))
        elif isinstance(k, int | np.integer):
            position = range(n)[int(k)]
            found.append((range(position, position + 1), True))
        else:
            raise IndexError(f"{k!r} is an index. Expected slices and numbers")
    return found
