"""How far each stage of a run is: done, given up, orphaned, ready or waiting.

All of it is read from the ledgers.  A block is *given up* after its last retry; it
*orphans* the blocks that read it, and those that read these.  A block is *ready* once
all that it reads is done.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from denoise_daisy.geometry import Index, Windows, count_in
from denoise_daisy.ledger import Ledger
from denoise_daisy.ledger_lines import Entry, LedgerWriter
from denoise_daisy.stages import Stage


@dataclass(frozen=True, slots=True)
class _Upstream:
    """A stage that is read, and which of its blocks each block reads."""

    standing: "Standing"
    windows: Windows

    def part(self, mask: np.ndarray, index: Index) -> np.ndarray:
        """Of a mask by flat index, the blocks that one block reads."""
        ranges = zip(index, self.windows, strict=True)
        cut = tuple(slice(int(w[0][i]), int(w[1][i])) for i, w in ranges)
        return mask.reshape(self.standing.stage.grid.shape)[cut]


class Standing:
    """One stage of a run that goes on; masks are by flat index."""

    def __init__(
        self,
        stage: Stage,
        ledger: Ledger,
        *,
        retries: int,
        upstream: Iterable["Standing"],
    ) -> None:
        """`ledger` has been read; `upstream` are the stages that this one reads."""
        self.stage = stage
        self.ledger = ledger
        self.retries = retries
        self._upstream = [_Upstream(u, stage.windows_on(u.stage)) for u in upstream]
        self._writer: LedgerWriter | None = None
        self._handed_out = bytearray(stage.grid.size)
        self._updating = threading.RLock()
        self.lost = np.zeros(stage.grid.size, bool)
        """Given up or orphaned."""
        self.ready = 0
        """Number of blocks that could be handed out, had nobody any."""
        self.is_abandoned = False
        """Whether all that is not done is lost, since nothing of it can be done."""
        self.update()

    @property
    def settled(self) -> np.ndarray:
        """Done, or lost."""
        return self.ledger.done | self.lost

    @property
    def left(self) -> int:
        """Number of blocks that are not settled."""
        return self.stage.grid.size - int(np.count_nonzero(self.settled))

    @property
    def given_up(self) -> list[Index]:
        """Blocks whose last retry has failed."""
        return [i for i in list(self.ledger.failures) if self._is_given_up(i)]

    @property
    def orphans(self) -> int:
        """Number of lost blocks that have never failed themselves."""
        return int(np.count_nonzero(self.lost)) - sum(
            bool(self.lost[self.stage.grid.flat(index)])
            for index in self.ledger.failures
        )

    def update(self) -> None:
        """Look again, after the ledger has been read; those upstream come first."""
        with self._updating:
            grid, done = self.stage.grid, self.ledger.done
            lost = np.zeros(grid.shape, bool)
            waits = np.zeros(grid.shape, bool)
            for up in self._upstream:
                if up.standing.lost.any():
                    mask = up.standing.lost.reshape(up.standing.stage.grid.shape)
                    lost |= count_in(mask, up.windows) > 0
                if not up.standing.ledger.done.all():
                    mask = ~up.standing.ledger.done
                    mask = mask.reshape(up.standing.stage.grid.shape)
                    waits |= count_in(mask, up.windows) > 0
            for index in self.given_up:
                lost[index] = True
            self.lost = (lost.ravel() | self.is_abandoned) & ~done
            self.ready = int(np.count_nonzero(~(done | self.lost | waits.ravel())))

    def refresh(self) -> None:
        """Read the ledger's new lines, and those of all stages upstream."""
        for up in self._upstream:
            up.standing.refresh()
        self.ledger.refresh()
        self.update()

    def is_settled(self, index: Index) -> bool | None:
        """Whether a block is not to be handed out; None if it can't be yet.

        It is asked for each block before that is handed out.
        """
        flat = self.stage.grid.flat(index)
        if self._handed_out[flat]:
            # A retry: what became of the last attempt may not have been read yet.
            self.ledger.refresh()
        self._handed_out[flat] = 1
        if self.is_abandoned or self._is_given_up(index) or self.ledger.is_done(index):
            return True
        if self._has_inputs(index):
            return False
        for up in self._upstream:
            up.standing.ledger.refresh()
        if self._has_inputs(index):
            return False
        self.refresh()
        return True if self.lost[flat] else None

    def abandon(self) -> None:
        """Do no more blocks of it, nor of what reads it."""
        self.is_abandoned = True
        self.update()

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
            bool(up.part(up.standing.ledger.done, index).all()) for up in self._upstream
        )

    def _is_given_up(self, index: Index) -> bool:
        attempts = self.ledger.failures.get(index, ())
        return len(attempts) > self.retries and not self.ledger.is_done(index)


def standings_of(
    stages: Sequence[Stage],
    ledgers: Mapping[str, Ledger],
    retries: Mapping[str, int],
) -> dict[str, Standing]:
    """The standings of stages by name, each after those that it reads.

    A stage that is read and not among them is done.
    """
    result: dict[str, Standing] = {}
    for stage in stages:
        result[stage.name] = Standing(
            stage,
            ledgers[stage.name],
            retries=retries[stage.name],
            upstream=[result[n] for n in dict.fromkeys(stage.after) if n in result],
        )
    return result
