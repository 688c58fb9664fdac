"""What a run is to do, and refusing what can't work before anything is written."""

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from denoise_daisy.amounts import counted, size
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import SingleFile
from denoise_daisy.config import Config
from denoise_daisy.durable import persistently
from denoise_daisy.errors import InputError, RunStopped
from denoise_daisy.launchers.base import NoAnswerError
from denoise_daisy.machine import free_disk
from denoise_daisy.resolved.resolve import resolve
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.runs.changes import changed_stages
from denoise_daisy.runs.extension import Extension, extension_of
from denoise_daisy.runs.output_files import check_stage
from denoise_daisy.runs.output_places import check_places
from denoise_daisy.tasks.stages import deletable, readers_of

BEST_COMPRESSION = 8
"""An output that would not even fit compressed by this much is refused."""

logger = logging.getLogger("denoise_daisy")


@dataclass(frozen=True)
class Preflight:
    """A run that can be: what it computes, and how far that is."""

    run: ResolvedRun
    record: RunRecord | None
    """Of the run that goes on; None for a new one."""
    ledgers: Mapping[str, Ledger]
    """Of every stage, by name; empty where it is new or done again."""
    changed: Mapping[str, list[str]]
    """Stages that have to be done again, and what of them has changed."""
    asked: tuple[str, ...]
    """Names of the stages that are to be done."""
    unneeded: tuple[str, ...]
    """Those of tasks that are not kept, and whose readers are all done."""
    warnings: tuple[str, ...] = ()
    """What a person should know, once the denoiser knows the image."""
    longer: Extension | None = None
    """What is made of it, where the image has got longer."""
    earlier: Mapping[str, str | int] | None = None
    """What tells the image's time points from others, once that was found out."""

    @property
    def done_again(self) -> list[str]:
        """Stages whose blocks are thrown away now."""
        return [name for name in self.changed if name in self.asked]

    @property
    def left_alone(self) -> set[str]:
        """Stages that have changed and are not asked for: they stay what they were."""
        return self.changed.keys() - self.asked

    @property
    def asked_stages(self) -> list[Stage]:
        """The stages that are to be done."""
        return [stage for stage in self.run.stages if stage.name in self.asked]

    @property
    def denoises(self) -> bool:
        """Whether blocks of the denoising are to be done."""
        name = self.run.denoising.name
        return name in self.asked and not self.ledgers[name].done.all()

    def share_left(self, stage: Stage) -> float:
        """The part of what a stage writes that is not done."""
        done = stage.grid.voxels_in(self.ledgers[stage.name].done)
        return 1 - done / stage.grid.voxels_written

    @property
    def is_done(self) -> bool:
        """Whether nothing is left, not even to record that the image is longer."""
        return self.longer is None and all(
            self.ledgers[name].done.all() for name in self.asked
        )


def preflight(
    config: Config,
    existing: RunRecord | None,
    *,
    tasks: Sequence[str] = (),
    overwrite: bool = False,
    extend: bool = False,
    again: RunRecord | None = None,
    new_id: str,
) -> Preflight:
    """Refuse what can't work; what is to be done, and how far that is.

    `existing` is the record of a run in that place; without, what that of `again` has
    chosen holds, and else a new run gets the new id.

    Raises
    ------
    InputError, RefusedError
        As `run` would.
    """
    if config.notify:
        config.notify.check()
    record = None if overwrite else existing or again
    run = resolve(config, record, new_id)
    longer = extension_of(run, record, is_asked=extend) if record else None
    check_places(run, existing, overwrite=overwrite)
    changed = dict(changed_stages(run))
    if longer:
        changed = longer.changed_of(changed)
    ledgers = {}
    for stage in run.stages:
        fresh = record is None or stage.name in changed
        ledgers[stage.name] = _read_ledger(run, stage, fresh=fresh)
    if record and longer:
        longer = longer.with_ledgers(ledgers, record.epoch)
    unneeded = unneeded_stages(run, ledgers, changed)
    asked = _asked(run, ledgers, tasks, unneeded)
    found = Preflight(run, record, ledgers, changed, asked, unneeded, longer=longer)
    if not found.is_done:
        _check_disk(found)
        _check_blocks(found)
    return found


def unneeded_stages(
    run: ResolvedRun, ledgers: Mapping[str, Ledger], changed: Collection[str]
) -> tuple[str, ...]:
    """The stages of tasks that are not kept, where all that reads them is done.

    What stages have done counts for nothing where they have `changed` since.
    """
    is_done = {
        name: name not in changed and bool(ledger.done.all())
        for name, ledger in ledgers.items()
    }
    unneeded: list[str] = []
    for task in reversed(run.config.tasks):
        readers = readers_of(task.name, run.stages)
        is_read = all(r.name in unneeded or is_done[r.name] for r in readers)
        if not task.keep and is_read:
            unneeded += [s.name for s in deletable(task.name, run.stages)]
    return tuple(unneeded)


