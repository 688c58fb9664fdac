"""The hint to workers which stages are worth asking for."""

from collections import Counter
from collections.abc import Iterable, Mapping

from denoise_daisy.run_dir.connection import write_ready
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.stage_state import StageState


class ReadyHint:
    """How many blocks of each stage are ready, the last stages first."""

    def __init__(self, run_dir: RunDir, states: Mapping[str, StageState]) -> None:
        self._run_dir = run_dir
        self._states = dict(reversed(list(states.items())))
        self._said: dict[str, int] | None = None

    def say(self, at_work: Iterable[str]) -> None:
        """Tell it, if it has changed.

        `at_work` are the stages of blocks that workers have taken, once for each.
        """
        taken = Counter(at_work)
        ready = {name: s.ready - taken[name] for name, s in self._states.items()}
        if ready != self._said:
            write_ready(self._run_dir, ready)
            self._said = ready
