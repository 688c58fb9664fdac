"""An array on disk without an axis c, sliced as one that has it."""

from typing import Any

import numpy as np


class OneChannel:
    """An array of ``(t, z, y, x)`` as one of ``(t, c, z, y, x)``, of one channel."""

    ndim = 5

    def __init__(self, stored: Any) -> None:
        """`stored` is the array on disk."""
        self.stored = stored

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        dtype: np.dtype[Any] = self.stored.dtype
        return dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along (t, c, z, y, x)."""
        return _with_one(self.stored.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Of a chunk."""
        return _with_one(self.stored.chunks)

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Of a shard, if there are some."""
        return self.stored.shards and _with_one(self.stored.shards)

    def __getitem__(self, key: Any) -> np.ndarray:
        t, c, *zyx = _five(key)
        voxels = np.asarray(self.stored[(t, *zyx)])
        # An index takes its axis away.
        axis = 1 if isinstance(t, slice) else 0
        return np.expand_dims(voxels, axis)[(slice(None),) * axis + (c,)]

    def __setitem__(self, key: Any, voxels: Any) -> None:
        """By slices alone."""
        t, _, *zyx = _five(key)
        self.stored[(t, *zyx)] = voxels[:, 0] if np.ndim(voxels) else voxels


def stored_shape(array: Any) -> tuple[int, ...]:
    """The shape that an array has on disk."""
    return tuple((array.stored if isinstance(array, OneChannel) else array).shape)


def _with_one(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[0], 1, *shape[1:]


def _five(key: Any) -> tuple[Any, ...]:
    """A key's five parts; an axis that is not named is whole."""
    parts = key if isinstance(key, tuple) else (key,)
    named = [part for part in parts if part is not Ellipsis]
    rest = [slice(None)] * (OneChannel.ndim - len(named))
    at = parts.index(Ellipsis) if Ellipsis in parts else len(named)
    return (*named[:at], *rest, *named[at:])
