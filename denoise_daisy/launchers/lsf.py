"""LSF's commands and words."""

import math
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import PositiveInt

from denoise_daisy.launchers.base import EndedBy, Exit
from denoise_daisy.launchers.batch_system import JobState, job_program, setup_lines
from denoise_daisy.launchers.workers import BatchWorkers
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.sections import Text

WAITING = {"PEND", "PSUSP", "WAIT"}
RUNNING = {"RUN", "USUSP", "SSUSP", "PROV"}
UNREACHABLE = {"UNKWN", "ZOMBI"}

ENDED_BY_CODE: dict[str, EndedBy] = {
    "130": "system",
    "140": "walltime",
    "143": "system",
}
"""Who ended a job with such an exit code: bkill sends SIGINT (2) and SIGTERM (15), the
run limit SIGUSR2 (12)."""

LAST_SIGNAL = 64
"""A higher exit code than that of this signal is a program's own."""

COLUMNS = "job_name jobid jobindex stat exit_code exec_host exit_reason delimiter='^'"


class LsfWorkers(BatchWorkers):
    """Workers as jobs of LSF; its options under their own names."""

    kind: Literal["lsf"]
    """Where workers run."""

    queue: Text | None = None
    """LSF's -q; null: the cluster's default."""

    project: Text | None = None
    """LSF's -P."""

    walltime_minutes: PositiveInt | None = None
    """LSF's -W; null: the queue's default.  Workers leave before and are replaced."""

    cores: PositiveInt = 1
    """LSF's -n on one host for each worker of a job, and the threads of ndsafir in one
    worker, on which the result does not depend unless denoise.engine is ndsafir."""

    @property
    def threads(self) -> int:
        """The cores that its job asks for on its account."""
        return self.cores

    @property
    def walltime_seconds(self) -> float | None:
        """LSF's -W; None where it is the queue's default."""
        return self.walltime_minutes * 60 if self.walltime_minutes else None

    @property
    def walltime_key(self) -> str:
        """As the config names it."""
        return "workers.walltime_minutes"

    def system(self, run_dir: RunDir, job_name: str, task: str) -> "Lsf":
        """Jobs of LSF."""
        return Lsf(self, run_dir, job_name, task)


def own_job(environment: Mapping[str, str]) -> str:
    """The job of LSF that this process is in, as its commands name it."""
    job, index = environment.get("LSB_JOBID", ""), environment.get("LSB_JOBINDEX", "0")
    return f"{job}[{index}]" if job and index != "0" else job


