"""Read an output back and hold it against the ledger's checksums."""

import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from denoise_daisy.blockwise.read_back import find_damage, slab_bytes
from denoise_daisy.blockwise.stage import ONLY_BLOCK, Stage
from denoise_daisy.durable import persistently
from denoise_daisy.errors import BlocksFailed, RefusedError, RunStopped
from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.machine import cores
from denoise_daisy.progress import listing
from denoise_daisy.reports.notebook import Shown
from denoise_daisy.resolved.recorded import recorded_run
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.lock import Lock
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.output_files import check_stage
from denoise_daisy.runs.output_metadata import damaged_groups
from denoise_daisy.runs.undo import Damage, undo

MEMORY_BYTES = 1 << 30
"""What all blocks that are read at once may take together."""

AHEAD = 4
"""Blocks that wait to be read, for each thread."""


logger = logging.getLogger("denoise_daisy")


@dataclass(frozen=True, slots=True)
class _Written:
    """A block as the ledger has it."""

    stage: Stage
    grid: BlockGrid
    index: Index
    crc: int


@dataclass(frozen=True)
class Verification(Shown):
    """What came of reading an output back; its `str` is what `verify` says."""

    output: Path
    blocks: int
    """That were done, and were read back."""
    damages: tuple[Damage, ...]
    """Blocks that are not what was written; they count as undone now."""
    readers: int
    """Blocks that read these, and count as undone with them."""
    left: int
    """Blocks that were not done, before any damage was found."""
    skipped: tuple[str, ...] = ()
    """Tasks that were done with other settings than the config has, and not read."""

    @property
    def is_whole(self) -> bool:
        """Whether all of the output is there, as it was written."""
        return not self.damages and not self.left

    def check(self) -> None:
        """Raise what the command line ends with where it is not whole.

        Raises
        ------
        BlocksFailed
            Some blocks are damaged or missing; the next run computes just them.
        RunStopped
            All that was written is right, but the run is not finished.
        """
        if self.damages:
            raise BlocksFailed(str(self))
        if self.left:
            raise RunStopped(str(self))

    def __str__(self) -> str:
        if not self.skipped:
            return self._found
        return (
            f"{self._found}\nNot read back, as the config has other settings of them"
            f" than they were done with: {', '.join(self.skipped)}."
        )

    @property
    def _found(self) -> str:
        if self.damages:
            count = len(self.damages)
            lines = [f"{count} of {self.blocks} blocks are not what was written:"]
            lines += listing([str(damage) for damage in self.damages])
            readers = f", and so do {self.readers} blocks that read them"
            lines.append(
                f"They count as undone now{readers if self.readers else ''}; start the"
                " run again to compute them."
            )
            return "\n".join(lines)
        if self.left:
            return (
                f"All {self.blocks} blocks that are done are as they were written;"
                f" {self.left} are not done yet. Start the run to go on."
            )
        return (
            f"All {self.blocks} blocks are as they were written. Output: {self.output}"
        )


def verify(run_dir: RunDir) -> str:
    """Check all done blocks, and say that they are right; raises as below, or `check`.

    Raises
    ------
    BlocksFailed, RefusedError, RunStopped
        It is not whole, or can't be checked.
    """
    found = verified(run_dir)
    found.check()
    return str(found)


def verified(run_dir: RunDir) -> Verification:
    """Check all done blocks; damaged ones count as undone from then on.

    So do the blocks that read them, since these may have been computed from the damage.

    Raises
    ------
    RefusedError
        A scheduler is at work, or the output is gone or another's.
    RunStopped
        Something could not be read for another reason than damage; nothing was marked.
    """
    with Lock(run_dir):
        record = RunRecord.of(run_dir)
        run, input_problem = recorded_run(record, run_dir)
        if input_problem:
            logger.warning("%s", input_problem)
        _check_groups(run)
        stages = [run.denoising, *_as_recorded(run, record)]
        skipped = [s.task for s in run.tasks if _is_skipped(s, record)]
        ledgers = {stage.name: _ledger(stage, run) for stage in stages}
        checked = sum(map(_count, ledgers.values()))
        left = sum(int(np.count_nonzero(~ledger.done)) for ledger in ledgers.values())
        damages = damages_of(stages, ledgers)
        readers = _marked(run, record, ledgers, damages)
    if not damages and not left:
        # A block of another shape than the run's now is one of several.
        checked = sum(stage.grid.size for stage in stages)
    return Verification(
        run.output,
        checked,
        tuple(damages),
        readers,
        left,
        tuple(dict.fromkeys(skipped)),
    )


def _check_groups(run: ResolvedRun) -> None:
    """Refuse an output that nobody can open, however good its voxels are."""
    if damaged := damaged_groups(run):
        raise RefusedError(
            f"The metadata of {str(damaged[0])!r} are damaged or gone. Start the run"
            " again, which writes them again, and verify then."
        )


def _as_recorded(run: ResolvedRun, record: RunRecord) -> Iterator[Stage]:
    """Tasks' stages that are what the config asks for now; others await --task."""
    for stage in run.tasks:
        if record.stages[stage.name].parameters == stage.parameters:
            yield stage


def _is_skipped(stage: Stage, record: RunRecord) -> bool:
    """Whether a stage was done otherwise; of one that was deleted nothing is left."""
    kept = record.stages[stage.name]
    return not kept.is_deleted and kept.parameters != stage.parameters


def _ledger(stage: Stage, run: ResolvedRun) -> Ledger:
    folder = run.run_dir.ledger(stage.name)
    ledger = Ledger(folder, run.id, stage.grid, stage.file_shape)
    persistently(ledger.refresh)
    if ledger.done_files().any():
        check_stage(stage, folder)
    return ledger


def _marked(
    run: ResolvedRun,
    record: RunRecord,
    ledgers: Mapping[str, Ledger],
    damages: Sequence[Damage],
) -> int:
    """Mark damaged blocks as undone, and how many blocks that read them."""
    if not damages:
        return 0
    # An array that has gone in between is no damage of its blocks.
    damaged = {damage.stage for damage in damages}
    for stage in run.stages:
        if stage.name in damaged:
            check_stage(stage, run.run_dir.ledger(stage.name))
    last = max(ledger.epoch for ledger in ledgers.values())
    return undo(run.stages, ledgers, damages, max(last, record.epoch) + 1)


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
    if stage.array is None:
        return 0
    return slab_bytes(stage.array, stage.grid.write_roi(ONLY_BLOCK))
