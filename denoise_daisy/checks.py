"""What a run is to do, and refusing what can't work before anything is written."""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denoise_daisy import outputs
from denoise_daisy.config import (
    Config,
    LsfWorkers,
    Ndsafir,
    SlurmWorkers,
    slurm_seconds,
)
from denoise_daisy.denoiser import (
    check_version,
    layer_warnings,
    seconds_per_voxel,
)
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.job import Job, count_and_threads, prepare
from denoise_daisy.launchers import launcher_for
from denoise_daisy.ledger import Ledger
from denoise_daisy.machine import free_disk
from denoise_daisy.planning import GIB
from denoise_daisy.progress import duration
from denoise_daisy.rundir import RunDir
from denoise_daisy.scheduler import Pool
from denoise_daisy.stages import Stage

BEST_COMPRESSION = 8
"""An output that would not even fit compressed by this much is refused."""

logger = logging.getLogger("denoise_daisy")


@dataclass(frozen=True)
class Plan:
    """A run that can be: what it computes, and how far that is."""

    job: Job
    record: dict[str, Any] | None
    """run.json of the run that goes on; None for a new one."""
    ledgers: Mapping[str, Ledger]
    """Of every stage, by name; empty where it is new or done anew."""
    changed: Mapping[str, list[str]]
    """Stages that have to be done anew, and what of them has changed."""
    asked: tuple[str, ...]
    """Names of the stages that are to be done."""

    @property
    def anew(self) -> list[str]:
        """Stages whose blocks are thrown away now."""
        return [name for name in self.changed if name in self.asked]

    @property
    def asked_stages(self) -> list[Stage]:
        """The stages that are to be done."""
        return [stage for stage in self.job.stages if stage.name in self.asked]

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return all(self.ledgers[name].done.all() for name in self.asked)


def check_settings(
    config: Config,
    *,
    tasks: Sequence[str] = (),
    overwrite: bool = False,
    unchecked_ndsafir: bool = False,
) -> Plan:
    """Refuse what can't work; what is to be done, and how far that is.

    Raises
    ------
    InputError, RefusedError
        As `run` would.
    """
    if not unchecked_ndsafir and isinstance(config.denoise, Ndsafir):
        check_version()
    run_dir = RunDir.of_output(Path(config.output.path))
    record = _existing_run(config, run_dir, overwrite=overwrite)
    job = prepare(config, record)
    if record:
        _check_fingerprint(job, record)
    outputs.check_places(job, run_dir.read_run(), overwrite=overwrite)
    changed = _changed_stages(job)
    ledgers = {}
    for stage in job.stages:
        fresh = record is None or stage.name in changed
        ledgers[stage.name] = _read_ledger(stage, run_dir, job.run_id, fresh=fresh)
    plan = Plan(job, record, ledgers, changed, _asked(job, ledgers, tasks))
    if not plan.is_done:
        _check_disk(job, ledgers)
        _check_walltime(job)
        for pool in pools_of(job, record, plan.asked):
            pool.launcher.check()
    return plan


def describe_jobs(plan: Plan) -> str:
    """What would be submitted to batch systems, in words."""
    pools = pools_of(plan.job, plan.record, plan.asked)
    return "\n".join(filter(None, (pool.launcher.describe() for pool in pools)))


def _asked(
    job: Job, ledgers: Mapping[str, Ledger], tasks: Sequence[str]
) -> tuple[str, ...]:
    """The stages of these tasks, of all if none is named.

    Raises
    ------
    InputError
        There is no such task, or it reads what is not done and not asked for either.
    """
    known = list(dict.fromkeys(stage.task for stage in job.stages))
    for task in tasks:
        if task not in known:
            raise InputError(
                f"There is no task {task!r}. Expected some of: {', '.join(known)}."
            )
    asked = [s for s in job.stages if not tasks or s.task in tasks]
    names = tuple(stage.name for stage in asked)
    tasks_of = {stage.name: stage.task for stage in job.stages}
    for stage in asked:
        for name in stage.after:
            if name not in names and not ledgers[name].done.all():
                left = int((~ledgers[name].done).sum())
                raise InputError(
                    f"Task {stage.task!r} reads {name!r}, of which {left} blocks are"
                    f" not done. Name that task as well: --task {tasks_of[name]}."
                )
    return names


def pools_of(
    job: Job, record: dict[str, Any] | None, asked: Sequence[str]
) -> Iterator[Pool]:
    """Those who do the blocks of the stages asked for."""
    run_id = job.run_id if record else "RUN"
    run_dir = RunDir.of_output(job.output)
    asked_stages = [stage for stage in job.stages if stage.name in asked]
    for name in dict.fromkeys(map(job.pool_of, asked_stages)):
        workers = job.workers_of_pool(name)
        count = job.workers if not name else count_and_threads(workers)[0]
        stages = tuple(s.name for s in asked_stages if job.pool_of(s) == name)
        launcher = launcher_for(workers, run_dir, run_id, name)
        yield Pool(name, workers, count, launcher, stages)


def _changed_stages(job: Job) -> dict[str, list[str]]:
    """Stages after the denoising that were something else before, and in what."""
    changed = {}
    for stage in job.chain:
        old = job.recorded.get(stage.name)
        if old is None:
            continue
        differences = _differences(old["fingerprint"], stage.facts)
        if differences:
            changed[stage.name] = differences
    return changed


