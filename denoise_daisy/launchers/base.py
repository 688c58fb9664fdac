"""The seam for launchers: what the pool of workers asks of one."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Exit:
    """A worker that ended."""

    worker: str

    code: int | None
    """Exit code; -N where signal N ended it; None where the batch system took it away,
    which is no fault of the block it was at."""

    why: str = ""
    """The batch system's own words."""

    out_of_memory: bool = False
    """Whether it was killed for taking more memory than it had asked for."""


class Launcher(Protocol):
    """Starts workers of one run and knows which of them live."""

    def check(self) -> None:
        """Refuse early what the batch system would not take.

        Raises
        ------
        InputError
            With the system's own words.
        """

    def describe(self) -> str:
        """What would be submitted, in words; empty where nothing is."""

    def start(self, count: int) -> None:
        """Start that many workers; they may have to wait in a queue."""

    def living(self) -> set[str]:
        """Names of the workers that wait or run, as far as is known."""

    def running(self) -> set[str]:
        """Names of those that run."""

    def ended(self) -> list[Exit]:
        """The workers that ended since the last call."""

    def kill(self, worker: str) -> None:
        """End one worker at once."""

    def cancel_waiting(self, begun: set[str]) -> None:
        """Take back all that have not begun to run; those in `begun` are known to."""

    def end_all(self) -> None:
        """End every worker of the run at once, those of an earlier start as well."""

    def waits_for(self) -> str:
        """How many wait and why, in words; empty where none does."""
