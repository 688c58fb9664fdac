"""The progress of a run, from the states of its stages and its workers."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from denoise_daisy.events import Tell
from denoise_daisy.forecast import Ahead, Pace, TimeLeft, share_done, time_left
from denoise_daisy.progress import Progress, Standing
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.workforce import AnyWorkforce
from denoise_daisy.tasks.denoise import DENOISE


class ShowsProgress(Protocol):
    """Something that shows a person where a run is."""

    def show(self, workforce: AnyWorkforce) -> None:
        """Show it; call it often."""

    def write(self, line: str) -> None:
        """A line of its own."""

    def close(self) -> None:
        """Leave it as it is."""


class RunProgress:
    """Shows a person where a run is."""

    def __init__(
        self,
        states: Mapping[str, StageState],
        pools: Sequence[Pool],
        tell: Tell | None = None,
    ) -> None:
        self._states = states
        self._pool_of = {name: pool.name for pool in pools for name in pool.stages}
        self._progress = Progress(tell=tell)
        self._idle = _Idle()
        self._denoised = _Denoised()

    def show(self, workforce: AnyWorkforce) -> None:
        """Show it; call it often."""
        at_work = workforce.seconds_at_work()
        stages = [
            self._ahead(state, at_work.get(name, ()))
            for name, state in self._states.items()
        ]
        self._progress.show(
            Standing(
                share=share_done(stages),
                done={stage.name: int(stage.done) for stage in stages},
                blocks={n: s.stage.grid.size for n, s in self._states.items()},
                failed=sum(len(s.given_up) for s in self._states.values()),
                at_work=sum(map(len, at_work.values())),
                waits_for=workforce.waits_for(),
                voxels_per_second=self._rate(),
                time_left=self._time_left(stages, workforce),
            )
        )

    def write(self, line: str) -> None:
        """A line of its own."""
        self._progress.write(line)

    def close(self) -> None:
        """Leave it as it is."""
        self._progress.close()

    def _ahead(self, state: StageState, spent: Sequence[float]) -> Ahead:
        name = state.stage.name
        return Ahead(
            name=name,
            reads=[up.stage.name for up in state.upstream],
            pool=self._pool_of[name],
            left=state.left,
            at_work=len(spent),
            done=state.ledger.done_count,
            pace=state.ledger.totals.pace,
            guess=state.stage.usual_seconds,
            earlier=state.ledger.earlier.of(state.stage.grid.block_shape),
            spent=spent,
        )

    def _time_left(
        self, stages: Sequence[Ahead], workforce: AnyWorkforce
    ) -> TimeLeft | None:
        hands = workforce.hands()
        ready = Counter[str]()
        for name, state in self._states.items():
            ready[self._pool_of[name]] += state.ready
        busy = sum(min(hands[pool].least, n) for pool, n in ready.items())
        idle = self._idle.seconds([stage.pace for stage in stages], busy)
        return time_left(stages, hands, idle)

    def _rate(self) -> float | None:
        """Voxels of all channels denoised in a second of the time in which any were."""
        state = self._states.get(DENOISE)
        if state is None:
            return None
        totals, grid = state.ledger.totals, state.stage.grid
        denoised = totals.blocks - totals.engines[NO_ENGINE]
        seconds = self._denoised.seconds(denoised, totals.pace.longest)
        channels = state.stage.target.channels_written
        return denoised / grid.size * grid.voxels_written * channels / seconds


class _Denoised:
    """The time in which blocks were denoised, as it was seen."""

    def __init__(self) -> None:
        self._blocks = 0
        self._began = self._last = 0.0

    def seconds(self, blocks: int, longest: float) -> float:
        """From the beginning of the first to the end of the last; more than none.

        So many were denoised by now, and one of them took the longest.
        """
        if blocks > self._blocks:
            now = time.monotonic()
            self._began = self._began if self._blocks else now - longest
            self._last, self._blocks = now, blocks
        return max(self._last - self._began, longest, 1e-3)


class _Idle:
    """What workers spend between two blocks, though there were some to be done."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._blocks = 0
        self._seconds = 0.0
        self._there = 0.0

    def seconds(self, paces: Sequence[Pace], busy: int) -> float:
        """For each block; `busy` workers there are for blocks that are ready."""
        now = time.monotonic()
        blocks = sum(pace.blocks for pace in paces)
        seconds = sum(pace.seconds for pace in paces)
        if self._last is None:
            # Workers have to load before they do their first blocks.
            if blocks:
                self._last, self._blocks, self._seconds = now, blocks, seconds
            return 0.0
        self._there += (now - self._last) * busy
        self._last = now
        more = blocks - self._blocks
        return max(0.0, self._there - (seconds - self._seconds)) / more if more else 0.0
