"""What the lines of a ledger say, as tables of blocks: one for each block shape.

A run may go on with another block shape, so each line tells the shape of its grid.  A
block is done when every output file in it was written by a done block, of whatever
shape.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.geometry import BlockGrid
from denoise_daisy.run_dir.names import Names


@dataclass(slots=True)
class _Table:
    """What the lines about one block shape say, by flat index."""

    grid: BlockGrid
    rank: np.ndarray
    """Twice the epoch, and one more where the block is done."""
    crc: np.ndarray
    engine: np.ndarray
    """Numbers of what computed the blocks, see `BlockTables.number_of`."""

    @classmethod
    def of(cls, grid: BlockGrid) -> "_Table":
        crc, engine = np.zeros((2, grid.size), np.uint32)
        return cls(grid, np.zeros(grid.size, np.int32), crc, engine)


class BlockTables:
    """The last word on each block, of every block shape that was ever used."""

    def __init__(self, grid: BlockGrid, file_shape: Coordinate) -> None:
        """`grid` is the present one; `file_shape` is voxels of an output file."""
        self._grid = grid
        self._file_shape = file_shape
        self._tables = {tuple(grid.block_shape): _Table.of(grid)}
        self.engine_names = Names([""])
        """What stands in a row for the name of an engine, and for none."""

    def forget(self) -> None:
        """Believe nothing any more."""
        for table in self._tables.values():
            table.rank[:] = 0

    def number_of(self, engine: object) -> int:
        """That of an engine's name, or of none."""
        return self.engine_names[str(engine or "")]

    def enter(
        self, shape: tuple[int, ...], rows: list[tuple[int, ...]]
    ) -> tuple[int, bool]:
        """Take rows of blocks of a shape: block (4 columns), rank, checksum, engine.

        Returns
        -------
        tuple
            The latest epoch among them, and whether all of them make sense.

        Raises
        ------
        ValueError, TypeError
            There can be no block of that shape.
        """
        columns = _whole_numbers(rows)
        inside = self.enter_columns(shape, columns)
        last = int(columns[inside, 4].max(initial=0)) // 2
        return last, int(np.count_nonzero(inside)) == len(rows)

    def enter_columns(self, shape: tuple[int, ...], columns: np.ndarray) -> np.ndarray:
        """The same of rows of int64; which of them make sense.

        Raises
        ------
        ValueError
            There can be no block of that shape.
        """
        table = self._table_of(shape)
        counts = table.grid.shape
        limits = (*counts, 1 << 31, 1 << 32, 1 << 32)
        within = (columns >= 0) & (columns < limits)
        inside: np.ndarray = np.logical_and.reduce(within, axis=1)
        columns = columns[inside]
        flat = np.ravel_multi_index(tuple(columns[:, :4].T), counts)
        rank, crc = columns[:, 4].astype(np.int32), columns[:, 5]
        np.maximum.at(table.rank, flat, rank)
        holds = rank == table.rank[flat]
        table.crc[flat[holds]] = crc[holds]
        table.engine[flat[holds]] = columns[holds, 6]
        return inside

    def done(self) -> np.ndarray:
        """The blocks of the present grid that are done, by flat index."""
        if len(self._tables) > 1:
            return self._all_files(self._grid, self.done_files())
        done: np.ndarray = self._present.rank % 2 == 1
        return done

    def spoken_of(self) -> np.ndarray:
        """The blocks of the present grid that have a line, by flat index."""
        spoken: np.ndarray = self._present.rank > 0
        return spoken

    def done_blocks(self) -> list[tuple[BlockGrid, np.ndarray, np.ndarray]]:
        """Blocks that are done and not replaced: grid, flat indices and checksums."""
        return [(table.grid, flat, table.crc[flat]) for table, flat in self._good()]

    def undo_from(self, begin: int, epoch: int) -> list[tuple[BlockGrid, np.ndarray]]:
        """Take it that blocks behind a position along t are undone from an epoch on.

        Those of each table that were done and reach behind it, by flat index.
        """
        found = []
        for table in self._tables.values():
            done = (table.rank % 2 == 1).reshape(table.grid.shape)
            _, ends = table.grid.write_range(0, np.arange(len(done)))
            done &= (ends > begin)[:, np.newaxis, np.newaxis, np.newaxis]
            flat = np.flatnonzero(done)
            table.rank[flat] = 2 * epoch
            found.append((table.grid, flat))
        return found

    def engines(self) -> Counter[str]:
        """How many of these blocks by the engine that their lines name."""
        found: Counter[str] = Counter()
        for table, flat in self._good():
            numbers = np.bincount(table.engine[flat], minlength=len(self.engine_names))
            found.update(dict(zip(self.engine_names, numbers.tolist(), strict=True)))
        del found[""]
        return +found

    def done_files(self) -> np.ndarray:
        """Whether each output file should be there, ``(t, z, y, x)`` in files."""
        done: np.ndarray = self._file_ranks() % 2 == 1
        return done

    def _good(self) -> Iterator[tuple[_Table, np.ndarray]]:
        """Of each table the blocks that are done and not replaced, by flat index."""
        files = self._file_ranks() if len(self._tables) > 1 else None
        for table in self._tables.values():
            good = table.rank % 2 == 1
            if files is not None:
                good &= self._all_files(table.grid, files % 2 == 1)
            yield table, np.flatnonzero(good)

    @property
    def _present(self) -> _Table:
        return self._tables[tuple(self._grid.block_shape)]

    def _table_of(self, shape: tuple[int, ...]) -> _Table:
        if shape not in self._tables:
            if len(shape) != 4 or min(shape) < 1:
                raise ValueError("no shape of a block")
            grid = replace(self._grid, block_shape=Coordinate(shape))
            self._tables[shape] = _Table.of(grid)
        return self._tables[shape]

    def _file_ranks(self) -> np.ndarray:
        """The highest rank of any block that wrote a file, by file."""
        counts = file_counts(self._grid, self._file_shape)
        ranks = np.zeros(counts, np.int32)
        for table in self._tables.values():
            spread = table.rank.reshape(table.grid.shape)
            for axis, count in enumerate(counts):
                each = -(-table.grid.block_shape[axis] // self._file_shape[axis])
                spread = np.repeat(spread, each, axis).take(range(count), axis)
            np.maximum(ranks, spread, out=ranks)
        return ranks

    def _all_files(self, grid: BlockGrid, by_file: np.ndarray) -> np.ndarray:
        """Whether all files of each block of a grid are true, by flat index."""
        for axis in range(by_file.ndim):
            each = -(-grid.block_shape[axis] // self._file_shape[axis])
            starts = range(0, by_file.shape[axis], each)
            by_file = np.logical_and.reduceat(by_file, list(starts), axis)
        return by_file.ravel()


def file_counts(grid: BlockGrid, file_shape: Coordinate) -> tuple[int, ...]:
    """Number of output files of a grid's volume along ``(t, z, y, x)``."""
    pairs = zip(grid.volume.shape, file_shape, strict=True)
    return tuple(-(-voxels // file) for voxels, file in pairs)


def _whole_numbers(rows: list[tuple[int, ...]]) -> np.ndarray:
    """The rows as a table of int64, without those that hold anything else."""
    try:
        table = np.array(rows)
    except ValueError:
        table = np.array([], object)
    if table.dtype != np.int64:
        good = [row for row in rows if all(type(n) is int for n in row)]
        small = [row for row in good if max(map(abs, row)) < 1 << 62]
        table = np.array(small, np.int64).reshape(-1, 7)
    return table
