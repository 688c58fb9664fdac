"""The completion ledger: which blocks are done, on disk.

A folder of files of JSON lines, one file per writer and appended only, so that many
hosts can write at once on any file system.  A line stands for one finished or failed
block; a torn last line, left by a writer that died, is ignored.

Lines of different writers are put in order without their clocks: every start of the
scheduler (and every `verify`) is an *epoch*, numbered upwards.  A later epoch's word on
a block replaces an earlier one's; within an epoch "done" wins over "failed".

Blocks are exact, so a run may go on with another block shape.  Each line tells the
shape of its grid; a block is done when every output file in it was written by a done
block, of whatever shape.
"""

import os
import platform
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from funlib.geometry import Coordinate
from pydantic_core import from_json, to_json

from denoise_daisy.files import sync
from denoise_daisy.geometry import BlockGrid, Index

Reason = Literal["exception", "crash", "memory", "timeout", "lost", "damaged"]
"""Why a block failed: its code raised; its process died of a signal, or for want of
memory; it took too long; its worker vanished; its output was found damaged later."""

READ_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: a block that is done, or an attempt at it that failed."""

    block: Index
    """Position in the grid of blocks of `shape`, ``(t, z, y, x)``."""
    shape: tuple[int, ...]
    """Voxels of a block, ``(t, z, y, x)``."""
    status: Literal["done", "failed"]
    epoch: int
    worker: str
    crc: int | None = None
    """CRC-32 of the voxels as written: ``(t, c, z, y, x)``, C order, little-endian."""
    seconds: float = 0.0
    read_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    clipped: int = 0
    """Voxels beyond the range of the output's type, set to its nearest value."""
    peak_mib: int = 0
    """Most memory that the worker has held so far."""
    host: str = field(default_factory=platform.node)
    time: str = field(
        default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    )
    reason: Reason | None = None
    error: str | None = None
    traceback: str | None = None

    @property
    def rank(self) -> int:
        """Which of two lines about one block holds: the one of higher rank."""
        return 2 * self.epoch + (self.status == "done")


@dataclass(slots=True)
class Totals:
    """Sums over the done blocks of one epoch."""

    blocks: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    read_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    clipped: int = 0
    peak_mib: int = 0

    def add(self, line: dict[str, Any]) -> None:
        """Count one line of the ledger."""
        self.blocks += 1
        self.seconds += line.get("seconds", 0.0)
        self.longest = max(self.longest, line.get("seconds", 0.0))
        self.read_seconds += line.get("read_seconds", 0.0)
        self.compute_seconds += line.get("compute_seconds", 0.0)
        self.write_seconds += line.get("write_seconds", 0.0)
        self.clipped += line.get("clipped", 0)
        self.peak_mib = max(self.peak_mib, line.get("peak_mib", 0))


class LedgerWriter:
    """Appends lines to a file of its own."""

    def __init__(self, folder: Path, worker: str, *, durable: bool) -> None:
        self._durable = durable
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        for suffix in ("", *(f".{i}" for i in range(1, 10_000))):
            try:
                self._fd = os.open(folder / f"{worker}{suffix}.jsonl", flags, 0o644)
                break
            except FileExistsError:
                continue
        if durable:
            sync(folder)

    def append(self, entry: Entry) -> None:
        """Write a line, whole or not at all; on return it is on disk."""
        values = {k: v for k, v in asdict(entry).items() if v is not None}
        line = to_json(values) + b"\n"
        size = os.fstat(self._fd).st_size
        try:
            written = os.write(self._fd, line)
            if written < len(line):
                os.write(self._fd, line[written:])
            if self._durable:
                os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, size)
            raise

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)


@dataclass(slots=True)
class _Blocks:
    """What the lines about one block shape say, by flat index."""

    grid: BlockGrid
    rank: np.ndarray
    crc: np.ndarray

    @classmethod
    def of(cls, grid: BlockGrid) -> "_Blocks":
        size = grid.size
        return cls(grid, np.zeros(size, np.int32), np.zeros(size, np.uint32))


