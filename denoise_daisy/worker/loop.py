"""The loop of a worker: ask for blocks, do them, and leave in time."""

import logging
import signal
import time
from functools import partial

from denoise_daisy.blockwise.process_block import UnwantedError
from denoise_daisy.blockwise.targets import OutputGoneError
from denoise_daisy.run_dir.connection import Connection, read_ready
from denoise_daisy.run_dir.exit_codes import EXIT_LEFT
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import WAITS
from denoise_daisy.worker.block_requester import (
    AssignedBlock,
    Assignments,
    BlockRequester,
    Connector,
)
from denoise_daisy.worker.recording import BlockRecorder, Outcome

TIME_MARGIN = 1.25
SECONDS_MARGIN = 10.0
"""A block is taken if a quarter more than the longest so far, plus that, is left."""

logger = logging.getLogger(__name__)


class WorkerLoop:
    """Does blocks of some stages until there is nothing to do, or no time left."""

    def __init__(
        self,
        run_dir: RunDir,
        stages: list[str],
        recorder: BlockRecorder,
        connector: Connector,
        assignments: Assignments,
        *,
        ends_at: float,
    ) -> None:
        """`ends_at` is when the job's time is up, in seconds since 1970; 0: never."""
        self._run_dir = run_dir
        self._stages = stages
        self._recorder = recorder
        self._connector = connector
        self._assignments = assignments
        self._ends_at = ends_at
        self._is_leaving = False
        self.exit_code = 0

    def leave_soon(self, number: int, _: object) -> None:
        """Take a signal as the wish to leave after the block in flight."""
        logger.info("Leaving after this block (%s).", signal.Signals(number).name)
        self._is_leaving = True

    def serve(self, connection: Connection) -> None:
        """Work for one server until it has nothing to do, or is gone.

        Raises
        ------
        UnwantedError, OutputGoneError, OSError
            The run is over, its output gone, or its disk full.
        """
        requesters: dict[str, BlockRequester] = {}
        busy_at = time.monotonic()
        while self._has_time() and time.monotonic() - busy_at < WAITS.idle:
            if any(requester.is_over for requester in requesters.values()):
                return
            block = self._next_block(connection, requesters)
            if block is not None:
                self._do(block)
                # Daisy has to hear of it before this process may end.
                block.requester.idle.wait(WAITS.release)
                busy_at = time.monotonic()
            elif Connection.read(self._run_dir) != connection:
                return

    def _next_block(
        self, connection: Connection, requesters: dict[str, BlockRequester]
    ) -> AssignedBlock | None:
        """Ask for the stages that have something to do, one after the other."""
        ready = read_ready(self._run_dir) or dict.fromkeys(reversed(self._stages), 1)
        for name in [name for name, count in ready.items() if count > 0]:
            if name not in self._stages:
                continue
            if name not in requesters:
                connect = partial(self._connector.connect, connection)
                requesters[name] = BlockRequester(name, connect, self._assignments)
                requesters[name].start()
            if requesters[name].ask():
                block = self._assignments.get(WAITS.ask)
                if block is not None:
                    return block
        return self._assignments.get(WAITS.ask_pause)

    def _do(self, block: AssignedBlock) -> None:
        """Do a block, and tell Daisy how it went."""
        outcome = Outcome.FAILED
        stopped_by: Exception | None = None
        try:
            outcome = self._recorder.take(block.requester.stage, block.write_roi)
        except (OSError, UnwantedError, OutputGoneError) as error:
            stopped_by = error
        finally:
            self._assignments.end(block, done=outcome is Outcome.DONE)
        if outcome is Outcome.NOT_OURS:
            self._is_leaving = True
        if stopped_by is not None:
            raise stopped_by

    def _has_time(self) -> bool:
        """Whether to take another block: enough time for one as long as any so far."""
        needed = self._recorder.longest_seconds * TIME_MARGIN + SECONDS_MARGIN
        if self._ends_at and time.time() + needed > self._ends_at:
            logger.info("Leaving: a block may take longer than this job has left.")
            self._is_leaving = True
        if self._is_leaving:
            self.exit_code = EXIT_LEFT
        return not self._is_leaving
