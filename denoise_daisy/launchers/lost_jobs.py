"""Jobs that nobody can reach, or that no kill ends: given up after a while."""

import time
from dataclasses import dataclass

from denoise_daisy.launchers.batch_system import JobState
from denoise_daisy.waits import WAITS


@dataclass(slots=True)
class _Trouble:
    """What is known of such a job; times are of this process's clock."""

    since: float
    pause: float = 0.0
    """From the next kill to that after it; 0: it is not to be killed."""
    next_kill: float = 0.0


class LostJobs:
    """Which jobs are to be killed again, and which are lost."""

    def __init__(self) -> None:
        self._troubles: dict[str, _Trouble] = {}

    def note(self, worker: str, state: JobState) -> None:
        """The system has said that of a job."""
        trouble = self._troubles.get(worker)
        if state.phase == "unreachable":
            self._trouble(worker)
        elif state.phase == "ended" or (trouble and not trouble.pause):
            self.forget(worker)

    def kill(self, worker: str) -> None:
        """From now on the job is to be killed, until it has ended."""
        trouble = self._trouble(worker)
        trouble.pause = trouble.pause or WAITS.kill_again

    def to_kill(self) -> list[str]:
        """The jobs that it is time to kill, each ever less often."""
        now = time.monotonic()
        due = [w for w, t in self._troubles.items() if t.pause and now >= t.next_kill]
        for worker in due:
            trouble = self._troubles[worker]
            trouble.next_kill = now + trouble.pause
            trouble.pause *= 2
        return due

    def lost(self) -> list[str]:
        """The jobs that are given up."""
        now = time.monotonic()
        every = self._troubles.items()
        return [w for w, t in every if now - t.since >= WAITS.job_lost]

    def forget(self, worker: str) -> None:
        """It has ended."""
        self._troubles.pop(worker, None)

    def _trouble(self, worker: str) -> _Trouble:
        return self._troubles.setdefault(worker, _Trouble(time.monotonic()))
