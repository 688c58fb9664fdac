"""A run, worker side: acquire a block, denoise it, make it durable, record it, release.

The order is what makes a run safe to kill: a block's files are on disk before its
line is in the ledger, and its line is there before Daisy hears of it.  A block's
exception is caught and recorded here; it does not end the worker.
"""

import argparse
import logging
import os
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import daisy

from denoise_daisy.arrays import read_serially
from denoise_daisy.denoiser import load_ndsafir
from denoise_daisy.errors import DenoiseDaisyError
from denoise_daisy.geometry import Index
from denoise_daisy.job import TASK, Job
from denoise_daisy.ledger import Entry, Ledger, LedgerWriter, Reason
from denoise_daisy.machine import peak_memory
from denoise_daisy.ome_zarr import limit_threads
from denoise_daisy.rundir import (
    DISK_ERRORS,
    EXIT_DISK,
    EXIT_LEFT,
    EXIT_UNREACHABLE,
    Connection,
    RunDir,
    WorkerState,
)
from denoise_daisy.tasks import UnwantedError, denoise_block

WATCH_SECONDS = 4.0
"""Time between two looks at the scheduler's heartbeat."""

MISSED_BEATS = 5
"""The scheduler is taken for dead after that many looks without a new heartbeat."""

LAST_BLOCK_SECONDS = 30.0
"""What a block in flight still gets when the scheduler is dead."""

CONNECT_SECONDS = 30.0
"""A server that can't be reached within that is unreachable."""

