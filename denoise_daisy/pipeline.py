"""A whole run: refuse what can't work, settle the job, run it, say how it went."""

import logging
import math
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from denoise_daisy.config import Config, LsfWorkers, SlurmWorkers, slurm_seconds
from denoise_daisy.denoiser import check_version, seconds_per_voxel
from denoise_daisy.errors import (
    BlocksFailed,
    InputError,
    RefusedError,
    RunStopped,
)
from denoise_daisy.files import remove_partials
from denoise_daisy.geometry import Index
from denoise_daisy.job import TASK, Job, prepare
from denoise_daisy.launchers import Launcher, launcher_for
from denoise_daisy.ledger import Ledger
from denoise_daisy.machine import free_disk
from denoise_daisy.ome_zarr import (
    check_level,
    own_attributes,
    remove_image,
)
from denoise_daisy.planning import GIB
from denoise_daisy.progress import duration, listing
from denoise_daisy.rundir import DISK_ERRORS, Lock, RunDir
from denoise_daisy.scheduler import Scheduler

BEST_COMPRESSION = 8
"""An output that would not even fit compressed by this much is refused."""

logger = logging.getLogger("denoise_daisy")


def run(
    config: Config,
    *,
    overwrite: bool = False,
    grace_seconds: float = 30.0,
    unchecked_ndsafir: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Denoise what a config asks for; go on where an earlier start stopped.

    Parameters
    ----------
    config
        Paths in it must be absolute, as `Config.load` makes them.
    overwrite
        Delete an output of this program at that place and start anew.
    grace_seconds
        What blocks in flight get to finish after the first SIGINT or SIGTERM.
    unchecked_ndsafir
        Accept a version of ndsafir that the tiling law was not checked with.
    say
        Takes the summary, and what a person should read before it.

    Raises
    ------
    InputError, RefusedError
        The run can't be; nothing was started or written.
    BlocksFailed, RunStopped, Interrupted
        The run ended without all blocks done; start again to go on.
    """
    if not unchecked_ndsafir:
        check_version()
    job, ledger = check_settings(config, overwrite=overwrite)
    if ledger and ledger.done.all():
        say(f"All {job.grid.size} blocks were done before.\nOutput: {job.output}")
        return
    run_dir = RunDir.of_output(job.output)
    record = None if overwrite else run_dir.read_run()
    for warning in warnings_of(job):
        logger.warning("%s", warning)
    if job.noise is None:
        say("Calibrating the noise...")
        job = job.calibrated()
    ome = job.ome_metadata()
    with _stopped_by_full_disk(job):
        run_dir.path.mkdir(parents=True, exist_ok=True)
        with Lock(run_dir) as lock:
            if run_dir.read_run() != record and not overwrite:
                raise RefusedError(
                    "Another scheduler has just started a run in"
                    f" {str(run_dir.path)!r}. Expected one at a time; start again once"
                    " it has ended."
                )
            if overwrite:
                _delete_old(job, run_dir)
            ledger = ledger or Ledger(run_dir.ledger(TASK), job.grid, job.unit)
            ledger.refresh()
            _record_start(job, run_dir, record, ledger)
            job.create_output(ome)
            with _log_file(run_dir.logs / "scheduler.log"):
                logger.info("Start %d of %s", ledger.epoch, job.output)
                if lock.taken_from:
                    logger.warning("Took over from %s, which is dead.", lock.taken_from)
                _run_blocks(job, run_dir, ledger, grace_seconds, say)


def check_settings(
    config: Config, *, overwrite: bool = False
) -> tuple[Job, Ledger | None]:
    """Refuse what can't work; the job, and the ledger of a run that is to go on."""
    run_dir = RunDir.of_output(Path(config.output.path))
    record = _existing_run(config, run_dir, overwrite=overwrite)
    job = prepare(config, record)
    ledger = None
    if record:
        _check_fingerprint(job, record)
        ledger = _read_ledger(job, run_dir)
    if ledger is None or not ledger.done.all():
        _check_disk(job, ledger)
        _check_walltime(job)
        _launcher(job, record).check()
    return job, ledger


def describe_jobs(job: Job) -> str:
    """What would be submitted to a batch system, in words."""
    run_dir = RunDir.of_output(job.output)
    return _launcher(job, run_dir.read_run()).describe()


def _launcher(job: Job, record: dict[str, Any] | None) -> Launcher:
    run_id = str(record["id"]) if record else "RUN"
    return launcher_for(job.config.workers, RunDir.of_output(job.output), run_id)


def _delete_old(job: Job, run_dir: RunDir) -> None:
    # The record goes first: by it, workers of the old run know that it is over.
    run_dir.clear()
    if job.output.exists() and any(job.output.iterdir()):
        remove_image(job.output)


def _record_start(
    job: Job, run_dir: RunDir, record: dict[str, Any] | None, ledger: Ledger
) -> None:
    """Begin a new epoch of the ledger, and tell workers what to do."""
    last = record["epoch"] if record else 0
    ledger.begin(max(ledger.epoch, last) + 1)
    run_dir.make(TASK)
    run_id = record["id"] if record else secrets.token_hex(8)
    run_dir.write_run(job.record(run_id, ledger.epoch))


def _run_blocks(
    job: Job,
    run_dir: RunDir,
    ledger: Ledger,
    grace_seconds: float,
    say: Callable[[str], None],
) -> None:
    for name in ledger.unreadable:
        logger.warning("Ledger file %s has a torn line; it is left out.", name)
    launcher = _launcher(job, run_dir.read_run())
    # Jobs of a scheduler that was killed may still be in the queue.
    launcher.end_all()
    run_dir.remove_states()
    before, started = ledger.done_count, time.time()
    sweep = threading.Thread(target=_sweep, args=(job, run_dir, started))
    sweep.start()
    say(
        f"{job.grid.size} blocks ({before} done before), {job.workers} workers,"
        f" {job.memory / GIB:.2f} GiB each. Logs: {run_dir.logs}"
    )
    try:
        Scheduler(job, run_dir, ledger, launcher, grace_seconds).run()
    finally:
        sweep.join()
        if not run_dir.read_states():
            _sweep(job, run_dir, math.inf)
        ledger.refresh()
        summary = _summary(job, ledger, before, time.time() - started)
        logger.info("%s", summary)
        say(summary)
    failed = ledger.last_failed()
    if failed:
        raise BlocksFailed(_failed_text(job, ledger, failed, run_dir))


def _sweep(job: Job, run_dir: RunDir, older_than: float) -> None:
    """Remove what dead writers left in the middle of a file."""
    for folder in (job.output, run_dir.path):
        remove_partials(folder, older_than=older_than)


def _read_ledger(job: Job, run_dir: RunDir) -> Ledger:
    """The ledger of a run, read to its end."""
    ledger = Ledger(run_dir.ledger(TASK), job.grid, job.unit)
    ledger.refresh()
    if ledger.done.any():
        check_level(job.output)
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
    if not is_empty and own_attributes(output) is None:
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
    old, new = record["fingerprint"], job.fingerprint
    changes = [
        f"{name} was {old.get(name)!r}, is {new.get(name)!r}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    if changes:
        raise RefusedError(
            f"The output {str(job.output)!r} belongs to a run with other settings or"
            f" another input: {'; '.join(changes)}. Restore these to go on, choose"
            " another output.path, or start anew with --overwrite."
        )


def _check_disk(job: Job, ledger: Ledger | None) -> None:
    """Refuse an output that can't fit; warn of one that may not."""
    share = 1.0
    if ledger:
        share = 1 - job.grid.voxels_in(ledger.done) / job.grid.voxels_written
    needed = job.layout.nbytes * share
    files = math.ceil(job.layout.files * share)
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
    workers = job.config.workers
    if isinstance(workers, LsfWorkers) and workers.walltime_minutes:
        name, limit = "workers.walltime_minutes", workers.walltime_minutes * 60
    elif isinstance(workers, SlurmWorkers) and workers.time:
        name, limit = "workers.time", slurm_seconds(workers.time)
    else:
        return
    channels = job.image.shape[1]
    voxels = job.grid.largest_read * channels
    seconds = voxels * seconds_per_voxel(job.config.denoise, channels) / job.threads
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


def _summary(job: Job, ledger: Ledger, before: int, seconds: float) -> str:
    totals = ledger.totals
    done = ledger.done_count - before
    failed = len(ledger.last_failed())
    left = job.grid.size - ledger.done_count - failed
    lines = [
        f"{done} blocks done, {before} skipped (done before), {failed} failed"
        + (f", {left} left" if left else "")
        + f", in {duration(seconds)}."
    ]
    if totals.blocks:
        voxels = job.grid.voxels_written * job.image.shape[1] * done / job.grid.size
        parts = (
            f"{share / totals.seconds:.0%} {name}"
            for name, share in (
                ("in ndsafir", totals.denoise_seconds),
                ("reading", totals.read_seconds),
                ("writing", totals.write_seconds),
            )
        )
        lines.append(
            f"{voxels / seconds / 1e6:.2f} Mvoxel/s; of the workers' time"
            f" {', '.join(parts)}; peak memory {totals.peak_mib / 1024:.2f} GiB."
        )
    if totals.clipped:
        lines.append(
            f"{totals.clipped} voxels were beyond the range of {job.layout.dtype} and"
            " were clipped."
        )
    lines.append(f"Output: {job.output}")
    return "\n".join(lines)


def _failed_text(job: Job, ledger: Ledger, failed: list[Index], run_dir: RunDir) -> str:
    whys = []
    for block in failed:
        entries = ledger.failures.get(block)
        why = f"{entries[-1].reason}: {entries[-1].error}" if entries else "damaged"
        whys.append(f"block {list(block)} (t z y x): {why}")
    lines = [f"{len(failed)} of {job.grid.size} blocks failed for good:"]
    lines += listing(whys)
    lines.append(
        f"All others are done. Tracebacks are in {run_dir.ledger(TASK)}; the next start"
        " tries these blocks again."
    )
    return "\n".join(lines)


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Log to a file as well, with what native code says on file descriptor 2.

    Daisy's server writes there, past Python.  The command line has its own messages on
    another descriptor; where a caller has not, all goes where it always went.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    native = os.dup(2)
    if _own_stderr():
        with path.open("ab") as file:
            os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(native, 2)
        os.close(native)
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def _own_stderr() -> bool:
    try:
        return sys.stderr.fileno() != 2
    except (OSError, ValueError):
        return False


@contextmanager
def _stopped_by_full_disk(job: Job) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise RunStopped(
            f"The run can't write ({error.strerror}: {error.filename or job.output})."
            " What is done is kept; make room and start again to go on."
        ) from error
