"""Daisy's server: hands out the blocks of all stages over TCP, in a thread of its own.

Daisy starts no workers here; they are external clients.  It puts the blocks in order:
one is handed out once the blocks that it reads are.  Its verdicts count for nothing:
what is done and what is given up, the ledgers say, through `verdict`.
"""

import logging
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import daisy
import numpy as np
import psutil
from funlib.geometry import Roi

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.errors import RunStopped
from denoise_daisy.geometry import Index
from denoise_daisy.scheduling.stage_state import Verdict

START_SECONDS = 30.0
DRAIN_SECONDS = 10.0

FOR_EVER = 2**31 - 1
"""Retries that Daisy grants: the ledger counts attempts, Daisy must not."""

logger = logging.getLogger(__name__)

_STARTING = threading.Lock()

# Daisy advises against what it is asked for.  For the whole process: filters that are
# set for a while are those of all its threads, and several may start a server at once.
warnings.filterwarnings("ignore", r"Task\(check_function=", UserWarning)

GetVerdict = Callable[[str, Index], Verdict]
"""What is to become of a block of a stage."""


class BlockServer:
    """One server from start to end; a run may need several in turn."""

    def __init__(
        self,
        stages: Sequence[Stage],
        finished: Mapping[str, np.ndarray],
        verdict: GetVerdict,
        *,
        timeout_seconds: Mapping[str, float],
        host: str,
    ) -> None:
        """Start to listen.

        `finished` tells by stage and flat index what is done, given up or orphaned now;
        `verdict` is asked in the server's thread before a block is handed out, and
        must be quick.  A worker that holds a block for longer than its stage's timeout
        kills itself.  Daisy listens on the loopback interface for a loopback host, else
        on all.

        Raises
        ------
        RunStopped
            It does not listen.
        """
        self.run_id = secrets.token_hex(16)
        self.host = host
        self.error: BaseException | None = None
        """Why the server ended early, where Daisy panicked or raised."""
        self.is_through = False
        """Whether it ended by itself: all has been done, as Daisy has heard."""
        self.is_stopped = False
        self._verdict = verdict
        self._tasks: dict[str, daisy.Task] = {}
        for stage in stages:
            mask, seconds = finished[stage.name], timeout_seconds[stage.name]
            self._tasks[stage.name] = _daisy_task(
                stage,
                f"{stage.name}.{self.run_id}",
                mask,
                partial(self._is_finished, stage),
                seconds,
            )
        self._unfinished = set(self._tasks)
        self._pipeline = _pipeline_of(stages, self._tasks)
        # Of two that start at once, neither could tell which port is its own.
        with _STARTING:
            before = _listening_ports()
            self._thread = threading.Thread(
                target=self._serve, name="daisy", daemon=True
            )
            self._thread.start()
            self.port = self._find_port(before)

    @property
    def is_alive(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    @property
    def is_serving(self) -> bool:
        """Whether it hands out blocks."""
        return self.is_alive and not self.is_stopped

    def finish(self, name: str) -> None:
        """Let Daisy see that a stage has no block left; it may be told often.

        Daisy looks at blocks only when it is asked for one.  Those behind the last one
        that was computed, which were done before, would keep their readers waiting.
        """
        if name in self._unfinished:
            self._unfinished.remove(name)
            threading.Thread(target=self._ask_once, args=[name], daemon=True).start()

    def stop(self) -> None:
        """Hand out no more blocks; those in flight may be released."""
        self.is_stopped = True

    def join(self) -> None:
        """Wait for its end, once every worker is gone or has released its block."""
        self.stop()
        # Daisy looks at blocks only when asked for one: ask, so that it sees that none
        # is left, and ends.  It answers late for a stage that waits.
        askers = [
            threading.Thread(target=self._ask, args=[name], daemon=True)
            for name in self._tasks
        ]
        for asker in askers:
            asker.start()
        self._thread.join(DRAIN_SECONDS)

    def _ask(self, name: str) -> None:
        """Until the server's end or for a while."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.is_alive and time.monotonic() < deadline:
            self._ask_once(name)
            self._thread.join(0.2)

    def _ask_once(self, name: str) -> None:
        """Ask for a block; one that comes is given back."""
        context = daisy.Context(
            hostname="127.0.0.1",
            port=self.port,
            task_id=f"{name}.{self.run_id}",
            worker_id=-1,
            logdir="",
        )
        with suppress(RuntimeError), daisy.Client(context).acquire_block() as block:
            if block is not None:
                block.status = daisy.BlockStatus.FAILED

    def _is_finished(self, stage: Stage, block: daisy.Block) -> bool:
        """Whether Daisy may take a block for done; asked before it is handed out."""
        if self.is_stopped:
            return True
        verdict = self._verdict(stage.name, stage.index_at(block.write_roi))
        if verdict is Verdict.NOT_YET:
            # What Daisy takes for done is not in the ledger: start another server.
            logger.warning("Daisy is ahead of the ledger of %s.", stage.name)
            self.stop()
        return verdict is not Verdict.HAND_OUT

    def _serve(self) -> None:
        daisy.logging.set_log_basedir(None)
        # Its clients warn, when it has ended, that they have no more to do.
        logging.getLogger("daisy").setLevel(logging.ERROR)
        try:
            daisy.Server().run_blockwise(
                self._pipeline,
                host=self.host,
                progress=False,
                summary=False,
                block_tracking=False,
            )
            self.is_through = not self.is_stopped
        except BaseException as error:  # noqa: BLE001 - Daisy's panics are no Exceptions
            self.error = error

    def _find_port(self, before: set[int]) -> int:
        """Daisy tells its port to workers that it starts, and to nobody else."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.is_alive:
            if new := _listening_ports() - before:
                return new.pop()
            time.sleep(0.005)
        why = self.error or f"it does not listen after {START_SECONDS:g} s"
        raise RunStopped(
            f"Daisy's server did not start ({why}). What is done is kept; start again"
            " to go on."
        )


def _pipeline_of(
    stages: Sequence[Stage], tasks: Mapping[str, daisy.Task]
) -> daisy.Pipeline:
    """The tasks, and which comes after which."""
    pipeline = daisy.Pipeline()
    for stage in stages:
        pipeline = pipeline | tasks[stage.name]
        for name in stage.after:
            if name in tasks:
                pipeline = pipeline | (tasks[name] + tasks[stage.name])
    return pipeline


def _listening_ports() -> set[int]:
    connections: list[Any] = psutil.Process().net_connections("tcp")
    return {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}


def _daisy_task(
    stage: Stage,
    task_id: str,
    finished: np.ndarray,
    is_finished: Callable[[daisy.Block], bool],
    timeout_seconds: float,
) -> daisy.Task:
    """A stage as Daisy has it, in voxels of the image."""
    grid, to_image = stage.grid, stage.transform.to_image
    below = grid.context + grid.stencil.stride - 1
    first = Roi(grid.volume.begin, grid.block_shape)
    task = daisy.Task(
        task_id,
        total_roi=to_image(grid.volume.grow(below, grid.context)),
        read_roi=to_image(first.grow(below, grid.context)),
        write_roi=to_image(first),
        process_function=None,
        check_function=is_finished,
        skip_mask=finished.reshape(grid.shape),
        fit="shrink",
        read_write_conflict=stage.read_write_conflict,
        max_retries=FOR_EVER,
        timeout=timeout_seconds,
    )
    if tuple(task.block_grid_shape) != grid.shape:
        raise RuntimeError(
            f"Daisy cuts {task.block_grid_shape} blocks of stage {stage.name!r},"
            f" not {grid.shape}."
        )
    return task