class Ledger:
    """What all writers have said of a task's blocks, as of the last `refresh`."""

    def __init__(
        self, folder: Path, grid: BlockGrid, unit: Coordinate, *, from_end: bool = False
    ) -> None:
        """Read nothing yet; with `from_end` never read what is there already.

        `unit` is the shape of an output file in voxels of ``(t, z, y, x)``.
        """
        self._folder = folder
        self._unit = unit
        self._grid = grid
        self._blocks = {tuple(grid.block_shape): _Blocks.of(grid)}
        self._read_to: dict[str, int] = {}
        if from_end:
            self._read_to = {file.name: file.stat().st_size for file in self._files()}
        self._reading = threading.Lock()
        self._began = False
        self.epoch = 0
        """The latest epoch in the ledger, or the one set by `begin`."""
        self.done = np.zeros(grid.size, bool)
        """By flat index."""
        self.failures: dict[Index, list[Entry]] = defaultdict(list)
        """Failed attempts of this epoch, by block."""
        self.totals = Totals()
        """Over the blocks done in this epoch."""
        self.unreadable: list[str] = []
        """Files with a line that is torn or makes no sense."""

    def begin(self, epoch: int) -> None:
        """Count attempts from here on, for a new start of the scheduler."""
        self._began = True
        self.epoch = epoch
        self.failures.clear()
        self.totals = Totals()

    def is_done(self, block: Index) -> bool:
        """Whether the block's output is complete."""
        return bool(self.done[self._grid.flat(block)])

    @property
    def done_count(self) -> int:
        """Number of blocks that are done."""
        return int(np.count_nonzero(self.done))

    def last_failed(self) -> list[Index]:
        """Blocks whose last word is a failure, in C order."""
        blocks = self._blocks[tuple(self._grid.block_shape)]
        failed = np.flatnonzero((blocks.rank > 0) & ~self.done)
        shape = self._grid.shape
        return [tuple(map(int, np.unravel_index(i, shape))) for i in failed]

    def done_crcs(self) -> Iterator[tuple[BlockGrid, Index, int]]:
        """Every block that is done and not replaced, with its checksum.

        Blocks of an earlier shape are listed as such, in that shape's grid.
        """
        files = self._file_ranks() if len(self._blocks) > 1 else None
        for blocks in self._blocks.values():
            good = blocks.rank % 2 == 1
            if files is not None:
                good &= self._least(blocks.grid, files % 2 == 1)
            for i in np.flatnonzero(good):
                index = tuple(map(int, np.unravel_index(i, blocks.grid.shape)))
                yield blocks.grid, index, int(blocks.crc[i])

    def refresh(self) -> None:
        """Read what was appended since; any thread may ask for it."""
        with self._reading:
            self._refresh()

    def _refresh(self) -> None:
        changed = False
        for file in self._files():
            try:
                changed |= self._read(file)
            except FileNotFoundError:
                continue
        if changed and len(self._blocks) > 1:
            self.done = self._least(self._grid, self._file_ranks() % 2 == 1)
        elif changed:
            self.done = self._blocks[tuple(self._grid.block_shape)].rank % 2 == 1

    def _files(self) -> list[Path]:
        try:
            entries = list(os.scandir(self._folder))
        except FileNotFoundError:
            return []
        return [Path(e) for e in entries if e.name.endswith(".jsonl") and e.is_file()]

    def _read(self, file: Path) -> bool:
        start = self._read_to.get(file.name, 0)
        if file.stat().st_size <= start:
            return False
        with file.open("rb") as stream:
            stream.seek(start)
            rest = b""
            while data := stream.read(READ_BYTES):
                lines = (rest + data).split(b"\n")
                rest = lines.pop()
                self._take(file, lines)
                start += sum(map(len, lines)) + len(lines)
        self._read_to[file.name] = start
        if rest:
            self._complain(file)
        return True

    def _take(self, file: Path, lines: list[bytes]) -> None:
        """Enter the lines, all of one shape at once: there may be millions."""
        rows: dict[tuple[int, ...], list[tuple[int, ...]]] = defaultdict(list)
        for text in lines:
            try:
                line = from_json(text)
                t, z, y, x = line["block"]
                epoch, is_done = line["epoch"], line["status"] == "done"
                row = (t, z, y, x, 2 * epoch + is_done, line.get("crc") or 0)
                rows[tuple(line["shape"])].append(row)
                if self._began and epoch == self.epoch:
                    self._note(line)
            except (ValueError, KeyError, TypeError):
                self._complain(file)
        for shape, table in rows.items():
            try:
                blocks = self._blocks_of(shape)
            except (ValueError, TypeError):
                self._complain(file)
                continue
            array = _whole_numbers(table)
            if not self._enter(blocks, array) or len(array) < len(table):
                self._complain(file)

    def _enter(self, blocks: _Blocks, table: np.ndarray) -> bool:
        """Rows of block (4 columns), rank and checksum; whether all make sense."""
        counts = blocks.grid.shape
        limits = (*counts, 1 << 31, 1 << 32)
        inside = ((table >= 0) & (table < limits)).all(axis=1)
        table = table[inside]
        flat = np.ravel_multi_index(tuple(table[:, :4].T), counts)
        rank, crc = table[:, 4].astype(np.int32), table[:, 5]
        np.maximum.at(blocks.rank, flat, rank)
        holds = rank == blocks.rank[flat]
        blocks.crc[flat[holds]] = crc[holds]
        if not self._began:
            self.epoch = max(self.epoch, int(rank.max(initial=0)) // 2)
        return bool(inside.all())

    def _complain(self, file: Path) -> None:
        if file.name not in self.unreadable:
            self.unreadable.append(file.name)

    def _note(self, line: dict[str, Any]) -> None:
        """Keep what a line of this epoch tells beyond its block's state."""
        if line["status"] == "done":
            self.totals.add(line)
        elif tuple(line["shape"]) == tuple(self._grid.block_shape):
            block, shape = tuple(line["block"]), tuple(line["shape"])
            self.failures[block].append(
                Entry(**line | {"block": block, "shape": shape})
            )

    def _blocks_of(self, shape: tuple[int, ...]) -> _Blocks:
        if shape not in self._blocks:
            if len(shape) != 4 or min(shape) < 1:
                raise ValueError("no shape of a block")
            grid = replace(self._grid, block_shape=Coordinate(shape))
            self._blocks[shape] = _Blocks.of(grid)
        return self._blocks[shape]

    def _file_ranks(self) -> np.ndarray:
        """The highest rank of any block that wrote a file, by file."""
        extent = self._grid.volume.shape
        counts = [-(-n // u) for n, u in zip(extent, self._unit, strict=True)]
        ranks = np.zeros(counts, np.int32)
        for blocks in self._blocks.values():
            spread = blocks.rank.reshape(blocks.grid.shape)
            for axis, count in enumerate(counts):
                each = -(-blocks.grid.block_shape[axis] // self._unit[axis])
                spread = np.repeat(spread, each, axis).take(range(count), axis)
            np.maximum(ranks, spread, out=ranks)
        return ranks

    def _least(self, grid: BlockGrid, by_file: np.ndarray) -> np.ndarray:
        """Whether all files of each block of a grid are true, by flat index."""
        for axis in range(by_file.ndim):
            each = -(-grid.block_shape[axis] // self._unit[axis])
            starts = range(0, by_file.shape[axis], each)
            by_file = np.logical_and.reduceat(by_file, list(starts), axis)
        return by_file.ravel()


def _whole_numbers(rows: list[tuple[int, ...]]) -> np.ndarray:
    """The rows as a table of int64, without those that hold anything else."""
    try:
        table = np.array(rows)
    except ValueError:
        table = np.array([], object)
    if table.dtype != np.int64:
        good = [row for row in rows if all(type(n) is int for n in row)]
        small = [row for row in good if max(map(abs, row)) < 1 << 62]
        table = np.array(small, np.int64).reshape(-1, 6)
    return table