def _read_ledger(stage: Stage, run_dir: RunDir, run_id: str, *, fresh: bool) -> Ledger:
    """The ledger of a stage, read to its end unless the stage is new."""
    folder = run_dir.ledger(stage.name)
    ledger = Ledger(folder, run_id, stage.grid, stage.unit)
    if not fresh:
        ledger.refresh()
    if ledger.done_files().any():
        outputs.check_stage(stage, folder)
    return ledger


def _existing_run(
    config: Config, run_dir: RunDir, *, overwrite: bool
) -> dict[str, Any] | None:
    """The record to go on with, None for a fresh start; refuse what is not ours."""
    output = Path(config.output.path)
    source = Path(config.input.path)
    place = Path(os.path.realpath(output))
    if place.is_relative_to(os.path.realpath(source)):
        raise InputError(
            f"output.path {str(output)!r} lies at or in the input {str(source)!r}."
            " Expected another place."
        )
    for path in (output, run_dir.path):
        _check_folder(path)
    record = run_dir.read_run()
    is_empty = not output.exists() or not any(output.iterdir())
    if not is_empty and not outputs.is_made_here(output):
        raise RefusedError(
            f"{str(output)!r} exists and was not made by this program. Expected a free"
            " place; choose another output.path, or move that folder away."
        )
    if not is_empty and record is None and not overwrite:
        raise RefusedError(
            f"{str(output)!r} is an output of this program whose run directory"
            f" {run_dir.path.name!r} is gone. Put it back, choose another output.path,"
            " or start anew with --overwrite."
        )
    return None if overwrite else record


def _check_folder(path: Path) -> None:
    """Refuse a place where no folder can be made or written."""
    try:
        while not path.exists():
            if path.is_symlink():
                raise InputError(
                    f"{str(path)!r} is a broken link. Change output.path, or correct"
                    " the link."
                )
            path = path.parent
        if not path.is_dir():
            problem = "is a file; expected a folder"
        elif not os.access(path, os.W_OK | os.X_OK):
            problem = "can't be written; expected a folder with write permission"
        else:
            return
    except (OSError, RuntimeError) as error:
        problem = f"can't be used ({getattr(error, 'strerror', None) or error})"
    raise InputError(f"{str(path)!r} {problem}. Change output.path or correct that.")


def _check_fingerprint(job: Job, record: dict[str, Any]) -> None:
    """Refuse to go on with a run that had other settings, naming each."""
    changes = _differences(record["fingerprint"], job.fingerprint)
    if changes:
        raise RefusedError(
            f"The output {str(job.output)!r} belongs to a run with other settings or"
            f" another input: {'; '.join(changes)}. Restore these to go on, choose"
            " another output.path, or start anew with --overwrite."
        )


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} was {old.get(name)!r}, is {new.get(name)!r}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _check_disk(job: Job, ledgers: Mapping[str, Ledger]) -> None:
    """Refuse outputs that can't fit; warn of those that may not."""
    needed, files = 0.0, 0
    for stage in job.stages:
        if stage.target is not None:
            done = stage.grid.voxels_in(ledgers[stage.name].done)
            share = 1 - done / stage.grid.voxels_written
            needed += stage.target.layout.nbytes * share
            files += math.ceil(stage.target.layout.files * share)
    free, free_files = free_disk(job.output)
    too_many = free_files is not None and files > free_files
    if needed / BEST_COMPRESSION > free or too_many:
        raise InputError(
            f"The output needs up to {needed / GIB:.3g} GiB in {files} files, but only"
            f" {free / GIB:.3g} GiB and {free_files} files are free at"
            f" {str(job.output.parent)!r}. Make room, or choose another output.path."
        )
    if needed > free:
        logger.warning(
            "The output needs %.3g GiB uncompressed, and %.3g GiB are free: it fits"
            " only if it compresses well.",
            needed / GIB,
            free / GIB,
        )


def _check_walltime(job: Job) -> None:
    """Refuse blocks that no worker could finish before its job's time is up."""
    workers, parameters = job.config.workers, job.config.denoise
    if not isinstance(parameters, Ndsafir):
        return
    if isinstance(workers, LsfWorkers) and workers.walltime_minutes:
        name, limit = "workers.walltime_minutes", workers.walltime_minutes * 60
    elif isinstance(workers, SlurmWorkers) and workers.time:
        name, limit = "workers.time", slurm_seconds(workers.time)
    else:
        return
    channels = job.image.shape[1]
    voxels = job.grid.largest_read * channels
    seconds = voxels * seconds_per_voxel(parameters, channels) / job.threads
    if seconds > limit:
        raise InputError(
            f"A block takes about {duration(seconds)} (measured on this machine), but"
            f" {name} gives a worker {duration(limit)}. Raise {name}, or make the"
            " blocks smaller with blocks.memory_gib or blocks.shape."
        )


def warnings_of(job: Job) -> Iterator[str]:
    """What a person should know of this image and these settings."""
    yield from job.image.warnings
    short = [f"{a} {c} of {reach}" for a, (c, reach) in job.missing_context.items()]
    if short:
        yield (
            f"blocks.context is smaller than the filter's reach ({', '.join(short)}"
            " voxels): near block borders the result differs from the whole image's."
        )
    if job.threads > 1:
        yield (
            f"With {job.threads} threads per worker ndsafir repeats itself only to"
            " about 3e-4 grey levels; set workers.threads_per_worker to 1 for the same"
            " bytes every time."
        )
    if isinstance(job.config.denoise, Ndsafir):
        volume, extent = job.grid.volume, job.grid.image.shape
        yield from layer_warnings(job.config.denoise, extent, volume.end)
