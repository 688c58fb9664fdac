"""A stage on trial: some of its blocks are tried, where so many fail that all may."""

import numpy as np

from denoise_daisy.scheduling.stage_state import StageState

TRIED_BLOCKS = 8
"""So many are tried, spread over all that were not: those that came first may be a
damaged part of an image that is good elsewhere."""


def untried(state: StageState) -> np.ndarray:
    """Flat indices of blocks that are not finished, nor have failed in this start."""
    mask = ~state.finished
    for index in list(state.ledger.failures):
        mask[state.stage.grid.flat(index)] = False
    return np.flatnonzero(mask)


def spread(blocks: np.ndarray) -> np.ndarray:
    """Some of them, from the first to the last."""
    count = min(TRIED_BLOCKS, blocks.size)
    chosen: np.ndarray = blocks[np.linspace(0, blocks.size - 1, count).astype(int)]
    return chosen


def kept_back(state: StageState) -> np.ndarray:
    """The blocks that are not to be handed out: finished, or not on trial."""
    kept = state.finished
    if state.trial is not None:
        others = np.ones(kept.size, bool)
        others[state.trial] = False
        kept |= others
    return kept


def has_blocks(state: StageState) -> bool:
    """Whether any of its blocks are to be handed out now."""
    return not (_is_held_up(state) or kept_back(state).all())


def _is_held_up(state: StageState) -> bool:
    """Whether something that it reads is on trial, so that its blocks have to wait."""
    return any(up.trial is not None or _is_held_up(up) for up in state.upstream)
