"""How far each stage is: what each of its blocks is, from its table of the ledger."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.geometry import Index, count_in
from denoise_daisy.monitoring.values import (
    DONE,
    FAILED,
    LEFT,
    ORPHANED,
    RUNNING,
    StageStatus,
)
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE
from denoise_daisy.run_dir.ledger_table import LedgerTable


@dataclass(frozen=True, slots=True)
class Failures:
    """The blocks of a stage that failed last, one row each."""

    last: np.ndarray
    """Rows of the last attempts."""
    flat: np.ndarray
    """Their blocks."""
    attempts: np.ndarray
    """How many failed in the start that failed a block last."""
    given_up: np.ndarray
    """Which of them were tried as often as they are in one start."""


def failures_of(
    table: LedgerTable, retries: int, start: int | None, *, given_up: str
) -> Failures:
    """What has failed of a stage; `start` is the number of one that is at work.

    Such a start tries again what earlier ones gave up.  `given_up` is why the latest
    one does no more of the stage.
    """
    rows = table.rows
    rows = rows[~rows["is_done"] & (rows["shape"] == 0)]
    flat = table.flat(rows["block"])
    still = table.failed[flat]
    rows, flat = rows[still], flat[still]
    order = np.lexsort((rows["ended"], rows["epoch"], flat))
    rows, flat = rows[order], flat[order]
    blocks, last = np.unique(flat[::-1], return_index=True)
    last = len(flat) - 1 - last
    epochs = np.zeros(table.grid.size, np.int64)
    epochs[blocks] = rows["epoch"][last]
    counts = np.bincount(flat[rows["epoch"] == epochs[flat]], minlength=len(epochs))
    attempts = counts[blocks]
    is_over = attempts > retries
    if start is not None:
        is_over &= rows["epoch"][last] == start
    return Failures(rows[last], blocks, attempts, is_over | bool(given_up))


def stage_status(
    stage: Stage,
    table: LedgerTable,
    failures: Failures,
    running: Collection[Index],
    unreachable: Mapping[str, tuple[Stage, np.ndarray]],
    start: int,
    given_up: str,
) -> StageStatus:
    """How far a stage is; `unreachable` are blocks of those before it, by stage.

    `given_up` is why the latest start does no more of it.
    """
    done, failed = table.done, table.failed
    orphaned = np.full(stage.grid.shape, bool(given_up))
    for name in dict.fromkeys(stage.after):
        if name in unreachable:
            other, mask = unreachable[name]
            ranges = stage.block_ranges_of(other)
            orphaned |= count_in(mask.reshape(other.grid.shape), ranges) > 0
    states = np.full(stage.grid.size, LEFT, np.uint8)
    states[orphaned.ravel()] = ORPHANED
    states[failed] = FAILED
    states[done] = DONE
    orphans = int(np.count_nonzero(states == ORPHANED))
    busy = [stage.grid.flat(i) for i in running if _is_in(i, stage.grid.shape)]
    busy = [i for i in busy if states[i] != DONE]
    states[busy] = RUNNING
    rows = table.rows
    own = rows["is_done"] & (rows["epoch"] == start) & (rows["shape"] == 0)
    counts: dict[str, Any] = {
        "done": int(done.sum()),
        "failed": int(failed.sum()),
        "orphaned": orphans,
    }
    return StageStatus(
        **_what(stage),
        **counts,
        given_up=given_up,
        running=len(busy),
        left=stage.grid.size - sum(counts.values()),
        as_is=table.engines_of_done()[NO_ENGINE],
        is_deleted=False,
        seconds=float(rows["seconds"][own].mean(dtype=float)) if own.any() else None,
        states=states,
    )


def deleted_stage(stage: Stage) -> StageStatus:
    """How far a stage is that was deleted for good: all of it was done."""
    size = stage.grid.size
    return StageStatus(
        **_what(stage),
        done=size,
        failed=0,
        orphaned=0,
        given_up="",
        running=0,
        left=0,
        as_is=0,
        is_deleted=True,
        seconds=None,
        states=np.full(size, DONE, np.uint8),
    )


def unreachable_of(status: StageStatus, failures: Failures) -> np.ndarray:
    """The blocks whose readers can't be done, by flat index."""
    found: np.ndarray = status.states == ORPHANED
    found[failures.flat[failures.given_up]] = True
    return found


def _is_in(index: Index, shape: Sequence[int]) -> bool:
    """Whether a grid has a block; what is left of an earlier start may have others."""
    return len(index) == len(shape) and all(
        0 <= i < n for i, n in zip(index, shape, strict=True)
    )


def _what(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "task": stage.task,
        "reads": tuple(dict.fromkeys(stage.after)),
        "grid": tuple(stage.grid.shape),
        "block_shape": tuple(stage.grid.block_shape),
        "blocks": stage.grid.size,
    }
