"""Progress for a person: a bar in a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from denoise_daisy.amounts import duration

LISTED = 20
"""Lines of a list that a message has; the ledger has all."""

LINE_SECONDS = (5.0, 60.0)
"""Time from one line to the next: at first, doubling, and at most."""

SHOWN_STAGES = 3
"""Of the stages that are not done, so many are shown in a line of progress."""

BAR = "{desc} {percentage:3.0f}%|{bar}| {unit} [{elapsed}<{remaining}]"


class Progress:
    """Counts work of this start only, so that rate and time left are this start's."""

    def __init__(
        self,
        *,
        blocks: Mapping[str, int],
        work: float,
        done: Mapping[str, int],
        work_done: float,
        noun: str = "blocks",
    ) -> None:
        """`blocks` of each stage, of which `done` were done before this start.

        Work is counted in voxels to be denoised, or what takes as long as these; of
        many images, in images, which is the `noun` then.
        """
        self._blocks = blocks
        self._noun = noun
        self._work = work
        self._before = work_done
        self._started = time.monotonic()
        self._pause, self._longest = LINE_SECONDS
        self._next_line = self._started + self._pause
        self._bar = tqdm(
            desc="denoise",
            total=work,
            initial=work_done,
            bar_format=BAR,
            unit=self._counts(done),
            smoothing=0,
            disable=not sys.stderr.isatty(),
        )

    def update(
        self,
        done: Mapping[str, int],
        failed: int,
        work_done: float,
        busy: int,
        waiting: str,
    ) -> None:
        """Show where the run is; call it often.

        `busy` workers have a block; `waiting` is what others wait for, in words.
        """
        elapsed = time.monotonic() - self._started
        rate = (work_done - self._before) / elapsed if elapsed else 0.0
        status = f"{self._counts(done)}, {busy} in work"
        if rate and self._noun == "blocks":
            status += f", {rate / 1e6:.2f} Mvoxel/s"
        if waiting:
            status += f", {waiting}"
        if failed:
            status += f", {failed} failed"
        if not self._bar.disable:
            self._bar.unit = status
            self._bar.update(work_done - self._bar.n)
            self._bar.refresh()
        elif time.monotonic() >= self._next_line:
            self._pause = min(2 * self._pause, self._longest)
            self._next_line = time.monotonic() + self._pause
            left = ""
            if rate:
                left = f", about {duration((self._work - work_done) / rate)} left"
            share = work_done / self._work
            self.write(f"denoise {share:.0%} after {duration(elapsed)}: {status}{left}")

    def _counts(self, done: Mapping[str, int]) -> str:
        """Blocks done of all, stage by stage where there are several."""
        if len(self._blocks) == 1:
            return "".join(
                f"{done[n]}/{all_} {self._noun}" for n, all_ in self._blocks.items()
            )
        unfinished = {n: b for n, b in self._blocks.items() if done[n] < b}
        parts = [f"{name} {done[name]}/{b}" for name, b in unfinished.items()]
        total = f"{sum(done.values())}/{sum(self._blocks.values())} blocks"
        return f"{total} ({', '.join(parts[:SHOWN_STAGES])})" if parts else total

    def write(self, line: str) -> None:
        """A line of its own."""
        tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def listing(lines: Sequence[str]) -> list[str]:
    """The first of many lines, indented, and how many more there are."""
    more = len(lines) - LISTED
    rest = [f"  and {more} more"] if more > 0 else []
    return [f"  {line}" for line in lines[:LISTED]] + rest
