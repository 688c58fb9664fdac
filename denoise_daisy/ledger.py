"""The completion ledger: which blocks are done.

Lines of different writers are put in order without their clocks: every start of the
scheduler (and every `verify`) is an *epoch*, numbered upwards.  A later epoch's word on
a block replaces an earlier one's; within an epoch "done" wins over "failed".

Blocks are exact, so a run may go on with another block shape.  Each line tells the
shape of its grid; a block is done when every output file in it was written by a done
block, of whatever shape.
"""

import threading
from collections import defaultdict
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.ledger_lines import (
    Entry,
    LedgerReader,
    LedgerWriter,
    LostLinesError,
)

ENTRY_FIELDS = frozenset(field.name for field in fields(Entry))


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
        self,
        folder: Path,
        run_id: str,
        grid: BlockGrid,
        unit: Coordinate,
        *,
        from_end: bool = False,
    ) -> None:
        """Read nothing yet; with `from_end` never read what is there already.

        `run_id` is that of the run whose lines count; `unit` is the shape of an output
        file in voxels of ``(t, z, y, x)``.
        """
        self._folder = folder
        self._run_id = run_id
        self._reader = LedgerReader(folder, run_id, from_end=from_end)
        self._unit = unit
        self._grid = grid
        self._blocks = {tuple(grid.block_shape): _Blocks.of(grid)}
        self._reading = threading.Lock()
        self._began = False
        self._changed = False
        self.epoch = 0
        """The latest epoch in the ledger, or the one set by `begin`."""
        self.done = np.zeros(grid.size, bool)
        """By flat index."""
        self.failures: dict[Index, list[Entry]] = defaultdict(list)
        """Failed attempts of this epoch, by block."""
        self.totals = Totals()
        """Over the blocks done in this epoch."""

    @property
    def unreadable(self) -> list[str]:
        """Files with a line that is torn, makes no sense, or is another run's."""
        return self._reader.unreadable

    def begin(self, epoch: int) -> None:
        """Count attempts from here on, for a new start of the scheduler."""
        self._began = True
        self.epoch = epoch
        self.failures.clear()
        self.totals = Totals()

    def writer(self, worker: str, *, durable: bool = True) -> LedgerWriter:
        """What appends lines for this run, to a file that is named after the worker."""
        return LedgerWriter(self._folder, self._run_id, worker, durable=durable)

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

    def done_blocks(self) -> list[tuple[BlockGrid, np.ndarray, np.ndarray]]:
        """Blocks that are done and not replaced: grid, flat indices and checksums.

        Blocks of an earlier shape are listed as such, in that shape's grid.
        """
        files = self._file_ranks() if len(self._blocks) > 1 else None
        found = []
        for blocks in self._blocks.values():
            good = blocks.rank % 2 == 1
            if files is not None:
                good &= self._least(blocks.grid, files % 2 == 1)
            flat = np.flatnonzero(good)
            found.append((blocks.grid, flat, blocks.crc[flat]))
        return found

    def done_files(self) -> np.ndarray:
        """Whether each output file should be there, ``(t, z, y, x)`` in files."""
        done: np.ndarray = self._file_ranks() % 2 == 1
        return done

    def refresh(self) -> None:
        """Read what was appended since; any thread may ask for it."""
        with self._reading:
            try:
                self._refresh()
            except LostLinesError:
                self._forget()
                self._refresh()

    def reread(self) -> None:
        """Read everything again, and believe just what stands there now."""
        with self._reading:
            self._forget()
            self._refresh()

    def _forget(self) -> None:
        self._reader.restart()
        for blocks in self._blocks.values():
            blocks.rank[:] = 0
        self.failures = defaultdict(list)
        self.totals = Totals()
        self._changed = True

    def _refresh(self) -> None:
        for file, lines in self._reader.new():
            self._changed = True
            self._take(file, lines)
        if self._changed and len(self._blocks) > 1:
            self.done = self._least(self._grid, self.done_files())
        elif self._changed:
            self.done = self._blocks[tuple(self._grid.block_shape)].rank % 2 == 1
        self._changed = False

    def _take(self, file: str, lines: list[dict[str, Any]]) -> None:
        """Enter the lines, all of one shape at once: there may be millions."""
        rows: dict[tuple[int, ...], list[tuple[int, ...]]] = defaultdict(list)
        for line in lines:
            try:
                t, z, y, x = line["block"]
                epoch, is_done = line["epoch"], line["status"] == "done"
                row = (t, z, y, x, 2 * epoch + is_done, line.get("crc") or 0)
                rows[tuple(line["shape"])].append(row)
                if self._began and epoch == self.epoch:
                    self._note(line)
            except (ValueError, KeyError, TypeError):
                self._reader.complain(file)
        for shape, table in rows.items():
            try:
                blocks = self._blocks_of(shape)
            except (ValueError, TypeError):
                self._reader.complain(file)
                continue
            array = _whole_numbers(table)
            if not self._enter(blocks, array) or len(array) < len(table):
                self._reader.complain(file)

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

    def _note(self, line: dict[str, Any]) -> None:
        """Keep what a line of this epoch tells beyond its block's state."""
        if line["status"] == "done":
            self.totals.add(line)
        elif tuple(line["shape"]) == tuple(self._grid.block_shape):
            values = {k: v for k, v in line.items() if k in ENTRY_FIELDS}
            values |= {k: tuple(line[k]) for k in ("block", "shape")}
            self.failures[values["block"]].append(Entry(**values))

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
