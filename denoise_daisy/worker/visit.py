"""A worker's time with one run: its stages, loaded, and the loop that does blocks."""

import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.errors import RefusedError
from denoise_daisy.resolved.resolve import check_input, restore
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.connection import Connection, read_ready
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.worker.block_requester import Assignments
from denoise_daisy.worker.loop import JobTime, WorkerLoop
from denoise_daisy.worker.presence import Presence
from denoise_daisy.worker.recording import BlockRecorder

logger = logging.getLogger(__name__)


class NoSuchTaskError(RefusedError):
    """The run has no stage for workers of that pool."""


@dataclass(frozen=True)
class Visit:
    """One run, as a worker of it has it."""

    run_dir: RunDir
    stages: dict[str, Stage]
    """Those that this worker does, all they need loaded."""
    loop: WorkerLoop
    recorder: BlockRecorder
    epoch: int
    """That of the scheduler's start."""

    @classmethod
    def begin(
        cls,
        run_dir: RunDir,
        presence: Presence,
        assignments: Assignments,
        job_time: JobTime,
        idle_seconds: float,
    ) -> Self | None:
        """Load what the run's blocks need; None where no scheduler is at work on it.

        Raises
        ------
        InputError, RefusedError
            This process can't work for it.
        """
        connection, record = Connection.read(run_dir), RunRecord.read(run_dir)
        if not (connection and record):
            return None
        resolved = restore(record, run_dir)
        check_input(resolved, record)
        stages = _own_stages(resolved, record, presence.pool)
        presence.run_id = resolved.id
        recorder = BlockRecorder(resolved, stages, presence, connection.epoch)
        loop = WorkerLoop(
            run_dir,
            list(stages),
            recorder,
            assignments,
            job_time=job_time,
            idle_seconds=idle_seconds,
        )
        return cls(run_dir, stages, loop, recorder, connection.epoch)

    def connection(self) -> Connection | None:
        """Where that start's server listens now; None where it is over."""
        found = Connection.read(self.run_dir)
        return found if found and found.epoch == self.epoch else None

    def end(self) -> None:
        """Release what was loaded, and files."""
        self.recorder.close()
        for stage in self.stages.values():
            try:
                stage.unload()
            except BaseException:
                logger.exception("The teardown of %s failed.", stage.name)


def on_signals(leave_soon: Callable[[int, object], None]) -> None:
    """What is done when a batch system, or a person, asks this process to leave."""
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, leave_soon)


def _own_stages(
    resolved: ResolvedRun, record: RunRecord, pool: str
) -> dict[str, Stage]:
    """The stages of this worker's pool that are being done, all they need loaded.

    Raises
    ------
    RefusedError
        There are none, or they are others than when the scheduler started.
    """
    stages = [s for s in resolved.stages if resolved.pool_of(s).name == pool]
    if not stages:
        raise NoSuchTaskError(
            f"The run has no task {pool!r} with workers of its own. Leave --task away"
            " to serve all tasks without."
        )
    asked = read_ready(resolved.run_dir)
    own = {s.name: s for s in stages if asked is None or s.name in asked}
    for name, stage in own.items():
        kept = record.stages.get(name)
        if kept is None or kept.parameters != stage.parameters:
            raise RefusedError(
                f"What {name} computes has changed since the run was started. Start the"
                " run again, so that its blocks are done again."
            )
        stage.load()
    return own
