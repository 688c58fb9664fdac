"""The progress of a run, from the states of its stages and its workers."""

from collections.abc import Mapping
from typing import Protocol

from denoise_daisy.progress import Progress
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.workforce import AnyWorkforce


class ShowsProgress(Protocol):
    """Something that shows a person where a run is."""

    def show(self, workforce: AnyWorkforce) -> None:
        """Show it; call it often."""

    def write(self, line: str) -> None:
        """A line of its own."""

    def close(self) -> None:
        """Leave it as it is."""


class RunProgress:
    """Shows a person where a run is."""

    def __init__(self, states: Mapping[str, StageState]) -> None:
        self._states = states
        self._progress = Progress(
            blocks={name: s.stage.grid.size for name, s in states.items()},
            work=sum(s.stage.work for s in states.values()),
            done=self._done(),
            work_done=self._work_done(),
        )

    def show(self, workforce: AnyWorkforce) -> None:
        """Show it; call it often."""
        self._progress.update(
            self._done(),
            sum(len(s.given_up) for s in self._states.values()),
            self._work_done(),
            len(workforce.at_work()),
            workforce.waits_for(),
        )

    def write(self, line: str) -> None:
        """A line of its own."""
        self._progress.write(line)

    def close(self) -> None:
        """Leave it as it is."""
        self._progress.close()

    def _done(self) -> dict[str, int]:
        return {name: s.ledger.done_count for name, s in self._states.items()}

    def _work_done(self) -> float:
        return sum(
            s.stage.work_of(s.stage.grid.voxels_in(s.ledger.done))
            for s in self._states.values()
        )