@dataclass(frozen=True, slots=True)
class Lsf:
    """The workers of one run as jobs of LSF."""

    workers_config: LsfWorkers
    run_dir: RunDir
    job_name: str
    """Of this run alone, so that its jobs can be found again."""
    task: str = ""
    """The task that the workers are for; empty: all without workers of their own."""

    @property
    def name(self) -> str:
        """As people call it."""
        return "LSF"

    @property
    def private_variables(self) -> tuple[str, ...]:
        """What belongs to the job that submits."""
        return ("LSB_", "LS_JOBPID")

    @property
    def kept_variables(self) -> tuple[str, ...]:
        """All that its commands need has other prefixes."""
        return ()

    @property
    def none_found(self) -> tuple[str, ...]:
        """Where nothing of the name is queued, runs or ended within CLEAN_PERIOD."""
        return (
            r"^Job <.*> is not found",
            r"^No (unfinished |matching )?job found",
            r"^Job <.*>: Job has already finished",
        )

    def script(self) -> str:
        """The job: set up, then become the worker, so that signals reach it."""
        run_dir = shlex.quote(str(self.run_dir.path))
        logs = shlex.quote(str(self.run_dir.logs))
        module, log = job_program(self.workers_config.per_job)
        minutes = self.workers_config.walltime_minutes
        lifetime = f"$(($(date +%s) + {minutes * 60}))" if minutes else "0"
        task = f" --task={self.task}" if self.task else ""
        return f"""#!/bin/bash
_denoise_daisy_name=lsf-$LSB_JOBID-$LSB_JOBINDEX
_denoise_daisy_ends_at={lifetime}
(umask 077; : >>{logs}/"$_denoise_daisy_name"{log})
exec >>{logs}/"$_denoise_daisy_name"{log} 2>&1
{setup_lines(self.workers_config.environment)}
exec {shlex.quote(sys.executable)} -m {module} {run_dir} \\
    --name "$_denoise_daisy_name"{task} --ends-at "$_denoise_daisy_ends_at"
"""

    def submit_command(self, count: int, excluded: Sequence[str] = ()) -> list[str]:
        """Bsub with a job array; the script comes on standard input."""
        workers = self.workers_config
        mib = math.ceil(workers.per_job * workers.memory_gib * 1024)
        slots = workers.per_job * workers.cores
        command = ["bsub", "-J", f"{self.job_name}[1-{count}]"]
        command += ["-n", str(slots), "-R", "span[hosts=1]"]
        command += ["-M", f"{mib}MB", "-R", f"rusage[mem={mib}MB]"]
        for host in excluded:
            command += ["-R", f"select[hname!='{host}']"]
        if workers.walltime_minutes:
            command += ["-W", str(workers.walltime_minutes)]
        if workers.queue:
            command += ["-q", workers.queue]
        if workers.project:
            command += ["-P", workers.project]
        # The script has a log of its own; LSF's would come after the end, by mail.
        return [*command, "-o", os.devnull, *workers.extra_args]

    def check_command(self) -> list[str] | None:
        """LSF has no dry run."""
        return None

    def job_id(self, output: str) -> str | None:
        """``Job <123> is submitted to queue <normal>.``, after a site's notices."""
        found = re.search(r"Job <(\d+)>", output)
        return found[1] if found else None

    def workers(self, job_id: str, count: int) -> list[str]:
        """One per array element, counted from 1."""
        return [f"lsf-{job_id}-{i}" for i in range(1, count + 1)]

    def poll_command(self) -> list[str]:
        """All jobs in one call, finished ones as well while LSF remembers them.

        The name of an array's job goes on with its index.
        """
        return ["bjobs", "-a", "-noheader", "-o", COLUMNS, "-J", f"{self.job_name}*"]

    def states(self, output: str) -> dict[str, JobState]:
        """A line per job, ``-`` for an empty field.

        Names of other pools of the run may begin with that of this one.
        """
        states = {}
        for line in output.splitlines():
            name, *fields = line.strip().split("^", maxsplit=6)
            if len(fields) == 6 and name.partition("[")[0] == self.job_name:
                job, index, *words = fields
                worker = f"lsf-{job}-{index}"
                states[worker] = _state(worker, *words)
        return states

    def cancel_commands(self, workers: Sequence[str]) -> list[list[str]]:
        """SIGKILL for what runs, then off the queue; never without a job id."""
        jobs = ["{}[{}]".format(*worker.split("-")[1:]) for worker in workers]
        return [["bkill", "-s", "KILL", *jobs], ["bkill", *jobs]]

    def sweep_commands(self) -> list[list[str]]:
        """The same for all jobs of the run's name."""
        every = ["-J", f"{self.job_name}*", "0"]
        return [["bkill", "-s", "KILL", *every], ["bkill", *every]]


def _state(worker: str, stat: str, code: str, hosts: str, reason: str) -> JobState:
    # Such as 4*n7, or n7:n7: all its cores are on one.
    host = hosts.partition(":")[0].rpartition("*")[2].removeprefix("-")
    if stat in WAITING:
        return JobState("waits")
    if stat in RUNNING:
        return JobState("runs", host=host)
    if stat in UNREACHABLE:
        return JobState("unreachable", host=host)
    by = _ended_by(code, reason) if stat == "EXIT" else "itself"
    if by != "itself":
        why = f"{stat} {code}, {reason}"
        return JobState("ended", Exit(worker, None, why, by, host))
    number = int(code) if code.isdigit() else int(stat == "EXIT")
    is_signal = 128 < number <= 128 + LAST_SIGNAL
    number = 128 - number if is_signal else number
    return JobState("ended", Exit(worker, number, host=host))


def _ended_by(code: str, reason: str) -> EndedBy:
    """Who ended a job; a site that gives no reason leaves only the code."""
    if "TERM_MEMLIMIT" in reason:
        return "memory"
    if "TERM_RUNLIMIT" in reason:
        return "walltime"
    if "TERM_" in reason:
        return "system"
    return ENDED_BY_CODE.get(code, "itself")
