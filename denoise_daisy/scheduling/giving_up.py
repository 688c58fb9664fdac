"""When a run or a stage is hopeless: everything fails, or there is no output."""

import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from denoise_daisy.durable import is_there
from denoise_daisy.errors import RunStopped
from denoise_daisy.outputs.ome_zarr import METADATA
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.worker_pool import OUTPUT_GONE
from denoise_daisy.waits import WAITS

MAX_FAILURES_PER_WORKER = 5
"""A stage is given up when that many blocks per worker have failed and none is done."""

logger = logging.getLogger(__name__)


def abandon_hopeless(
    pools: Iterable[Pool], states: Mapping[str, StageState], run_dir: RunDir
) -> None:
    """Stop stages of which everything fails, instead of failing all of their blocks.

    The run goes on without them, unless one is essential.

    Raises
    ------
    RunStopped
        One is.
    """
    for pool in pools:
        enough = MAX_FAILURES_PER_WORKER * max(1, pool.workers.number)
        for name in pool.stages:
            state = states[name]
            failures = state.ledger.failures
            if state.is_abandoned or state.ledger.totals.blocks:
                continue
            if len(failures) < enough:
                continue
            first = next(iter(failures.values()))[0]
            why = (
                f"The first {len(failures)} blocks of {name} have all failed, none"
                " is done; something is wrong with all of them. Block"
                f" {list(first.block)}: {first.error}."
            )
            if state.stage.is_essential:
                raise RunStopped(
                    f"{why} Correct it and start again. Logs: {run_dir.logs}."
                )
            state.abandon()
            logger.error("%s The run goes on without %s.", why, name)


class OutputWatch:
    """Stops a run that has nowhere to write to, instead of computing for nothing."""

    def __init__(self, run_dir: RunDir, states: Iterable[StageState]) -> None:
        arrays = [s.stage.array for s in states]
        files = [array.path / METADATA for array in arrays if array]
        self._places: list[Path] = [run_dir.run_file, *files]
        self._last_there = time.monotonic()

    def check(self) -> None:
        """Look whether all is there.

        Raises
        ------
        RunStopped
            Something has been away for too long.
        """
        now = time.monotonic()
        gone = [str(place) for place in self._places if not is_there(place)]
        if not gone:
            self._last_there = now
        elif now - self._last_there > WAITS.output_gone:
            raise RunStopped(f"{OUTPUT_GONE} {gone[0]!r} is not there.")
