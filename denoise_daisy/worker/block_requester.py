"""Asking Daisy for blocks, and one block at a time."""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import daisy
from funlib.geometry import Roi

from denoise_daisy.run_dir.connection import Connection
from denoise_daisy.waits import WAITS

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
        self._pause = WAITS.ask_pause
        self._not_before = 0.0
        self._asked_at = math.inf
        """Since when an answer is waited for; inf while none is."""
        self._is_connecting = False
        self.idle = threading.Event()
        """Set while it neither asks nor waits for a block's outcome."""
        self.idle.set()
        self.has_connected = False
        self._is_over = False
        self._is_closed = False

    @property
    def is_over(self) -> bool:
        """Whether the server is gone, or can't be reached."""
        waited = time.monotonic() - self._asked_at
        return self._is_over or (self._is_connecting and waited > WAITS.connect)

    @property
    def is_stuck(self) -> bool:
        """Whether no answer has come for long, as happens in a broken network."""
        waited = time.monotonic() - self._asked_at
        return not self._is_connecting and waited > WAITS.answer

    def ask(self) -> bool:
        """Get a block, which comes by the assignments; whether one may come soon."""
        if self.idle.is_set():
            if time.monotonic() < self._not_before:
                return False
            self.idle.clear()
            self._wanted.release()
        return True

    def close(self) -> None:
        """Ask no more; a block that comes yet is given back."""
        self._is_closed = True
        self._wanted.release()

    def run(self) -> None:
        """Until the server is gone, or it is closed."""
        client: daisy.Client | None = None
        try:
            while True:
                self._wanted.acquire()
                if self._is_closed:
                    break
                self._asked_at = time.monotonic()
                client = client or self._connected()
                if client is None:
                    break
                with client.acquire_block() as block:
                    self._asked_at = math.inf
                    if block is not None:
                        done = not self._is_closed and self._assignments.offer(
                            self, block.write_roi
                        )
                        if not done:
                            block.status = daisy.BlockStatus.FAILED
                if block is None:
                    # This client would never be given any more.
                    client = None
                    self._not_before = time.monotonic() + self._pause
                    self._pause = min(2 * self._pause, WAITS.longest_ask_pause)
                else:
                    self._pause = WAITS.ask_pause
                self.idle.set()
        except RuntimeError as error:
            logger.info("The connection for %s is gone (%s).", self.stage, error)
        finally:
            self._is_over = True
            self.idle.set()

    def _connected(self) -> daisy.Client | None:
        self._is_connecting = True
        client = self._connect(self.stage)
        self._is_connecting = False
        self.has_connected = self.has_connected or client is not None
        return client


def connect(connection: Connection, stage: str) -> daisy.Client | None:
    """A connection to the server for blocks of a stage; None where nobody listens.

    Raises
    ------
    RuntimeError
        It can't be reached.
    """
    context = daisy.Context(
        hostname=connection.host,
        port=connection.port,
        task_id=f"{stage}.{connection.run_id}",
        worker_id=-1,
        logdir="",
    )
    client = daisy.Client(context)
    return client if client.connected else None
