"""How each of many images ended: a table for a person, and one for programs."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from denoise_daisy.amounts import duration
from denoise_daisy.durable import write_atomic
from denoise_daisy.errors import (
    BlocksFailed,
    DenoiseDaisyError,
    InputError,
    Interrupted,
    RefusedError,
    RunStopped,
)
from denoise_daisy.progress import listing
from denoise_daisy.runs.many_images import OneOfMany
from denoise_daisy.runs.preflight import Preflight
from denoise_daisy.runs.warnings import first_sentence

COLUMNS = (
    "image",
    "path",
    "scene",
    "status",
    "blocks",
    "failed",
    "seconds",
    "gains",
    "offsets",
    "noise_std",
    "output",
    "message",
)
"""Of the table for programs; seconds are of the workers, over all blocks."""

MOST_ROWS = 200
"""Of the table for a person."""

MOST_SAID = 20
"""Images whose errors are told in full."""


@dataclass
class Outcome:
    """What became of one image."""

    image: OneOfMany
    found: Preflight | None = None
    """What was to be done; None where it was refused, or is not known yet."""
    has_ended: bool = False
    error: BaseException | None = None

    def end(self, error: BaseException | None) -> None:
        """It has ended, for that reason if not all is done."""
        self.error = error
        self.has_ended = True

    @property
    def has_begun(self) -> bool:
        """Whether there is, or was, something of it on disk."""
        return self.found is not None

    @property
    def is_done(self) -> bool:
        """Whether all of it is."""
        return self.has_ended and self.error is None

    @property
    def status(self) -> str:
        """In a word."""
        if not self.has_ended:
            return "at work"
        match self.error:
            case None:
                return "done"
            case InputError() | RefusedError():
                return "refused"
            case BlocksFailed():
                return "failed"
            case RunStopped():
                return "stopped"
        return "error"

    @property
    def blocks(self) -> tuple[int, int, int]:
        """Blocks that are done, those that have failed, and all."""
        if self.found is None:
            return 0, 0, 0
        ledgers = [self.found.ledgers[name] for name in self.found.asked]
        return (
            sum(ledger.done_count for ledger in ledgers),
            sum(len(ledger.last_failed()) for ledger in ledgers),
            sum(stage.grid.size for stage in self.found.asked_stages),
        )

    @property
    def share_done(self) -> float:
        """Part of its blocks that are done."""
        done, _, every = self.blocks
        return done / every if every else 0.0

    @property
    def seconds(self) -> float:
        """Of workers, for its blocks in this start."""
        if self.found is None:
            return 0.0
        return sum(ledger.totals.pace.seconds for ledger in self.found.ledgers.values())

    @property
    def noise(self) -> dict[str, str]:
        """The numbers of its noise, in words."""
        probed = self.found.run.denoiser.probed if self.found else None
        keys = ("gains", "offsets", "noise_std")
        return {key: _numbers((probed or {}).get(key)) for key in keys}

    @property
    def line(self) -> str:
        """How it ended, in a line."""
        done, failed, _ = self.blocks
        said = f"{self.image.name}: {self.status}"
        if self.has_begun:
            said += f", {done} blocks" + (f", {failed} failed" if failed else "")
        if self.error is not None:
            said += f": {self.error or type(self.error).__name__}"
        return said

    @property
    def row(self) -> dict[str, str]:
        """Its row of the table for programs."""
        done, failed, _ = self.blocks
        source = self.image.config.input.one
        return {
            "image": self.image.name,
            "path": source.path,
            "scene": "" if source.scene is None else str(source.scene),
            "status": self.status,
            "blocks": str(done),
            "failed": str(failed),
            "seconds": f"{self.seconds:.3f}",
            **self.noise,
            "output": str(self.image.output),
            "message": str(self.error or ""),
        }


def blocks_of(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """Blocks that are done, and all, of the images that were begun."""
    blocks = [outcome.blocks for outcome in outcomes]
    return sum(done for done, _, _ in blocks), sum(every for *_, every in blocks)


def are_over(outcomes: Sequence[Outcome], images: int) -> bool:
    """Whether each image has come to its own end, and no signal has stopped it."""
    return len(outcomes) == images and all(
        outcome.has_ended and not isinstance(outcome.error, Interrupted)
        for outcome in outcomes
    )


def _numbers(values: object) -> str:
    if values is None:
        return ""
    listed = values if isinstance(values, list | tuple) else [values]
    return " ".join(f"{value:g}" for value in listed)


def table(outcomes: Sequence[Outcome], images: int, file: Path | None) -> str:
    """Image, blocks, failed, seconds, noise and output, a line for each.

    `file` is the table for programs, if there is one.
    """
    rows = [("image", "status", "blocks", "failed", "time", "gain, offset", "output")]
    for outcome in outcomes[:MOST_ROWS]:
        done, failed, every = outcome.blocks
        noise = outcome.noise
        numbers = noise["noise_std"] or ", ".join(
            filter(None, (noise["gains"], noise["offsets"]))
        )
        rows.append(
            (
                outcome.image.name,
                outcome.status,
                f"{done}/{every}" if every else "-",
                str(failed),
                duration(outcome.seconds) if outcome.seconds else "-",
                numbers or "-",
                str(outcome.image.output),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True))
        for row in rows
    ]
    more = len(outcomes) - MOST_ROWS
    lines += [f"and {more} more"] if more > 0 else []
    lines += _warnings(outcomes)
    done = sum(outcome.is_done for outcome in outcomes)
    where = f" Table: {file}" if file else ""
    lines.append(f"{done} of {images} images are done.{where}")
    return "\n".join(line.rstrip() for line in lines)


def _warnings(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Warnings of all, those together that differ in their numbers alone."""
    alike: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for outcome in outcomes:
        for warning in outcome.found.warnings if outcome.found else ():
            said = first_sentence(warning)
            kind = re.sub(r"[-+\d.]+|'[^']*'", "#", said)
            alike[kind].append((outcome.image.name, said))
    if alike:
        yield "Warnings, whole in each run.json:"
    lines = [
        f"{len(names)} images, as {found[0][0]}: {found[0][1]}"
        if len(names := {name for name, _ in found}) > 1
        else f"{found[0][0]}: {found[0][1]}"
        for found in alike.values()
    ]
    yield from listing(lines)


