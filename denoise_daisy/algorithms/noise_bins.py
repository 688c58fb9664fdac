"""Blocks put together by grey level: how much noise there is at each.

Of each range of levels the flattest blocks count, by a texture that hardly depends on
how much the filters leave of white noise: choosing by it does not bias the variance.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from denoise_daisy.algorithms.noise_blocks import Blocks

MOST_BINS = 32

FREEDOM = 17
"""Independent voxels that the residuals of a block are worth."""

FLAT = 0.3
"""Share of the blocks of a bin that are its flattest."""

AS_FLAT = 1.1
"""Where the widest filter leaves less than so many times what it does in the flattest
blocks, all are flat."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Blocks by mean grey level; arrays whose first axis is the bins, darkest first."""

    members: tuple[Blocks, ...]
    """The blocks of each bin that count."""

    mean: np.ndarray
    """Their mean grey level."""

    left: np.ndarray
    """Noise variance, of ``(bins, 2, 2)``, by the filters of `Blocks.left`."""

    @classmethod
    def of(cls, members: Sequence[Blocks]) -> Self:
        """Bins of these blocks."""
        means = [blocks.mean.mean(dtype=float) for blocks in members]
        left = [_capped(some.left).mean(axis=0, dtype=float) for some in members]
        return cls(tuple(members), np.array(means), np.array(left))

    def __len__(self) -> int:
        return len(self.members)

    @property
    def count(self) -> np.ndarray:
        """Blocks of each bin."""
        return np.array([float(len(blocks)) for blocks in self.members])

    def resampled(
        self, taps: tuple[int, int], times: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Variances of ``(times, bins)``: bootstrap over the blocks of each bin."""
        columns = []
        for blocks in self.members:
            values = _capped(blocks.left[:, *taps])
            drawn = rng.integers(len(values), size=(times, len(values)))
            columns.append(values[drawn].mean(axis=1, dtype=float))
        return np.stack(columns, axis=1)


def binned(blocks: Blocks, share: float = FLAT) -> Bins:
    """Up to 32 bins, equal in the root of the mean above the least.

    Of each, this share of its blocks counts: the flattest.
    """
    root = np.sqrt(blocks.mean - blocks.mean.min())
    number = np.minimum(root / (root.max() or 1) * MOST_BINS, MOST_BINS - 1)
    order = np.argsort(blocks.mean, kind="stable")
    ends = np.searchsorted(number[order], np.arange(1, MOST_BINS + 1))
    least = 5 if len(blocks) <= 400 else 12
    begins = [0]
    for end in ends:
        if end - begins[-1] >= least and len(blocks) - end >= least:
            begins.append(int(end))
    limits = itertools.pairwise([*begins, len(blocks)])
    groups = [blocks[order[i:j]] for i, j in limits]
    return Bins.of([_flattest(group, share) for group in groups])


def _capped(values: np.ndarray) -> np.ndarray:
    """Of what is above 3 medians only that much, along the first axis."""
    median = np.median(values, axis=0)
    capped: np.ndarray = np.where(median > 0, np.minimum(values, 3 * median), values)
    return capped


def more_if_flat(bins: Bins, blocks: Blocks) -> Bins:
    """The bins of all blocks, where these are as flat as the flattest; or the same."""
    whole = binned(blocks, 1.0)
    ratio = whole.left[:, 1, 1] / bins.left[:, 1, 1]
    return whole if np.average(ratio, weights=bins.count) < AS_FLAT else bins


def _flattest(group: Blocks, share: float) -> Blocks:
    count = max(3, round(share * len(group)))
    return group[np.argsort(group.texture, kind="stable")[:count]]
