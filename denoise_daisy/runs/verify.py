"""Read an output back and hold it against the ledger's checksums."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.durable import is_there, persistently
from denoise_daisy.errors import BlocksFailed, RefusedError, RunStopped
from denoise_daisy.progress import listing
from denoise_daisy.reports.notebook import Shown
from denoise_daisy.resolved.recorded import recorded_run
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.lock import Lock, holder_at_work
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.output_files import check_stage
from denoise_daisy.runs.output_metadata import damaged_groups
from denoise_daisy.runs.reading_back import count, damages_of
from denoise_daisy.runs.undo import Damage, undo

logger = logging.getLogger("denoise_daisy")


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
    is_marked: bool = True
    """Whether damaged blocks count as undone now; not in a run directory that can't be
    written."""

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
            if not self.is_marked:
                lines.append(
                    "They still count as done, for the run directory can't be written:"
                    " let its owner verify it, or verify a copy of both."
                )
                return "\n".join(lines)
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
    with _checking(run_dir) as can_mark:
        record = RunRecord.of(run_dir)
        run, input_problem = recorded_run(record, run_dir)
        if input_problem:
            logger.warning("%s", input_problem)
        _check_groups(run)
        stages = [run.denoising, *_as_recorded(run, record)]
        skipped = [s.task for s in run.tasks if _is_skipped(s, record)]
        ledgers = {stage.name: _ledger(stage, run) for stage in stages}
        checked = sum(map(count, ledgers.values()))
        left = sum(int(np.count_nonzero(~ledger.done)) for ledger in ledgers.values())
        damages = damages_of(stages, ledgers)
        readers = _marked(run, record, ledgers, damages) if can_mark else 0
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
        can_mark,
    )


@contextmanager
def _checking(run_dir: RunDir) -> Iterator[bool]:
    """Check while no scheduler is at work; whether what is found can be written down.

    Not of a run that is somebody else's, or that was put away where nothing is written.
    """
    place = run_dir.lock_file if is_there(run_dir.lock_file) else run_dir.path
    if os.access(place, os.W_OK):
        with Lock(run_dir, is_start=False):
            yield True
    elif holder := holder_at_work(run_dir):
        raise RefusedError(
            f"A scheduler is at work on this output: {holder} ({run_dir.lock_file})."
            " Expected none; verify once it has ended."
        )
    else:
        yield False


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
