"""A run, worker side: acquire a block, compute it, make it durable, record it, release.

The order is what makes a run safe to kill: a block's files are on disk before its
line is in the ledger, and its line is there before Daisy hears of it.  A block's
exception is caught and recorded here; it does not end the worker.
"""

import argparse
import logging
import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import daisy
from funlib.geometry import Roi

from denoise_daisy.arrays import read_serially
from denoise_daisy.blocks import OutputGoneError, UnwantedError, do_block
from denoise_daisy.denoiser import load_ndsafir
from denoise_daisy.errors import DenoiseDaisyError, RefusedError
from denoise_daisy.functions import tear_down
from denoise_daisy.geometry import Index
from denoise_daisy.job import Job
from denoise_daisy.ledger import Ledger
from denoise_daisy.ledger_lines import Entry, LedgerWriter, Reason
from denoise_daisy.machine import peak_memory
from denoise_daisy.ome_zarr import limit_threads
from denoise_daisy.rundir import (
    DISK_ERRORS,
    EXIT_DISK,
    EXIT_GONE,
    EXIT_LEFT,
    EXIT_UNREACHABLE,
    Connection,
    RunDir,
    WorkerState,
)
from denoise_daisy.stages import DENOISE, Stage

WATCH_SECONDS = 4.0
"""Time between two looks at the scheduler's heartbeat."""

MISSED_BEATS = 5
"""The scheduler is taken for dead after that many looks without a new heartbeat."""

LAST_BLOCK_SECONDS = 30.0
"""What a block in flight still gets when the scheduler is dead."""

CONNECT_SECONDS = 30.0
"""A server that can't be reached within that is unreachable."""

ASK_SECONDS = 0.05
"""A stage that has no block within that has none just now: others are asked."""

PAUSE_SECONDS = 0.25
"""Time between two rounds of asking, where no stage has any."""

RELEASE_SECONDS = 5.0
"""What Daisy gets to hear that a block is done, before this process goes on."""

