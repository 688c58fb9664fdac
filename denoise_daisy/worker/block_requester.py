"""Asking Daisy for blocks, and one block at a time."""

import logging
import os
import platform
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn

import daisy
from funlib.geometry import Roi

from denoise_daisy.run_dir.connection import Connection
from denoise_daisy.run_dir.exit_codes import EXIT_UNREACHABLE
from denoise_daisy.run_dir.lock import scheduler_is_alive
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import WAITS
from denoise_daisy.worker.presence import Presence

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class AssignedBlock:
    """A block that Daisy has handed out to this process."""

    requester: "BlockRequester"
    write_roi: Roi
    """In voxels of the image."""
    outcome: "queue.SimpleQueue[bool]" = field(default_factory=queue.SimpleQueue)
    """Takes whether the block was done; its requester waits for that."""


class Assignments:
    """The block that this process has, of all that its requesters are handed."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._blocks: queue.SimpleQueue[AssignedBlock] = queue.SimpleQueue()

    @property
    def is_busy(self) -> bool:
        """Whether a block is being done."""
        return self._busy.locked()

    def offer(self, requester: "BlockRequester", write_roi: Roi) -> bool:
        """Have a block done; whether it was, which it can't be by who is busy."""
        if not self._busy.acquire(blocking=False):
            return False
        block = AssignedBlock(requester, write_roi)
        self._blocks.put(block)
        return block.outcome.get()

    def get(self, timeout: float) -> AssignedBlock | None:
        """The block to do, if one comes within that many seconds."""
        with suppress(queue.Empty):
            return self._blocks.get(timeout=timeout)
        return None

    def end(self, block: AssignedBlock, *, done: bool) -> None:
        """Let another block come, and tell Daisy how this one went."""
        self._busy.release()
        block.outcome.put(done)


class BlockRequester(threading.Thread):
    """Asks Daisy for blocks of one stage, when it is wanted to.

    Daisy answers late for a stage whose blocks wait for others'; hence the thread.
    """

    def __init__(
        self,
        stage: str,
        connect: Callable[[str], daisy.Client | None],
        assignments: Assignments,
    ) -> None:
        super().__init__(name=f"request-{stage}", daemon=True)
        self.stage = stage
        self._connect = connect
        self._assignments = assignments
        self._wanted = threading.Semaphore(0)
        self._not_before = 0.0
        self.idle = threading.Event()
        """Set while it neither asks nor waits for a block's outcome."""
        self.idle.set()
        self.is_over = False
        """The server is gone."""

    def ask(self) -> bool:
        """Get a block, which comes by the assignments; whether one may come soon."""
        if self.idle.is_set():
            if time.monotonic() < self._not_before:
                return False
            self.idle.clear()
            self._wanted.release()
        return True

    def run(self) -> None:
        """Until the server is gone."""
        try:
            client = self._connect(self.stage)
            while client is not None:
                self._wanted.acquire()
                with client.acquire_block() as block:
                    if block is not None:
                        done = self._assignments.offer(self, block.write_roi)
                        if not done:
                            block.status = daisy.BlockStatus.FAILED
                if block is None:
                    self._not_before = time.monotonic() + WAITS.ask_pause
                self.idle.set()
        except RuntimeError as error:
            logger.info("The scheduler is gone (%s).", error)
        finally:
            self.is_over = True
            self.idle.set()


class Connector:
    """Connects to a scheduler, or ends this process where that can't be."""

    def __init__(
        self, run_dir: RunDir, presence: Presence, assignments: Assignments
    ) -> None:
        self._run_dir = run_dir
        self._presence = presence
        self._assignments = assignments

    def connect(self, connection: Connection, stage: str) -> daisy.Client | None:
        """A connection to the server; None where it has just ended."""
        context = daisy.Context(
            hostname=connection.host,
            port=connection.port,
            task_id=f"{stage}.{connection.run_id}",
            worker_id=-1,
            logdir="",
        )
        timer = threading.Timer(WAITS.connect, self._unreachable, [connection, None])
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
        now = Connection.read(self._run_dir)
        self._presence.show()
        is_alive = scheduler_is_alive(self._run_dir, self._presence.worker)
        if now == connection and is_alive:
            self._unreachable(connection, ConnectionRefusedError())
        return None

    def _unreachable(self, connection: Connection, error: Exception | None) -> None:
        """End the process, unless it is at work on a block.

        A connection that hangs can't be interrupted otherwise.
        """
        if self._assignments.is_busy:
            logger.info("No connection for another stage (%s).", error)
            return
        logger.error(
            "This worker on %s can't reach the scheduler at %s port %d (%s). Likely a"
            " firewall, or an address that only the scheduler's machine knows: set"
            " workers.host to its name or address as the nodes see it.",
            platform.node(),
            connection.host,
            connection.port,
            error or f"no answer within {WAITS.connect:g} s",
        )
        self._presence.remove()
        _end_process(EXIT_UNREACHABLE)


def _end_process(code: int) -> NoReturn:
    logging.shutdown()
    os._exit(code)
