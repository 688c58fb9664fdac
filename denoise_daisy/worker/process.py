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
from denoise_daisy.blockwise.targets import OutputGoneError
from denoise_daisy.errors import DenoiseDaisyError
from denoise_daisy.images.image import read_serially
from denoise_daisy.outputs.ome_zarr import limit_threads
from denoise_daisy.run_dir.at_work import read_at_work
from denoise_daisy.run_dir.connection import Connection
from denoise_daisy.run_dir.exit_codes import (
    DISK_ERRORS,
    EXIT_DISK,
    EXIT_GONE,
    EXIT_LEFT,
    EXIT_UNREACHABLE,
)
from denoise_daisy.run_dir.lock import LockHolder, scheduler_is_alive
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import WAITS
from denoise_daisy.worker.block_requester import Assignments
from denoise_daisy.worker.loop import JobTime, UnreachableError
from denoise_daisy.worker.presence import Presence
from denoise_daisy.worker.rounds import Rounds
from denoise_daisy.worker.visit import Visit, on_signals
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
    goes_round = read_at_work(run_dir) is not None
    if not (goes_round or _announced(run_dir)):
        logger.info("No scheduler is at work on %s.", run_dir.path)
        return 0
    presence = Presence(run_dir, name, pool)
    try:
        if not scheduler_is_alive(run_dir, name):
            logger.info("The scheduler of %s is dead.", run_dir.path)
            return 0
        assignments = Assignments()
        watched = (run_dir, presence, assignments)
        threading.Thread(target=watch, args=watched, daemon=True).start()
        if goes_round:
            return Rounds(run_dir, presence, assignments, job_time).serve()
        return _serve(run_dir, presence, assignments, job_time)
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
    run_dir: RunDir, presence: Presence, assignments: Assignments, job_time: JobTime
) -> int:
    """Work for a scheduler, and for every server that it starts."""
    visit = Visit.begin(run_dir, presence, assignments, job_time, WAITS.idle)
    if visit is None:
        return 0
    on_signals(visit.loop.leave_soon)
    try:
        # A scheduler that has to start another server listens elsewhere.
        while (connection := visit.connection()) and visit.loop.serve(connection):
            if visit.connection() == connection:
                time.sleep(WAITS.reconnect)
    finally:
        visit.end()
    return visit.loop.exit_code
