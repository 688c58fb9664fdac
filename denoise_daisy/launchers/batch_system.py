"""The seam for batch systems: their commands and words, as pure text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from denoise_daisy.launchers.base import Exit

LONGEST_NAME = 40
"""Characters of an output's name that are in the name of its jobs."""


@dataclass(frozen=True, slots=True)
class JobState:
    """What the batch system says of one job."""

    phase: Literal["waits", "runs", "unreachable", "ended"]
    """Unreachable: it lives, as far as is known, but nobody can tell or end it."""
    exit: Exit | None = None
    """How it ended."""
    reason: str = ""
    """Why it waits."""
    host: str = ""
    """Where it runs."""


class BatchSystem(Protocol):
    """Commands and words of a batch system, as text; nothing is run here."""

    @property
    def name(self) -> str:
        """As people call it."""

    @property
    def private_variables(self) -> tuple[str, ...]:
        """Prefixes of environment variables that must not reach its commands."""

    @property
    def kept_variables(self) -> tuple[str, ...]:
        """Those of them that its commands need all the same."""

    @property
    def none_found(self) -> tuple[str, ...]:
        """What its commands say where there are no jobs, if that is an error to them.

        Patterns; a ``^`` is the beginning of any line.
        """

    def script(self) -> str:
        """The job: one worker, or several."""

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

    def poll_command(self) -> list[str]:
        """Ask for the state of all jobs of the run's name at once."""

    def states(self, output: str) -> dict[str, JobState]:
        """The answer, by worker."""

    def cancel_commands(self, workers: Sequence[str]) -> list[list[str]]:
        """End these workers at once, running or not."""

    def sweep_commands(self) -> list[list[str]]:
        """End whatever jobs of this run there are, by their name."""


def has_none(system: BatchSystem, said: str) -> bool:
    """Whether a command had nothing to tell of, or to do."""
    return any(re.search(p, said, re.MULTILINE) for p in system.none_found)


def job_name(output: str, run_id: str, task: str) -> str:
    """A name of this run's jobs alone, legal everywhere, that people recognise."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", output.partition(".")[0]).strip("-")
    return "-".join(filter(None, ["denoise", plain[:LONGEST_NAME], run_id, task]))


def job_program(per_job: int) -> tuple[str, str]:
    """The module that a job of so many workers becomes, and the ending of its log.

    That is its first worker's, where one looks for what went wrong before.
    """
    if per_job == 1:
        return "denoise_daisy.worker", ".log"
    return f"denoise_daisy.worker.job --workers={per_job}", "-1.log"


def setup_lines(environment: str | None) -> str:
    """The user's lines of a job script, a failing one ending the job.

    What the script has set before has names that nobody else has.
    """
    return f"set -e\n{environment}\nset +eu" if environment else ":"
