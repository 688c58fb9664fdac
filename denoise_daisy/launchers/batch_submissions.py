"""Submitting arrays of jobs: none before it is known what became of the last one."""

import logging
import shlex
from collections.abc import Sequence

from denoise_daisy.launchers.batch_command import run_command
from denoise_daisy.launchers.batch_system import BatchSystem, has_none

MOST_REFUSALS = 20
"""Submissions refused in a row, over a quarter of an hour, that end a run without any
worker."""

MOST_JOBS = 500
"""Jobs in one submission; array sizes are limited to about 1000 by default."""

logger = logging.getLogger(__name__)


class Submissions:
    """Arrays of jobs, and how often in a row they were refused."""

    def __init__(self, system: BatchSystem) -> None:
        self._system = system
        self._excluded: set[str] = set()
        self._refusals = 0
        self.refusal = ""
        """In what words the last one was refused."""
        self.are_unclear = False
        """Whether the last one failed, and nobody has told yet what became of it."""
        self._are_swept = True
        """Whether there were none since all jobs were cancelled."""

    @property
    def are_hopeless(self) -> bool:
        """Whether so many were refused that the next will be as well."""
        return self._refusals >= MOST_REFUSALS

    def exclude(self, host: str) -> None:
        """Later ones ask for other hosts."""
        self._excluded.add(host)

    def submit(self, count: int) -> Sequence[str]:
        """The workers of an array of so many jobs at most; none where it failed."""
        self._are_swept = False
        count = min(count, MOST_JOBS)
        command = self._system.submit_command(count, sorted(self._excluded))
        answer = run_command(self._system, command, self._system.script())
        job_id = self._system.job_id(answer.out) if answer.accepted else None
        if job_id is None:
            self.are_unclear = True
            self.refuse(answer.error)
            logger.warning("%s took no jobs: %s", self._system.name, answer.error)
            return ()
        self.accept()
        logger.info("Submitted %d jobs as %s", count, job_id)
        return self._system.workers(job_id, count)

    def sweep(self) -> None:
        """Cancel all jobs of the run; a person is told once where that fails."""
        commands = self._system.sweep_commands()
        answer = [run_command(self._system, command) for command in commands][-1]
        is_done = answer.accepted or has_none(self._system, answer.error)
        if not (is_done or self._are_swept):
            logger.warning(
                "%s did not cancel the workers' jobs: %s They leave by themselves"
                " within minutes, once they run. To cancel them: %s",
                self._system.name,
                answer.error,
                shlex.join(commands[-1]),
            )
        self._are_swept = True

    def accept(self) -> None:
        """Jobs were accepted."""
        self._refusals = 0

    def refuse(self, said: str) -> None:
        """None can be submitted, for that reason."""
        self._refusals += 1
        self.refusal = said
