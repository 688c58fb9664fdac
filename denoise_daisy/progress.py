"""Progress for a person and for programs: a bar in a terminal, a line now and then."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

from denoise_daisy.amounts import duration, duration_range, voxel_rate
from denoise_daisy.events import Tell
from denoise_daisy.forecast import TimeLeft

LISTED = 20
"""Lines of a list that a message has; the ledger has all."""

LINE_SECONDS = (5.0, 15.0)
"""Time from one line to the next: at first, doubling, and at most."""

SHOWN_STAGES = 3
"""Of the stages that are not done, so many are shown in a line of progress."""

NEARLY = 0.99
"""What is not done is not shown to be."""

BAR = "{percentage:3.0f}%|{bar}| {unit} [{elapsed}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run is, at a moment."""

    share: float
    """Of its work, how much is done, from 0 to 1."""
    done: Mapping[str, int]
    """Blocks by stage; of many images, the images."""
    blocks: Mapping[str, int]
    """All there are."""
    failed: int
    """Given up."""
    at_work: int
    """Workers that have a block."""
    waits_for: str
    """What others wait for, in words; empty where none does."""
    voxels_per_second: float | None
    """Denoised in this start; null where there is nothing to denoise."""
    time_left: TimeLeft | None
    """Null before anything is known."""


class Progress:
    """Shows where a run is, and tells it as the event ``progress``."""

    def __init__(self, noun: str = "blocks", tell: Tell | None = None) -> None:
        """`noun` is what is counted, of many images ``images``."""
        self._noun = noun
        self._tell = tell
        self._started = time.monotonic()
        self._pause, self._longest = LINE_SECONDS
        self._next_line = self._started + self._pause
        self._is_first = True
        bar = _notebook_bar()
        self._bar = (bar or tqdm)(
            total=1.0,
            bar_format=BAR,
            unit="",
            smoothing=0,
            disable=bar is None and not sys.stderr.isatty(),
        )

    def show(self, standing: Standing) -> None:
        """Show it; call it often."""
        elapsed = time.monotonic() - self._started
        share = standing.share if standing.share == 1 else min(standing.share, NEARLY)
        if not self._bar.disable:
            self._bar.unit = words_of(standing, self._noun)
            self._bar.update(share - self._bar.n)
            self._bar.refresh()
        is_first, self._is_first = self._is_first, False
        is_due = time.monotonic() >= self._next_line
        if self._tell and (is_due or is_first):
            values = {"elapsed_seconds": round(elapsed, 1), **asdict(standing)}
            self._tell({"event": "progress", **values})
        if not is_due:
            return
        self._pause = min(2 * self._pause, self._longest)
        self._next_line = time.monotonic() + self._pause
        if self._bar.disable:
            words = words_of(standing, self._noun)
            self.write(f"{share:.0%} after {duration(elapsed)}: {words}")

    def write(self, line: str) -> None:
        """A line of its own."""
        tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def _notebook_bar() -> "type[tqdm[Any]] | None":
    """What draws a bar in a notebook; None elsewhere, or where no widget can."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not hasattr(shell, "kernel") or find_spec("ipywidgets") is None:
        return None
    from tqdm.notebook import tqdm as bar  # noqa: PLC0415 - only where it can draw

    return bar


def words_of(standing: Standing, noun: str = "blocks") -> str:
    """Where a run is, in a line: denoise 6/10 blocks, 2 at work, about 40 s left."""
    parts = [_counts(standing, noun), f"{standing.at_work} at work"]
    if standing.voxels_per_second:
        parts.append(voxel_rate(standing.voxels_per_second))
    if standing.waits_for:
        parts.append(standing.waits_for)
    if standing.failed:
        parts.append(f"{standing.failed} failed")
    if standing.time_left is not None:
        parts.append(time_left_text(standing.time_left))
    return ", ".join(parts)


def time_left_text(left: TimeLeft) -> str:
    """When a run ends, in words: 9 to 12 min left."""
    if left.most is not None:
        return f"{duration_range(left.least, left.most)} left"
    return f"at least {duration(left.least)} left ({none_done(left)} yet)"


def none_done(left: TimeLeft) -> str:
    """Of which stages no block was done, so that no end can be told."""
    return f"no block of {' or '.join(left.not_known[:SHOWN_STAGES])} done"


def _counts(standing: Standing, noun: str) -> str:
    """Blocks done of all, stage by stage; those that are done are left out."""
    if list(standing.blocks) == [noun]:
        return f"{standing.done[noun]}/{standing.blocks[noun]} {noun}"
    left = {n: b for n, b in standing.blocks.items() if standing.done[n] < b}
    shown = left or standing.blocks
    parts = [f"{name} {standing.done[name]}/{b}" for name, b in shown.items()]
    more = len(parts) - SHOWN_STAGES
    rest = f", and {more} more stage{'s' * (more > 1)}" if more > 0 else ""
    return f"{', '.join(parts[:SHOWN_STAGES])} {noun}{rest}"


def listing(lines: Sequence[str]) -> list[str]:
    """The first of many lines, indented, and how many more there are."""
    more = len(lines) - LISTED
    rest = [f"  and {more} more"] if more > 0 else []
    return [f"  {line}" for line in lines[:LISTED]] + rest
