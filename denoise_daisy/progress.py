"""Progress for a person: a bar in a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

LISTED = 20
"""Lines of a list that a message has; the ledger has all."""

LINE_SECONDS = (5.0, 60.0)
"""Time from one line to the next: at first, doubling, and at most."""

BAR = "{desc} {percentage:3.0f}%|{bar}| {unit} [{elapsed}<{remaining}]"


class Progress:
    """Counts voxels of this run only, so that rate and time left are this run's."""

    def __init__(
        self, *, blocks: int, voxels: int, done: int, voxels_done: int
    ) -> None:
        """`done` of the blocks, and their voxels, were done before this start."""
        self._blocks = blocks
        self._voxels = voxels
        self._before = voxels_done
        self._started = time.monotonic()
        self._pause, self._longest = LINE_SECONDS
        self._next_line = self._started + self._pause
        self._bar = tqdm(
            desc="denoise",
            total=voxels,
            initial=voxels_done,
            bar_format=BAR,
            unit=f"{done}/{blocks} blocks",
            smoothing=0,
            disable=not sys.stderr.isatty(),
        )

    def update(
        self, done: int, failed: int, voxels_done: int, busy: int, waiting: str
    ) -> None:
        """Show where the run is; call it often.

        `busy` workers have a block; `waiting` is what others wait for, in words.
        """
        elapsed = time.monotonic() - self._started
        rate = (voxels_done - self._before) / elapsed if elapsed else 0.0
        status = f"{done}/{self._blocks} blocks, {busy} in work"
        if rate:
            status += f", {rate / 1e6:.2f} Mvoxel/s"
        if waiting:
            status += f", {waiting}"
        if failed:
            status += f", {failed} failed"
        if not self._bar.disable:
            self._bar.unit = status
            self._bar.update(voxels_done - self._bar.n)
            self._bar.refresh()
        elif time.monotonic() >= self._next_line:
            self._pause = min(2 * self._pause, self._longest)
            self._next_line = time.monotonic() + self._pause
            left = ""
            if rate:
                left = f", about {duration((self._voxels - voxels_done) / rate)} left"
            share = voxels_done / self._voxels
            self.write(f"denoise {share:.0%} after {duration(elapsed)}: {status}{left}")

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


def duration(seconds: float) -> str:
    """A time span as people say it: 45 s, 12 min, 3.5 h, 2.1 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
