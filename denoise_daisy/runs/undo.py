"""Marking damaged blocks as undone, and with them all blocks that read them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.geometry import BlockGrid, Index, count_in
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import Entry, Reason


@dataclass(frozen=True, slots=True)
class Damage:
    """A block whose output is not what was written."""

    stage: str
    grid: BlockGrid
    block: Index
    what: str

    def __str__(self) -> str:
        """The block and what is wrong with it."""
        return f"{self.stage} block {list(self.block)}: {self.what}"


def undo(
    stages: Sequence[Stage],
    ledgers: Mapping[str, Ledger],
    damages: Sequence[Damage],
    epoch: int,
) -> int:
    """Mark damaged blocks as undone, and all that read them; the number of the latter.

    `stages` stand each after those that it reads.  Of one that has no ledger, for what
    it made is deleted, nothing is marked, but its readers are.
    """
    blocks: dict[str, np.ndarray] = {}
    readers: dict[str, list[Entry]] = {}
    for stage in stages:
        damaged = np.zeros(stage.grid.shape, bool)
        for damage in damages:
            if damage.stage == stage.name:
                damaged[_blocks_at(stage.grid, damage)] = True
        outdated = np.zeros(stage.grid.shape, bool)
        for other in stages:
            if other.name in stage.after:
                ranges = stage.block_ranges_of(other)
                outdated |= count_in(blocks[other.name], ranges) > 0
        if ledger := ledgers.get(stage.name):
            outdated &= ledger.done.reshape(stage.grid.shape) & ~damaged
            readers[stage.name] = [
                undone(
                    stage.grid,
                    tuple(map(int, index)),
                    epoch,
                    "outdated",
                    "what it read was found damaged",
                )
                for index in np.argwhere(outdated)
            ]
        blocks[stage.name] = outdated | damaged
    # Readers first: cut short, this leaves no block whose damage is forgotten.
    for stage in reversed([s for s in stages if s.name in readers]):
        own = [damage for damage in damages if damage.stage == stage.name]
        marks = [undone(d.grid, d.block, epoch, "damaged", d.what) for d in own]
        mark(ledgers[stage.name], epoch, [*readers[stage.name], *marks])
    return sum(map(len, readers.values()))


def _blocks_at(grid: BlockGrid, damage: Damage) -> tuple[slice, ...]:
    """The blocks of a grid that a damaged block, maybe of an earlier grid, is in."""
    roi = damage.grid.write_roi(damage.block) - grid.volume.begin
    first, last = roi.begin // grid.block_shape, -((-roi.end) // grid.block_shape)
    return tuple(slice(b, e) for b, e in zip(first, last, strict=True))


def undone(
    grid: BlockGrid,
    index: Index,
    epoch: int,
    reason: Reason,
    why: str,
    by: str = "verify",
) -> Entry:
    """The line that says that a block has to be done again; `by` is what found it."""
    return Entry(
        block=index,
        shape=tuple(grid.block_shape),
        status="failed",
        epoch=epoch,
        worker=by,
        reason=reason,
        error=why,
    )


def mark(ledger: Ledger, epoch: int, entries: Sequence[Entry]) -> None:
    """Write lines that are on disk on return; there may be many."""
    if not entries:
        return
    writer = ledger.writer(f"{entries[0].worker}-{epoch}", durable=False)
    try:
        for entry in entries:
            writer.append(entry)
        writer.sync()
    finally:
        writer.close()
