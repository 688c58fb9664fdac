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
from dataclasses import asdict
from pathlib import Path
from typing import Any

import daisy

from denoise_daisy.arrays import read_serially
from denoise_daisy.errors import DenoiseDaisyError
from denoise_daisy.geometry import Index
from denoise_daisy.job import TASK, Job
from denoise_daisy.ledger import Entry, Ledger, LedgerWriter, Reason
from denoise_daisy.machine import peak_memory
from denoise_daisy.ome_zarr import limit_threads
from denoise_daisy.rundir import (
    DISK_ERRORS,
    EXIT_DISK,
    EXIT_ORPHAN,
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

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until there is no more work; the exit code."""
    parser = argparse.ArgumentParser(description="A worker of a denoise_daisy run.")
    parser.add_argument("run_dir", type=Path, help="the run directory, ….zarr.run")
    name = f"{platform.node()}-{os.getpid()}"
    parser.add_argument("--name", default=name, help="default: host and process")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr
    )
    # Ctrl-C in a terminal is meant for the scheduler, which lets blocks finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One core per worker is the plan: no pool of threads beside ndsafir.
    read_serially()
    limit_threads()
    try:
        return _work(RunDir(options.run_dir.absolute()), options.name)
    except UnwantedError as error:
        logger.info("%s", error)
        return EXIT_ORPHAN
    except DenoiseDaisyError as error:
        logger.error("%s", error)
        return error.exit_code
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        logger.error("%s: this worker stops.", error)
        return EXIT_DISK


def _work(run_dir: RunDir, name: str) -> int:
    connection, record = run_dir.read_connection(), run_dir.read_run()
    if connection is None or record is None:
        logger.info("No scheduler is at work on %s.", run_dir.path)
        return 0
    worker = _Worker(run_dir, name, record, connection.epoch)
    threading.Thread(target=worker.watch, daemon=True).start()
    served = None
    try:
        # A scheduler that had to restart its server listens elsewhere.
        while connection and connection != served:
            worker.serve(connection)
            served, connection = connection, run_dir.read_connection()
    finally:
        worker.close()
    return 0


class _Worker:
    """One worker process; `watch` runs in a thread of its own."""

    def __init__(
        self, run_dir: RunDir, name: str, record: dict[str, Any], epoch: int
    ) -> None:
        self._run_dir = run_dir
        self._run_id = str(record["id"])
        self._name = name
        self._job = job = Job.restore(record)
        self._epoch = epoch
        self._ledger = Ledger(run_dir.ledger(TASK), job.grid, job.unit, from_end=True)
        self._ledger.begin(epoch)
        self._writer = LedgerWriter(
            run_dir.ledger(TASK),
            name,
            durable=job.config.output.durability == "fsync",
        )
        self._block: Index | None = None
        self._since = time.time()
        self._showing = threading.Lock()

    def serve(self, connection: Connection) -> None:
        """Work for one server until it has nothing to do, or is gone."""
        context = daisy.Context(
            hostname=connection.host,
            port=connection.port,
            task_id=f"{TASK}.{connection.run_id}",
            worker_id=-1,
            logdir="",
        )
        try:
            client = daisy.Client(context)
            while self._serve_block(client):
                pass
        except RuntimeError as error:
            logger.info("The scheduler is gone (%s).", error)

    def close(self) -> None:
        """Leave nothing that says this worker is at work."""
        self._writer.close()
        with self._showing:
            self._run_dir.remove_state(self._name)

    def watch(self) -> None:
        """End the process, its block unfinished if need be, once its scheduler died."""
        last, missed = None, 0
        while missed < MISSED_BEATS:
            time.sleep(WATCH_SECONDS)
            holder = self._run_dir.read_lock() or {}
            beat = holder.get("heartbeat") if holder.get("running") else last
            missed = missed + 1 if beat == last else 0
            last = beat
            self._show()
        logger.info("The scheduler is dead; %s s to finish.", LAST_BLOCK_SECONDS)
        time.sleep(LAST_BLOCK_SECONDS)
        self.close()
        os._exit(EXIT_ORPHAN)

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
            if now is None or now.epoch != self._epoch or self._name in failed_by:
                # Another scheduler's business; or a retry, which is for a new process.
                block.status = daisy.BlockStatus.FAILED
                return False
            if not self._do(index):
                block.status = daisy.BlockStatus.FAILED
        return True

    def _do(self, index: Index) -> bool:
        """Denoise a block and record the outcome; whether it is done."""
        self._block, self._since = index, time.time()
        self._show()
        started = time.perf_counter()
        try:
            result = denoise_block(self._job, index, self._is_wanted)
            outcome: dict[str, Any] = {"status": "done", **asdict(result)}
        except UnwantedError:
            raise
        except MemoryError as error:
            outcome = _failure("memory", error)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                raise
            outcome = _failure("exception", error)
        self._writer.append(
            Entry(
                block=index,
                shape=tuple(self._job.grid.block_shape),
                epoch=self._epoch,
                worker=self._name,
                seconds=round(time.perf_counter() - started, 3),
                peak_mib=peak_memory() >> 20,
                **outcome,
            )
        )
        self._block, self._since = None, time.time()
        self._show()
        logger.info("Block %s: %s.", list(index), outcome.get("error") or "done")
        return "error" not in outcome

    def _is_wanted(self) -> bool:
        """Whether the output is still that of the run this worker was started for."""
        record = self._run_dir.read_run()
        return record is not None and str(record["id"]) == self._run_id

    def _show(self) -> None:
        """Let others see what this worker is doing."""
        with self._showing:
            self._run_dir.write_state(
                WorkerState(
                    worker=self._name,
                    host=platform.node(),
                    pid=os.getpid(),
                    block=self._block,
                    since=self._since,
                    peak_mib=peak_memory() >> 20,
                )
            )


def _failure(reason: Reason, error: Exception) -> dict[str, Any]:
    return {
        "status": "failed",
        "reason": reason,
        "error": f"{type(error).__name__}: {error}",
        "traceback": "".join(traceback.format_exception(error)),
    }


if __name__ == "__main__":
    raise SystemExit(main())
