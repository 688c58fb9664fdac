"""A run, scheduler side: a server, a keeper and the ledger, until all is settled."""

import logging
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from denoise_daisy.config import LocalWorkers, Workers
from denoise_daisy.errors import Interrupted, RunStopped
from denoise_daisy.geometry import Index
from denoise_daisy.job import TASK, Job
from denoise_daisy.keeper import Keeper
from denoise_daisy.launchers import Launcher
from denoise_daisy.ledger import Entry, Ledger, LedgerWriter
from denoise_daisy.machine import own_address, raise_file_limit
from denoise_daisy.progress import Progress
from denoise_daisy.rundir import Connection, RunDir
from denoise_daisy.server import BlockServer

TICK_SECONDS = 0.25

SAME_SIGNAL_SECONDS = 0.3
"""Signals that follow each other so closely count as one."""

REFRESH_SHARE = 20
"""The ledger is read again after that many times the time that it took."""

SERVER_STARTS = 10
"""Servers that may end early in a row, without a block done, before the run stops."""

HOPELESS = 5
"""The run stops when that many blocks per worker have failed and none is done."""

logger = logging.getLogger(__name__)


class Scheduler:
    """One start of a run, from its first block to its last."""

    def __init__(
        self,
        job: Job,
        run_dir: RunDir,
        ledger: Ledger,
        launcher: Launcher,
        grace_seconds: float,
    ) -> None:
        """`ledger` has been read and its epoch is this start's."""
        self._job = job
        self._run_dir = run_dir
        self._ledger = ledger
        self._launcher = launcher
        self._grace_seconds = grace_seconds
        self._retries = job.config.workers.max_retries
        self._timeout_seconds = job.config.workers.block_timeout_minutes * 60
        self._signals: list[int] = []
        self._last_signal = -math.inf
        self._next_refresh = 0.0
        self._handed_out = bytearray(job.grid.size)

    def run(self) -> None:
        """Do what is left; on return every block is done or given up.

        Raises
        ------
        RunStopped
            The run had to stop before that.
        Interrupted
            A signal stopped it.
        """
        raise_file_limit()
        folder = self._run_dir.ledger(TASK)
        writer = LedgerWriter(folder, f"scheduler-{self._ledger.epoch}", durable=True)
        progress = self._progress()
        keeper = Keeper(
            self._launcher,
            self._run_dir,
            self._ledger,
            writer,
            shape=tuple(self._job.grid.block_shape),
            timeout_seconds=self._timeout_seconds,
        )
        with ExitStack() as stack:
            stack.callback(writer.close)
            stack.callback(progress.close)
            stack.enter_context(self._signal_handlers())
            stack.callback(self._run_dir.remove_connection)
            stack.callback(keeper.end_all)
            self._serve(keeper, progress)

    def _serve(self, keeper: Keeper, progress: Progress) -> None:
        """One server after the other, should they end early."""
        fruitless = 0
        while self._left() and not self._signals:
            done = self._ledger.totals.blocks
            settled = self._ledger.done.copy()
            for index in self._given_up():
                settled[self._job.grid.flat(index)] = True
            server = BlockServer(
                TASK,
                self._job.grid,
                settled,
                self._is_settled,
                timeout_seconds=self._timeout_seconds,
                host=_address(self._job.config.workers),
            )
            try:
                # Daisy takes SIGINT for itself when it starts: take it back.
                self._handle_signals()
                self._run_dir.write_connection(
                    Connection(
                        server.host, server.port, server.run_id, self._ledger.epoch
                    )
                )
                self._watch(server, keeper, progress)
                if self._signals:
                    server.stop()
                    self._let_finish(keeper, progress)
                    keeper.end_all()
            except BaseException:
                keeper.end_all()
                raise
            finally:
                server.join()
            if server.error:
                logger.warning("Daisy's server ended early: %r", server.error)
            fruitless = 0 if self._ledger.totals.blocks > done else fruitless + 1
            if fruitless >= SERVER_STARTS:
                raise RunStopped(
                    f"Daisy's server ended early {fruitless} times in a row"
                    f" ({server.error!r}). What is done is kept; start again to go on."
                )
        if self._signals:
            name = signal.Signals(self._signals[0]).name
            raise Interrupted(
                f"Stopped by {name}. What is done is kept; start again to go on.",
                self._signals[0],
            )

    def _watch(self, server: BlockServer, keeper: Keeper, progress: Progress) -> None:
        """Until all is settled, the server is gone, or a signal came."""
        while self._left() and server.is_alive and not self._signals:
            self._tick(keeper, progress)
            keeper.tend(min(self._job.workers, self._left()))
            self._check_hope()
            time.sleep(TICK_SECONDS)
        self._tick(keeper, progress)

    def _let_finish(self, keeper: Keeper, progress: Progress) -> None:
        """Blocks in flight may finish, for a while; a second signal ends that."""
        keeper.cancel_waiting()
        if busy := keeper.in_flight():
            progress.write(
                f"Stopping: {busy} workers may finish their blocks within"
                f" {self._grace_seconds:g} s; a second signal ends them now."
            )
        deadline = time.monotonic() + self._grace_seconds
        while keeper.in_flight() and len(self._signals) < 2:
            if time.monotonic() >= deadline:
                break
            self._tick(keeper, progress)
            time.sleep(TICK_SECONDS)
        self._ledger.refresh()

    def _tick(self, keeper: Keeper, progress: Progress) -> None:
        started = time.monotonic()
        if started < self._next_refresh:
            return
        self._ledger.refresh()
        spent = time.monotonic() - started
        self._next_refresh = started + max(TICK_SECONDS, REFRESH_SHARE * spent)
        progress.update(
            self._ledger.done_count,
            len(self._given_up()),
            self._voxels_done(),
            keeper.busy(),
            keeper.waits_for() or self._needs_hands(keeper),
        )

    def _needs_hands(self, keeper: Keeper) -> str:
        idle = not self._job.workers and not keeper.busy()
        return "waiting for workers to be started by hand" if idle else ""

    def _is_settled(self, index: Index) -> bool:
        flat = self._job.grid.flat(index)
        if self._handed_out[flat]:
            # A retry: what became of the last attempt may not have been read yet.
            self._ledger.refresh()
        self._handed_out[flat] = 1
        return self._ledger.is_done(index) or self._is_given_up(index)

    def _is_given_up(self, index: Index) -> bool:
        attempts = self._ledger.failures.get(index, ())
        return len(attempts) > self._retries and not self._ledger.is_done(index)

    def _given_up(self) -> list[Index]:
        return [index for index in self._ledger.failures if self._is_given_up(index)]

    def _left(self) -> int:
        return self._job.grid.size - self._ledger.done_count - len(self._given_up())

    def _check_hope(self) -> None:
        failures = self._ledger.failures
        enough = HOPELESS * max(1, self._job.workers)
        if self._ledger.totals.blocks or len(failures) < enough:
            return
        first: Entry = next(iter(failures.values()))[0]
        raise RunStopped(
            f"The first {len(failures)} blocks have all failed, none is done; something"
            f" is wrong with all of them. Block {list(first.block)}: {first.error}."
            f" Correct it and start again. Logs: {self._run_dir.logs}."
        )

    def _progress(self) -> Progress:
        return Progress(
            blocks=self._job.grid.size,
            voxels=self._job.grid.voxels_written * self._job.image.shape[1],
            done=self._ledger.done_count,
            voxels_done=self._voxels_done(),
        )

    def _voxels_done(self) -> int:
        channels = self._job.image.shape[1]
        return channels * self._job.grid.voxels_in(self._ledger.done)

    @contextmanager
    def _signal_handlers(self) -> Iterator[None]:
        """First signal: stop gently; in another thread than the main one: none."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        self._handle_signals()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._take_signal)

    def _take_signal(self, number: int, _: object) -> None:
        # One Ctrl-C, or one bkill, can come twice: from the terminal or the batch
        # system itself, and from a script in between.
        now = time.monotonic()
        if now - self._last_signal > SAME_SIGNAL_SECONDS:
            self._signals.append(number)
        self._last_signal = now


def _address(workers: Workers) -> str:
    """Where workers find the server: on this machine only, or from others as well."""
    if isinstance(workers, LocalWorkers):
        return "127.0.0.1"
    return workers.host or own_address()
