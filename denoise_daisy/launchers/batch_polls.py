"""Asking a batch system for all jobs in one call: seldom, and not in vain unsaid."""

import logging
import time

from denoise_daisy.amounts import duration
from denoise_daisy.launchers.batch_command import run_command
from denoise_daisy.launchers.batch_system import BatchSystem, JobState, has_none
from denoise_daisy.waits import WAITS

SAID_FAILURES = 3
"""Polls without an answer, in a row, of which a person is told."""

logger = logging.getLogger(__name__)


class Polls:
    """When to ask next, and for how long nobody has answered."""

    def __init__(self, system: BatchSystem) -> None:
        self._system = system
        self._pause = WAITS.poll
        self._next = 0.0
        self._failures = 0
        self._silent_since = 0.0
        self.error = ""
        """Why the last poll was in vain; empty where it was not."""

    @property
    def is_due(self) -> bool:
        """Whether it is time to ask."""
        return time.monotonic() >= self._next

    def put_off(self) -> None:
        """A job is seldom known at once, and never done."""
        self._next = time.monotonic() + self._pause

    def ask(self) -> dict[str, JobState] | None:
        """The jobs of the run that the system knows; None where it does not answer."""
        answer = run_command(self._system, self._system.poll_command())
        states = self._system.states(answer.out)
        if answer.accepted or states or has_none(self._system, answer.error):
            self._note_answer()
        else:
            self._note_silence(answer.error)
        self.put_off()
        return None if self.error else states

    def silence(self) -> str:
        """For how long there was no answer, in words, once that is worth saying."""
        if self._failures < SAID_FAILURES:
            return ""
        seconds = time.monotonic() - self._silent_since
        return f"{self._system.name} has not answered for {duration(seconds)}"

    def _note_answer(self) -> None:
        if self._failures >= SAID_FAILURES:
            logger.warning("%s answers again.", self._system.name)
        self._failures, self.error = 0, ""
        self._pause = WAITS.poll

    def _note_silence(self, error: str) -> None:
        if not self._failures:
            self._silent_since = time.monotonic()
        self._failures, self.error = self._failures + 1, error
        self._pause = min(2 * self._pause, WAITS.longest_poll)
        if self._failures == SAID_FAILURES:
            logger.warning(
                "%s does not tell what the workers' jobs do: %s Until it does, workers"
                " that end are not replaced.",
                self._system.name,
                error,
            )