IDLE_SECONDS = 60.0
"""A worker that finds nothing to do for so long leaves."""

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
    parser.add_argument(
        "--task",
        default="",
        metavar="NAME",
        help="a task with workers of its own; default: all that have none",
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
    run_dir = RunDir(options.run_dir.absolute())
    try:
        return _work(run_dir, options.name, options.task, options.ends_at)
    except UnwantedError as error:
        logger.info("%s", error)
        return EXIT_LEFT
    except DenoiseDaisyError as error:
        logger.error("%s", error)
        return error.exit_code
    except OutputGoneError as error:
        logger.error("%s", error)
        return EXIT_GONE
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        logger.error("%s: this worker stops.", error)
        return EXIT_DISK


def run() -> NoReturn:
    """Be a worker process, from its start to its end.

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


def _work(run_dir: RunDir, name: str, pool: str, ends_at: float) -> int:
    connection, record = run_dir.read_connection(), run_dir.read_run()
    if not (connection and record):
        logger.info("No scheduler is at work on %s.", run_dir.path)
        return 0
    state = State(run_dir, name, pool)
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
        # The state goes last: until then the scheduler lets this process be.
        try:
            tear_down()
        except Exception:
            logger.exception("A function's teardown failed.")
        state.remove()


class State:
    """What this worker shows of itself; shared by its threads."""

    def __init__(self, run_dir: RunDir, worker: str, pool: str) -> None:
        self.worker = worker
        self.pool = pool
        self._run_dir = run_dir
        self._stage = ""
        self._block: Index | None = None
        self._since = time.time()
        self._writing = threading.Lock()
        self._removed = False
        self.show()

    def begin(self, stage: str, block: Index | None) -> None:
        """Another block from now on, or none."""
        with self._writing:
            self._stage, self._block, self._since = stage, block, time.time()
            self._write()

    def show(self) -> None:
        """Write it anew, with the memory used until now."""
        with self._writing:
            self._write()

    def _write(self) -> None:
        if self._removed:
            return
        state = WorkerState(
            worker=self.worker,
            host=platform.node(),
            pid=os.getpid(),
            pool=self.pool,
            stage=self._stage,
            block=self._block,
            since=self._since,
            peak_mib=peak_memory() >> 20,
        )
        self._run_dir.write_state(state)

    def remove(self) -> None:
        """Leave nothing that says this worker is at work."""
        with self._writing:
            self._removed = True
            self._run_dir.remove_state(self.worker)


@dataclass(slots=True)
class _Offer:
    """A block that Daisy has handed out to this process."""

    asker: "_Asker"
    write_roi: Roi
    outcome: "queue.SimpleQueue[bool]" = field(default_factory=queue.SimpleQueue)
    """Takes whether the block was done; its asker waits for that."""


class _Asker(threading.Thread):
    """Asks Daisy for blocks of one stage, when it is wanted to.

    Daisy answers late for a stage whose blocks wait for others'; hence the thread.
    """

    def __init__(self, worker: "_Worker", connection: Connection, stage: str) -> None:
        super().__init__(name=f"ask-{stage}", daemon=True)
        self._worker = worker
        self._connection = connection
        self.stage = stage
        self._wanted = threading.Semaphore(0)
        self._not_before = 0.0
        self.idle = threading.Event()
        """Set while it neither asks nor waits for a block's outcome."""
        self.idle.set()
        self.is_over = False
        """The server is gone."""

    def ask(self) -> bool:
        """Get a block, which comes as an offer; whether one may come soon."""
        if self.idle.is_set():
            if time.monotonic() < self._not_before:
                return False
            self.idle.clear()
            self._wanted.release()
        return True

    def run(self) -> None:
        """Until the server is gone."""
        try:
            client = self._worker.connect(self._connection, self.stage)
            while client is not None:
                self._wanted.acquire()
                with client.acquire_block() as block:
                    if block is not None and not self._offer(block.write_roi):
                        block.status = daisy.BlockStatus.FAILED
                if block is None:
                    self._not_before = time.monotonic() + PAUSE_SECONDS
                self.idle.set()
        except RuntimeError as error:
            logger.info("The scheduler is gone (%s).", error)
        finally:
            self.is_over = True
            self.idle.set()

    def _offer(self, write_roi: Roi) -> bool:
        """Let the worker do the block; whether it did, which it can't when busy."""
        if not self._worker.hands.acquire(blocking=False):
            return False
        offer = _Offer(self, write_roi)
        self._worker.offers.put(offer)
        return offer.outcome.get()


class _Worker:
    """One worker process; `watch` runs in a thread of its own, and so do askers."""

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
        self._job = Job.restore(record, run_dir.output)
        self._stages = self._own_stages(record)
        self._epoch = epoch
        self._ends_at = ends_at
        self._leaving = False
        self._stopped_by: Exception | None = None
        self.exit_code = 0
        self.hands = threading.Lock()
        """Held from a block's offer to its end: one at a time."""
        self.offers: queue.SimpleQueue[_Offer] = queue.SimpleQueue()
        self._ledgers = {
            name: Ledger(
                run_dir.ledger(name),
                self._run_id,
                stage.grid,
                stage.unit,
                from_end=True,
            )
            for name, stage in self._stages.items()
        }
        for ledger in self._ledgers.values():
            ledger.begin(epoch)
        self._writers: dict[str, LedgerWriter] = {}

    def _own_stages(self, record: dict[str, Any]) -> dict[str, Stage]:
        """The stages of this worker's pool that are being done.

        Raises
        ------
        RefusedError
            There are none, or their code is another than when the scheduler started.
        """
        pool = self._state.pool
        own = {s.name: s for s in self._job.stages_of_pool(pool)}
        if not own:
            raise RefusedError(
                f"The run has no task {pool!r} with workers of its own. Leave --task"
                " away to serve all tasks without."
            )
        asked = self._run_dir.read_ready()
        if asked is not None:
            own = {name: stage for name, stage in own.items() if name in asked}
        if DENOISE in own and self._job.needs_noise:
            # A worker without its engine must not take a block and fail it.
            load_ndsafir()
        for name, stage in own.items():
            if stage.facts != _recorded_facts(record, name):
                raise RefusedError(
                    f"What {name} computes has changed since the run was started."
                    " Start the run again, so that its blocks are done anew."
                )
        return own

    def serve(self, connection: Connection) -> None:
        """Work for one server until it has nothing to do, or is gone."""
        askers: dict[str, _Asker] = {}
        busy_at = time.monotonic()
        while self._has_time() and time.monotonic() - busy_at < IDLE_SECONDS:
            if any(asker.is_over for asker in askers.values()):
                return
            offer = self._next_offer(connection, askers)
            if offer is not None:
                self._serve_block(offer)
                # Daisy has to hear of it before this process may end.
                offer.asker.idle.wait(RELEASE_SECONDS)
                busy_at = time.monotonic()
            elif self._run_dir.read_connection() != connection:
                return

    def _next_offer(
        self, connection: Connection, askers: dict[str, _Asker]
    ) -> _Offer | None:
        """Ask for the stages that have something to do, one after the other."""
        ready = self._run_dir.read_ready() or dict.fromkeys(reversed(self._stages), 1)
        for name in [name for name, count in ready.items() if count > 0]:
            if name not in self._stages:
                continue
            if name not in askers:
                askers[name] = _Asker(self, connection, name)
                askers[name].start()
            if askers[name].ask():
                with suppress(queue.Empty):
                    return self.offers.get(timeout=ASK_SECONDS)
        with suppress(queue.Empty):
            return self.offers.get(timeout=PAUSE_SECONDS)
        return None

    def leave_soon(self, number: int, _: object) -> None:
        """Take a signal as the wish to leave after the block in flight."""
        logger.info("Leaving after this block (%s).", signal.Signals(number).name)
        self._leaving = True

    def _has_time(self) -> bool:
        """Whether to take another block: enough time for one as long as any so far."""
        ledgers = self._ledgers.values()
        longest = max((ledger.totals.longest for ledger in ledgers), default=0.0)
        needed = longest * TIME_MARGIN + SECONDS_MARGIN
        if self._ends_at and time.time() + needed > self._ends_at:
            logger.info("Leaving: a block may take longer than this job has left.")
            self._leaving = True
        if self._leaving:
            self.exit_code = EXIT_LEFT
        return not self._leaving

    def connect(self, connection: Connection, stage: str) -> daisy.Client | None:
        """A connection to the server; None where it has just ended."""
        context = daisy.Context(
            hostname=connection.host,
            port=connection.port,
            task_id=f"{stage}.{connection.run_id}",
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
            return None
        finally:
            timer.cancel()
        if client.connected:
            return client
        now = self._run_dir.read_connection()
        self._state.show()
        if now == connection and self._run_dir.scheduler_is_alive(self._state.worker):
            self._unreachable(connection, ConnectionRefusedError())
        return None

    def _unreachable(self, connection: Connection, error: Exception | None) -> None:
        """End the process, unless it is at work on a block.

        A connection that hangs can't be interrupted otherwise.
        """
        if self.hands.locked():
            logger.info("No connection for another stage (%s).", error)
            return
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
        deadline = time.monotonic() + LAST_BLOCK_SECONDS
        while self.hands.locked() and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
        with suppress(OSError):
            self._state.remove()
        os._exit(EXIT_LEFT)

    def _serve_block(self, offer: _Offer) -> None:
        """Do the block of an offer, and tell Daisy how it went."""
        done = False
        try:
            done = self._take(offer)
        except (OSError, UnwantedError, OutputGoneError) as error:
            self._stopped_by = error
        finally:
            self.hands.release()
            offer.outcome.put(done)
        if self._stopped_by:
            raise self._stopped_by

    def _take(self, offer: _Offer) -> bool:
        """Do a block, unless it is done or for another worker; whether it is done."""
        name = offer.asker.stage
        stage, ledger = self._stages[name], self._ledgers[name]
        index = stage.index_at(offer.write_roi)
        ledger.refresh()
        if ledger.is_done(index):
            return True
        failed_by = {entry.worker for entry in ledger.failures[index]}
        now = self._run_dir.read_connection()
        # Another scheduler's business; or a retry, which is for a new process.
        if now is None or now.epoch != self._epoch or self._state.worker in failed_by:
            self._leaving = True
            return False
        return self._do(stage, index)

    def _do(self, stage: Stage, index: Index) -> bool:
        """Compute a block and record the outcome; whether it is done."""
        self._state.begin(stage.name, index)
        started = time.perf_counter()
        # A straggler finds its ledger gone here, rather than make a new one later.
        writer = self._writer(stage.name)
        try:
            result = do_block(
                stage,
                index,
                durable=self._is_durable,
                is_wanted=lambda: self._is_wanted(stage),
            )
            outcome: dict[str, Any] = {"status": "done", **asdict(result)}
        except (UnwantedError, OutputGoneError):
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
        writer.append(
            Entry(
                block=index,
                shape=tuple(stage.grid.block_shape),
                epoch=self._epoch,
                worker=self._state.worker,
                seconds=round(time.perf_counter() - started, 3),
                peak_mib=peak_memory() >> 20,
                **outcome,
            )
        )
        self._state.begin("", None)
        said = outcome.get("error") or "done"
        logger.info("Block %s of %s: %s.", list(index), stage.name, said)
        return "error" not in outcome

    @property
    def _is_durable(self) -> bool:
        return self._job.config.output.durability == "fsync"

    def _writer(self, stage: str) -> LedgerWriter:
        if stage not in self._writers:
            self._writers[stage] = self._ledgers[stage].writer(
                self._state.worker, durable=self._is_durable
            )
        return self._writers[stage]

    def _is_wanted(self, stage: Stage) -> bool:
        """Whether the output is still that of the run this worker was started for."""
        record = self._run_dir.read_run()
        if record is None or str(record["id"]) != self._run_id:
            return False
        return bool(_recorded_facts(record, stage.name) == stage.facts)


def _recorded_facts(record: dict[str, Any], stage: str) -> Any:
    """What run.json says that a stage computes; None where it has no such stage."""
    if stage == DENOISE:
        return record["fingerprint"]
    return record["stages"].get(stage, {}).get("fingerprint")


def _failure(reason: Reason, error: Exception) -> dict[str, Any]:
    return {
        "status": "failed",
        "reason": reason,
        "error": f"{type(error).__name__}: {error}",
        "traceback": "".join(traceback.format_exception(error)),
    }


if __name__ == "__main__":
    run()