def write_csv(file: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the table for programs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(outcome.row for outcome in outcomes)
    write_atomic(file, text.getvalue())


def ending_of_all(outcomes: Sequence[Outcome]) -> BaseException | None:
    """What all together end with; None where all is done."""
    errors = [o.error for o in outcomes if o.error is not None]
    if not errors:
        return None
    bugs = [error for error in errors if not isinstance(error, DenoiseDaisyError)]
    if bugs:
        return bugs[0]
    stopped = [error for error in errors if isinstance(error, RunStopped)]
    if stopped and len(stopped) == len(errors):
        return stopped[0]
    said = "\n".join(_said(outcomes))
    if len(errors) == len(outcomes):
        if all(isinstance(error, InputError) for error in errors):
            return InputError(said)
        if all(isinstance(error, InputError | RefusedError) for error in errors):
            return RefusedError(said)
    return BlocksFailed(said)


def _said(outcomes: Sequence[Outcome]) -> Iterator[str]:
    bad = [outcome for outcome in outcomes if outcome.error is not None]
    yield f"{len(bad)} of {len(outcomes)} images could not be done:"
    for outcome in bad[:MOST_SAID]:
        yield f"  {outcome.image.name} ({outcome.status}): {outcome.error}"
    if len(bad) > MOST_SAID:
        yield f"  and {len(bad) - MOST_SAID} more"
    if len(bad) < len(outcomes):
        yield "All others are done; the next start tries these again."
