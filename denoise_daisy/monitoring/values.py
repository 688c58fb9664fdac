"""How far a run is, as values: what `status`, the page of a run and programs show."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from denoise_daisy.forecast import TimeLeft
from denoise_daisy.reports.notebook import Shown

State = Literal["running", "done", "failed", "stopped"]
"""A scheduler is at work; all blocks are done; all others are, but some failed for
good; none is at work and blocks are left."""

LEFT, RUNNING, DONE, FAILED, ORPHANED = range(5)
"""What a block is, in `StageStatus.states`; failed is what failed last and was not done
since, unless somebody is at it again, orphaned what can't be done because what it reads
has failed for good, or all of its stage was given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedBlock:
    """A block that failed last, and was not done since."""

    stage: str
    block: tuple[int, ...]
    """Position in the grid, ``(t, z, y, x)``."""
    attempts: int
    """That failed in the start that failed it last."""
    is_given_up: bool
    """Whether that start tries it no more; each start tries all of them again."""
    reason: str
    error: str
    """With the place where it came up, if that is in code of the user's."""
    where: str | None
    """File, line and function where the user's own code failed; null where the error
    is not of such code."""
    traceback: str | None
    traceback_file: str | None
    """Where the last attempt's traceback is kept; null where that could not be."""
    worker: str
    host: str
    time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowBlock:
    """One of the blocks of a stage that took longest."""

    stage: str
    block: tuple[int, ...]
    seconds: float
    worker: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerNow:
    """What a worker says of itself."""

    worker: str
    host: str
    pid: int
    job: str | None
    """Of its batch system."""
    pool: str
    """The task whose own worker it is; empty for those of the run."""
    stage: str
    block: tuple[int, ...] | None
    """What it is at; null while it waits."""
    seconds: float
    """Since it took the block, or began to wait."""
    peak_mib: int
    done: int
    """Blocks that it has done since this start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStatus:
    """One stage of a run."""

    name: str
    task: str
    reads: tuple[str, ...]
    """The stages that it reads; none: the image."""
    grid: tuple[int, ...]
    """Blocks along ``(t, z, y, x)``."""
    block_shape: tuple[int, ...]
    """Voxels of a block, ``(t, z, y, x)``, of the stage's own level."""
    blocks: int
    done: int
    running: int
    failed: int
    orphaned: int
    given_up: str
    """Why the latest start does no more of it, so that what is left of it is orphaned;
    empty where that is not so."""
    left: int
    """Neither done nor failed nor orphaned; of those running, all that have not failed
    before are among them."""
    as_is: int
    """Of those done, how many were written as they are, and not computed."""
    is_deleted: bool
    """Whether it was deleted for good, since all that reads it is done."""
    seconds: float | None
    """Mean of the blocks done since this start; null before the first."""
    states: np.ndarray = field(repr=False)
    """`LEFT`, `RUNNING`... of each block, by flat index, as uint8; not in the JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """Who schedules a run."""

    host: str
    pid: int
    started: str
    heartbeat_seconds: float
    """Since its last sign of life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus(Shown):
    """How far a run is, from its files alone."""

    output: str
    run_dir: str
    state: State
    start: int
    """The number of its latest start."""
    scheduler: Scheduler | None
    """Null where none is at work."""
    share: float
    """Of its work, in time, how much is done, from 0 to 1."""
    time_left: TimeLeft | None
    """Null where none is at work, or nothing is known yet."""
    elapsed_seconds: float | None
    """Since this start began, till now or till its last line in the ledgers."""
    voxels_per_second: float | None
    """Denoised since this start, of the time in which blocks were denoised."""
    stages: tuple[StageStatus, ...]
    workers: tuple[WorkerNow, ...]
    waits_for: str
    """What it waits for, in words, where no worker is at a block; else empty."""
    failures: tuple[FailedBlock, ...]
    slowest: tuple[SlowBlock, ...]
    engines: Mapping[str, int]
    """Blocks of the denoising, by what computed them."""
    as_is_because: str
    """Why blocks were written as they are, where any were."""
    clipped: int
    """Voxels clipped to the range of the output's type."""
    noise: str
    """The noise numbers in words; empty where the denoiser needs none."""
    warnings: tuple[str, ...]
    input_problem: str
    """What is wrong with the input now; empty where nothing is."""
    unreadable: tuple[str, ...]
    """Files of ledgers with lines that were left out."""

    def __str__(self) -> str:
        from denoise_daisy.monitoring.text import status_text  # noqa: PLC0415 - above

        return status_text(self)

    @property
    def is_over(self) -> bool:
        """Whether nothing goes on any more."""
        return self.scheduler is None
