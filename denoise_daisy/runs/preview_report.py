"""The figures of a preview, in words."""

from collections.abc import Iterator
from dataclasses import dataclass

from denoise_daisy.algorithms.residuals import ResidualFigures
from denoise_daisy.amounts import core_time, duration
from denoise_daisy.assessing.limits import (
    LEAST_VARIANCE,
    MOST_BELOW,
    MOST_LEFT,
    MOST_NEIGHBOURS,
    MOST_STRUCTURE,
    MOST_VARIANCE,
    NOTHING_REMOVED,
    is_shifted,
)
from denoise_daisy.geometry import AXES
from denoise_daisy.runs.preview import Preview, Tried
from denoise_daisy.runs.preview_sweep import Score, in_words
from denoise_daisy.runs.preview_trial import Part


@dataclass(frozen=True, slots=True)
class Figure:
    """A number as it is shown."""

    text: str
    doubt: str = ""
    """Why it is marked, if it is."""


def figures_of(part: Part, c: int) -> dict[str, Figure]:
    """All figures of a channel of a region, by what they are."""
    f = part.figures[c]
    found = {"variance": _variance(f)}
    found["neighbours"] = Figure(
        f"{f.neighbours:+.2f}",
        "correlated" if abs(f.neighbours) > MOST_NEIGHBOURS else "",
    )
    found["structure"] = Figure(
        f"{f.structure:+.2f}", "structure lost" if f.structure > MOST_STRUCTURE else ""
    )
    left = part.noise_left[c] if part.noise_left else None
    found["left"] = _share(left, MOST_LEFT, "much left")
    below = part.below_floor[c] if part.below_floor else None
    found["below"] = _share(below, MOST_BELOW, "clipped")
    found["change"] = Figure(
        f"{round(f.change, 3) + 0.0:+.1%}",  # never -0.0%
        "mean shifted" if is_shifted(f.change, f.shift, f.shift_error) else "",
    )
    return found


def _variance(figures: ResidualFigures) -> Figure:
    if figures.variance is None:
        return Figure("-")
    v, doubt = figures.variance, ""
    if v < LEAST_VARIANCE:
        doubt = "nothing removed" if v < NOTHING_REMOVED else "noise left"
    elif v > MOST_VARIANCE:
        doubt = "too large"
    return Figure(f"{v:.0%}", doubt)


def _share(value: float | None, most: float, doubt: str) -> Figure:
    if value is None:
        return Figure("-")
    digits = 0 if most > MOST_BELOW else 1
    return Figure(f"{value:.{digits}%}", doubt if value > most else "")


def summary(preview: Preview) -> str:
    """The figures in words, for a terminal."""
    return "\n".join(_summary(preview))


def _summary(preview: Preview) -> Iterator[str]:
    run, own = preview.run, preview.own
    yield f"noise    {own.trial.denoiser.noise_text}"
    for number, part in enumerate(own.parts, start=1):
        yield f"region {number} {part.region.why}: {place(part)}"
        for c, channel in enumerate(run.image.channels):
            f = {k: v.text for k, v in figures_of(part, c).items()}
            yield (
                f"  {channel.name}: residual variance {f['variance']} of the model's,"
                f" neighbours {f['neighbours']}, structure {f['structure']}; of pure"
                f" noise {f['left']} left; mean {f['change']}"
            )
    yield f"time     {time_text(preview, own)}"
    if preview.best is not None:
        yield f"best     {why_best(preview)}"
    for warning in preview.warnings:
        yield f"Warning: {warning}"


def place(part: Part) -> str:
    """Where a region lies."""
    ranges = zip(AXES, part.region.roi.begin, part.region.roi.end, strict=True)
    return ", ".join(f"{a} {b}" if e == b + 1 else f"{a} {b}:{e}" for a, b, e in ranges)


def time_text(preview: Preview, tried: Tried) -> str:
    """What the whole run takes with these settings."""
    workers = preview.run.config.workers
    number = min(workers.number, preview.run.denoising.grid.size)
    threads = f" of {workers.threads} threads" if workers.threads > 1 else ""
    return (
        f"{preview.seconds_per_voxel(tried) * 1e6:.3g} microseconds per voxel on one"
        f" core of this machine, context included: {core_time(tried.core_seconds)} for"
        f" the whole run, about {duration(tried.seconds)} with {number}"
        f" worker{'s' * (number > 1)}{threads}"
    )


def settings_text(tried: Tried) -> str:
    """Settings in words."""
    words = ", ".join(in_words(tried.settings))
    own = "as in the config"
    return words + f" ({own})" * tried.is_own if words else own


def why_best(preview: Preview) -> str:
    """Which settings are recommended, and why."""
    best, own = preview.best, preview.own
    if best is None or best.score is None or own.score is None:
        raise ValueError("there is nothing to choose from")
    scores = [t.score.total for t in preview.tried if t.score is not None]
    said = f"{settings_text(best)}: {_faults(best, best.score)}"
    if best.score.total > min(scores):
        said += " Its faults are about as few as the fewest, and it is faster."
    if best is own:
        return f"{said} The config's own settings are the best of these."
    return f"{said} As in the config: {_faults(own, own.score)}"


def _faults(tried: Tried, score: Score) -> str:
    above = " (more than that in places)" if score.excess >= 0.02 else ""
    eaten = (
        f"it is larger where there is structure ({score.structure:+.2f})"
        if score.structure >= 0.05
        else "it is no larger where there is structure"
    )
    return (
        f"neighbours in the residual correlate by {score.neighbours:.2f}, its variance"
        f" is {mean_variance(tried):.0%} of the noise model's{above}, {eaten};"
        f" {score.noise_left:.0%} of pure noise is left (score {score.total:.2f})."
    )


def mean_variance(tried: Tried) -> float:
    """Of the residuals, over the noise model's; of all regions and channels."""
    figures = [f for part in tried.parts for f in part.figures]
    return sum(f.variance or 0.0 for f in figures) / len(figures)
