"""One start of a run, scheduler side: a server and workers, until all is finished."""

import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress

from denoise_daisy.durable import persistently
from denoise_daisy.errors import Interrupted, RunStopped
from denoise_daisy.geometry import Index
from denoise_daisy.machine import raise_file_limit
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.connection import Connection
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.daisy_server import BlockServer
from denoise_daisy.scheduling.giving_up import OutputWatch, give_up_hopeless
from denoise_daisy.scheduling.hiccups import Hiccups
from denoise_daisy.scheduling.ready_hint import ReadyHint
from denoise_daisy.scheduling.run_progress import RunProgress
from denoise_daisy.scheduling.run_state import RunState
from denoise_daisy.scheduling.signals import Signals
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.workforce import Workforce
from denoise_daisy.waits import WAITS

REFRESH_SHARE = 20
"""The ledger is read again after that many times the time that it took."""

MAX_SERVER_STARTS = 10
"""Servers that may end early in a row, without a block done, before the run stops."""

logger = logging.getLogger(__name__)


class Scheduler:
    """One start of a run, from its first block to its last."""

    def __init__(
        self,
        states: Mapping[str, StageState],
        pools: Sequence[Pool],
        run_dir: RunDir,
        *,
        epoch: int,
        grace_seconds: float,
        given_up: Callable[[str, Index, str], None],
    ) -> None:
        """`states` are of the stages to be done, each after those that it reads.

        `given_up` is told of blocks that are: their stage, and why; often of one.
        """
        self._state = RunState(states)
        self._workforce = Workforce(pools, run_dir, states)
        self._run_dir = run_dir
        self._epoch = epoch
        self._grace_seconds = grace_seconds
        self._given_up = given_up
        self._signals = Signals()
        self._ready_hint = ReadyHint(run_dir, states)
        self._output_watch = OutputWatch(run_dir, states.values())
        self._progress = RunProgress(states)
        self._hiccups = Hiccups()
        self._next_refresh = 0.0

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
        with ExitStack() as stack:
            stack.callback(self._state.close)
            stack.callback(self._progress.close)
            stack.enter_context(self._signals.handled())
            stack.callback(self._withdraw)
            stack.callback(self._workforce.end_all)
            self._serve()

    def _serve(self) -> None:
        """One server after the other, should they end early."""
        failed_servers = 0
        while self._state.left and not self._signals.count:
            done = self._state.done_now
            server = self._serve_once()
            persistently(self._state.reread)
            if server.error:
                logger.warning("Daisy's server ended early: %r", server.error)
            if server.is_through:
                self._wait_for_lines()
            failed_servers = 0 if self._state.done_now > done else failed_servers + 1
            if failed_servers >= MAX_SERVER_STARTS:
                raise RunStopped(
                    f"Daisy's server ended early {failed_servers} times in a row"
                    f" ({server.error!r}). What is done is kept; start again to go on."
                )
        if self._signals.count:
            name = signal.Signals(self._signals.first).name
            raise Interrupted(
                f"Stopped by {name}. What is done is kept; start again to go on.",
                self._signals.first,
            )
        self._withdraw()
        self._workforce.let_leave()

    def _serve_once(self) -> BlockServer:
        """A server, from its start to its end."""
        server = self._start_server()
        try:
            # Daisy takes SIGINT for itself when it starts: take it back.
            self._signals.handle()
            self._ready_hint.say(self._workforce.at_work())
            self._announce(server)
            self._watch(server)
            if self._signals.count:
                server.stop()
                self._let_finish()
                self._workforce.end_all()
        except BaseException:
            self._workforce.end_all()
            raise
        finally:
            server.join()
        return server

    def _announce(self, server: BlockServer) -> None:
        """Tell workers where it listens, unless they have been told."""
        here = Connection(server.host, server.port, server.run_id, self._epoch)
        if Connection.read(self._run_dir) != here:
            here.write(self._run_dir)

    def _withdraw(self) -> None:
        """Let workers know that there is no more to do; they see it by themselves."""
        with suppress(OSError):
            self._run_dir.connection_file.unlink(missing_ok=True)

    def _wait_for_lines(self) -> None:
        """Lines of what Daisy has heard is done may show late."""
        deadline = time.monotonic() + WAITS.ledger_lag
        while self._state.left and not self._signals.count:
            if time.monotonic() >= deadline:
                break
            time.sleep(WAITS.tick)
            with self._hiccups.outlived():
                self._tick()

    def _start_server(self) -> BlockServer:
        """A server of the stages that have blocks left."""
        waiting = {
            name: state
            for name, state in self._state.stages.items()
            if state.left and not state.is_held_up
        }
        return BlockServer(
            [state.stage for state in waiting.values()],
            {name: state.kept_back for name, state in waiting.items()},
            self._state.verdict,
            timeout_seconds=self._workforce.timeouts,
            host=self._workforce.address,
        )

    def _watch(self, server: BlockServer) -> None:
        """Until all is finished, the server has ended, or a signal came."""
        while self._state.left and server.is_alive and not self._signals.count:
            if server.is_stopped:
                break
            with self._hiccups.outlived():
                self._see_to_all(server)
            time.sleep(WAITS.tick)
        with self._hiccups.outlived():
            self._tick()

    def _see_to_all(self, server: BlockServer) -> None:
        """What is new, who works, and what they find."""
        self._tick()
        for name, state in self._state.stages.items():
            if not state.left and self._state.left:
                server.finish(name)
        self._announce(server)
        self._workforce.maintain()
        if give_up_hopeless(self._workforce.pools, self._state.stages, self._run_dir):
            server.stop()
        self._output_watch.check()

    def _let_finish(self) -> None:
        """Blocks in flight may finish, for a while; a second signal ends that."""
        self._workforce.cancel_waiting()
        if busy := self._workforce.in_flight():
            self._progress.write(
                f"Stopping: {busy} workers may finish their blocks within"
                f" {self._grace_seconds:g} s; a second signal ends them now."
            )
        deadline = time.monotonic() + self._grace_seconds
        while self._workforce.in_flight() and self._signals.count < 2:
            if time.monotonic() >= deadline:
                break
            with self._hiccups.outlived():
                self._tick()
            time.sleep(WAITS.tick)
        persistently(self._state.refresh)

    def _tick(self) -> None:
        """Read what is new, and show it, unless that was done just now."""
        started = time.monotonic()
        if started < self._next_refresh:
            return
        self._state.refresh()
        for name, state in self._state.stages.items():
            for index in state.given_up[:1]:
                self._given_up(name, index, str(state.ledger.failures[index][-1].error))
        self._ready_hint.say(self._workforce.at_work())
        spent = time.monotonic() - started
        self._next_refresh = started + max(WAITS.tick, REFRESH_SHARE * spent)
        self._progress.show(self._workforce)