TIME_MARGIN = 1.25
SECONDS_MARGIN = 10.0
"""A block is taken if a quarter more than the longest so far, plus that, is left."""

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until there is no more work; the exit code."""
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
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr
    )
    # Ctrl-C in a terminal is meant for the scheduler, which lets blocks finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One core per worker is the plan: no pool of threads beside ndsafir.
    read_serially()
    limit_threads()
    # A worker without its engine must not take a block and fail it.
    load_ndsafir()
    try:
        return _work(RunDir(options.run_dir.absolute()), options.name, options.ends_at)
    except UnwantedError as error:
        logger.info("%s", error)
        return EXIT_LEFT
    except DenoiseDaisyError as error:
        logger.error("%s", error)
        return error.exit_code
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        logger.error("%s: this worker stops.", error)
        return EXIT_DISK


def _work(run_dir: RunDir, name: str, ends_at: float) -> int:
    connection, record = run_dir.read_connection(), run_dir.read_run()
    if not (connection and record):
        logger.info("No scheduler is at work on %s.", run_dir.path)
        return 0
    state = State(run_dir, name)
    try:
        if not run_dir.scheduler_is_alive(name):
            logger.info("The scheduler of %s is dead.", run_dir.path)
            return 0
        worker = _Worker(run_dir, state, record, connection.epoch, ends_at)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, worker.leave_soon)
        threading.Thread(target=worker.watch, daemon=True).start()
        served = None
        # A scheduler that had to restart its server listens elsewhere.
        epoch = connection.epoch
        while connection and connection != served and connection.epoch == epoch:
            worker.serve(connection)
            served, connection = connection, run_dir.read_connection()
        return worker.exit_code
    finally:
        state.remove()


class State:
    """What this worker shows of itself; shared by its threads."""

    def __init__(self, run_dir: RunDir, worker: str) -> None:
        self.worker = worker
        self._run_dir = run_dir
        self._block: Index | None = None
        self._since = time.time()
        self._writing = threading.Lock()
        self._removed = False
        self.show()

    def begin(self, block: Index | None) -> None:
        """Another block from now on, or none."""
        self._block, self._since = block, time.time()
        self.show()

    def show(self) -> None:
        """Write it anew, with the memory used until now."""
        state = WorkerState(
            worker=self.worker,
            host=platform.node(),
            pid=os.getpid(),
            block=self._block,
            since=self._since,
            peak_mib=peak_memory() >> 20,
        )
        with self._writing:
            if not self._removed:
                self._run_dir.write_state(state)

    def remove(self) -> None:
        """Leave nothing that says this worker is at work."""
        with self._writing:
            self._removed = True
            self._run_dir.remove_state(self.worker)


class _Worker:
    """One worker process; `watch` runs in a thread of its own."""

    def __init__(
        self,
        run_dir: RunDir,
        state: State,
        record: dict[str, Any],
        epoch: int,
        ends_at: float,
    ) -> None:
        self._run_dir = run_dir
        self._run_id = str(record["id"])
        self._state = state
        self._job = job = Job.restore(record, run_dir.output)
        self._epoch = epoch
        self._ends_at = ends_at
        self._leaving = False
        self._stopped_by: Exception | None = None
        self.exit_code = 0
        self._ledger = Ledger(run_dir.ledger(TASK), job.grid, job.unit, from_end=True)
        self._ledger.begin(epoch)
        durable = job.config.output.durability == "fsync"
        folder = run_dir.ledger(TASK)
        self._writer = LedgerWriter(folder, state.worker, durable=durable)

    def serve(self, connection: Connection) -> None:
        """Work for one server until it has nothing to do, or is gone."""
        client = self._connect(connection)
        if client is None:
            return
        try:
            while self._has_time() and self._serve_block(client):
                pass
        except RuntimeError as error:
            logger.info("The scheduler is gone (%s).", error)

    def leave_soon(self, number: int, _: object) -> None:
        """Take a signal as the wish to leave after the block in flight."""
        logger.info("Leaving after this block (%s).", signal.Signals(number).name)
        self._leaving = True

    def _has_time(self) -> bool:
        """Whether to take another block: enough time for one as long as any so far."""
        needed = self._ledger.totals.longest * TIME_MARGIN + SECONDS_MARGIN
        if self._ends_at and time.time() + needed > self._ends_at:
            logger.info("Leaving: a block may take longer than this job has left.")
            self._leaving = True
        if self._leaving:
            self.exit_code = EXIT_LEFT
        return not self._leaving

    def _connect(self, connection: Connection) -> daisy.Client | None:
        """A connection to the server; None where it has just ended."""
        context = daisy.Context(
            hostname=connection.host,
            port=connection.port,
            task_id=f"{TASK}.{connection.run_id}",
            worker_id=-1,
            logdir="",
        )
        timer = threading.Timer(CONNECT_SECONDS, self._unreachable, [connection, None])
        timer.daemon = True
        timer.start()
        try:
            client = daisy.Client(context)
        except RuntimeError as error:
            self._unreachable(connection, error)
        finally:
            timer.cancel()
        if client.connected:
            return client
        now = self._run_dir.read_connection()
        self._state.show()
        if now == connection and self._run_dir.scheduler_is_alive(self._state.worker):
            self._unreachable(connection, ConnectionRefusedError())
        return None

    def _unreachable(self, connection: Connection, error: Exception | None) -> NoReturn:
        """End the process; a connection that hangs can't be interrupted otherwise."""
        logger.error(
            "This worker on %s can't reach the scheduler at %s port %d (%s). Likely a"
            " firewall, or an address that only the scheduler's machine knows: set"
            " workers.host to its name or address as the nodes see it.",
            platform.node(),
            connection.host,
            connection.port,
            error or f"no answer within {CONNECT_SECONDS:g} s",
        )
        self._state.remove()
        logging.shutdown()
        os._exit(EXIT_UNREACHABLE)

    def watch(self) -> None:
        """End the process, its block unfinished if need be, once its scheduler died."""
        last, missed = None, 0
        while missed < MISSED_BEATS:
            time.sleep(WATCH_SECONDS)
            holder = self._run_dir.read_lock() or {}
            beat = holder.get("heartbeat") if holder.get("running") else last
            missed = missed + 1 if beat == last else 0
            last = beat
            with suppress(OSError):
                self._state.show()
        logger.info("The scheduler is dead; %s s to finish.", LAST_BLOCK_SECONDS)
        time.sleep(LAST_BLOCK_SECONDS)
        with suppress(OSError):
            self._state.remove()
        os._exit(EXIT_LEFT)

    def _serve_block(self, client: daisy.Client) -> bool:
        """Do one block; whether to ask for another."""
        with client.acquire_block() as block:
            if block is None:
                return False
            index = self._job.grid.index_at(block.write_roi.begin)
            self._ledger.refresh()
            if self._ledger.is_done(index):
                return True
            failed_by = {entry.worker for entry in self._ledger.failures[index]}
            now = self._run_dir.read_connection()
            # Another scheduler's business; or a retry, which is for a new process.
            stale = now is None or now.epoch != self._epoch
            if stale or self._state.worker in failed_by:
                block.status = daisy.BlockStatus.FAILED
                return False
            try:
                done = self._do(index)
            except (OSError, UnwantedError) as error:
                # Raised further from in here, Daisy would add its own words to it.
                done, self._stopped_by = False, error
            if not done:
                block.status = daisy.BlockStatus.FAILED
        if self._stopped_by:
            raise self._stopped_by
        return True

    def _do(self, index: Index) -> bool:
        """Denoise a block and record the outcome; whether it is done."""
        self._state.begin(index)
        started = time.perf_counter()
        try:
            result = denoise_block(self._job, index, self._is_wanted)
            outcome: dict[str, Any] = {"status": "done", **asdict(result)}
        except UnwantedError:
            raise
        except MemoryError as error:
            outcome = _failure("memory", error)
            outcome["error"] += (
                f" at a peak of {peak_memory() >> 20} MiB; make blocks smaller"
                " (blocks.memory_gib) or give workers more memory"
            )
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                raise
            outcome = _failure("exception", error)
        self._writer.append(
            Entry(
                block=index,
                shape=tuple(self._job.grid.block_shape),
                epoch=self._epoch,
                worker=self._state.worker,
                seconds=round(time.perf_counter() - started, 3),
                peak_mib=peak_memory() >> 20,
                **outcome,
            )
        )
        self._state.begin(None)
        logger.info("Block %s: %s.", list(index), outcome.get("error") or "done")
        return "error" not in outcome

    def _is_wanted(self) -> bool:
        """Whether the output is still that of the run this worker was started for."""
        record = self._run_dir.read_run()
        return record is not None and str(record["id"]) == self._run_id


def _failure(reason: Reason, error: Exception) -> dict[str, Any]:
    return {
        "status": "failed",
        "reason": reason,
        "error": f"{type(error).__name__}: {error}",
        "traceback": "".join(traceback.format_exception(error)),
    }


if __name__ == "__main__":
    raise SystemExit(main())
