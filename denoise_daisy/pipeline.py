"""A whole run: refuse what can't work, settle the job, run it, say how it went."""

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from denoise_daisy import outputs
from denoise_daisy.checks import Plan, check_settings, pools_of, warnings_of
from denoise_daisy.config import Config
from denoise_daisy.errors import (
    BlocksFailed,
    InputError,
    RefusedError,
    RunStopped,
)
from denoise_daisy.files import delete, remove_partials
from denoise_daisy.job import Job
from denoise_daisy.noise import describe, settle
from denoise_daisy.planning import GIB
from denoise_daisy.rundir import DISK_ERRORS, Lock, RunDir
from denoise_daisy.scheduler import Scheduler
from denoise_daisy.stages import DENOISE
from denoise_daisy.standing import standings_of
from denoise_daisy.summary import failures, summary

logger = logging.getLogger("denoise_daisy")


def run(
    config: Config,
    *,
    tasks: Sequence[str] = (),
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
    tasks
        Do only these tasks of the config (``denoise`` is the first); none: all.
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
    plan = check_settings(
        config, tasks=tasks, overwrite=overwrite, unchecked_ndsafir=unchecked_ndsafir
    )
    job = plan.job
    if plan.is_done:
        blocks = sum(plan.ledgers[name].done.size for name in plan.asked)
        if gone := outputs.gone_files(plan.asked_stages, plan.ledgers):
            raise RefusedError(gone)
        say(f"All {blocks} blocks were done before.\nOutput: {job.output}")
        return
    run_dir = RunDir.of_output(job.output)
    for line in _done_anew(plan):
        say(line)
    if job.needs_noise and job.noise is None:
        say("Calibrating the noise...")
    job, doubts = settle_noise(plan)
    if job.noise:
        say(f"Noise: {describe(job.noise)}.")
    for warning in (*warnings_of(job), *doubts):
        logger.warning("%s", warning)
    described = outputs.describe(job)
    with _stopped_by_full_disk(job):
        run_dir.path.mkdir(parents=True, exist_ok=True)
        with Lock(run_dir) as lock:
            _make_room(job, run_dir, plan, overwrite=overwrite)
            epoch = _record_start(job, run_dir, plan)
            outputs.create(job, described)
            with _log_file(run_dir.logs / "scheduler.log"):
                logger.info("Start %d of %s", epoch, job.output)
                if lock.taken_from:
                    logger.warning("Took over from %s, which is dead.", lock.taken_from)
                _run_blocks(job, run_dir, plan, grace_seconds, say)


def settle_noise(plan: Plan) -> tuple[Job, tuple[str, ...]]:
    """The job with its noise numbers, and what is doubtful about these.

    Numbers that are known are held against the image as long as there is something to
    denoise.

    Raises
    ------
    InputError
        They are not known, and the image tells nothing about noise.
    """
    job = plan.job
    if not job.needs_noise:
        return job, ()
    denoises = DENOISE in plan.asked and not plan.ledgers[DENOISE].done.all()
    if job.noise and not denoises:
        return job, ()
    noise, doubts = settle(job.image, job.config.noise.kind, job.noise)
    if job.noise is None:
        job = replace(job, noise=noise, recorded=job.stage_records)
    return job, doubts


def _done_anew(plan: Plan) -> Iterator[str]:
    """Which tasks are done anew, and why: of themselves, or for what they read."""
    task_of = {stage.name: stage.task for stage in plan.job.stages}
    reasons: dict[str, list[str]] = {}
    for name in plan.anew:
        changes = plan.changed[name]
        own = [change for change in changes if not change.startswith("input ")]
        reasons.setdefault(task_of[name], []).extend(own)
    for task, whys in reasons.items():
        why = "; ".join(dict.fromkeys(whys)) or "what it reads has changed"
        yield f"Task {task} is done anew: {why}."


def _make_room(job: Job, run_dir: RunDir, plan: Plan, *, overwrite: bool) -> None:
    """Remove, or set aside, what would be taken for this run's and is not."""
    record = run_dir.read_run()
    if overwrite:
        _remove_all(job, run_dir, record)
    elif record != plan.record:
        raise RefusedError(
            f"Another scheduler has just started a run in {str(run_dir.path)!r}."
            " Expected one at a time; start again once it has ended."
        )
    elif record is None and (aside := run_dir.set_aside()):
        logger.warning(
            "A run that is gone has left its ledgers; they are in %s now.", aside
        )
    if plan.anew:
        _forget(job, run_dir, plan.anew)


def _remove_all(job: Job, run_dir: RunDir, record: dict[str, Any] | None) -> None:
    """Delete an old run; cut short, what is left counts for nothing.

    First the record gets the new run's id: by it, workers of the old run know that it
    is over, its ledgers are another run's, and the output is still this program's.
    """
    if record is not None:
        run_dir.write_run({**record, "id": job.run_id})
    with _deleting():
        run_dir.clear()
        outputs.remove_all(job, record)


@contextmanager
def _deleting() -> Iterator[None]:
    """Say what can't be deleted; nothing is done where old files are left."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise
        raise RefusedError(
            f"{error.filename!r} of an earlier run can't be deleted ({error.strerror})."
            " Expected files that can be; correct that and start again in the same way."
        ) from error


def _forget(job: Job, run_dir: RunDir, names: Sequence[str]) -> None:
    """Delete what stages have done, so that whatever kills this, none of it counts.

    First the record says that they are something else now, so that no worker of an
    earlier start writes for them any more; then the ledgers go, then what they tell of.
    """
    record = run_dir.read_run()
    assert record is not None, "they were recorded"  # noqa: S101
    for name in names:
        record["stages"][name]["fingerprint"] = {}
    run_dir.write_run(record)
    with _deleting():
        for name in names:
            delete(run_dir.ledger(name))
            place = outputs.recorded_place(job, name, job.recorded)
            outputs.remove_place(job, place)


def _record_start(job: Job, run_dir: RunDir, plan: Plan) -> int:
    """Begin a new epoch of the ledgers, and tell workers what to do; the epoch."""
    last = plan.record["epoch"] if plan.record else 0
    for ledger in plan.ledgers.values():
        ledger.refresh()
    epoch = max(last, *(ledger.epoch for ledger in plan.ledgers.values())) + 1
    for ledger in plan.ledgers.values():
        ledger.begin(epoch)
    run_dir.make(plan.ledgers)
    record = job.record(epoch)
    for name in plan.changed.keys() - plan.anew:
        # Not now: what is there is still what it was.
        record["stages"][name] = job.recorded[name]
    run_dir.write_run(record)
    return epoch


def _run_blocks(
    job: Job,
    run_dir: RunDir,
    plan: Plan,
    grace_seconds: float,
    say: Callable[[str], None],
) -> None:
    for stage, ledger in plan.ledgers.items():
        for name in ledger.unreadable:
            logger.warning(
                "Ledger file %s/%s has lines that are torn, or another run's; they are"
                " left out.",
                stage,
                name,
            )
    pools = list(pools_of(job, run_dir.read_run(), plan.asked))
    # Jobs of a scheduler that was killed may still be in the queue.
    for pool in pools_of(job, run_dir.read_run(), list(plan.ledgers)):
        try:
            pool.launcher.end_all()
        except InputError:
            # No batch system here, which matters to a pool that is asked for only.
            if pool.name in [asked.name for asked in pools]:
                raise
    run_dir.remove_states()
    stages = plan.asked_stages
    ledgers = {stage.name: plan.ledgers[stage.name] for stage in stages}
    retries = {stage.name: job.retries_of(stage) for stage in job.stages}
    standings = standings_of(stages, plan.ledgers, retries)
    before = {name: ledger.done_count for name, ledger in ledgers.items()}
    started = time.time()
    sweep = threading.Thread(target=_sweep, args=(job, run_dir, started))
    sweep.start()
    blocks = sum(stage.grid.size for stage in stages)
    workers = ", ".join(
        f"{pool.count} {f'for {pool.name}' if pool.name else 'workers'}"
        for pool in pools
    )
    say(
        f"{blocks} blocks ({sum(before.values())} done before), {workers},"
        f" {job.memory / GIB:.2f} GiB each. Logs: {run_dir.logs}"
    )
    try:
        epoch = next(iter(ledgers.values())).epoch
        Scheduler(standings, pools, run_dir, epoch, grace_seconds).run()
    finally:
        sweep.join()
        if not run_dir.read_states():
            _sweep(job, run_dir, math.inf)
        for standing in standings.values():
            standing.ledger.refresh()
            standing.update()
        said = summary(job, standings, before, time.time() - started)
        logger.info("%s", said)
        say(said)
    if gone := outputs.gone_files(stages, ledgers):
        raise RunStopped(gone)
    failed = [s for s in standings.values() if s.ledger.last_failed() or s.orphans]
    if failed:
        raise BlocksFailed(failures(failed, run_dir))


def _sweep(job: Job, run_dir: RunDir, older_than: float) -> None:
    """Remove what dead writers left in the middle of a file."""
    folders = {stage.place.parent for stage in job.stages}
    for folder in {job.output, run_dir.path, *folders} - {job.output.parent}:
        if folder.is_dir():
            remove_partials(folder, older_than=older_than)
    for stage in job.stages:
        if stage.file is not None:
            beside, mine = stage.file.parent, f"{stage.file.name}.*.partial"
            remove_partials(beside, older_than=older_than, pattern=mine)


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
