"""A preview for people: its page, and its figures in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from denoise_daisy.algorithms.residuals import WINDOW, ResidualFigures
from denoise_daisy.denoisers.noise import short
from denoise_daisy.geometry import AXES
from denoise_daisy.progress import duration
from denoise_daisy.reports.figures import picture
from denoise_daisy.reports.page import render
from denoise_daisy.reports.preview_figures import (
    correlation_plot,
    profile_plot,
    variance_plot,
)
from denoise_daisy.runs.preview import Preview, Tried
from denoise_daisy.runs.preview_sweep import NOISE_SHARE, Score, in_words
from denoise_daisy.runs.preview_trial import Part

MOST_NEIGHBOURS, MOST_STRUCTURE = 0.15, 0.15
VARIANCE = 0.5, 1.15
MOST_LEFT, MOST_CHANGE, MOST_BELOW = 0.3, 0.01, 0.1
"""Figures beyond these are marked."""


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
        f"{f.change:+.1%}", "mean shifted" if abs(f.change) > MOST_CHANGE else ""
    )
    return found


def _variance(figures: ResidualFigures) -> Figure:
    low, high = VARIANCE
    if figures.variance is None:
        return Figure("-")
    doubt = "too large" if figures.variance > high else ""
    return Figure(
        f"{figures.variance:.0%}", "noise left" if figures.variance < low else doubt
    )


def _share(value: float | None, most: float, doubt: str) -> Figure:
    if value is None:
        return Figure("-")
    digits = 0 if most > MOST_BELOW else 1
    return Figure(f"{value:.{digits}%}", doubt if value > most else "")


def summary(preview: Preview, file: Path) -> str:
    """The figures in words, for a terminal."""
    return "\n".join(_summary(preview, file))


def _summary(preview: Preview, file: Path) -> Iterator[str]:
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
    yield f"Preview: {file}"


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
        f" core of this machine, context included: {_core_time(tried)} for the whole"
        f" run, about {duration(tried.seconds)} with {number}"
        f" worker{'s' * (number > 1)}{threads}"
    )


def _core_time(tried: Tried) -> str:
    seconds = tried.core_seconds
    for unit, length, most in (("seconds", 1, 120), ("minutes", 60, 7200)):
        if seconds < most:
            return f"{seconds / length:.3g} core {unit}"
    return f"{seconds / 3600:.3g} core hours"


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
        f" is {_mean_variance(tried):.0%} of the noise model's{above}, {eaten};"
        f" {score.noise_left:.0%} of pure noise is left (score {score.total:.2f})."
    )


def page(preview: Preview, config: str) -> str:
    """The preview as an HTML file; `config` is the name of the config's file."""
    run, own, best = preview.run, preview.own, preview.best
    shown = [own] if best is None or best is own else [own, best]
    names = {id(own): "As in the config", id(best): "Recommended"}
    rows = [
        {
            "name": settings_text(tried),
            "is_best": tried is best,
            "score": tried.score,
            "variance": _mean_variance(tried),
            "time": _core_time(tried),
            "wall": duration(tried.seconds),
        }
        for tried in preview.tried
    ]
    regions = [
        {
            "why": own.parts[i].region.why,
            "place": place(own.parts[i]),
            "gaps": own.parts[i].gaps,
            "channels": [
                {
                    "name": channel.name,
                    "figures": figures_of(own.parts[i], c),
                    "views": [
                        view(t, t.parts[i], c)
                        | {"name": names[id(t)] if len(shown) > 1 else ""}
                        for t in shown
                    ],
                }
                for c, channel in enumerate(run.image.channels)
            ],
        }
        for i in range(len(own.parts))
    ]
    return render(
        "preview.html.j2",
        title=Path(run.config.input.path).name,
        config=config,
        version=version("denoise-daisy"),
        image=" x ".join(map(str, run.image.shape)),
        dtype=run.image.dtype.name,
        output_type=run.array.dtype,
        settings=_settings(run.config.denoise.model_dump(mode="json")),
        noise=own.trial.denoiser.noise_text,
        engine=own.trial.denoiser.engine,
        is_exact=run.is_exact,
        has_model=own.trial.models is not None,
        time=time_text(preview, own),
        warnings=preview.warnings,
        is_sweep=preview.is_sweep,
        rows=rows,
        why=None if best is None else why_best(preview),
        regions=regions,
        window=WINDOW,
        noise_share=NOISE_SHARE,
    )


def _settings(values: dict[str, Any]) -> str:
    parts = []
    for key, value in values.items():
        by_axis = value.items() if isinstance(value, dict) else ()
        said = " ".join(f"{axis} {n}" for axis, n in by_axis)
        parts.append(f"{key} {said or value}")
    return ", ".join(parts)


def _mean_variance(tried: Tried) -> float:
    figures = [f for part in tried.parts for f in part.figures]
    return sum(f.variance or 0.0 for f in figures) / len(figures)


def view(tried: Tried, part: Part, c: int) -> dict[str, Any]:
    """Pictures and plots of a channel of a region."""
    z = part.raw.shape[2] // 2
    raw, denoised = (v[0, c, z].astype(np.float64) for v in (part.raw, part.denoised))
    residual = raw - denoised
    low, high = np.percentile(raw, [0.3, 99.7])
    most = max(3 * float(residual.std()), 1e-6)
    row = int(np.argmax(denoised.std(axis=1)))
    _, z0, y0, x0 = part.region.roi.begin
    models, f = tried.trial.models, part.figures[c]
    model = None if models is None else models[c]
    return {
        "raw": picture(raw, low, high),
        "denoised": picture(denoised, low, high),
        "residual": picture(residual, -most, most),
        "low": short(float(low)),
        "high": short(float(high)),
        "most": f"{most:.2g}" if most < 100 else short(most),
        "z": z0 + z,
        "y": y0 + row,
        "profile": profile_plot(x0, raw[row], denoised[row]),
        "correlation": correlation_plot(f.along_y, f.along_x),
        "variance": variance_plot(f.levels, f.variances, model),
        "model": None if model is None else _model_text(*model),
        "noise": None if part.noise is None else _noise(part, c),
        "neighbours": f"{f.neighbours:+.2f}",
        "share": None if f.variance is None else f"{f.variance:.0%}",
    }


def _model_text(gain: float, offset: float) -> str:
    if not gain:
        return short(offset)
    return f"{short(gain)} x level {'-' if offset < 0 else '+'} {short(abs(offset))}"


def _noise(part: Part, c: int) -> dict[str, str]:
    if part.noise is None or part.noise_denoised is None:
        raise ValueError("there is no noise model")
    planes = [
        v[0, c, v.shape[2] // 2].astype(np.float64)
        for v in (part.noise, part.noise_denoised)
    ]
    level, sd = float(planes[0].mean()), max(float(planes[0].std()), 1e-6)
    before, after = (picture(plane, level - 3 * sd, level + 3 * sd) for plane in planes)
    return {
        "before": before,
        "after": after,
        "level": short(level),
        "sd": f"{sd:.3g}",
        "low": short(level - 3 * sd),
        "high": short(level + 3 * sd),
        "left": f"{part.noise_left[c]:.0%}",
    }
