"""The hint to workers which stages are worth asking for."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

from denoise_daisy.durable import is_there
from denoise_daisy.run_dir.connection import Hint, write_ready
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.stage_state import StageState


class ReadyHint:
    """How many blocks of each stage are ready, the last stages first."""

    def __init__(self, run_dir: RunDir, states: Mapping[str, StageState]) -> None:
        self._run_dir = run_dir
        self._states = dict(reversed(list(states.items())))
        self._said: dict[str, Hint] | None = None

    def say(self, at_work: Iterable[str]) -> None:
        """Tell it, if it has changed, or is gone.

        `at_work` are the stages of blocks that workers have taken, once for each.
        """
        taken = Counter(at_work)
        hints = {
            name: Hint(
                s.ready - taken[name],
                math.ceil(s.ledger.totals.pace.longest),
                s.abandoned,
            )
            for name, s in self._states.items()
        }
        if hints != self._said or not is_there(self._run_dir.ready_file):
            # A full disk is reported by those who must write.
            with suppress(OSError):
                write_ready(self._run_dir, hints)
                self._said = hints
