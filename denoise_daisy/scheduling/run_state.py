"""How far a whole run is: the states of all its stages together."""

from collections.abc import Mapping
from dataclasses import dataclass

from denoise_daisy.durable import persistently
from denoise_daisy.geometry import Index
from denoise_daisy.scheduling.stage_state import StageState, Verdict


@dataclass(frozen=True, slots=True)
class RunState:
    """The stages that are to be done, each after those that it reads."""

    stages: Mapping[str, StageState]

    @property
    def left(self) -> int:
        """Number of blocks that are not finished."""
        return sum(state.left for state in self.stages.values())

    @property
    def done_now(self) -> int:
        """Number of blocks that were done since this start."""
        return sum(state.ledger.totals.blocks for state in self.stages.values())

    def verdict(self, stage: str, index: Index) -> Verdict:
        """What is to become of a block."""
        return persistently(lambda: self.stages[stage].verdict(index))

    def refresh(self) -> None:
        """Read the ledgers' new lines."""
        for state in self.stages.values():
            state.ledger.refresh()
            state.update()

    def reread(self) -> None:
        """Believe just what stands in the ledgers now, before all is called done."""
        for state in self.stages.values():
            persistently(state.ledger.reread)
            state.update()

    def close(self) -> None:
        """Release the files."""
        for state in self.stages.values():
            state.close()
