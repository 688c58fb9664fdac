"""Who computes the blocks, as the config says: what all kinds of workers share."""

import math
from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from denoise_daisy.amounts import GIB
from denoise_daisy.blockwise.limits import Limits
from denoise_daisy.errors import InputError
from denoise_daisy.forecast import Hands
from denoise_daisy.launchers.base import Launcher
from denoise_daisy.launchers.batch import BatchLauncher
from denoise_daisy.launchers.batch_system import BatchSystem, job_name
from denoise_daisy.launchers.shared_jobs import SharedJobs
from denoise_daisy.machine import own_address
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.sections import FinitePositive, Section, Text

Count = Annotated[NonNegativeInt, Field(le=100_000)]


class AnyWorkers(Section):
    """What holds for workers wherever they run."""

    kind: str
    """Where workers run."""

    block_timeout_minutes: FinitePositive = 240
    """A block that takes longer is stopped and tried again."""

    max_retries: NonNegativeInt = 3
    """How often a failed block is tried again before it is given up."""

    @property
    def number(self) -> int:
        """Number of workers."""
        raise NotImplementedError

    @property
    def threads(self) -> int:
        """Threads of the denoiser in one worker."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        """Name or address at which they find the scheduler."""
        raise NotImplementedError

    def hands(self, running: int) -> Hands:
        """Those to be counted on where so many run; a queue may let them wait."""
        return Hands(least=running, most=max(running, self.number))

    @property
    def walltime_seconds(self) -> float | None:
        """What a worker's job gets; None where no limit is known."""
        return None

    @property
    def walltime_key(self) -> str:
        """The key of the config that sets it."""
        return ""

    def jobs_of(self, workers: int) -> str:
        """How so many workers share jobs, in words; empty where none does."""
        del workers
        return ""

    def resolved(self, *, shares_threads: bool, blocks: float) -> "AnyWorkers":
        """The same with the numbers that this machine decides.

        `shares_threads` is that of the denoiser, `blocks` how many it has at most.
        """
        del shares_threads, blocks
        return self

    def memory(self, wanted: float | Literal["auto"]) -> int:
        """Bytes that one worker may take, where `blocks.memory_gib` is so.

        Raises
        ------
        InputError
            It is more than there is.
        """
        raise NotImplementedError

    @property
    def more_memory(self) -> str:
        """What to do in the config for more memory of each."""
        raise NotImplementedError

    def limits(self, wanted: float | Literal["auto"], task: str) -> Limits:
        """What a block of theirs may take; `task` as in `launcher`.

        Raises
        ------
        InputError
            The memory is more than there is.
        """
        times = {"workers.block_timeout_minutes": self.block_timeout_minutes * 60}
        if self.walltime_seconds is not None:
            times[self.walltime_key] = self.walltime_seconds
        key = min(times, key=lambda name: times[name])
        whose = f" of task {task!r}" if task else ""
        return Limits(
            memory=self.memory(wanted),
            more_memory=(
                f"{self.more_memory.capitalize()}{whose}"
                if task
                else f"Raise blocks.memory_gib, {self.more_memory}"
            ),
            seconds=times[key],
            seconds_key=key + whose,
        )

    def launcher(self, run_dir: RunDir, run_id: str, task: str) -> Launcher:
        """What starts them; `task` is the one that they are for, if not the run."""
        raise NotImplementedError


class BatchWorkers(AnyWorkers):
    """What holds for workers that are jobs of a batch system, on other machines."""

    count: Count
    """Number of workers; 0: only manually started ones."""

    per_job: PositiveInt = 1
    """Workers in one job, which asks for so many times their CPUs and memory."""

    memory_gib: FinitePositive = 4
    """Memory of one worker; blocks are cut to fit it, or blocks.memory_gib."""

    extra_args: tuple[str, ...] = ()
    """Passed to the command that submits, as they are."""

    environment: str | None = None
    """Shell before the worker starts: module load, source venv/bin/activate."""

    host: Text | None = None
    """Name or address of this machine as the nodes see it; null: found."""

    @field_validator("per_job")
    @classmethod
    def _jobs_are_whole(cls, per_job: int, found: ValidationInfo) -> int:
        count = found.data.get("count", 0)
        if count % per_job:
            raise ValueError(f"a number that divides workers.count, which is {count}")
        return per_job

    @property
    def number(self) -> int:
        """As asked for."""
        return self.count

    @property
    def address(self) -> str:
        """Of this machine as the nodes see it."""
        return self.host or own_address()

    def jobs_of(self, workers: int) -> str:
        """In words; empty where each has a job of its own."""
        if self.per_job == 1:
            return ""
        jobs = math.ceil(workers / self.per_job)
        return f" in {jobs} {'job' if jobs == 1 else 'jobs'} of {self.per_job}"

    @property
    def more_memory(self) -> str:
        """What a job asks for."""
        return "raise workers.memory_gib"

    def memory(self, wanted: float | Literal["auto"]) -> int:
        """What the job asks for, or less."""
        if wanted == "auto":
            return int(self.memory_gib * GIB)
        if wanted > self.memory_gib:
            raise InputError(
                f"blocks.memory_gib is {wanted:g}, but a worker's job asks for"
                f" workers.memory_gib {self.memory_gib:g} only. Raise that, or leave"
                " blocks.memory_gib at auto."
            )
        return int(wanted * GIB)

    def launcher(self, run_dir: RunDir, run_id: str, task: str) -> Launcher:
        """Jobs of a name of this run alone, which begins with that of its own pool."""
        name = job_name(run_dir.output.name, run_id, task)
        jobs = BatchLauncher(self.system(run_dir, name, task))
        return jobs if self.per_job == 1 else SharedJobs(jobs, run_dir, self.per_job)

    def system(self, run_dir: RunDir, job_name: str, task: str) -> BatchSystem:
        """The commands and words of the batch system, for these workers."""
        raise NotImplementedError
