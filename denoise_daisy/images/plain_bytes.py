"""A part of an array that lies in a file as it is, uncompressed and in one piece."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

GAP = 4096
"""Bytes that are read along rather than left out: a disk has no smaller pages."""

PIECE = 16 << 20
"""Bytes that are read at once, about."""


def read_part(
    descriptor: int,
    offset: int,
    shape: Sequence[int],
    part: Sequence[slice],
    dtype: np.dtype[Any],
) -> np.ndarray:
    """A part, none of it empty, of an array in C order that begins at an offset.

    Raises
    ------
    EOFError
        The file ends before.
    OSError
        It can't be read.
    """
    lengths = [s.stop - s.start for s in part]
    strides = [dtype.itemsize] * len(shape)
    for i in reversed(range(len(shape) - 1)):
        strides[i] = strides[i + 1] * shape[i + 1]
    # What is left out between neighbours along the axis before is too small to skip.
    axis = len(shape) - 1
    while axis and (shape[axis] - lengths[axis]) * strides[axis] <= GAP:
        axis -= 1
    inner = tuple(part[axis + 1 :])
    at_once = max(1, PIECE // strides[axis])
    found = np.empty(lengths, dtype)
    for outer in np.ndindex(*lengths[:axis]):
        begin = offset + sum(
            (part[i].start + n) * strides[i] for i, n in enumerate(outer)
        )
        for first in range(0, lengths[axis], at_once):
            count = min(at_once, lengths[axis] - first)
            data = read_exactly(
                descriptor,
                begin + (part[axis].start + first) * strides[axis],
                count * strides[axis],
            )
            whole = np.frombuffer(data, dtype).reshape(count, *shape[axis + 1 :])
            found[(*outer, slice(first, first + count))] = whole[(slice(None), *inner)]
    return found


def read_exactly(descriptor: int, offset: int, count: int) -> bytes:
    """So many bytes of a file.

    Raises
    ------
    EOFError
        The file ends before.
    OSError
        It can't be read.
    """
    pieces = []
    while count:
        piece = os.pread(descriptor, count, offset)
        if not piece:
            raise EOFError(f"the file ends before byte {offset + count}")
        pieces.append(piece)
        offset, count = offset + len(piece), count - len(piece)
    return b"".join(pieces)
