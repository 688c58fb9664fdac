"""What a person should know before a run."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from denoise_daisy.denoisers.survey import Survey
from denoise_daisy.errors import InputError
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.runs.layout_warnings import layout_warnings
from denoise_daisy.tasks.function import Function
from denoise_daisy.tasks.label import Label
from denoise_daisy.tasks.pyramid import Pyramid, needless_levels

ROUNDED = 0.5
"""Grey levels beyond a type's range that are rounded into it."""

MOST_BEYOND = 0.001
"""Part of a channel's voxels that may be clipped without a warning."""


def warnings_of(run: ResolvedRun, survey: Survey | None) -> Iterator[str]:
    """What a person should know of this image and these settings.

    `survey` is what the image tells of its noise, None where nobody asked.
    """
    yield from run.image.warnings
    short = [f"{a} {c} of {reach}" for a, (c, reach) in run.missing_context.items()]
    if short:
        yield (
            f"blocks.context is smaller than the filter's reach ({', '.join(short)}"
            " voxels): near block borders the result differs from the whole image's."
        )
    grid = run.denoising.grid
    yield from run.denoiser.warnings(grid.readable_roi.shape, grid.volume.end)
    for task in run.config.tasks:
        if isinstance(task, Pyramid):
            yield from needless_levels(task, run.stages)
    yield from layout_warnings(run)
    if survey is not None:
        yield from run.denoiser.doubts(run.image, survey)
        yield from beyond_type(run.array.dtype, survey)
    yield from _grey_labels(run)


def refuse(warnings: Sequence[str]) -> None:
    """Let nothing begin of which there are warnings, where a person asked for that.

    Raises
    ------
    InputError
        There are some.
    """
    if warnings:
        raise InputError(
            f"--strict allows no warning, and there are {len(warnings)}. Settle what"
            " they name, or leave --strict out."
            + "".join(f"\n  {warning}" for warning in warnings)
        )


def first_sentence(warning: str) -> str:
    """What was found, without what to do."""
    return re.split(r"(?<=\.) (?=[A-Z])", warning, maxsplit=1)[0]


def beyond_type(dtype: str, survey: Survey) -> Iterator[str]:
    """Channels with grey levels that the output's type can't hold."""
    if dtype == "float32":
        return
    lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
    for channel in survey.channels:
        levels = channel.expected
        if levels is None or not len(levels):
            continue
        low = np.mean(levels < lowest - ROUNDED)
        high = np.mean(levels > highest + ROUNDED)
        if low + high > MOST_BEYOND:
            yield (
                f"Channel {channel.name!r}: about {low:.1%} of its voxels lie below"
                f" {lowest} and {high:.1%} above {highest}, from {levels[0]:.4g} to"
                f" {levels[-1]:.4g}: in an output of {dtype} they are clipped. Set"
                " output.dtype to float32, or to a type that holds them."
            )


def _grey_labels(run: ResolvedRun) -> Iterator[str]:
    """Label tasks whose input is no mask; what a function makes may well be one."""
    functions = [task.name for task in run.config.tasks if isinstance(task, Function)]
    for task in run.config.tasks:
        if isinstance(task, Label):
            (mask, *_), *_ = (s.sources for s in run.tasks if s.task == task.name)
            is_own = task.input.partition(".")[0] in functions
            if not is_own or mask.dtype == "float32":
                yield from task.doubts(mask)
