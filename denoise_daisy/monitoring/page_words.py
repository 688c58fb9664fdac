"""What the page of a run says in words."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from urllib.parse import quote

from denoise_daisy.amounts import duration, duration_range, voxel_rate
from denoise_daisy.forecast import TimeLeft
from denoise_daisy.monitoring.values import RunStatus
from denoise_daisy.progress import none_done

NAMES = {
    "running": "Running",
    "done": "Done",
    "failed": "Some blocks failed",
    "stopped": "Stopped",
}
"""Of the states, as they are headed."""


def headline(status: RunStatus) -> tuple[str, str]:
    """The state, and how much of the work is done; in a few letters each."""
    if status.state == "done":
        return NAMES["done"], "100 %"
    share = 100 * min(max(status.share, 0.0), 1.0)
    if share >= 99:
        # All is not done before it is.
        return NAMES[status.state], f"{min(int(10 * share) / 10, 99.9):.1f} %"
    return NAMES[status.state], f"{share:.0f} %" if share >= 10 else f"{share:.1f} %"


def sentences(status: RunStatus, now: float) -> Iterator[str]:
    """What is to be expected, or to be done."""
    done = sum(stage.done for stage in status.stages)
    every = sum(stage.blocks for stage in status.stages)
    failed = sum(stage.failed for stage in status.stages)
    match status.state:
        case "running":
            yield _expected(status.time_left, now)
            if status.waits_for:
                yield f"No worker is at a block: {_ended(status.waits_for)}"
        case "done":
            yield f"All {every} blocks are done."
        case "failed":
            yield (
                f"{_blocks(failed)} failed for good; {done} of {every} are done. See"
                " below why; the next start tries again what is not done."
            )
        case "stopped":
            yield (
                f"No scheduler is at work, and {_blocks(every - done)} of {every} are"
                " left. The same command goes on where it stopped."
            )
    if status.input_problem:
        yield f"The input: {_ended(status.input_problem)}"


def _expected(left: TimeLeft | None, now: float) -> str:
    """When a run will end."""
    if left is None:
        return "When it will end can't be told yet."
    if left.most is None:
        return f"At least {duration(left.least)} left: {none_done(left)} yet."
    begin, end = now + left.least, now + left.most
    first, last = clock(begin, is_exact=False), clock(end, is_exact=False)
    span = duration_range(left.least, left.most)
    if first == last:
        return f"{span[0].upper()}{span[1:]} left; it will end at about {last}."
    if time.localtime(begin)[:3] == time.localtime(end)[:3]:
        first = time.strftime("%H:%M", time.localtime(begin))
        last = time.strftime("%H:%M %Z on %A", time.localtime(end))
    return f"{span[0].upper()}{span[1:]} left; it will end between {first} and {last}."


def clock(seconds: float, *, is_exact: bool = True) -> str:
    """A time since 1970 as people say it, where the scheduler is."""
    form = "%a %d %b %Y, %H:%M:%S %Z" if is_exact else "%a %d %b, %H:%M %Z"
    return time.strftime(form, time.localtime(seconds))


def tiles(status: RunStatus) -> Iterator[tuple[str, str, str]]:
    """A few figures: what, how much, and the unit or a word more."""
    if status.elapsed_seconds:
        what = "The last start took" if status.is_over else "Since the start"
        yield what, duration(status.elapsed_seconds), ""
    if status.voxels_per_second:
        speed, unit = voxel_rate(status.voxels_per_second).split(" ", 1)
        yield "Speed", speed, f"{unit} denoised"
    if not status.is_over:
        at_work = sum(worker.block is not None for worker in status.workers)
        yield "Workers", f"{at_work}", f"at work, of {len(status.workers)}"
    done = sum(stage.done for stage in status.stages)
    every = sum(stage.blocks for stage in status.stages)
    yield "Blocks", f"{done}", f"done, of {every}"
    if failed := sum(stage.failed for stage in status.stages):
        orphaned = sum(stage.orphaned for stage in status.stages)
        yield (
            "Failed",
            f"{failed}",
            f"and {orphaned} orphaned" if orphaned else "blocks",
        )


def rate(number: float) -> str:
    """A rate with as many digits as matter, 0 only where it is."""
    return f"{number:.3g}" if number < 1000 else f"{number:.0f}"


def place(block: Sequence[int]) -> str:
    """Where a block lies in its grid."""
    names = zip("tzyx", block, strict=False)
    return " ".join(f"{axis} {i}" for axis, i in names)


def link(status: RunStatus, path: str) -> str:
    """A file or folder as seen from the page, so that it opens from any share."""
    return quote(os.path.relpath(path, status.run_dir))


def name_of(path: str) -> str:
    """The last part of a path."""
    return PurePath(path).name or path


def _blocks(number: int) -> str:
    return f"{number} block" if number == 1 else f"{number} blocks"


def _ended(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
