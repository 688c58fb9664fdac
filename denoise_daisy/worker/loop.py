"""The loop of a worker: ask for blocks, do them, and leave in time."""

import logging
import platform
import signal
import time
from dataclasses import dataclass
from functools import partial

from denoise_daisy.blockwise.process_block import UnwantedError
from denoise_daisy.blockwise.targets import OutputGoneError
from denoise_daisy.run_dir.connection import Connection, Hint, read_ready
from denoise_daisy.run_dir.exit_codes import EXIT_LEFT
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import WAITS
from denoise_daisy.worker.block_requester import (
    AssignedBlock,
    Assignments,
    BlockRequester,
    connect,
)
from denoise_daisy.worker.recording import BlockRecorder, Outcome

TIME_MARGIN = 1.25
SECONDS_MARGIN = 10.0
"""A block is taken if a quarter more than the longest so far, plus that, is left."""

OTHERS_SHARE = 0.5
"""What blocks of other workers take counts up to this share of the job's time: else one
long block of a slow host would let every new job leave at once."""

logger = logging.getLogger(__name__)


class UnreachableError(Exception):
    """The scheduler lives and can't be reached."""


@dataclass(frozen=True, slots=True)
class JobTime:
    """A worker's job, in seconds since 1970."""

    began_at: float
    ends_at: float
    """When its time is up; 0: never."""


class WorkerLoop:
    """Does blocks of some stages until there is nothing to do, or no time left."""

    def __init__(
        self,
        run_dir: RunDir,
        stages: list[str],
        recorder: BlockRecorder,
        assignments: Assignments,
        *,
        job_time: JobTime,
        idle_seconds: float = WAITS.idle,
    ) -> None:
        self._run_dir = run_dir
        self._stages = stages
        self._recorder = recorder
        self._assignments = assignments
        self._job_time = job_time
        self._idle_seconds = idle_seconds
        self._is_leaving = False
        self._gives_way = False
        """To another process, which is to try what has failed in this one."""
        self._busy_at = self._left_at = time.monotonic()
        self.blocks = 0
        """How many it has done, or has tried to."""
        self._has_connected = False
        self._lost_at: float | None = None
        self.exit_code = 0

    @property
    def is_leaving(self) -> bool:
        """Whether this process is to take no other block, of any run."""
        return self._is_leaving or self._gives_way

    def leave_soon(self, number: int, _: object) -> None:
        """Take a signal as the wish to leave after the block in flight."""
        logger.info("Leaving after this block (%s).", signal.Signals(number).name)
        self._is_leaving = True

    def serve(self, connection: Connection) -> bool:
        """Work for one server; whether it is gone, and there may be another.

        Otherwise there is nothing to do, or no time left.

        Raises
        ------
        UnreachableError
            Neither this server nor another can be reached for too long.
        UnwantedError, OutputGoneError, OSError
            The run is over, its output gone, or its disk full.
        """
        requesters: dict[str, BlockRequester] = {}
        if time.monotonic() - self._left_at > WAITS.reconnect * 10:
            # It was at another run meanwhile, and missed nothing here.
            self._busy_at, self._lost_at = time.monotonic(), None
        try:
            return self._serve(connection, requesters)
        finally:
            self._left_at = time.monotonic()
            for requester in requesters.values():
                requester.close()

    def _serve(
        self, connection: Connection, requesters: dict[str, BlockRequester]
    ) -> bool:
        while self._goes_on(connection):
            block = self._next_block(connection, requesters)
            if any(requester.has_connected for requester in requesters.values()):
                self._has_connected, self._lost_at = True, None
            if block is not None:
                self._do(block)
                # Daisy has to hear of it before this process may end.
                block.requester.idle.wait(WAITS.release)
                self._busy_at = time.monotonic()
            elif Connection.read(self._run_dir) != connection:
                return True
            elif any(requester.is_over for requester in requesters.values()):
                self._lost_at = self._lost_at or time.monotonic()
                return True
        return False

    def _goes_on(self, connection: Connection) -> bool:
        """Whether there is time and, or so one hears, something to do."""
        if not self._has_time():
            return False
        hints = read_ready(self._run_dir) or {}
        idle = time.monotonic() - self._busy_at
        if not any(h.ready > 0 for name, h in hints.items() if name in self._stages):
            self._lost_at = None
            return idle < self._idle_seconds
        if self._lost_at is None:
            return idle < WAITS.network_away
        limit = WAITS.network_away if self._has_connected else WAITS.connect
        if time.monotonic() - self._lost_at > limit:
            raise UnreachableError(
                f"This worker on {platform.node()} can't reach the scheduler at"
                f" {connection.host} port {connection.port} for {limit:g} s. Likely a"
                " firewall, or an address that only the scheduler's machine knows: set"
                " workers.host to its name or address as the nodes see it."
            )
        return True

    def _next_block(
        self, connection: Connection, requesters: dict[str, BlockRequester]
    ) -> AssignedBlock | None:
        """Ask for the stages that have something to do, one after the other."""
        hints = read_ready(self._run_dir)
        if hints is None:
            hints = dict.fromkeys(reversed(self._stages), Hint(1, 0.0))
        for name, hint in hints.items():
            if not hint.ready > 0 or name not in self._stages:
                continue
            if name not in requesters or requesters[name].is_stuck:
                reach = partial(connect, connection)
                requesters[name] = BlockRequester(name, reach, self._assignments)
                requesters[name].start()
            own = partial(_own_block, self._assignments, requesters)
            if requesters[name].ask() and (block := own(WAITS.ask)):
                return block
        return _own_block(self._assignments, requesters, WAITS.ask_pause)

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
        self.blocks += 1
        self._gives_way = outcome is Outcome.NOT_OURS
        if stopped_by is not None:
            raise stopped_by

    def _has_time(self) -> bool:
        """Whether to take another block: enough time for one as long as any so far."""
        hints = read_ready(self._run_dir) or {}
        others = [hints[name].longest for name in self._stages if name in hints]
        theirs = max(others, default=0.0) * TIME_MARGIN
        own = self._recorder.longest_seconds * TIME_MARGIN
        began_at, ends_at = self._job_time.began_at, self._job_time.ends_at
        needed = max(own, min(theirs, (ends_at - began_at) * OTHERS_SHARE))
        if ends_at and time.time() + needed + SECONDS_MARGIN > ends_at:
            logger.info("Leaving: a block may take longer than this job has left.")
            self._is_leaving = True
        if self._is_leaving:
            self.exit_code = EXIT_LEFT
        return not self.is_leaving


def _own_block(
    assignments: Assignments, requesters: dict[str, BlockRequester], seconds: float
) -> AssignedBlock | None:
    """A block that comes within so long; one of another run is given back."""
    block = assignments.get(seconds)
    if block is None or block.requester in requesters.values():
        return block
    assignments.end(block, done=False)
    return None
