"""How long a run takes: a model of its blocks' seconds and its workers.

A block takes its steps (`Pace.steps`) times the seconds of a step on this machine, and
some for reading and writing.  Workers share the blocks of a stage: each takes the next
one when it has done one, or of the next stage of their pool when none is left; none
waits for a disk, a queue, or another's memory.  Pools work side by side.  A core counts
as long as its worker is at work.
"""

import heapq
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from denoise_daisy.blockwise.block_shape import SIMULATED_BLOCKS
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.runs.plan import PlannedTime
from denoise_daisy.runs.probing import Measured
from denoise_daisy.tasks.denoise import DENOISE

RUN_SECONDS = 3.5
"""What a run needs before its workers and after them."""

START_SECONDS = 3.0
"""What a worker needs before its first block."""

IO_SECONDS = 3e-8
"""For reading and writing a voxel of one channel, where its pace leaves that out."""

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Work:
    """What the blocks of a stage take together."""

    worker_seconds: float
    """Of all workers together."""
    wall_seconds: float
    """Until the last one is done."""

    def __mul__(self, share: float) -> "Work":
        """A share of it."""
        return Work(share * self.worker_seconds, share * self.wall_seconds)

    def beside(self, other: "Work", workers: int) -> "Work":
        """Both: those who have no block of the one left do blocks of the other."""
        total = self.worker_seconds + other.worker_seconds
        shared = total / workers
        return Work(total, max(self.wall_seconds, other.wall_seconds, shared))


NOTHING = Work(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Clock:
    """How long blocks take on this machine."""

    factor: float = 1.0
    """Of what a block of the denoising was measured to take to what was expected."""
    start_seconds: float = START_SECONDS
    share: float = 1.0
    """Of the blocks of the denoising, those that are not written as they are."""

    def set_by(self, measured: Measured, denoising: Stage) -> Self:
        """The clock that knows what the block took that reads most."""
        expected = self.seconds(denoising, denoising.grid.largest_shape)
        if not expected:
            return self
        return replace(
            self,
            factor=self.factor * measured.seconds / expected,
            start_seconds=measured.start_seconds,
        )

    def seconds(self, stage: Stage, shape: Sequence[int]) -> float | None:
        """Of a block that reads that shape; None where that is not known beforehand."""
        if stage.pace is None:
            return None
        seconds = stage.pace.seconds(shape)
        if stage.name != DENOISE:
            return seconds
        io = IO_SECONDS * stage.target.channels_written * math.prod(shape)
        return self.factor * (seconds + io)

    def work(self, stage: Stage, workers: int) -> Work:
        """What its blocks take so many workers, 0 where that is not known."""
        share = self.share if stage.name == DENOISE else 1.0

        def seconds(shape: Sequence[int]) -> float:
            return share * (self.seconds(stage, shape) or 0.0)

        return work_of(stage.grid, seconds, workers)

    def time_of(
        self,
        stages: Sequence[Stage],
        pool_of: Callable[[Stage], Pool],
        left: Callable[[Stage], float] = lambda _: 1.0,
    ) -> PlannedTime:
        """What these stages take.

        Parameters
        ----------
        stages
            Those that are asked for.
        pool_of
            Whose workers do the blocks of a stage.
        left
            The share of a stage that is not done.
        """
        cores: dict[str, float] = {}
        whole: dict[str, Work] = {}
        rest: dict[str, Work] = {}
        for stage in stages:
            pool, who = pool_of(stage).name, pool_of(stage).workers
            workers = max(1, who.number)
            work = self.work(stage, workers)
            hours = work.worker_seconds * min(who.threads, sys.maxsize) / HOUR
            cores[stage.task] = cores.get(stage.task, 0.0) + hours
            whole[pool] = whole.get(pool, NOTHING).beside(work, workers)
            more = work * left(stage)
            rest[pool] = rest.get(pool, NOTHING).beside(more, workers)
        return PlannedTime(
            hours=self._hours(whole.values()),
            core_hours=sum(cores.values()),
            core_hours_by_task=cores,
            hours_left=self._hours(rest.values()),
            not_known=tuple(stage.name for stage in stages if stage.pace is None),
        )

    def _hours(self, pools: Iterable[Work]) -> float:
        """Of the pool that takes longest, with a start if there is anything to do."""
        longest = max((pool.wall_seconds for pool in pools), default=0.0)
        start = RUN_SECONDS + self.start_seconds
        return (longest + start) / HOUR if longest else 0.0


def work_of(grid: BlockGrid, seconds: Callable[[Index], float], workers: int) -> Work:
    """What blocks of a grid take so many workers, by the seconds for what one reads."""
    kinds = {shape: (seconds(shape), count) for shape, count in _shapes(grid)}
    total = sum(each * count for each, count in kinds.values())
    if grid.size > SIMULATED_BLOCKS:
        rounds = math.ceil(grid.size / workers)
        return Work(total, total / grid.size * rounds)
    busy = [0.0] * min(workers, grid.size)
    lengths = [axis.tolist() for axis in grid.read_lengths]
    for shape in itertools.product(*lengths):
        heapq.heapreplace(busy, busy[0] + kinds[shape][0])
    return Work(total, max(busy))


def _shapes(grid: BlockGrid) -> Iterator[tuple[Index, int]]:
    """The shapes that blocks read, and how many read each."""
    axes = []
    for lengths in grid.read_lengths:
        found = np.unique(lengths, return_counts=True)
        axes.append(list(zip(*(n.tolist() for n in found), strict=True)))
    for pairs in itertools.product(*axes):
        shape, counts = zip(*pairs, strict=True)
        yield shape, math.prod(counts)
