"""The completion ledger: which blocks are done.

Lines of different writers are put in order without their clocks: every start of the
scheduler (and every `verify`) is an *epoch*, numbered upwards.  A later epoch's word on
a block replaces an earlier one's; within an epoch "done" wins over "failed".

Blocks are exact, so a run may go on with another block shape.  Each line tells the
shape of its grid; a block is done when every output file in it was written by a done
block, of whatever shape.
"""

import math
import threading
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.forecast import Pace
from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.run_dir.block_tables import BlockTables
from denoise_daisy.run_dir.compaction import compact
from denoise_daisy.run_dir.ledger_lines import (
    Entry,
    LedgerReader,
    LedgerWriter,
    LostLinesError,
)

LONGEST = 1e9
"""Seconds: no block takes that long."""

ENTRY_FIELDS = frozenset(field.name for field in fields(Entry))


@dataclass(slots=True)
class Totals:
    """Sums over the done blocks of one epoch."""

    pace: Pace = field(default_factory=Pace)
    read_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    clipped: int = 0
    peak_mib: int = 0
    hosts: Counter[str] = field(default_factory=Counter)
    """How many by the host of their worker."""
    engines: Counter[str] = field(default_factory=Counter)
    """How many by what computed them, where their line tells."""

    @property
    def blocks(self) -> int:
        """How many they are."""
        return self.pace.blocks

    def add(self, line: dict[str, Any]) -> None:
        """Count one line of the ledger."""
        self.pace.add(line.get("seconds", 0.0))
        self.read_seconds += line.get("read_seconds", 0.0)
        self.compute_seconds += line.get("compute_seconds", 0.0)
        self.write_seconds += line.get("write_seconds", 0.0)
        self.clipped += line.get("clipped", 0)
        self.peak_mib = max(self.peak_mib, line.get("peak_mib", 0))
        self.hosts[str(line.get("host", ""))] += 1
        if engine := line.get("engine"):
            self.engines[str(engine)] += 1


@dataclass(slots=True)
class Earlier:
    """How long blocks took that were done in other epochs, of whatever shape."""

    seconds: float = 0.0
    voxels: int = 0

    def add(self, line: dict[str, Any]) -> None:
        """Count one line of the ledger; one that makes no sense tells nothing."""
        seconds, is_done = line.get("seconds"), line["status"] == "done"
        if is_done and isinstance(seconds, int | float) and 0 <= seconds < LONGEST:
            self.seconds += seconds
            self.voxels += math.prod(line["shape"])

    def of(self, shape: Coordinate) -> float | None:
        """Seconds of a block of a shape, if each voxel takes as long as then."""
        return self.seconds / self.voxels * math.prod(shape) if self.voxels else None


def _entry(line: dict[str, Any]) -> Entry:
    values = {k: v for k, v in line.items() if k in ENTRY_FIELDS}
    return Entry(**values | {k: tuple(line[k]) for k in ("block", "shape")})


class Ledger:
    """What all writers have said of a stage's blocks, as of the last `refresh`."""

    def __init__(
        self, folder: Path, run_id: str, grid: BlockGrid, file_shape: Coordinate
    ) -> None:
        """Read nothing yet.

        `run_id` is that of the run whose lines count; `file_shape` is that of an output
        file in voxels of ``(t, z, y, x)``.
        """
        self._folder = folder
        self.run_id = run_id
        self._reader = LedgerReader(folder, run_id)
        self._grid = grid
        self._tables = BlockTables(grid, file_shape)
        self._reading = threading.Lock()
        self._began = False
        self._changed = False
        self.epoch = 0
        """The latest epoch in the ledger, or the one set by `begin`."""
        self.done = np.zeros(grid.size, bool)
        """By flat index."""
        self.failures: dict[Index, list[Entry]] = defaultdict(list)
        """Failed attempts of this epoch, by block."""
        self.totals, self.earlier = Totals(), Earlier()
        """Over the blocks done in this epoch, and in those before."""

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
        return LedgerWriter(self._folder, self.run_id, worker, durable=durable)

    def is_done(self, block: Index) -> bool:
        """Whether the block's output is complete."""
        return bool(self.done[self._grid.flat(block)])

    @property
    def done_count(self) -> int:
        """Number of blocks that are done."""
        return int(np.count_nonzero(self.done))

    def last_failed(self) -> list[Index]:
        """Blocks whose last word is a failure, in C order."""
        failed = np.flatnonzero(self._tables.spoken_of() & ~self.done)
        shape = self._grid.shape
        return [tuple(map(int, np.unravel_index(i, shape))) for i in failed]

    def done_blocks(self) -> list[tuple[BlockGrid, np.ndarray, np.ndarray]]:
        """Blocks that are done and not replaced: grid of their shape, indices, CRCs."""
        return self._tables.done_blocks()

    def foresee(self, begin: int, epoch: int) -> list[tuple[BlockGrid, np.ndarray]]:
        """Count blocks behind a position along t as undone; which, for their lines."""
        with self._reading:
            found = self._tables.undo_from(begin, epoch)
            self.done = self._tables.done()
        return found

    def engines(self) -> Counter[str]:
        """How many of these blocks by what computed them, where their line tells."""
        return self._tables.engines()

    def done_files(self) -> np.ndarray:
        """Whether each output file should be there, ``(t, z, y, x)`` in files."""
        return self._tables.done_files()

    def refresh(self) -> None:
        """Read what was appended since; any thread may ask for it."""
        with self._reading:
            try:
                self._refresh()
            except LostLinesError:
                self._forget()
                self._refresh()

    def compact(self) -> None:
        """Put its files together, if they are many, and read what is new."""
        if compact(self._folder):
            self.reread()
        self.refresh()

    def reread(self) -> None:
        """Read everything again, and believe just what stands there now."""
        with self._reading:
            self._forget()
            self._refresh()

    def _forget(self) -> None:
        self._reader.restart()
        self._tables.forget()
        self.failures = defaultdict(list)
        self.totals, self.earlier = Totals(), Earlier()
        self._changed = True

    def _refresh(self) -> None:
        for file, lines in self._reader.new():
            self._changed = True
            self._take(file, lines)
        if self._changed:
            self.done = self._tables.done()
        self._changed = False

    def _take(self, file: str, lines: list[dict[str, Any]]) -> None:
        """Enter the lines, all of one shape at once: there may be millions."""
        rows: dict[tuple[int, ...], list[tuple[int, ...]]] = defaultdict(list)
        for line in lines:
            try:
                t, z, y, x = line["block"]
                epoch, is_done = line["epoch"], line["status"] == "done"
                rank, crc = 2 * epoch + is_done, line.get("crc") or 0
                engine = self._tables.number_of(line.get("engine"))
                row = (t, z, y, x, rank, crc, engine)
                rows[tuple(line["shape"])].append(row)
                self._note(line)
            except (ValueError, KeyError, TypeError):
                self._reader.complain(file)
        for shape, table in rows.items():
            last, all_sound = 0, False
            with suppress(ValueError, TypeError):
                last, all_sound = self._tables.enter(shape, table)
            if not all_sound:
                self._reader.complain(file)
            if not self._began:
                self.epoch = max(self.epoch, last)

    def _note(self, line: dict[str, Any]) -> None:
        """Keep what a line tells beyond its block's state."""
        if not self._began or line["epoch"] != self.epoch:
            self.earlier.add(line)
        elif line["status"] == "done":
            self.totals.add(line)
        elif tuple(line["shape"]) == tuple(self._grid.block_shape):
            failure = _entry(line)
            self.failures[failure.block].append(failure)
