"""Who computes the blocks: processes here, or jobs of a batch system."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from denoise_daisy.config.sections import FinitePositive, Section, Text

Count = Annotated[NonNegativeInt, Field(le=100_000)]


def _slurm_time(value: str) -> str:
    slurm_seconds(value)
    return value


def slurm_seconds(time: str) -> int:
    """Seconds of Slurm's time formats: M, M:S, H:M:S, D-H, D-H:M and D-H:M:S."""
    days, dash, clock = time.rpartition("-")
    parts = clock.split(":")
    numeric = all(p.isdecimal() for p in (*parts, days or "0"))
    if not numeric or len(parts) > 3 or (dash and not days):
        raise ValueError('a time of Slurm, such as "90", "8:00:00" or "2-0"')
    numbers = [int(part) for part in parts]
    if dash or len(numbers) == 3:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    else:
        hours, minutes, seconds = 0, *(*numbers, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


class AnyWorkers(Section):
    """What holds for workers wherever they run."""

    block_timeout_minutes: FinitePositive = 240
    """A block that takes longer is stopped and tried again."""

    max_retries: NonNegativeInt = 3
    """How often a failed block is tried again before it is given up."""


class LocalWorkers(AnyWorkers):
    """Worker processes on this machine."""

    kind: Literal["local"] = "local"
    """Where workers run."""

    count: Count | Literal["auto"] = "auto"
    """Number of workers; auto: cores / threads_per_worker; 0: only such as are started
    by hand."""

    threads_per_worker: PositiveInt | Literal["auto"] = 1
    """Threads of ndsafir in one worker.  With 1 the result does not depend on workers
    and blocks; with more, ndsafir repeats itself only to about 3e-4 grey levels.
    auto: cores / count."""


class SlurmWorkers(AnyWorkers):
    """Workers as jobs of Slurm; its options under their own names."""

    kind: Literal["slurm"]
    """Where workers run."""

    count: Count
    """Number of workers; 0: only such as are started by hand."""

    partition: Text | None = None
    """Slurm's --partition; null: the cluster's default."""

    account: Text | None = None
    """Slurm's --account."""

    qos: Text | None = None
    """Slurm's --qos."""

    time: Annotated[str, AfterValidator(_slurm_time)] | None = None
    """Slurm's --time, such as "8:00:00" or "2-0"; null: the partition's default.
    Workers leave before it and are replaced."""

    cpus_per_task: PositiveInt = 1
    """Slurm's --cpus-per-task, and the threads of ndsafir in one worker."""

    memory_gib: FinitePositive = 4
    """Memory of one worker; blocks are cut to fit it, or blocks.memory_gib."""

    constraint: Text | None = None
    """Slurm's --constraint."""

    nodelist: Text | None = None
    """Slurm's --nodelist."""

    exclude: Text | None = None
    """Slurm's --exclude."""

    extra_args: tuple[str, ...] = ()
    """Passed to sbatch as they are."""

    environment: str | None = None
    """Shell before the worker starts: module load, source venv/bin/activate."""

    host: Text | None = None
    """Name or address of this machine as the nodes see it; null: found."""


class LsfWorkers(AnyWorkers):
    """Workers as jobs of LSF; its options under their own names."""

    kind: Literal["lsf"]
    """Where workers run."""

    count: Count
    """Number of workers; 0: only such as are started by hand."""

    queue: Text | None = None
    """LSF's -q; null: the cluster's default."""

    project: Text | None = None
    """LSF's -P."""

    walltime_minutes: PositiveInt | None = None
    """LSF's -W; null: the queue's default.  Workers leave before and are replaced."""

    cores: PositiveInt = 1
    """LSF's -n on one host, and the threads of ndsafir in one worker."""

    memory_gib: FinitePositive = 4
    """Memory of one worker; blocks are cut to fit it, or blocks.memory_gib."""

    extra_args: tuple[str, ...] = ()
    """Passed to bsub as they are."""

    environment: str | None = None
    """Shell before the worker starts: module load, source venv/bin/activate."""

    host: Text | None = None
    """Name or address of this machine as the nodes see it; null: found."""


Workers = Annotated[
    LocalWorkers | SlurmWorkers | LsfWorkers, Field(discriminator="kind")
]
