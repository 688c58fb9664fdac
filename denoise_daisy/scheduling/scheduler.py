"""One start of a run, scheduler side: a server and workers, until all is finished."""

import logging
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Self

from denoise_daisy.durable import persistently
from denoise_daisy.errors import RunStopped
from denoise_daisy.events import Tell
from denoise_daisy.machine import raise_file_limit
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.connection import Connection, withdraw_connection
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.daisy_server import BlockServer
from denoise_daisy.scheduling.giving_up import give_up_hopeless
from denoise_daisy.scheduling.hiccups import Hiccups
from denoise_daisy.scheduling.news import GivenUp, News
from denoise_daisy.scheduling.output_watch import OutputWatch
from denoise_daisy.scheduling.run_progress import RunProgress, ShowsProgress
from denoise_daisy.scheduling.run_state import RunState
from denoise_daisy.scheduling.signals import Signals
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.trial import has_blocks, kept_back
from denoise_daisy.scheduling.workforce import AnyWorkforce, Workforce
from denoise_daisy.waits import WAITS

MAX_SERVER_STARTS = 10
"""Servers that may end early in a row, without a block done, before the run stops."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shared:
    """What a run shares with others of the same start."""

    workforce: AnyWorkforce
    signals: Signals
    progress: ShowsProgress

    @classmethod
    def alone(
        cls,
        pools: Sequence[Pool],
        run_dir: RunDir,
        states: Mapping[str, StageState],
        tell: Tell | None = None,
    ) -> Self:
        """What a run has for itself; `tell` takes its progress, for other programs."""
        workforce = Workforce(pools, run_dir, states)
        return cls(workforce, Signals(), RunProgress(states, pools, tell))


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
        given_up: GivenUp,
        shared: Shared,
    ) -> None:
        """`states` are of the stages to be done, each after those that it reads."""
        self._state = RunState(states)
        workforce = self._workforce = shared.workforce
        self._run_dir = run_dir
        self._epoch = epoch
        self._grace_seconds = grace_seconds
        self._signals = shared.signals
        self._news = News(self._state, workforce, run_dir, given_up, shared.progress)
        self._output_watch = OutputWatch(run_dir, states.values())
        self._give_up_hopeless = partial(give_up_hopeless, pools, states, run_dir)
        self._hiccups = Hiccups()

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
            stack.callback(self._news.close)
            stack.enter_context(self._signals.handled())
            stack.callback(withdraw_connection, self._run_dir, self._epoch)
            stack.callback(self._workforce.end_all)
            self._serve()

    def _serve(self) -> None:
        """One server after the other, should they end early."""
        failed_servers = 0
        while self._state.left and not self._signals.count:
            done = self._state.done_now
            server = self._serve_once()
            self._state.reread()
            self._give_up_hopeless()
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
            raise self._signals.interruption
        self._news.hint()
        withdraw_connection(self._run_dir, self._epoch)
        self._workforce.let_leave()

    def _serve_once(self) -> BlockServer:
        """A server, from its start to its end."""
        server = self._start_server()
        try:
            # Daisy takes SIGINT for itself when it starts: take it back, or what came.
            self._signals.handle()
            self._news.hint()
            self._watch(server)
            if isinstance(server.error, KeyboardInterrupt) and not self._signals.count:
                self._signals.take(signal.SIGINT)
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

    def _wait_for_lines(self) -> None:
        """What Daisy has heard is done may show late; a last look is what counts."""
        deadline = time.monotonic() + WAITS.ledger_lag
        while any(map(has_blocks, self._state.stages.values())):
            if time.monotonic() >= deadline or self._signals.count:
                persistently(self._state.refresh)
                break
            time.sleep(WAITS.tick)
            with self._hiccups.outlived():
                self._news.read()

    def _start_server(self) -> BlockServer:
        """A server of the stages that have blocks left."""
        states = [s for s in self._state.stages.values() if has_blocks(s)]
        return BlockServer(
            [state.stage for state in states],
            {state.stage.name: kept_back(state) for state in states},
            self._state.verdict,
            timeout_seconds=self._workforce.timeouts,
            host=self._workforce.address,
        )

    def _watch(self, server: BlockServer) -> None:
        """Until all is finished, the server has ended, or a signal came."""
        while self._state.left and server.is_serving and not self._signals.count:
            with self._hiccups.outlived():
                self._see_to_all(server)
            time.sleep(WAITS.tick)
        with self._hiccups.outlived():
            self._news.read()

    def _see_to_all(self, server: BlockServer) -> None:
        """What is new, who works, and what they find."""
        self._output_watch.check()
        self._news.read()
        for name, state in self._state.stages.items():
            if not state.left and self._state.left:
                server.finish(name)
        connection = Connection(server.host, server.port, server.run_id, self._epoch)
        connection.show(self._run_dir)
        self._workforce.maintain()
        if self._give_up_hopeless():
            server.stop()

    def _let_finish(self) -> None:
        """Blocks in flight may finish, for a while; a second signal ends that."""
        self._workforce.cancel_waiting()
        if busy := self._workforce.in_flight():
            self._news.write(
                f"Stopping: {busy} workers may finish their blocks within"
                f" {self._grace_seconds:g} s; a second signal ends them now."
            )
        deadline = time.monotonic() + self._grace_seconds
        while self._workforce.in_flight() and self._signals.count < 2:
            if time.monotonic() >= deadline:
                break
            with self._hiccups.outlived():
                self._news.read()
            time.sleep(WAITS.tick)
        persistently(self._state.refresh)
