"""When a run or a stage is hopeless: everything fails."""

import logging
from collections.abc import Iterable, Mapping

import numpy as np

from denoise_daisy.errors import RunStopped
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.trial import spread, untried

MAX_FAILURES_PER_WORKER = 5
"""A stage is put to the test when that many blocks per worker have failed, and none was
ever done."""

logger = logging.getLogger(__name__)


def give_up_hopeless(
    pools: Iterable[Pool], states: Mapping[str, StageState], run_dir: RunDir
) -> bool:
    """Stop stages of which everything fails, instead of failing all of their blocks.

    The run goes on without them, unless one is essential.  Whether other blocks are to
    be handed out than before, which takes another server.

    Raises
    ------
    RunStopped
        One is.
    """
    has_changed = False
    for pool in pools:
        enough = MAX_FAILURES_PER_WORKER * max(1, pool.workers.number)
        for name in pool.stages:
            state = states[name]
            failures = state.ledger.failures
            if state.abandoned:
                continue
            if state.ledger.done.any():
                # Those that fail are just bad, and end by their retries.
                has_changed |= state.trial is not None
                state.trial = None
            elif state.trial is None:
                if len(failures) >= enough and (blocks := untried(state)).size:
                    state.trial = spread(blocks)
                    has_changed = True
            elif not np.intersect1d(state.trial, untried(state)).size:
                _give_up(state, run_dir)
    return has_changed


def _give_up(state: StageState, run_dir: RunDir) -> None:
    failures, name = state.ledger.failures, state.stage.name
    first = failures[min(failures)][0]
    why = (
        f"{len(failures)} blocks of {name} have failed, the first and some all over it,"
        " and none is done; something is wrong with all of them. Block"
        f" {list(first.block)}: {first.error}."
    )
    if state.stage.is_essential:
        raise RunStopped(f"{why} Correct it and start again. Logs: {run_dir.logs}.")
    state.abandon(why)
    logger.error("%s The run goes on without %s.", why, name)
