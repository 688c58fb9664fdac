"""Slurm's commands and words."""

import math
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, PositiveInt

from denoise_daisy.launchers.base import EndedBy, Exit
from denoise_daisy.launchers.batch_system import JobState, job_program, setup_lines
from denoise_daisy.launchers.workers import BatchWorkers
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.sections import Text

WAITING = {
    *("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD"),
    *("RESV_DEL_HOLD", "SPECIAL_EXIT"),
}
UNREACHABLE = {"COMPLETING"}
"""States of a job that is to have ended, which its node has not confirmed."""
OWN_END = {"COMPLETED", "FAILED"}
OTHER_END = {
    *("BOOT_FAIL", "CANCELLED", "DEADLINE", "LAUNCH_FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"),
}
OUT_OF_TIME = {"DEADLINE", "TIMEOUT"}
"""States of a job that has ended; in all that are named nowhere here it lives."""

WARNING_SECONDS = 60
"""How long before the time limit Slurm tells a worker."""

COLUMNS = "JobArrayID:64,State:32,exit_code:16,Reason:64,BatchHost:64"


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


class SlurmWorkers(BatchWorkers):
    """Workers as jobs of Slurm; its options under their own names."""

    kind: Literal["slurm"]
    """Where workers run."""

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
    """Slurm's --cpus-per-task for each worker of a job, and the threads of ndsafir in
    one worker, on which the result does not depend unless denoise.engine is ndsafir."""

    constraint: Text | None = None
    """Slurm's --constraint."""

    nodelist: Text | None = None
    """Slurm's --nodelist."""

    exclude: Text | None = None
    """Slurm's --exclude."""

    @property
    def threads(self) -> int:
        """The CPUs that its job asks for on its account."""
        return self.cpus_per_task

    @property
    def walltime_seconds(self) -> float | None:
        """Slurm's --time; None where there is no limit, or the partition's."""
        return (slurm_seconds(self.time) if self.time else 0) or None

    @property
    def walltime_key(self) -> str:
        """As the config names it."""
        return "workers.time"

    def system(self, run_dir: RunDir, job_name: str, task: str) -> "Slurm":
        """Jobs of Slurm."""
        return Slurm(self, run_dir, job_name, task)


