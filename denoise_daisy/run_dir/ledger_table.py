"""All lines of a stage's ledger as a table: for those who look at a run.

A `Ledger` knows what is to be done; this tells what was done when, where and how fast.
Both are of one mind about which lines count: one reader finds them, and one kind of
table takes what they say of blocks.
"""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from funlib.geometry import Coordinate
from pydantic_core import from_json

from denoise_daisy.geometry import BlockGrid
from denoise_daisy.run_dir.block_tables import BlockTables
from denoise_daisy.run_dir.compaction import PREFIX
from denoise_daisy.run_dir.ledger_lines import LedgerReader, LostLinesError
from denoise_daisy.run_dir.ledger_rows import ROW, RowNames, RowReader
from denoise_daisy.run_dir.names import Names

WHERE = ("file", "offset")
"""Columns that tell where a line stands, and nothing of its block."""

MIX = np.uint64(0x9E3779B97F4A7C15)
"""An odd number that spreads numbers over all of 64 bits."""


class LedgerTable:
    """The lines of a stage's ledger that count, as of the last `refresh`."""

    def __init__(
        self, folder: Path, run_id: str, grid: BlockGrid, file_shape: Coordinate
    ) -> None:
        """Read nothing yet; all as for a `Ledger`."""
        self.grid = grid
        self._folder = folder
        self._run_id = run_id
        self._file_shape = file_shape
        self._reader = LedgerReader(folder, run_id)
        self._reading = threading.Lock()
        self._parts: list[np.ndarray] = []
        self._forget()

    @property
    def rows(self) -> np.ndarray:
        """All lines, of the type `ROW`; those of one file as they stand there."""
        with self._reading:
            if len(self._parts) > 1:
                self._parts = [np.concatenate(self._parts)]
            return self._parts[0]

    @property
    def done(self) -> np.ndarray:
        """The blocks of the present grid that are done, by flat index."""
        return self._blocks.done()

    @property
    def failed(self) -> np.ndarray:
        """Those that have a line and are not done, by flat index."""
        failed: np.ndarray = self._blocks.spoken_of() & ~self._blocks.done()
        return failed

    def engines_of_done(self) -> Counter[str]:
        """How many of the blocks that are done, by what computed them."""
        return self._blocks.engines()

    @property
    def names(self) -> RowNames:
        """What the numbers in rows stand for."""
        return self._lines.names()

    @property
    def unreadable(self) -> list[str]:
        """Files with a line that is torn, makes no sense, or is another run's."""
        return self._reader.unreadable

    def flat(self, blocks: np.ndarray) -> np.ndarray:
        """Flat indices of blocks, n x 4, of the present grid."""
        found: np.ndarray = np.ravel_multi_index(tuple(blocks.T), self.grid.shape)
        return found

    def standing(self) -> np.ndarray:
        """Which rows tell of the blocks that are done and not replaced, one of each."""
        with self._reading:
            blocks = self._blocks.done_blocks()
        rows, found = self.rows, [np.empty(0, np.int64)]
        for grid, flat in ((grid, flat) for grid, flat, _ in blocks):
            number = self._lines.shapes[tuple(grid.block_shape)]
            own = np.flatnonzero(rows["is_done"] & (rows["shape"] == number))
            own = own[np.argsort(rows["epoch"][own], kind="stable")]
            last = np.full(grid.size, -1)
            last[np.ravel_multi_index(tuple(rows["block"][own].T), grid.shape)] = own
            found.append(last[flat])
        return np.concatenate(found)

    def line(self, row: np.void) -> dict[str, Any]:
        """All that stands in the line of a row; nothing if it is not there any more."""
        try:
            file = self._folder / list(self._files)[row["file"]]
            with file.open("rb") as stream:
                stream.seek(int(row["offset"]))
                found = from_json(stream.readline())
        except (OSError, ValueError, IndexError):
            return {}
        is_it = isinstance(found, dict) and found.get("block") == row["block"].tolist()
        return found if is_it else {}

    def refresh(self) -> None:
        """Read what was appended since; any thread may ask for it."""
        with self._reading:
            try:
                self._refresh()
            except LostLinesError:
                self._forget()
                self._refresh()

    def _forget(self) -> None:
        self._reader.restart()
        self._blocks = BlockTables(self.grid, self._file_shape)
        shape = tuple(self.grid.block_shape)
        self._lines = RowReader(self._run_id, shape, self._blocks.engine_names)
        self._parts = [np.empty(0, ROW)]
        self._files = Names[str]()

    def _refresh(self) -> None:
        known = len(self._files)
        for file, begin, text in self._reader.new_text(all_stay=True):
            self._take(file, begin, text)
        # What is appended to a file repeats none but the first line of a new one.
        is_new = len(self._files) > known
        if is_new and any(name.startswith(PREFIX) for name in self._files):
            self._drop_repeated()

    def _take(self, file: str, begin: int, text: bytes) -> None:
        """Enter some lines of a file, which follow each other."""
        rows, crcs, are_all = self._lines.rows(text)
        rows["file"] = self._files[file]
        rows["offset"] += begin
        counts = np.zeros(len(rows), bool)
        for shape, number in list(self._lines.shapes.items()):
            of_shape = np.flatnonzero(rows["shape"] == number)
            if len(of_shape):
                sound = self._enter(shape, rows[of_shape], crcs[of_shape])
                counts[of_shape] = sound
        if not counts.all():
            rows, are_all = rows[counts], False
        self._parts.append(rows)
        if not are_all:
            self._reader.complain(file)

    def _enter(
        self, shape: tuple[int, ...], rows: np.ndarray, crcs: np.ndarray
    ) -> np.ndarray:
        """Let rows of one shape tell of their blocks; which of them make sense."""
        ranks = 2 * rows["epoch"].astype(np.int64) + rows["is_done"]
        columns = (rows["block"], ranks, crcs, rows["engine"])
        try:
            return self._blocks.enter_columns(shape, np.column_stack(columns))
        except ValueError:
            return np.zeros(len(rows), bool)

    def _drop_repeated(self) -> None:
        """Count a line once that stands in two files, as a compaction may leave it."""
        rows = np.concatenate(self._parts)
        again = repeated(rows)
        self._parts = [rows[~again] if again.any() else rows]


def repeated(rows: np.ndarray) -> np.ndarray:
    """Which rows say what one before them says.

    By numbers that stand for whole rows: to put the rows themselves in order would stop
    all threads of the process for as long as it takes.
    """
    told = [name for name in rows.dtype.names or () if name not in WHERE]
    codes = np.zeros(len(rows), np.uint64)
    for name in told:
        column = np.ascontiguousarray(rows[name])
        if column.dtype.kind == "f":
            column = column.view(np.int32)
        for part in column.reshape(len(rows), -1).T if len(rows) else ():
            codes = codes * MIX + part.astype(np.uint64)
            codes ^= codes >> np.uint64(29)
    order = np.argsort(codes, kind="stable")
    alike = np.flatnonzero(np.diff(codes[order]) == 0)
    before, after = order[alike], order[alike + 1]
    repeated = np.zeros(len(rows), bool)
    repeated[after] = rows[told][before] == rows[told][after]
    return repeated
