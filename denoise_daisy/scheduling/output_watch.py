"""Whether the run still has a place to write to, and is still this scheduler's."""

import time
from collections.abc import Iterable
from pathlib import Path

from denoise_daisy.durable import is_there
from denoise_daisy.errors import RunStopped
from denoise_daisy.run_dir.lock import successor
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.waits import WAITS


class OutputWatch:
    """Stops a run that has nowhere to write to, instead of computing for nothing."""

    def __init__(self, run_dir: RunDir, states: Iterable[StageState]) -> None:
        self._run_dir = run_dir
        self._places = _places(run_dir, states)
        self._last_there = time.monotonic()

    def check(self) -> None:
        """Look whether all is there, and nobody else at work.

        Raises
        ------
        RunStopped
            Something has been away for too long, or another scheduler has taken over.
        """
        if other := successor(self._run_dir):
            raise RunStopped(
                f"{other} has taken over this run, for this process had shown no sign"
                " of life for minutes, as where its machine sleeps. What is done is"
                " kept; look at it with `status`."
            )
        now, gone = time.monotonic(), _gone(self._places)
        if gone is None:
            self._last_there = now
        elif now - self._last_there > WAITS.output_gone:
            raise _stopped(gone)


def check_output(run_dir: RunDir, states: Iterable[StageState]) -> None:
    """Look whether the output is there right now.

    Raises
    ------
    RunStopped
        It is not.
    """
    if gone := _gone(_places(run_dir, states)):
        raise _stopped(gone)


def _places(run_dir: RunDir, states: Iterable[StageState]) -> list[Path]:
    arrays = [s.stage.array for s in states]
    files = [array.path / array.layout.metadata for array in arrays if array]
    return [run_dir.run_file, run_dir.lock_file, *files]


def _gone(places: Iterable[Path]) -> Path | None:
    return next((place for place in places if not is_there(place)), None)


def _stopped(gone: Path) -> RunStopped:
    return RunStopped(
        "The output was moved or deleted during the run. Put it back and start again to"
        f" go on, or start over with --overwrite. {str(gone)!r} is not there."
    )
