"""What a block may take, memory and time, and how long it is expected to take."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from denoise_daisy.amounts import duration
from denoise_daisy.errors import InputError

TIME_SHARE = 0.25
"""Part of the time that a block may take for which blocks are cut.

Time is measured on this machine, and a node may be several times slower, or share its
cores and disks with others.
"""

SLOWEST_STEP = 1e-6
"""Seconds that no machine needs for a step: what has time for all steps at that pace
need not be measured."""


@dataclass(frozen=True)
class Pace:
    """How long an array takes: so many steps, each as long as a trial tells."""

    steps: Callable[[Sequence[int]], float]
    """Steps for an array of that shape, ``(t, z, y, x)``, with all its channels."""

    trial: Callable[[], float]
    """Measures the seconds of a step; asked once, and only where that matters."""

    @classmethod
    def known(cls, seconds_per_voxel: float) -> Self:
        """What takes so long for each position of ``(t, z, y, x)``."""
        steps = seconds_per_voxel / SLOWEST_STEP
        return cls(lambda shape: math.prod(shape) * steps, lambda: SLOWEST_STEP)

    @cached_property
    def seconds_per_step(self) -> float:
        """As measured on this machine."""
        return self.trial()

    def seconds(self, shape: Sequence[int]) -> float:
        """How long an array of that shape takes."""
        return self.steps(shape) * self.seconds_per_step

    def is_within(self, shape: Sequence[int], seconds: float) -> bool:
        """Whether an array of that shape is done in that time."""
        slowest = self.steps(shape) * SLOWEST_STEP
        return slowest <= seconds or self.seconds(shape) <= seconds


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one block of some worker may take, and what of the config says so."""

    memory: int
    """Bytes."""

    more_memory: str = "Raise blocks.memory_gib, lower workers.count"
    """What to do for more of it."""

    seconds: float = math.inf

    seconds_key: str = "workers.block_timeout_minutes"

    @property
    def seconds_cut_for(self) -> float:
        """What a block takes at most that is cut by this program, if it can."""
        return self.seconds * TIME_SHARE

    def too_slow(self, what: str, seconds: float, smaller: str) -> InputError:
        """The refusal of a block that takes too long; `smaller` is how to shrink it."""
        return InputError(
            f"{what} takes about {duration(seconds)} (measured on this machine), but"
            f" {self.seconds_key} gives it {duration(self.seconds)}. Raise"
            f" {self.seconds_key}, or {smaller}."
        )

    def too_large(self, what: str, memory: int, smaller: str) -> InputError:
        """The refusal of a block that takes too much memory."""
        gib = 1 << 30
        return InputError(
            f"{what} needs {memory / gib:.2f} GiB per worker, but only"
            f" {self.memory / gib:.2f} GiB are there. {self.more_memory}, or {smaller}."
        )
