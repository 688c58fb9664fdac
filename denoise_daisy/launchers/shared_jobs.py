"""Several workers in each job of a batch system."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from denoise_daisy.launchers.base import Exit
from denoise_daisy.launchers.batch import BatchLauncher
from denoise_daisy.run_dir.exit_codes import EXIT_LEFT
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.shared_jobs import (
    first_workers,
    job_of,
    read_ends,
    remove_wanted,
    worker_name,
    write_wanted,
)
from denoise_daisy.run_dir.worker_states import read_state
from denoise_daisy.waits import WAITS


@dataclass(slots=True)
class _Job:
    """A job, and which of its workers live."""

    name: str
    living: set[str]
    started: int
    """How many it had, those that have ended included."""
    killed: dict[str, float] = field(default_factory=dict)
    """Since when some that live are to be dead, by this process's clock."""
    is_told: bool = True
    """Whether it knows which are to live."""

    def add(self, count: int) -> None:
        """Others are to live as well, in names that none had."""
        for _ in range(count):
            self.started += 1
            self.living.add(worker_name(self.name, self.started))
            self.is_told = False

    def lose(self, workers: Iterable[str]) -> None:
        """They have ended; a job that is put back into the queue is to know that."""
        for worker in workers:
            self.living.remove(worker)
            self.killed.pop(worker, None)
            self.is_told = False

    def tell(self, run_dir: RunDir) -> None:
        """Tell it what it does not know."""
        if not self.is_told:
            write_wanted(run_dir, self.name, self.living - self.killed.keys())
            self.is_told = True


class SharedJobs:
    """Starts whole jobs, and other workers in those that have lost some.

    A job starts its first workers by itself, does what it is told of others, and tells
    how each ended; it lives as long as one of them does.
    """

    def __init__(self, jobs: BatchLauncher, run_dir: RunDir, per_job: int) -> None:
        """`jobs` starts jobs of so many workers as if each were one."""
        self._launcher = jobs
        self._run_dir = run_dir
        self._per_job = per_job
        self._jobs: dict[str, _Job] = {}
        self._excluded: set[str] = set()
        self._exits: list[Exit] = []
        """Of which nobody was told yet."""
        self._next_look = 0.0

    def check(self) -> None:
        """As for jobs of one worker."""
        self._launcher.check()

    def describe(self) -> str:
        """The submission of one job and its script."""
        return self._launcher.describe()

    def start(self, count: int) -> None:
        """Start no more than that many: in jobs that live, then whole jobs.

        Where none lives it is one job at least.

        Raises
        ------
        CannotStartError
            The system goes on refusing jobs, and none lives.
        """
        for job in self._living_jobs():
            missing = min(count, self._per_job - len(job.living))
            if missing > 0 and self._takes_others(job):
                job.add(missing)
                count -= missing
        self._tell()
        jobs = count // self._per_job
        if jobs or not self.living():
            self._launcher.start(max(1, jobs))

    def exclude(self, host: str) -> None:
        """No more workers there, in jobs that run neither."""
        self._excluded.add(host)
        self._launcher.exclude(host)

    def living(self) -> set[str]:
        """Workers that have not ended, of jobs that wait or run."""
        return {worker for job in self._living_jobs() for worker in job.living}

    def running(self) -> set[str]:
        """Those of jobs that run."""
        names = self._launcher.running()
        return {worker for name in names for worker in self._job(name).living}

    def ended(self) -> list[Exit]:
        """Those of which their job has told, and the others of jobs that ended."""
        jobs = self._living_jobs()
        ends = {end.worker: end for end in self._launcher.ended()}
        is_due = time.monotonic() >= self._next_look
        if is_due:
            self._next_look = time.monotonic() + WAITS.shared_job
        for job in jobs:
            end = ends.get(job.name)
            if is_due or end:
                self._exits += self._told(job, end)
            if end:
                self._exits += _ended_with(job, end, self._run_dir)
        self._cancel_stubborn()
        self._forget_gone()
        self._tell()
        exits, self._exits = self._exits, []
        return exits

    def kill(self, worker: str) -> None:
        """Tell its job to end it; the job is cancelled where that does not help."""
        job = self._job(job_of(worker))
        job.killed.setdefault(worker, time.monotonic())
        job.is_told = False
        self._tell()

    def cancel_waiting(self, begun: set[str]) -> None:
        """Cancel the jobs that have not begun."""
        self._launcher.cancel_waiting({job_of(worker) for worker in begun})
        self._forget_gone()

    def end_all(self) -> None:
        """Cancel all jobs of this run, of earlier starts as well."""
        self._launcher.end_all()
        self._forget_gone()

    def waits_for(self) -> str:
        """How many jobs wait and why."""
        return self._launcher.waits_for()

    def _living_jobs(self) -> list[_Job]:
        return [self._job(name) for name in sorted(self._launcher.living())]

    def _job(self, name: str) -> _Job:
        new = _Job(name, first_workers(name, self._per_job), self._per_job)
        return self._jobs.setdefault(name, new)

    def _takes_others(self, job: _Job) -> bool:
        """Whether it goes on, has time, and is on a host that is not excluded."""
        is_leaving = EXIT_LEFT in read_ends(self._run_dir, job.name).values()
        is_excluded = self._launcher.host(job.name) in self._excluded
        return bool(job.living) and not is_leaving and not is_excluded

    def _told(self, job: _Job, end: Exit | None) -> list[Exit]:
        """The ends of which a job has told since; `end` is its own."""
        host = end.host if end else self._launcher.host(job.name)
        codes = read_ends(self._run_dir, job.name)
        new = sorted(job.living & codes.keys())
        job.lose(new)
        return [Exit(worker, codes[worker], host=host) for worker in new]

    def _tell(self) -> None:
        for job in self._jobs.values():
            job.tell(self._run_dir)

    def _cancel_stubborn(self) -> None:
        """Cancel the jobs that have not ended a worker in time."""
        for job in self._living_jobs():
            first = min(job.killed.values(), default=math.inf)
            if time.monotonic() - first >= WAITS.job_lost:
                self._launcher.kill(job.name)

    def _forget_gone(self) -> None:
        for name in self._jobs.keys() - self._launcher.living():
            remove_wanted(self._run_dir, name)
            del self._jobs[name]


def _ended_with(job: _Job, end: Exit, run_dir: RunDir) -> list[Exit]:
    """The others, which ended with their job; its own fault counts only once.

    Too much memory is the fault of the worker that was seen to have taken most.
    """

    def peak(worker: str) -> int:
        state = read_state(run_dir, worker)
        return state.peak_mib if state else 0

    workers = sorted(job.living)
    if end.by == "memory":
        workers.sort(key=peak, reverse=True)
    ends = [replace(end, worker=worker) for worker in workers]
    if end.by == "memory" or (end.by == "itself" and end.code):
        ends[1:] = [replace(other, by="system") for other in ends[1:]]
    return ends
