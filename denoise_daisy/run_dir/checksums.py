"""Checksums of chunks: what a stage's ledger says that its arrays and files hold.

A block's own checksum can only be held against all of the block.  Those that read a
part of it, as context, hold what they read against the checksums of its chunks, which
Zarr reads whole anyway.
"""

import math
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from denoise_daisy.durable import persistently
from denoise_daisy.run_dir.ledger_lines import LedgerReader, LostLinesError

REFRESH_SECONDS = 0.2
"""The ledger is not read more often, however much is asked for that it lacks."""


def checksum(data: np.ndarray | bytes, before: int = 0) -> int:
    """CRC-32 of bytes, or of voxels in C order, little-endian.

    `before` is that of what comes before them.
    """
    if isinstance(data, bytes):
        return zlib.crc32(data, before)
    little = data.dtype.newbyteorder("<")
    return zlib.crc32(np.ascontiguousarray(data, little).data, before)


def chunk_checksums(voxels: np.ndarray, chunks: Sequence[int]) -> np.ndarray:
    """The checksum of each chunk, uint32, an array with one element per chunk.

    The array begins where a chunk does, and may end before one does.
    """
    counts = _counts(voxels.shape, chunks)
    sums = np.empty(counts, np.uint32)
    for index in np.ndindex(*counts):
        begins = [i * n for i, n in zip(index, chunks, strict=True)]
        part = tuple(slice(b, b + n) for b, n in zip(begins, chunks, strict=True))
        sums[index] = checksum(voxels[part])
    return sums


def encoded(sums: np.ndarray) -> str:
    """Checksums as they stand in a line of a ledger: Base64 of little-endian uint32."""
    return b64encode(sums.astype("<u4").tobytes()).decode()


class Checksums:
    """The checksums of a stage's chunks, in C order of ``(t, c, z, y, x)``."""

    def __init__(
        self, folder: Path, run_id: str, shape: Sequence[int], chunks: Sequence[int]
    ) -> None:
        """Read nothing yet.

        `folder` is that of the stage's ledger; `shape` and `chunks` are voxels of the
        array and of one chunk, along ``(t, c, z, y, x)``.
        """
        self._reader = LedgerReader(folder, run_id)
        self._refreshed = -math.inf
        self._shape = shape
        self._chunks = chunks
        counts = _counts(shape, chunks)
        self._rank = np.zeros(counts, np.int32)
        self._sums = np.zeros(counts, np.uint32)

    def of(self, part: tuple[slice, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Checksums of the chunks in question, and which of these are done.

        `part` counts in chunks.  The ledger is read where it may tell more.
        """
        is_due = time.monotonic() - self._refreshed > REFRESH_SECONDS
        if is_due and (self._rank[part] % 2 == 0).any():
            self.refresh()
        return self._sums[part], self._rank[part] % 2 == 1

    def refresh(self) -> None:
        """Read what was appended to the ledger since."""
        self._refreshed = time.monotonic()
        try:
            persistently(self._refresh)
        except LostLinesError:
            self._rank[:] = 0
            self._reader.restart()
            persistently(self._refresh)

    def _refresh(self) -> None:
        for _, lines in self._reader.new():
            for line in lines:
                # `Ledger` tells of lines that make no sense.
                with suppress(ValueError, KeyError, TypeError, IndexError):
                    self._enter(line)

    def _enter(self, line: dict[str, Any]) -> None:
        """Take the word of a line on its chunks, unless a later one has spoken."""
        is_done = line["status"] == "done"
        numbers = (line["epoch"], *line["block"], *line["shape"])
        is_sound = all(type(n) is int and 0 <= n < 1 << 30 for n in numbers)
        if not is_sound or min(line["shape"]) < 1:
            raise ValueError("no line that this program writes")
        rank = 2 * line["epoch"] + is_done
        block, shape = ((v[0], 0, *v[1:]) for v in (line["block"], line["shape"]))
        part = tuple(
            slice(i * s // c, math.ceil(min((i + 1) * s, n) / c)) if s else slice(None)
            for i, s, c, n in zip(block, shape, self._chunks, self._shape, strict=True)
        )
        holds = rank >= self._rank[part]
        if is_done:
            values = np.frombuffer(b64decode(line["chunks"]), "<u4")
            self._sums[part][holds] = values.reshape(holds.shape)[holds]
        self._rank[part][holds] = rank


def _counts(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.ceil(n / c) for n, c in zip(shape, chunks, strict=True))
