"""Workers as jobs of a batch system: few submissions, civil polls, nothing left behind.

The batch systems differ in commands and words only; a `BatchSystem` knows these, as
pure text, and this module runs them.
"""

import logging
import os
import shlex
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from denoise_daisy.errors import InputError
from denoise_daisy.launchers.base import CannotStartError, Exit
from denoise_daisy.waits import WAITS

ABSENCES = 2
"""Polls in a row that must not name a job before it counts as gone."""

MOST_REFUSALS = 20
"""Submissions refused in a row, over a quarter of an hour, that end a run without any
worker."""

MOST_JOBS = 500
"""Jobs in one submission; array sizes are limited to about 1000 by default."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobState:
    """What the batch system says of one job."""

    phase: Literal["waits", "runs", "ended"]
    exit: Exit | None = None
    """How it ended."""
    reason: str = ""
    """Why it waits."""


class BatchSystem(Protocol):
    """Commands and words of a batch system, as text; nothing is run here."""

    @property
    def name(self) -> str:
        """As people call it."""

    @property
    def private_variables(self) -> tuple[str, ...]:
        """Prefixes of environment variables that must not reach its commands."""

    @property
    def forgotten(self) -> str:
        """What it says of jobs that it does not know any more."""

    def script(self) -> str:
        """The job: one worker."""

    def submit_command(self, count: int, excluded: Sequence[str] = ()) -> list[str]:
        """Submit the script on standard input as an array of that many jobs.

        They do not run on the excluded hosts.
        """

    def check_command(self) -> list[str] | None:
        """As `submit_command`, to be told only whether it would be accepted."""

    def job_id(self, output: str) -> str | None:
        """The job id in what the submission printed."""

    def workers(self, job_id: str, count: int) -> list[str]:
        """Names of the workers of a submission."""

    def poll_command(self, job_ids: Sequence[str]) -> list[str]:
        """Ask for the state of all jobs at once."""

    def states(self, output: str) -> dict[str, JobState]:
        """The answer, by worker."""

    def cancel_commands(self, workers: Sequence[str]) -> list[list[str]]:
        """End these workers at once, running or not."""

    def sweep_commands(self) -> list[list[str]]:
        """End whatever jobs of this run there are, by their name."""


class BatchLauncher:
    """Workers are jobs of a batch system."""

    def __init__(self, system: BatchSystem) -> None:
        self._system = system
        self._jobs: dict[str, str] = {}
        self._states: dict[str, JobState] = {}
        self._absent: Counter[str] = Counter()
        self._pause = WAITS.poll
        self._next_poll = 0.0
        self._refusals = 0
        self._excluded: set[str] = set()

    def check(self) -> None:
        """Ask whether the system would take our jobs.

        Raises
        ------
        InputError
            It would not; the message has its own words.
        """
        command = self._system.check_command()
        if command is None:
            return
        done = _run(self._system, command, self._system.script())
        if done is None or done.returncode:
            said = done.stderr.strip() if done else "no answer"
            raise InputError(
                f"{self._system.name} would not take the workers' jobs: {said} Correct"
                f" `workers` in the config. The command was: {' '.join(command)}"
            )

    def describe(self) -> str:
        """The submission of one worker and its job script."""
        command = shlex.join(self._system.submit_command(1))
        return f"{command} <<'JOB'\n{self._system.script()}JOB"

    def start(self, count: int) -> None:
        """Submit an array of jobs; where the system refuses, the next try is later."""
        count = min(count, MOST_JOBS)
        command = self._system.submit_command(count, sorted(self._excluded))
        done = _run(self._system, command, self._system.script())
        job_id = self._system.job_id(done.stdout) if done else None
        if done is None or done.returncode or job_id is None:
            said = done.stderr.strip() if done else "no answer"
            logger.warning("%s took no jobs: %s", self._system.name, said)
            self._refusals += 1
            if self._refusals >= MOST_REFUSALS and not self._jobs:
                raise CannotStartError(
                    f"{self._system.name} refuses the workers' jobs: {said} What is"
                    " done is kept. Correct `workers` in the config and start again."
                )
            return
        self._refusals = 0
        logger.info("Submitted %d workers as job %s", count, job_id)
        for worker in self._system.workers(job_id, count):
            self._jobs[worker] = job_id
            self._states[worker] = JobState("waits")
        # A job is seldom known at once, and never done.
        self._next_poll = time.monotonic() + self._pause

    def exclude(self, host: str) -> None:
        """Later submissions ask for other hosts."""
        self._excluded.add(host)

    def living(self) -> set[str]:
        """Workers whose jobs wait or run."""
        return set(self._jobs)

    def running(self) -> set[str]:
        """Workers whose jobs run, as of the last poll."""
        return {w for w in self._jobs if self._states[w].phase == "runs"}

    def ended(self) -> list[Exit]:
        """The workers whose jobs ended, as of the last poll, which may be this."""
        if self._jobs and time.monotonic() >= self._next_poll:
            self._poll()
        exits = []
        for worker in list(self._jobs):
            state = self._states[worker]
            if state.phase == "ended":
                del self._jobs[worker], self._states[worker]
                exits.append(state.exit or Exit(worker, None, by="system"))
        return exits

    def kill(self, worker: str) -> None:
        """Cancel one job."""
        for command in self._system.cancel_commands([worker]):
            _run(self._system, command)

    def cancel_waiting(self, begun: set[str]) -> None:
        """Cancel the jobs that have not begun; they are not waited for any more."""
        # A job that began since the last poll has shown itself.
        waiting = sorted(self.living() - self.running() - begun)
        if waiting:
            for command in self._system.cancel_commands(waiting):
                _run(self._system, command)
        for worker in waiting:
            del self._jobs[worker], self._states[worker]

    def end_all(self) -> None:
        """Cancel all jobs of this run, of earlier starts as well."""
        for command in self._system.sweep_commands():
            _run(self._system, command)
        self._jobs.clear()
        self._states.clear()

    def waits_for(self) -> str:
        """How many jobs wait, and the reasons that the system gives."""
        waiting = [self._states[w] for w in self.living() - self.running()]
        reasons = sorted({state.reason for state in waiting if state.reason})
        if not waiting:
            return ""
        why = f" ({', '.join(reasons)})" if reasons else ""
        return f"{len(waiting)} waiting in {self._system.name}{why}"

    def _poll(self) -> None:
        """One call for all jobs; no answer is no news."""
        command = self._system.poll_command(sorted(set(self._jobs.values())))
        done = _run(self._system, command)
        states = self._system.states(done.stdout) if done else {}
        answered = done is not None and (done.returncode == 0 or bool(states))
        if not answered and done and self._system.forgotten in done.stderr:
            # All jobs are gone for so long that the system does not know them.
            answered = True
        self._pause = (
            WAITS.poll if answered else min(2 * self._pause, WAITS.longest_poll)
        )
        self._next_poll = time.monotonic() + self._pause
        if not answered:
            return
        for worker in self._jobs:
            if worker in states:
                self._absent[worker] = 0
                self._states[worker] = states[worker]
                continue
            self._absent[worker] += 1
            if self._absent[worker] >= ABSENCES:
                why = f"unknown to {self._system.name}"
                exit_ = Exit(worker, None, why, by="system")
                self._states[worker] = JobState("ended", exit_)


def _run(
    system: BatchSystem, command: Sequence[str], script: str = ""
) -> "subprocess.CompletedProcess[str] | None":
    """A command of the batch system; None where there is no answer in time."""
    try:
        return subprocess.run(
            command,
            input=script,
            env=clean_environment(os.environ, system.private_variables),
            capture_output=True,
            text=True,
            timeout=WAITS.command,
            check=False,
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{command[0]!r} is not on this machine, and workers.kind needs it."
            f" Start where {system.name} can be used, or use local workers."
        ) from error
    except subprocess.TimeoutExpired:
        return None


def clean_environment(
    environment: Mapping[str, str], private: Sequence[str]
) -> dict[str, str]:
    """The environment without what a job inherits from the job that submits it.

    A scheduler that is a job itself has SLURM_MEM_PER_CPU and the like, which would
    contradict or silently change what its workers ask for.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(tuple(private)) or name == "SLURM_CONF"
    }


def setup_lines(environment: str | None) -> str:
    """The user's lines of a job script, a failing one ending the job."""
    return f"set -e\n{environment}\nset +e" if environment else ":"
