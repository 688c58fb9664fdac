"""A run, scheduler side: a server, keepers and ledgers, until all is settled."""

import logging
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from denoise_daisy.config import LocalWorkers, Workers
from denoise_daisy.errors import Interrupted, RunStopped
from denoise_daisy.files import is_there
from denoise_daisy.geometry import Index
from denoise_daisy.keeper import OUTPUT_GONE, Keeper
from denoise_daisy.launchers import Launcher
from denoise_daisy.ledger_lines import Entry
from denoise_daisy.machine import own_address, raise_file_limit
from denoise_daisy.ome_zarr import METADATA
from denoise_daisy.progress import Progress
from denoise_daisy.rundir import Connection, RunDir
from denoise_daisy.server import BlockServer
from denoise_daisy.stages import DENOISE
from denoise_daisy.standing import Standing

TICK_SECONDS = 0.25

SAME_SIGNAL_SECONDS = 0.3
"""Signals that follow each other so closely count as one."""

REFRESH_SHARE = 20
"""The ledger is read again after that many times the time that it took."""

SERVER_STARTS = 10
"""Servers that may end early in a row, without a block done, before the run stops."""

HOPELESS = 5
"""The run stops when that many blocks per worker have failed and none is done."""

LEDGER_LAG_SECONDS = 5.0
"""How late a finished block's line may show, on a file system of several hosts."""

GONE_SECONDS = 20.0
"""The run stops when its output or its run directory is away for so long."""

LEAVE_SECONDS = 5.0
"""What workers get to leave by themselves once there is no more work."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers of one kind, and the stages whose blocks they do."""

    name: str
    """The task whose own they are; empty for those of the run."""
    workers: Workers
    count: int
    launcher: Launcher
    stages: tuple[str, ...]


