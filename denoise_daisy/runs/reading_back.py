"""All blocks of a run read back, several at once, and held against their checksums."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from denoise_daisy.blockwise.read_back import find_damage, slab_bytes
from denoise_daisy.blockwise.stage import ONLY_BLOCK, Stage
from denoise_daisy.errors import RunStopped
from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.machine import cores
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.runs.undo import Damage

MEMORY_BYTES = 1 << 30
"""What all blocks that are read at once may take together."""

AHEAD = 4
"""Blocks that wait to be read, for each thread."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A block as the ledger has it."""

    stage: Stage
    grid: BlockGrid
    index: Index
    crc: int


def damages_of(stages: Sequence[Stage], ledgers: Mapping[str, Ledger]) -> list[Damage]:
    """All damaged blocks; each was looked at twice, for nothing is marked lightly.

    Raises
    ------
    RunStopped
        A block could not be read, which tells nothing about it.
    """
    blocks = (block for stage in stages for block in _written(stage, ledgers))
    most = max(1, *map(_memory, stages))
    threads = max(1, min(cores(), MEMORY_BYTES // most))
    try:
        with ThreadPoolExecutor(threads) as pool:
            results = tqdm(
                _found_in(pool, blocks, threads * AHEAD),
                desc="verify",
                total=sum(map(count, ledgers.values())),
                unit="block",
                file=sys.stderr,
                mininterval=1 if sys.stderr.isatty() else 30,
            )
            suspects = [block for block, what in results if what]
            found = list(_found_in(pool, suspects, threads * AHEAD))
    except (OSError, MemoryError) as error:
        raise RunStopped(
            f"The output can't be read ({type(error).__name__}: {error}), which says"
            " nothing about what was written. No block was marked; correct that and"
            " verify again."
        ) from error
    return [Damage(b.stage.name, b.grid, b.index, what) for b, what in found if what]


def count(ledger: Ledger) -> int:
    """Number of blocks that are done, in whatever grid."""
    return sum(len(flat) for _, flat, _ in ledger.done_blocks())


def _written(stage: Stage, ledgers: Mapping[str, Ledger]) -> Iterator[_Written]:
    for grid, flat, crcs in ledgers[stage.name].done_blocks():
        for i, crc in zip(flat, crcs, strict=True):
            index = tuple(map(int, np.unravel_index(i, grid.shape)))
            yield _Written(stage, grid, index, int(crc))


def _look_at(block: _Written) -> str | None:
    return find_damage(block.stage, block.grid, block.index, block.crc)


def _found_in(
    pool: ThreadPoolExecutor, blocks: Iterable[_Written], most: int
) -> Iterator[tuple[_Written, str | None]]:
    """The blocks and what is wrong with them, of which so many wait at most."""
    waiting: deque[tuple[_Written, Future[str | None]]] = deque()
    try:
        for block in blocks:
            waiting.append((block, pool.submit(_look_at, block)))
            if len(waiting) == most:
                first, future = waiting.popleft()
                yield first, future.result()
        for block, future in waiting:
            yield block, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def _memory(stage: Stage) -> int:
    """Bytes that reading back a block of an array takes; files are small."""
    if stage.array is None:
        return 0
    return slab_bytes(stage.array, stage.grid.write_roi(ONLY_BLOCK))
