"""How far each stage of a run is: done, given up, orphaned, ready or waiting.

All of it is read from the ledgers.  A block is *given up* after its last retry; it
*orphans* the blocks that read it, and those that read these.  A block is *ready* once
all that it reads is done.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.geometry import BlockRanges, Index, count_in
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import Entry, LedgerWriter
from denoise_daisy.waits import WAITS


class Verdict(Enum):
    """What is to become of a block that is about to be handed out."""

    HAND_OUT = auto()
    """Somebody should do it."""

    FINISHED = auto()
    """It is done, given up or orphaned."""

    NOT_YET = auto()
    """What it reads is not in the ledgers, though it was waited for."""


@dataclass(frozen=True, slots=True)
class _Upstream:
    """A stage that is read, and which of its blocks each block reads."""

    state: "StageState"
    ranges: BlockRanges

    def part(self, mask: np.ndarray, index: Index) -> np.ndarray:
        """Of a mask by flat index, the blocks that one block reads."""
        ranges = zip(index, self.ranges, strict=True)
        cut = tuple(slice(int(w[0][i]), int(w[1][i])) for i, w in ranges)
        return mask.reshape(self.state.stage.grid.shape)[cut]


class StageState:
    """One stage of a run that goes on; masks are by flat index."""

    def __init__(
        self,
        stage: Stage,
        ledger: Ledger,
        *,
        retries: int,
        upstream: Iterable["StageState"],
    ) -> None:
        """`ledger` has been read; `upstream` are the stages that this one reads."""
        self.stage = stage
        self.ledger = ledger
        self.retries = retries
        self._upstream = [
            _Upstream(u, stage.block_ranges_of(u.stage)) for u in upstream
        ]
        self.downstream: list[StageState] = []
        """The stages that read it."""
        for state in self.upstream:
            state.downstream.append(self)
        self._writer: LedgerWriter | None = None
        self._handed_out = bytearray(stage.grid.size)
        self._late: dict[int, float] = {}
        """Since when blocks could be done, but for what they read, by flat index."""
        self._updating = threading.RLock()
        self.unreachable = np.zeros(stage.grid.size, bool)
        """Given up or orphaned."""
        self.ready = 0
        """Number of blocks that could be handed out, had nobody any."""
        self.abandoned = ""
        """Why nothing more of it can be done, so that all that is left is unreachable;
        empty where that is not so."""
        self.trial: np.ndarray | None = None
        """Only these blocks are handed out, by flat index, while so many others fail
        that all may; None: all are."""
        self.update()

    @property
    def upstream(self) -> "list[StageState]":
        """The stages that it reads, of those to be done."""
        return [up.state for up in self._upstream]

    @property
    def finished(self) -> np.ndarray:
        """Done, or unreachable."""
        return self.ledger.done | self.unreachable

    @property
    def left(self) -> int:
        """Number of blocks that are not finished."""
        return self.stage.grid.size - int(np.count_nonzero(self.finished))

    @property
    def given_up(self) -> list[Index]:
        """Blocks whose last retry has failed."""
        return [i for i in list(self.ledger.failures) if self._is_given_up(i)]

    @property
    def orphans(self) -> int:
        """Number of unreachable blocks that have never failed themselves."""
        return int(np.count_nonzero(self.unreachable)) - sum(
            bool(self.unreachable[self.stage.grid.flat(index)])
            for index in self.ledger.failures
        )

    def update(self) -> None:
        """Look again, after the ledger has been read; those upstream come first."""
        with self._updating:
            grid, done = self.stage.grid, self.ledger.done
            unreachable = np.zeros(grid.shape, bool)
            waits = np.zeros(grid.shape, bool)
            for up in self._upstream:
                if up.state.unreachable.any():
                    mask = up.state.unreachable.reshape(up.state.stage.grid.shape)
                    unreachable |= count_in(mask, up.ranges) > 0
                if not up.state.ledger.done.all():
                    mask = ~up.state.ledger.done
                    mask = mask.reshape(up.state.stage.grid.shape)
                    waits |= count_in(mask, up.ranges) > 0
            for index in self.given_up:
                unreachable[index] = True
            self.unreachable = (unreachable.ravel() | bool(self.abandoned)) & ~done
            not_ready = done | self.unreachable | waits.ravel()
            if self.trial is not None:
                not_ready |= ~np.isin(np.arange(grid.size), self.trial)
            self.ready = int(np.count_nonzero(~not_ready))

    def refresh(self) -> None:
        """Read the ledger's new lines, and those of all stages upstream."""
        for up in self._upstream:
            up.state.refresh()
        self.ledger.refresh()
        self.update()

    def verdict(self, index: Index) -> Verdict:
        """What is to become of a block; asked for each before it is handed out."""
        flat = self.stage.grid.flat(index)
        if self._handed_out[flat]:
            # A retry: what became of the last attempt may not have been read yet.
            self.ledger.refresh()
        self._handed_out[flat] = 1
        if self.abandoned or self._is_given_up(index) or self.ledger.is_done(index):
            return Verdict.FINISHED
        if self._has_inputs(index):
            return Verdict.HAND_OUT
        for up in self._upstream:
            up.state.ledger.refresh()
        if self._has_inputs(index):
            return Verdict.HAND_OUT
        self.refresh()
        if self.unreachable[flat]:
            return Verdict.FINISHED
        since = self._late.setdefault(flat, time.monotonic())
        if time.monotonic() - since < WAITS.ledger_lag:
            # The worker waits for lines that show late, wherever it is.
            return Verdict.HAND_OUT
        del self._late[flat]
        return Verdict.NOT_YET

    def abandon(self, because: str) -> None:
        """Do no more blocks of it, nor of what reads it: that is so at once."""
        self.abandoned = because
        self.trial = None
        below = [self]
        for state in below:
            state.update()
            below += state.downstream

    def record(self, entry: Entry) -> None:
        """Write down a failure that its worker can't any more."""
        if self._writer is None:
            self._writer = self.ledger.writer(f"scheduler-{self.ledger.epoch}")
        self._writer.append(entry)

    def close(self) -> None:
        """Release the file."""
        if self._writer is not None:
            self._writer.close()

    def _has_inputs(self, index: Index) -> bool:
        return all(
            bool(up.part(up.state.ledger.done, index).all()) for up in self._upstream
        )

    def _is_given_up(self, index: Index) -> bool:
        attempts = self.ledger.failures.get(index, ())
        return len(attempts) > self.retries and not self.ledger.is_done(index)


def stage_states(
    stages: Sequence[Stage],
    ledgers: Mapping[str, Ledger],
    retries: Mapping[str, int],
) -> dict[str, StageState]:
    """The states of stages by name, each after those that it reads.

    A stage that is read and not among them is done.
    """
    result: dict[str, StageState] = {}
    for stage in stages:
        result[stage.name] = StageState(
            stage,
            ledgers[stage.name],
            retries=retries[stage.name],
            upstream=[result[n] for n in dict.fromkeys(stage.after) if n in result],
        )
    return result
