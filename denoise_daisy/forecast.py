"""When a run will end, as a range, from what its blocks have taken so far; no I/O.

The model: workers of a pool do its blocks one after the other, and none is idle as long
as there is one that it could do.  Then what is left takes no less than all its seconds
shared among the workers, and no more than that and the longest chain of blocks that
read each other, one of each stage (R. L. Graham, Bounds on multiprocessing timing
anomalies, SIAM J. Appl. Math. 17, 1969).  How long blocks take is told by those that
were done; how sure that is, by how much it changes from one spell of them to the next.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

SPELLS = 16
"""Most spells that are told from each other; then two and two become one."""

DOUBT = 2.5
"""Standard deviations from the mean to either end of a range."""

FEW, LEAST = 0.35, 0.02
"""Relative standard deviation of a mean by one block, and of any."""

FORESEEN = 4
"""What is left counts for no more spells than that: later ones may be otherwise."""

RARE = 1.5
"""A block may yet take so many times as long as the longest one did."""

UNTRIED = 5.0
"""So many times as long, or as short, as expected a stage may be that was not tried."""

EARLIER = 3.0
"""The same of a stage that only earlier starts did."""


@dataclass(slots=True)
class Pace:
    """How long the blocks of a stage took, in the order in which they were done."""

    blocks: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    each: int = 1
    """Blocks of a spell."""
    spells: list[float] = field(default_factory=list)
    """Seconds of each spell, of blocks one after the other; the last may be begun."""

    def add(self, seconds: float) -> None:
        """One more was done."""
        if self.blocks == len(self.spells) * self.each:
            if len(self.spells) == SPELLS:
                pairs = zip(self.spells[::2], self.spells[1::2], strict=True)
                self.spells[:] = [a + b for a, b in pairs]
                self.each *= 2
            self.spells.append(0.0)
        self.spells[-1] += seconds
        self.blocks += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)

    @classmethod
    def of(cls, seconds: np.ndarray) -> Self:
        """That of blocks which took so long, in the order in which they were done."""
        count = len(seconds)
        each = 1
        while count > SPELLS * each:
            each *= 2
        spells = np.add.reduceat(seconds, range(0, count, each)) if count else seconds
        longest = float(seconds.max(initial=0.0))
        return cls(count, float(seconds.sum()), longest, each, spells.tolist())

    @property
    def mean(self) -> float:
        """Seconds of a block; at least one was done."""
        return self.seconds / self.blocks

    def between(self, left: float) -> tuple[float, float]:
        """Least and most mean seconds of so many blocks more."""
        whole = self.blocks // self.each
        means = np.array(self.spells[:whole]) / self.each
        deviation = 0.0
        if whole > 1 and self.mean:
            spread = float(means.std(ddof=1)) / self.mean
            ahead = min(max(left, 1) / self.each, FORESEEN)
            deviation = spread * math.sqrt(1 / whole + 1 / ahead)
        doubt = math.hypot(deviation, FEW / math.sqrt(self.blocks), LEAST)
        recent = float(means[-(whole // 4 or 1) :].mean())
        low, high = sorted((self.mean, recent))
        return low * math.exp(-DOUBT * doubt), high * math.exp(DOUBT * doubt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What is left of a stage."""

    name: str
    reads: Sequence[str]
    """The stages that it reads."""
    pool: str
    """Whose blocks they are."""
    left: float
    """Blocks that can still be done, those at work among them."""
    at_work: int
    done: float
    """Of all starts."""
    pace: Pace
    """Of the blocks done in this start."""
    guess: float | None
    """Seconds of a block where none was done yet; None where nothing is known."""
    earlier: float | None = None
    """Mean seconds of a block in earlier starts; None where they did none."""
    spent: Sequence[float] = ()
    """Seconds so far of blocks at work; not of all, where that is not known."""

    @property
    def mean(self) -> float | None:
        """Seconds of a block in this start, or else in earlier ones."""
        return self.pace.mean if self.pace.blocks else self.earlier


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """Workers of a pool."""

    least: int
    """Those that are there."""
    most: int
    """If all come that are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLeft:
    """In which a run is expected to end, in seconds from now."""

    least: float
    most: float | None
    """Null where that can't be said, for no block of some of it was done yet."""
    not_known: tuple[str, ...] = ()
    """The stages of which none was."""


def time_left(
    stages: Sequence[Ahead], hands: Mapping[str, Hands], idle: float = 0.0
) -> TimeLeft | None:
    """How long it takes until all that is left is done; None where nothing is known.

    Parameters
    ----------
    stages
        Those to be done, each after those that it reads.
    hands
        The workers of each pool, by its name.
    idle
        Seconds that a worker spends between two blocks, at most.
    """
    if not any(stage.mean is not None or not stage.left for stage in stages):
        return None
    least: dict[str, float] = {}
    most: dict[str, float] = {}
    shortest: dict[str, float] = {}
    longest: dict[str, float] = {}
    not_known = []
    for stage in stages:
        low, high, last = _seconds(stage)
        if stage.left and math.isinf(high):
            not_known.append(stage.name)
        waiting = max(0.0, stage.left - stage.at_work)
        least[stage.pool] = least.get(stage.pool, 0.0) + waiting * low
        if stage.left:
            more = stage.left * (high + idle)
            most[stage.pool] = most.get(stage.pool, 0.0) + more
        before = [name for name in stage.reads if name in longest]
        shortest[stage.name] = max((shortest[n] for n in before), default=0.0)
        longest[stage.name] = max((longest[n] for n in before), default=0.0)
        if waiting:
            shortest[stage.name] += low
        if stage.left:
            longest[stage.name] += last
    shared = [s / max(1, hands[pool].most) for pool, s in least.items()]
    at_least = max([*shared, *shortest.values()], default=0.0)
    if not_known:
        return TimeLeft(least=at_least, most=None, not_known=tuple(not_known))
    at_most = sum(s / max(1, hands[pool].least) for pool, s in most.items())
    at_most += max(longest.values(), default=0.0)
    return TimeLeft(least=at_least, most=at_most)


def _seconds(stage: Ahead) -> tuple[float, float, float]:
    """Of a block: the mean at least and at most, and that of the longest."""
    if stage.pace.blocks:
        low, high = stage.pace.between(stage.left)
        return low, high, max(high, RARE * stage.pace.longest)
    guess, doubt = stage.guess, UNTRIED
    if stage.earlier is not None:
        guess, doubt = stage.earlier, EARLIER
    if guess is None:
        # As if those at work were done by now, which takes them longer yet.
        begun = Pace.of(np.array(stage.spent))
        low = begun.between(stage.left)[0] if begun.blocks else 0.0
        return low, math.inf, math.inf
    high = doubt * max(guess, *stage.spent, 0.0)
    return guess / doubt, high, high


def share_done(stages: Iterable[Ahead]) -> float:
    """Of all work, in the time that blocks take, how much is done: from 0 to 1.

    Where nothing is known of a stage, its blocks are taken to be as long as others, or
    as long as those at work have taken.
    """
    stages = list(stages)
    known = [(max(s.done, 1), s.mean) for s in stages if s.mean is not None]
    blocks = sum(count for count, _ in known)
    usual = sum(count * mean for count, mean in known) / blocks if known else 1.0
    done = left = 0.0
    for stage in stages:
        so_far = sum(stage.spent) / max(len(stage.spent), 1)
        unknown = max(usual, so_far)
        guess = unknown if stage.guess is None or not known else stage.guess
        each = guess if stage.mean is None else stage.mean
        done += stage.done * each
        left += stage.left * each
    return done / (done + left) if left else 1.0
