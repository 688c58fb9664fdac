"""Read an output back and hold it against the ledger's checksums."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from denoise_daisy import outputs
from denoise_daisy.blocks import find_damage, slab_bytes
from denoise_daisy.errors import BlocksFailed, RunStopped
from denoise_daisy.geometry import BlockGrid, Index, count_in
from denoise_daisy.job import Job
from denoise_daisy.ledger import Ledger
from denoise_daisy.ledger_lines import Entry, Reason
from denoise_daisy.machine import cores
from denoise_daisy.progress import listing
from denoise_daisy.rundir import Lock, RunDir
from denoise_daisy.stages import DENOISE, ONLY_BLOCK, Stage

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


@dataclass(frozen=True, slots=True)
class Damage:
    """A block whose output is not what was written."""

    stage: str
    grid: BlockGrid
    block: Index
    what: str

    def __str__(self) -> str:
        """The block and what is wrong with it."""
        stage = "" if self.stage == DENOISE else f"{self.stage} "
        return f"{stage}block {list(self.block)}: {self.what}"


def verify(run_dir: RunDir) -> str:
    """Check all done blocks; damaged ones count as undone from then on.

    So do the blocks that read them, since these may have been computed from the damage.

    Raises
    ------
    RefusedError
        A scheduler is at work.
    BlocksFailed
        Some blocks are damaged or missing; the next run computes just them.
    RunStopped
        All that was written is right, but the run is not finished; or something could
        not be read for another reason than damage, and nothing was marked.
    """
    record = run_dir.read_run()
    assert record is not None, "found by its run.json"  # noqa: S101
    with Lock(run_dir):
        job = Job.restore(record, run_dir.output)
        stages = [stage for stage in job.stages if _is_as_recorded(stage, record)]
        ledgers = {stage.name: _ledger(stage, run_dir, job) for stage in stages}
        checked = sum(map(_count, ledgers.values()))
        damages = _damages(stages, ledgers)
        readers = 0
        if damages:
            # An array that has gone in between is no damage of its blocks.
            damaged = {damage.stage for damage in damages}
            for stage in stages:
                if stage.name in damaged:
                    outputs.check_stage(stage, run_dir.ledger(stage.name))
            last = max(ledger.epoch for ledger in ledgers.values())
            epoch = max(last, record["epoch"]) + 1
            readers = _undo(stages, ledgers, damages, epoch)
    if damages:
        lines = [f"{len(damages)} of {checked} blocks are not what was written:"]
        lines += listing([str(damage) for damage in damages])
        also = f", and so do {readers} blocks that read them" if readers else ""
        lines.append(
            f"They count as undone now{also}; start the run again to compute them."
        )
        raise BlocksFailed("\n".join(lines))
    left = sum(int(np.count_nonzero(~ledger.done)) for ledger in ledgers.values())
    if left:
        raise RunStopped(
            f"All {checked} blocks that are done are as they were written; {left} are"
            " not done yet. Start the run to go on."
        )
    blocks = sum(stage.grid.size for stage in stages)
    return f"All {blocks} blocks are as they were written. Output: {job.output}"


def _ledger(stage: Stage, run_dir: RunDir, job: Job) -> Ledger:
    folder = run_dir.ledger(stage.name)
    ledger = Ledger(folder, job.run_id, stage.grid, stage.unit)
    ledger.refresh()
    if ledger.done_files().any():
        outputs.check_stage(stage, folder)
    return ledger


def _is_as_recorded(stage: Stage, record: Mapping[str, Any]) -> bool:
    """Whether its blocks are what the config asks for now; else they await --task."""
    if stage.name == DENOISE:
        return True
    return bool(record["stages"][stage.name]["fingerprint"] == stage.facts)


def _damages(stages: Sequence[Stage], ledgers: Mapping[str, Ledger]) -> list[Damage]:
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
                total=sum(map(_count, ledgers.values())),
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


def _count(ledger: Ledger) -> int:
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
    if stage.target is None:
        return 0
    return slab_bytes(stage.target, stage.grid.write_roi(ONLY_BLOCK))


def _undo(
    stages: Sequence[Stage],
    ledgers: Mapping[str, Ledger],
    damages: Sequence[Damage],
    epoch: int,
) -> int:
    """Mark damaged blocks as undone, and all that read them; the number of the latter.

    `stages` stand each after those that it reads.
    """
    undone: dict[str, np.ndarray] = {}
    readers: dict[str, list[Entry]] = {}
    for stage in stages:
        damaged = np.zeros(stage.grid.shape, bool)
        for damage in damages:
            if damage.stage == stage.name:
                damaged[_blocks_at(stage.grid, damage)] = True
        outdated = np.zeros(stage.grid.shape, bool)
        for other in stages:
            if other.name in stage.after:
                windows = stage.windows_on(other)
                outdated |= count_in(undone[other.name], windows) > 0
        outdated &= ledgers[stage.name].done.reshape(stage.grid.shape) & ~damaged
        undone[stage.name] = outdated | damaged
        readers[stage.name] = [
            _undone(
                stage.grid,
                tuple(map(int, index)),
                epoch,
                "outdated",
                "what it read was found damaged",
            )
            for index in np.argwhere(outdated)
        ]
    # Readers first: cut short, this leaves no block whose damage is forgotten.
    for stage in reversed(stages):
        own = [damage for damage in damages if damage.stage == stage.name]
        marks = [_undone(d.grid, d.block, epoch, "damaged", d.what) for d in own]
        _mark(ledgers[stage.name], epoch, [*readers[stage.name], *marks])
    return sum(map(len, readers.values()))


def _blocks_at(grid: BlockGrid, damage: Damage) -> tuple[slice, ...]:
    """The blocks of a grid that a damaged block, maybe of an earlier grid, is in."""
    roi = damage.grid.write_roi(damage.block) - grid.volume.begin
    first, last = roi.begin // grid.block_shape, -((-roi.end) // grid.block_shape)
    return tuple(slice(b, e) for b, e in zip(first, last, strict=True))


def _undone(
    grid: BlockGrid, index: Index, epoch: int, reason: Reason, why: str
) -> Entry:
    """The line that says that a block has to be done again."""
    return Entry(
        block=index,
        shape=tuple(grid.block_shape),
        status="failed",
        epoch=epoch,
        worker="verify",
        reason=reason,
        error=why,
    )


def _mark(ledger: Ledger, epoch: int, entries: Sequence[Entry]) -> None:
    """Write lines that are on disk on return; there may be many."""
    if not entries:
        return
    writer = ledger.writer(f"verify-{epoch}", durable=False)
    try:
        for entry in entries:
            writer.append(entry)
        writer.sync()
    finally:
        writer.close()