def own_job(environment: Mapping[str, str]) -> str:
    """The job of Slurm that this process is in, as its commands name it."""
    array, task = (environment.get(f"SLURM_ARRAY_{w}_ID") for w in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else environment.get("SLURM_JOB_ID", "")


@dataclass(frozen=True, slots=True)
class Slurm:
    """The workers of one run as jobs of Slurm."""

    workers_config: SlurmWorkers
    run_dir: RunDir
    job_name: str
    """Of this run alone, so that its jobs can be found again."""
    task: str = ""
    """The task that the workers are for; empty: all without workers of their own."""

    @property
    def name(self) -> str:
        """As people call it."""
        return "Slurm"

    @property
    def private_variables(self) -> tuple[str, ...]:
        """What `sbatch` reads as options, or would pass on."""
        return ("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_", "SCANCEL_", "PMI")

    @property
    def kept_variables(self) -> tuple[str, ...]:
        """Where Slurm is."""
        return ("SLURM_CONF",)

    @property
    def none_found(self) -> tuple[str, ...]:
        """An empty list is no error."""
        return ()

    def script(self) -> str:
        """The job: set up, then become the worker, so that signals reach it."""
        run_dir = shlex.quote(str(self.run_dir.path))
        logs = shlex.quote(str(self.run_dir.logs))
        module, log = job_program(self.workers_config.per_job)
        task = f" --task={self.task}" if self.task else ""
        return f"""#!/bin/bash
_denoise_daisy_name=slurm-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID
(umask 077; : >>{logs}/"$_denoise_daisy_name"{log})
exec >>{logs}/"$_denoise_daisy_name"{log} 2>&1
{setup_lines(self.workers_config.environment)}
job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
ends_at=${{SLURM_JOB_END_TIME:-}}
if [ -z "$ends_at" ]; then
    end=$(squeue -h -j "$job" -o %e)
    [ -z "$end" ] || ends_at=$(date -d "$end" +%s)
fi
exec {shlex.quote(sys.executable)} -m {module} {run_dir} \\
    --name "$_denoise_daisy_name"{task} --ends-at "${{ends_at:-0}}"
"""

    def submit_command(self, count: int, excluded: Sequence[str] = ()) -> list[str]:
        """Sbatch with a job array; the script comes on standard input."""
        array = f"--array=0-{count - 1}"
        return ["sbatch", "--parsable", array, *self._options(excluded)]

    def check_command(self) -> list[str] | None:
        """Sbatch's own dry run."""
        return ["sbatch", "--test-only", *self._options()]

    def job_id(self, output: str) -> str | None:
        """``ID`` or ``ID;CLUSTER``, on the last line."""
        words = output.split()
        job_id = words[-1].partition(";")[0] if words else ""
        return job_id if job_id.isdigit() else None

    def workers(self, job_id: str, count: int) -> list[str]:
        """One per array element, named as in the script."""
        return [f"slurm-{job_id}-{i}" for i in range(count)]

    def poll_command(self) -> list[str]:
        """All jobs in one call, finished ones as well while Slurm remembers them.

        Slurm itself picks out those of a user; without one it sends all that it has.
        """
        whose = [f"--user={os.getuid()}", f"--name={self.job_name}"]
        return ["squeue", "-h", "-r", "-t", "all", *whose, "-O", COLUMNS]

    def states(self, output: str) -> dict[str, JobState]:
        """Lines of fixed columns; what is no element of an array is none of ours."""
        states = {}
        for line in output.splitlines():
            job, state, status, reason, host = (
                line[begin:end].strip()
                for begin, end in pairwise((0, 64, 96, 112, 176, None))
            )
            if re.fullmatch(r"\d+_\d+", job):
                worker = f"slurm-{job.replace('_', '-')}"
                states[worker] = _state(worker, state, status, reason, host)
        return states

    def cancel_commands(self, workers: Sequence[str]) -> list[list[str]]:
        """SIGKILL for what runs, then off the queue.

        A plain cancel sends SIGTERM, and SIGKILL only after the cluster's KillWait.
        """
        jobs = ["_".join(worker.split("-")[1:]) for worker in workers]
        return [["scancel", self._reach, "--signal=KILL", *jobs], ["scancel", *jobs]]

    def sweep_commands(self) -> list[list[str]]:
        """The same for all jobs of the run's name, those that wait first."""
        name = f"--name={self.job_name}"
        return [
            ["scancel", "--state=PENDING", name],
            ["scancel", self._reach, "--signal=KILL", name],
            ["scancel", name],
        ]

    @property
    def _reach(self) -> str:
        """Whom a signal reaches: the script, which has become the worker, or all."""
        return "--batch" if self.workers_config.per_job == 1 else "--full"

    def _options(self, excluded: Sequence[str] = ()) -> list[str]:
        workers = self.workers_config
        given_hosts = [workers.exclude] if workers.exclude else []
        options = {
            "job-name": self.job_name,
            "ntasks": 1,
            "cpus-per-task": workers.per_job * workers.cpus_per_task,
            "mem": f"{math.ceil(workers.per_job * workers.memory_gib * 1024)}M",
            "time": workers.time,
            "partition": workers.partition,
            "account": workers.account,
            "qos": workers.qos,
            "constraint": workers.constraint,
            "nodelist": workers.nodelist,
            "exclude": ",".join([*given_hosts, *excluded]) or None,
            # The script has a log of its own; %-signs in a path would be replaced here.
            "output": os.devnull,
            "signal": f"B:USR1@{WARNING_SECONDS}",
        }
        given = [f"--{k}={v}" for k, v in options.items() if v is not None]
        # A requeued job waits for minutes; the pool submits a new one instead.
        return [*given, "--no-requeue", *workers.extra_args]


def _state(worker: str, state: str, status: str, reason: str, host: str) -> JobState:
    if state in WAITING:
        return JobState("waits", reason=reason)
    if state in UNREACHABLE:
        return JobState("unreachable", host=host)
    if state in OWN_END:
        return JobState("ended", Exit(worker, _exit_code(status), state, host=host))
    if state == "OUT_OF_MEMORY":
        return JobState("ended", Exit(worker, None, state, "memory", host))
    if state in OTHER_END:
        by: EndedBy = "walltime" if state in OUT_OF_TIME else "system"
        return JobState("ended", Exit(worker, None, f"{state}, {reason}", by, host))
    return JobState("runs", host=host)


def _exit_code(status: str) -> int:
    """Of a raw wait status; 1 of one that tells of no end."""
    try:
        return os.waitstatus_to_exitcode(int(status))
    except (ValueError, OverflowError):
        return 1