class Scheduler:
    """One start of a run, from its first block to its last."""

    def __init__(
        self,
        standings: Mapping[str, Standing],
        pools: Sequence[Pool],
        run_dir: RunDir,
        epoch: int,
        grace_seconds: float,
    ) -> None:
        """`standings` are of the stages to be done, each after those that it reads."""
        self._standings = standings
        self._pools = pools
        self._run_dir = run_dir
        self._epoch = epoch
        self._grace_seconds = grace_seconds
        self._signals: list[int] = []
        self._last_signal = -math.inf
        self._next_refresh = 0.0
        self._last_there = time.monotonic()
        self._places = [run_dir.run_file] + [
            s.stage.target.path / METADATA for s in standings.values() if s.stage.target
        ]
        self._said_ready: dict[str, int] | None = None
        self._timeouts = {
            name: pool.workers.block_timeout_minutes * 60
            for pool in pools
            for name in pool.stages
        }

    def run(self) -> None:
        """Do what is left; on return every block is done, given up, or orphaned.

        Raises
        ------
        RunStopped
            The run had to stop before that.
        Interrupted
            A signal stopped it.
        """
        raise_file_limit()
        progress = self._progress()
        keepers = [
            Keeper(
                pool.name,
                pool.launcher,
                self._run_dir,
                {name: self._standings[name] for name in pool.stages},
                timeout_seconds=pool.workers.block_timeout_minutes * 60,
            )
            for pool in self._pools
        ]
        with ExitStack() as stack:
            for standing in self._standings.values():
                stack.callback(standing.close)
            stack.callback(progress.close)
            stack.enter_context(self._signal_handlers())
            stack.callback(self._run_dir.remove_connection)
            for keeper in keepers:
                stack.callback(keeper.end_all)
            self._serve(keepers, progress)

    def _serve(self, keepers: Sequence[Keeper], progress: Progress) -> None:
        """One server after the other, should they end early."""
        fruitless = 0
        while self._left() and not self._signals:
            done = self._done_now()
            server = self._start_server()
            try:
                # Daisy takes SIGINT for itself when it starts: take it back.
                self._handle_signals()
                self._say_what_is_ready(keepers)
                self._run_dir.write_connection(
                    Connection(server.host, server.port, server.run_id, self._epoch)
                )
                self._watch(server, keepers, progress)
                if self._signals:
                    server.stop()
                    self._let_finish(keepers, progress)
                    for keeper in keepers:
                        keeper.end_all()
            except BaseException:
                for keeper in keepers:
                    keeper.end_all()
                raise
            finally:
                server.join()
            self._reread()
            if server.error:
                logger.warning("Daisy's server ended early: %r", server.error)
            fruitless = 0 if self._done_now() > done else fruitless + 1
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
        self._run_dir.remove_connection()
        self._let_leave(keepers)

    def _start_server(self) -> BlockServer:
        """A server of the stages that have blocks left."""
        waiting = {n: s for n, s in self._standings.items() if s.left}
        batch = [p for p in self._pools if not isinstance(p.workers, LocalWorkers)]
        server: BlockServer

        def is_settled(name: str, index: Index) -> bool:
            verdict = self._verdict(waiting[name], index)
            if verdict is None:
                # What Daisy takes for done is not in the ledger: start it anew.
                logger.warning("Daisy is ahead of the ledger of what %s reads.", name)
                server.stop()
            return verdict is not False

        server = BlockServer(
            [standing.stage for standing in waiting.values()],
            {name: standing.settled for name, standing in waiting.items()},
            is_settled,
            timeout_seconds=self._timeouts,
            host=_address(batch[0].workers) if batch else "127.0.0.1",
        )
        return server

    def _verdict(self, standing: Standing, index: Index) -> bool | None:
        deadline = time.monotonic() + LEDGER_LAG_SECONDS
        verdict = standing.is_settled(index)
        while verdict is None and time.monotonic() < deadline and not self._signals:
            time.sleep(TICK_SECONDS)
            verdict = standing.is_settled(index)
        return verdict

    def _watch(
        self, server: BlockServer, keepers: Sequence[Keeper], progress: Progress
    ) -> None:
        """Until all is settled, the server is gone, or a signal came."""
        while self._left() and server.is_alive and not self._signals:
            self._tick(keepers, progress)
            for name, standing in self._standings.items():
                if not standing.left and self._left():
                    server.finish(name)
            for keeper, pool in zip(keepers, self._pools, strict=True):
                ready = sum(self._standings[name].ready for name in pool.stages)
                keeper.tend(min(pool.count, ready))
            self._check_hope()
            self._check_places()
            time.sleep(TICK_SECONDS)
        self._tick(keepers, progress)

    def _let_finish(self, keepers: Sequence[Keeper], progress: Progress) -> None:
        """Blocks in flight may finish, for a while; a second signal ends that."""
        for keeper in keepers:
            keeper.cancel_waiting()
        if busy := sum(keeper.in_flight() for keeper in keepers):
            progress.write(
                f"Stopping: {busy} workers may finish their blocks within"
                f" {self._grace_seconds:g} s; a second signal ends them now."
            )
        deadline = time.monotonic() + self._grace_seconds
        while any(k.in_flight() for k in keepers) and len(self._signals) < 2:
            if time.monotonic() >= deadline:
                break
            self._tick(keepers, progress)
            time.sleep(TICK_SECONDS)
        self._refresh()

    def _let_leave(self, keepers: Sequence[Keeper]) -> None:
        """Workers that find nothing to do leave; those that don't are ended."""
        deadline = time.monotonic() + LEAVE_SECONDS
        while any(k.present() for k in keepers) and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS / 5)

    def _tick(self, keepers: Sequence[Keeper], progress: Progress) -> None:
        started = time.monotonic()
        if started < self._next_refresh:
            return
        self._refresh()
        self._say_what_is_ready(keepers)
        spent = time.monotonic() - started
        self._next_refresh = started + max(TICK_SECONDS, REFRESH_SHARE * spent)
        waiting = [keeper.waits_for() for keeper in keepers]
        progress.update(
            {name: s.ledger.done_count for name, s in self._standings.items()},
            sum(len(s.given_up) for s in self._standings.values()),
            self._work_done(),
            sum(keeper.busy() for keeper in keepers),
            ", ".join(filter(None, [*waiting, self._needs_hands(keepers)])),
        )

    def _refresh(self) -> None:
        for standing in self._standings.values():
            standing.ledger.refresh()
            standing.update()

    def _reread(self) -> None:
        """Believe just what stands in the ledgers now, before all is called done."""
        for standing in self._standings.values():
            standing.ledger.reread()
            standing.update()

    def _say_what_is_ready(self, keepers: Sequence[Keeper]) -> None:
        """Tell workers which stages are worth asking for, the last ones first."""
        taken = [name for keeper in keepers for name in keeper.at_work()]
        ready = {
            name: standing.ready - taken.count(name)
            for name, standing in reversed(list(self._standings.items()))
        }
        if ready != self._said_ready:
            self._run_dir.write_ready(ready)
            self._said_ready = ready

    def _needs_hands(self, keepers: Sequence[Keeper]) -> str:
        """Whose blocks nobody does unless a worker is started by hand."""
        for pool, keeper in zip(self._pools, keepers, strict=True):
            ready = any(self._standings[name].ready for name in pool.stages)
            if ready and not pool.count and not keeper.busy():
                whom = f" (--task {pool.name})" if pool.name else ""
                return f"waiting for workers to be started by hand{whom}"
        return ""

    def _left(self) -> int:
        return sum(standing.left for standing in self._standings.values())

    def _done_now(self) -> int:
        """Blocks done since this start."""
        return sum(s.ledger.totals.blocks for s in self._standings.values())

    def _check_hope(self) -> None:
        """Stop a stage of which everything fails, instead of failing all of it.

        The run goes on without it, unless it is the denoising that all others need.

        Raises
        ------
        RunStopped
            It is.
        """
        for pool in self._pools:
            for name in pool.stages:
                standing = self._standings[name]
                failures = standing.ledger.failures
                enough = HOPELESS * max(1, pool.count)
                if standing.ledger.totals.blocks or len(failures) < enough:
                    continue
                if standing.is_abandoned:
                    continue
                first: Entry = next(iter(failures.values()))[0]
                why = (
                    f"The first {len(failures)} blocks of {name} have all failed, none"
                    " is done; something is wrong with all of them. Block"
                    f" {list(first.block)}: {first.error}."
                )
                if name == DENOISE:
                    raise RunStopped(
                        f"{why} Correct it and start again. Logs: {self._run_dir.logs}."
                    )
                standing.abandon()
                logger.error("%s The run goes on without %s.", why, name)

    def _check_places(self) -> None:
        """Stop when there is nowhere to write to, instead of computing for nothing."""
        now = time.monotonic()
        gone = [str(place) for place in self._places if not is_there(place)]
        if not gone:
            self._last_there = now
        elif now - self._last_there > GONE_SECONDS:
            raise RunStopped(f"{OUTPUT_GONE} {gone[0]!r} is not there.")

    def _progress(self) -> Progress:
        return Progress(
            blocks={n: s.stage.grid.size for n, s in self._standings.items()},
            work=sum(
                s.stage.work * s.stage.grid.voxels_written
                for s in self._standings.values()
            ),
            done={n: s.ledger.done_count for n, s in self._standings.items()},
            work_done=self._work_done(),
        )

    def _work_done(self) -> float:
        return sum(
            s.stage.work * s.stage.grid.voxels_in(s.ledger.done)
            for s in self._standings.values()
        )

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
