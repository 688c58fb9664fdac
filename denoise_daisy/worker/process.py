"""A worker process, from its start to its end."""

import argparse
import logging
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from denoise_daisy.blockwise.process_block import UnwantedError
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import OutputGoneError
from denoise_daisy.errors import DenoiseDaisyError, RefusedError
from denoise_daisy.images.image import read_serially
from denoise_daisy.outputs.ome_zarr import limit_threads
from denoise_daisy.resolved.resolve import check_input, restore
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.connection import Connection, read_ready
from denoise_daisy.run_dir.exit_codes import (
    DISK_ERRORS,
    EXIT_DISK,
    EXIT_GONE,
    EXIT_LEFT,
    EXIT_UNREACHABLE,
)
from denoise_daisy.run_dir.lock import LockHolder, scheduler_is_alive
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import WAITS
from denoise_daisy.worker.block_requester import Assignments
from denoise_daisy.worker.loop import JobTime, UnreachableError, WorkerLoop
from denoise_daisy.worker.presence import Presence
from denoise_daisy.worker.recording import BlockRecorder
from denoise_daisy.worker.watchdog import watch

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until there is no more work; the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr
    )
    # Ctrl-C in a terminal is meant for the scheduler, which lets blocks finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_one_core()
    run_dir = RunDir(options.run_dir.absolute())
    job_time = JobTime(options.began_at, options.ends_at)
    try:
        return _work(run_dir, options.name, options.task, job_time)
    except UnwantedError as error:
        logger.info("%s", error)
        return EXIT_LEFT
    except DenoiseDaisyError as error:
        logger.error("%s", error)
        return error.exit_code
    except OutputGoneError as error:
        logger.error("%s", error)
        return EXIT_GONE
    except UnreachableError as error:
        logger.error("%s", error)
        return EXIT_UNREACHABLE
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        logger.error("%s: this worker stops.", error)
        return EXIT_DISK


def use_one_core() -> None:
    """One core per worker is the plan: no pool of threads beside the denoiser's."""
    read_serially()
    limit_threads()


def run() -> NoReturn:
    """Be a worker process.

    It ends at once, since threads may still wait for an answer of Daisy's, and these
    Python could not end.
    """
    code = 1
    try:
        code = main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        logger.exception("This worker ends.")
    logging.shutdown()
    os._exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A worker of a denoise_daisy run.")
    parser.add_argument("run_dir", type=Path, help="the run directory, ….zarr.run")
    name = f"{platform.node()}-{os.getpid()}"
    parser.add_argument("--name", default=name, help="default: host and process")
    parser.add_argument(
        "--ends-at",
        type=float,
        default=0.0,
        metavar="TIME",
        help="when the job's time is up, in seconds since 1970; 0: never",
    )
    parser.add_argument(
        "--began-at",
        type=float,
        default=time.time(),
        metavar="TIME",
        help="when the job began, in seconds since 1970; default: now",
    )
    parser.add_argument(
        "--task",
        default="",
        metavar="NAME",
        help="a task with workers of its own; default: all that have none",
    )
    return parser


def _work(run_dir: RunDir, name: str, pool: str, job_time: JobTime) -> int:
    connection, record = _announced(run_dir), RunRecord.read(run_dir)
    if not (connection and record):
        logger.info("No scheduler is at work on %s.", run_dir.path)
        return 0
    presence = Presence(run_dir, name, pool)
    try:
        if not scheduler_is_alive(run_dir, name):
            logger.info("The scheduler of %s is dead.", run_dir.path)
            return 0
        return _serve(run_dir, presence, record, connection, job_time)
    finally:
        # It goes last: until then the scheduler lets this process be.
        presence.remove()


def _announced(run_dir: RunDir) -> Connection | None:
    """Where the scheduler listens, which may show a little later than it does."""
    deadline = time.monotonic() + WAITS.file_away
    while (connection := Connection.read(run_dir)) is None:
        holder = LockHolder.read(run_dir)
        is_at_work = holder is not None and not holder.is_gone
        if not is_at_work or time.monotonic() >= deadline:
            break
        time.sleep(WAITS.retry)
    return connection


def _serve(
    run_dir: RunDir,
    presence: Presence,
    record: RunRecord,
    first: Connection,
    job_time: JobTime,
) -> int:
    """Work for a scheduler, and for every server that it starts."""
    resolved = restore(record, run_dir)
    check_input(resolved, record)
    stages = _own_stages(resolved, record, presence.pool)
    assignments = Assignments()
    loop = WorkerLoop(
        run_dir,
        list(stages),
        BlockRecorder(resolved, stages, presence, first.epoch),
        assignments,
        job_time=job_time,
    )
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, loop.leave_soon)
    watched = (run_dir, presence, assignments)
    threading.Thread(target=watch, args=watched, daemon=True).start()
    connection: Connection | None = first
    try:
        # A scheduler that has to start another server listens elsewhere.
        while connection and connection.epoch == first.epoch and loop.serve(connection):
            served, connection = connection, Connection.read(run_dir)
            if connection == served:
                time.sleep(WAITS.reconnect)
    finally:
        for stage in stages.values():
            _unload(stage)
    return loop.exit_code


def _unload(stage: Stage) -> None:
    try:
        stage.unload()
    except BaseException:
        logger.exception("The teardown of %s failed.", stage.name)


def _own_stages(
    resolved: ResolvedRun, record: RunRecord, pool: str
) -> dict[str, Stage]:
    """The stages of this worker's pool that are being done, all they need loaded.

    Raises
    ------
    RefusedError
        There are none, or they are others than when the scheduler started.
    """
    stages = [s for s in resolved.stages if resolved.pool_of(s).name == pool]
    if not stages:
        raise RefusedError(
            f"The run has no task {pool!r} with workers of its own. Leave --task away"
            " to serve all tasks without."
        )
    asked = read_ready(resolved.run_dir)
    own = {s.name: s for s in stages if asked is None or s.name in asked}
    for name, stage in own.items():
        kept = record.stages.get(name)
        if kept is None or kept.parameters != stage.parameters:
            raise RefusedError(
                f"What {name} computes has changed since the run was started. Start the"
                " run again, so that its blocks are done again."
            )
        stage.load()
    return own
