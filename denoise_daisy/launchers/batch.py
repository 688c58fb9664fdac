"""Workers as jobs of a batch system: few submissions, civil polls, nothing left behind.

The batch systems differ in commands and words only; a `BatchSystem` knows these, as
pure text, and this module runs them.
"""

import logging
import shlex
from collections import Counter
from collections.abc import Sequence

from denoise_daisy.launchers.base import CannotStartError, Exit
from denoise_daisy.launchers.batch_check import check_system
from denoise_daisy.launchers.batch_command import run_command
from denoise_daisy.launchers.batch_polls import Polls
from denoise_daisy.launchers.batch_submissions import Submissions
from denoise_daisy.launchers.batch_system import BatchSystem, JobState
from denoise_daisy.launchers.lost_jobs import LostJobs

ABSENCES = 2
"""Polls in a row that must not name a job before it counts as gone."""

logger = logging.getLogger(__name__)


class BatchLauncher:
    """Workers are jobs of a batch system.

    All living jobs of the run's name are its workers: also those of a submission that
    was accepted although it was answered with an error, or not at all.
    """

    def __init__(self, system: BatchSystem) -> None:
        self._system = system
        self._submissions = Submissions(system)
        self._polls = Polls(system)
        self._states: dict[str, JobState] = {}
        """Of the workers that live."""
        self._absent: Counter[str] = Counter()
        self._lost = LostJobs()
        self._given_up: set[str] = set()

    def check(self) -> None:
        """Ask whether the system would take our jobs, and tell of them.

        Raises
        ------
        NotHereError, InputError
            As `check_system` does.
        """
        check_system(self._system)

    def describe(self) -> str:
        """The submission of one worker and its job script."""
        command = shlex.join(self._system.submit_command(1))
        return f"{command} <<'JOB'\n{self._system.script()}JOB"

    def start(self, count: int) -> None:
        """Submit an array of jobs; where the system refuses, the next try is later.

        After a submission that failed, nothing is submitted until a poll has told which
        jobs there are.

        Raises
        ------
        CannotStartError
            It goes on refusing, and no worker lives.
        """
        if not self._submissions.are_unclear:
            workers = self._submissions.submit(count)
            self._polls.put_off()
            self._states |= dict.fromkeys(workers, JobState("waits"))
        elif self._polls.error:
            self._submissions.refuse(self._polls.error)
        if self._submissions.are_hopeless and not self._states:
            raise CannotStartError(
                f"{self._system.name} refuses the workers' jobs:"
                f" {self._submissions.refusal} What is done is kept. Correct `workers`"
                " in the config and start again."
            )

    def exclude(self, host: str) -> None:
        """Later submissions ask for other hosts."""
        self._submissions.exclude(host)

    def living(self) -> set[str]:
        """Workers whose jobs wait or run."""
        return set(self._states)

    def running(self) -> set[str]:
        """Workers whose jobs run, as of the last poll."""
        return {w for w, state in self._states.items() if state.phase != "waits"}

    def host(self, worker: str) -> str:
        """Where its job runs, as far as is known."""
        return self._states[worker].host if worker in self._states else ""

    def ended(self) -> list[Exit]:
        """The workers whose jobs ended, as of the last poll, which may be this."""
        if (self._states or self._submissions.are_unclear) and self._polls.is_due:
            self._poll()
        self._see_to_lost()
        exits = [state.exit for state in self._states.values() if state.exit]
        for exit_ in exits:
            self._forget(exit_.worker)
        return exits

    def kill(self, worker: str) -> None:
        """Cancel one job, again and again until it has ended or is given up."""
        self._lost.kill(worker)
        self._see_to_lost()

    def cancel_waiting(self, begun: set[str]) -> None:
        """Cancel the jobs that have not begun; they are not waited for any more."""
        # A job that began since the last poll has shown itself.
        waiting = sorted(self.living() - self.running() - begun)
        if waiting:
            _cancel(self._system, waiting)
        for worker in waiting:
            self._forget(worker)

    def end_all(self) -> None:
        """Cancel all jobs of this run, of earlier starts as well."""
        self._submissions.sweep()
        for worker in self.living():
            self._forget(worker)

    def waits_for(self) -> str:
        """How many jobs wait, the reasons that the system gives, and its silence."""
        waiting = [self._states[w] for w in self.living() - self.running()]
        reasons = sorted({state.reason for state in waiting if state.reason})
        why = f" ({', '.join(reasons)})" if reasons else ""
        count = f"{len(waiting)} waiting in {self._system.name}{why}" if waiting else ""
        return ", ".join(filter(None, [count, self._polls.silence()]))

    def _poll(self) -> None:
        """One call for all jobs; no answer is no news."""
        states = self._polls.ask()
        if states is None:
            return
        self._submissions.are_unclear = False
        for worker, state in states.items():
            if worker in self._states:
                self._absent[worker] = 0
                self._lost.note(worker, state)
                self._states[worker] = state
            elif state.phase in ("waits", "runs") and worker not in self._given_up:
                logger.info("%s is a job of this run as well", worker)
                self._submissions.accept()
                self._states[worker] = state
        for worker in self._states.keys() - states.keys():
            self._absent[worker] += 1
            if self._absent[worker] >= ABSENCES:
                self._end(worker, f"unknown to {self._system.name}")

    def _see_to_lost(self) -> None:
        """Cancel again what no kill has ended, and give up what is lost."""
        if again := self._lost.to_kill():
            _cancel(self._system, again)
        if lost := self._lost.lost():
            # Should its host come back, the job is to end.
            _cancel(self._system, lost)
        for worker in lost:
            self._given_up.add(worker)
            self._end(worker, f"out of reach of {self._system.name}")

    def _end(self, worker: str, why: str) -> None:
        exit_ = Exit(worker, None, why, by="system", host=self.host(worker))
        self._states[worker] = JobState("ended", exit_)

    def _forget(self, worker: str) -> None:
        del self._states[worker], self._absent[worker]
        self._lost.forget(worker)


def _cancel(system: BatchSystem, workers: Sequence[str]) -> None:
    for command in system.cancel_commands(workers):
        run_command(system, command)
