"""The seam for launchers: what the pool of workers asks of one."""

from dataclasses import dataclass
from typing import Literal, Protocol

from denoise_daisy.errors import InputError, RunStopped

EndedBy = Literal["itself", "memory", "walltime", "system"]
"""Who ended a worker: itself (or a signal); the batch system for its memory or time; or
the system for no fault of its block: preempted, cancelled, its host failed, unknown."""


class NotHereError(InputError):
    """The batch system's commands are not on this machine."""


class NoAnswerError(InputError):
    """The batch system does not answer, now or ever."""


class CannotStartError(RunStopped):
    """The batch system goes on refusing workers; what is done is kept."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A worker that ended."""

    worker: str

    code: int | None
    """Exit code; -N where signal N ended it; None where the batch system ended it."""

    why: str = ""
    """The batch system's own words."""

    by: EndedBy = "itself"
    """Who ended it."""

    host: str = ""
    """Where it ran, as far as is known."""


class Launcher(Protocol):
    """Starts workers of one run and knows which of them live."""

    def check(self) -> None:
        """Refuse early what the batch system would not take.

        Raises
        ------
        NotHereError
            It can't be used on this machine.
        NoAnswerError
            It does not answer.
        InputError
            With the system's own words.
        """

    def describe(self) -> str:
        """What would be submitted, in words; empty where nothing is."""

    def start(self, count: int) -> None:
        """Start that many workers; they may have to wait in a queue.

        Raises
        ------
        CannotStartError
            The system goes on refusing them.
        """

    def exclude(self, host: str) -> None:
        """Start no more workers on that host, as far as the system can."""

    def living(self) -> set[str]:
        """Names of the workers that wait or run, as far as is known."""

    def running(self) -> set[str]:
        """Names of those that run."""

    def ended(self) -> list[Exit]:
        """The workers that ended since the last call."""

    def kill(self, worker: str) -> None:
        """End one worker at once; `ended` tells when it has, or when it is given up."""

    def cancel_waiting(self, begun: set[str]) -> None:
        """Take back all that have not begun to run; those in `begun` are known to."""

    def end_all(self) -> None:
        """End every worker of the run at once, those of an earlier start as well."""

    def waits_for(self) -> str:
        """How many wait and why, in words; empty where none does."""
