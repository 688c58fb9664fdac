"""What is new in the ledgers: read, acted on by all who want to know, and shown."""

import time
from collections.abc import Callable

from denoise_daisy.geometry import Index
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.ready_hint import ReadyHint
from denoise_daisy.scheduling.run_progress import ShowsProgress
from denoise_daisy.scheduling.run_state import RunState
from denoise_daisy.scheduling.workforce import AnyWorkforce
from denoise_daisy.waits import WAITS

REFRESH_SHARE = 20
"""The ledgers are read again after that many times the time that it took..."""

LONGEST_PAUSE = 30.0
"""...and after so many seconds at most, for a file server may have been slow once."""

GivenUp = Callable[[str, Index, str], None]
"""Takes a block that is given up: its stage, its index, and why."""


class News:
    """Reads the ledgers now and then, and passes on what is new."""

    def __init__(
        self,
        state: RunState,
        workforce: AnyWorkforce,
        run_dir: RunDir,
        given_up: GivenUp,
        progress: ShowsProgress,
    ) -> None:
        """`given_up` may be told of a block often."""
        self._state = state
        self._workforce = workforce
        self._given_up = given_up
        self._ready_hint = ReadyHint(run_dir, state.stages)
        self._progress = progress
        self._next = 0.0

    def read(self) -> None:
        """Read what is new, and show it, unless that was done just now."""
        started = time.monotonic()
        if started < self._next:
            return
        self._state.refresh()
        for name, state in self._state.stages.items():
            for index in state.given_up[:1]:
                self._given_up(name, index, str(state.ledger.failures[index][-1].error))
        self.hint()
        spent = time.monotonic() - started
        pause = min(REFRESH_SHARE * spent, LONGEST_PAUSE)
        self._next = started + spent + max(WAITS.tick, pause)
        self._progress.show(self._workforce)

    def hint(self) -> None:
        """Tell workers what there is to do."""
        self._ready_hint.say(self._workforce.at_work())

    def write(self, line: str) -> None:
        """A line for a person."""
        self._progress.write(line)

    def close(self) -> None:
        """Leave what is shown as it is."""
        self._progress.close()