def check_workers(found: Preflight) -> None:
    """Refuse jobs that no batch system would take.

    Raises
    ------
    NotHereError
        The batch system can't be used on this machine.
    InputError
        It would not take them; with its own words.
    RunStopped
        It does not answer, and the run goes on: it did before, and may again.
    """
    if found.is_done:
        return
    for pool in found.run.pools_for(found.asked):
        try:
            pool.launcher.check()
        except NoAnswerError as error:
            if found.record is None:
                raise
            raise RunStopped(f"{error} What is done is kept.") from error


def _asked(
    run: ResolvedRun,
    ledgers: Mapping[str, Ledger],
    tasks: Sequence[str],
    unneeded: Sequence[str],
) -> tuple[str, ...]:
    """The stages of these tasks, of all if none is named, that are needed.

    Raises
    ------
    InputError
        There is no such task, or it reads what is not done and not asked for either.
    """
    known = list(dict.fromkeys(stage.task for stage in run.stages))
    for task in tasks:
        if task not in known:
            raise InputError(
                f"There is no task {task!r}. Expected some of: {', '.join(known)}."
            )
    needed = [stage for stage in run.stages if stage.name not in unneeded]
    asked = [s for s in needed if not tasks or s.task in tasks]
    names = tuple(stage.name for stage in asked)
    tasks_of = {stage.name: stage.task for stage in run.stages}
    for stage in asked:
        for name in stage.after:
            if name in names or name in unneeded:
                continue
            if not ledgers[name].done.all():
                left = int((~ledgers[name].done).sum())
                raise InputError(
                    f"Task {stage.task!r} reads {name!r}, of which {left} blocks are"
                    f" not done. Name that task as well: --task {tasks_of[name]}."
                )
    return names


def _read_ledger(run: ResolvedRun, stage: Stage, *, fresh: bool) -> Ledger:
    """The ledger of a stage, read to its end unless the stage is new."""
    folder = run.run_dir.ledger(stage.name)
    ledger = Ledger(folder, run.id, stage.grid, stage.file_shape)
    if not fresh:
        persistently(ledger.refresh)
    if ledger.done_files().any():
        check_stage(stage, folder)
    return ledger


def _check_disk(found: Preflight) -> None:
    """Refuse outputs that can't fit; warn of those that may not."""
    run, needed, files = found.run, 0.0, 0
    for stage in found.asked_stages:
        if stage.array is not None:
            share = found.share_left(stage)
            needed += stage.array.layout.nbytes * share
            files += math.ceil(stage.array.layout.files * share)
    free, free_files = free_disk(run.output)
    too_many = free_files is not None and files > free_files
    if needed / BEST_COMPRESSION > free or too_many:
        room = [size(free)]
        if free_files is not None:
            room.append(counted(free_files, "file"))
        raise InputError(
            f"The output needs up to {size(needed)} in {counted(files, 'file')}, but"
            f" only {' and '.join(room)} {'are' if room[1:] else 'is'} free at"
            f" {str(run.output.parent)!r}. Make room, or choose another output.path."
        )
    if needed > free:
        logger.warning(
            "The output needs %s uncompressed, and %s are free: it fits only if it"
            " compresses well.",
            size(needed),
            size(free),
        )


def _check_blocks(found: Preflight) -> None:
    """Refuse blocks that their workers have no memory or no time for."""
    for stage in found.asked_stages:
        if found.ledgers[stage.name].done.all():
            continue
        limits, is_first = found.run.limits(stage.task), stage is found.run.denoising
        whose = "" if is_first else f" of {stage.name}"
        smaller = _smaller(stage, found.run.denoising)
        if stage.memory is not None and stage.memory > limits.memory:
            what = f"A block{whose}, with its context,"
            raise limits.too_large(what, stage.memory, smaller)
        shape = stage.grid.largest_shape
        if stage.pace and not stage.pace.is_within(shape, limits.seconds):
            seconds = stage.pace.seconds(shape)
            raise limits.too_slow(f"A block{whose}", seconds, smaller)


def _smaller(stage: Stage, denoising: Stage) -> str:
    """How to get smaller blocks, or what else to do where nothing in the config cuts.

    Levels have been cut for workers that had more; they are cut anew in a new run.
    """
    if isinstance(stage.target, SingleFile):
        return f"leave task {stage.task!r} out"
    if stage.parameters.get("kind") == "pyramid":
        return "start over with --overwrite"
    whose = "" if stage is denoising else f" of task {stage.task!r}"
    return f"make the blocks smaller with blocks.shape{whose}"
