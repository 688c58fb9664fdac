"""Daisy's server: hands out the blocks of a task over TCP, in a thread of its own.

Daisy starts no workers here; they are external clients.  Its verdicts count for
nothing: what is done and what is given up, the ledger says, through `is_settled`.
"""

import secrets
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import daisy
import numpy as np
import psutil
from funlib.geometry import Roi

from denoise_daisy.geometry import BlockGrid, Index

START_SECONDS = 30.0
DRAIN_SECONDS = 10.0

FOR_EVER = 2**31 - 1
"""Retries that Daisy grants: the ledger counts attempts, Daisy must not."""


class BlockServer:
    """One server from start to end; a run may need several in turn."""

    def __init__(
        self,
        task: str,
        grid: BlockGrid,
        settled: np.ndarray,
        is_settled: Callable[[Index], bool],
        *,
        timeout_seconds: float,
        host: str,
    ) -> None:
        """Start to listen.

        `settled` tells by flat index what is done or given up now; `is_settled` is
        asked in the server's thread before a block is handed out, and must be quick.  A
        worker that holds a block for longer than the timeout kills itself.  Daisy
        listens on the loopback interface for a loopback host, else on all.
        """
        self.run_id = secrets.token_hex(16)
        self.host = host
        self.error: BaseException | None = None
        """Why the server ended early, where Daisy panicked or raised."""
        self._stopping = False
        self._task_id = f"{task}.{self.run_id}"

        def check(block: daisy.Block) -> bool:
            return self._stopping or is_settled(grid.index_at(block.write_roi.begin))

        below = grid.context + grid.stencil.stride - 1
        first = Roi(grid.volume.begin, grid.block_shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self._task = daisy.Task(
                self._task_id,
                total_roi=grid.volume.grow(below, grid.context),
                read_roi=first.grow(below, grid.context),
                write_roi=first,
                process_function=None,
                check_function=check,
                skip_mask=settled.reshape(grid.shape),
                fit="shrink",
                read_write_conflict=False,
                max_retries=FOR_EVER,
                timeout=timeout_seconds,
            )
        if tuple(self._task.block_grid_shape) != grid.shape:
            raise RuntimeError(
                f"Daisy cuts {self._task.block_grid_shape} blocks, not {grid.shape}."
            )
        before = _listening_ports()
        self._thread = threading.Thread(target=self._serve, name="daisy", daemon=True)
        self._thread.start()
        self.port = self._find_port(before)

    @property
    def is_alive(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Hand out no more blocks; those in flight may be released."""
        self._stopping = True

    def join(self) -> None:
        """Wait for its end, once every worker is gone or has released its block."""
        self.stop()
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.is_alive and time.monotonic() < deadline:
            # Daisy looks at blocks only when asked for one: ask, so that it sees that
            # none is to be had any more, and ends.
            self._ask()
            self._thread.join(0.2)

    def _ask(self) -> None:
        context = daisy.Context(
            hostname="127.0.0.1",
            port=self.port,
            task_id=self._task_id,
            worker_id=-1,
            logdir="",
        )
        try:
            with daisy.Client(context).acquire_block() as block:
                if block is not None:
                    block.status = daisy.BlockStatus.FAILED
        except RuntimeError:
            pass

    def _serve(self) -> None:
        daisy.logging.set_log_basedir(None)
        try:
            daisy.Server().run_blockwise(
                self._task,
                host=self.host,
                progress=False,
                summary=False,
                block_tracking=False,
            )
        except BaseException as error:  # noqa: BLE001 - Daisy's panics are no Exceptions
            self.error = error

    def _find_port(self, before: set[int]) -> int:
        """Daisy tells its port to workers that it starts, and to nobody else."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.is_alive:
            if new := _listening_ports() - before:
                return new.pop()
            time.sleep(0.005)
        raise RuntimeError(f"Daisy's server did not start ({self.error}).")


def _listening_ports() -> set[int]:
    connections: list[Any] = psutil.Process().net_connections("tcp")
    return {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}
