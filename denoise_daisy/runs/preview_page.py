"""A preview as a page."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from denoise_daisy.algorithms.residuals import WINDOW
from denoise_daisy.amounts import core_time, duration
from denoise_daisy.denoisers.noise import short
from denoise_daisy.reports.figures import picture
from denoise_daisy.reports.page import render
from denoise_daisy.reports.preview_figures import (
    correlation_plot,
    profile_plot,
    variance_plot,
)
from denoise_daisy.runs.preview import Preview, Tried
from denoise_daisy.runs.preview_report import (
    figures_of,
    mean_variance,
    place,
    settings_text,
    time_text,
    why_best,
)
from denoise_daisy.runs.preview_sweep import NOISE_SHARE
from denoise_daisy.runs.preview_trial import Part


def page(preview: Preview, config: str) -> str:
    """The preview as an HTML file; `config` is the name of the config's file."""
    run, own, best = preview.run, preview.own, preview.best
    shown = [own] if best is None or best is own else [own, best]
    return render(
        "preview.html.j2",
        title=Path(run.config.input.one.path).name,
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
        rows=[_row(preview, tried) for tried in preview.tried],
        why=None if best is None else why_best(preview),
        regions=[_region(preview, shown, i) for i in range(len(own.parts))],
        window=WINDOW,
        noise_share=NOISE_SHARE,
    )


def _row(preview: Preview, tried: Tried) -> dict[str, Any]:
    """Of the table of settings."""
    return {
        "name": settings_text(tried),
        "is_best": tried is preview.best,
        "score": tried.score,
        "variance": mean_variance(tried),
        "time": core_time(tried.core_seconds),
        "wall": duration(tried.seconds),
    }


def _region(preview: Preview, shown: Sequence[Tried], i: int) -> dict[str, Any]:
    """A region, with each channel as each of the settings to be shown makes it."""
    part = preview.own.parts[i]
    names = {True: "As in the config", False: "Recommended"}
    return {
        "why": part.region.why,
        "place": place(part),
        "gaps": part.gaps,
        "channels": [
            {
                "name": channel.name,
                "figures": figures_of(part, c),
                "views": [
                    {
                        **_view(tried, tried.parts[i], c),
                        "name": names[tried is preview.own] if len(shown) > 1 else "",
                    }
                    for tried in shown
                ],
            }
            for c, channel in enumerate(preview.run.image.channels)
        ],
    }


def _settings(values: dict[str, Any]) -> str:
    parts = []
    for key, value in values.items():
        by_axis = value.items() if isinstance(value, dict) else ()
        said = " ".join(f"{axis} {n}" for axis, n in by_axis)
        plain = value if isinstance(value, str) else json.dumps(value)
        parts.append(f"{key} {said or plain}")
    return ", ".join(parts)


def _view(tried: Tried, part: Part, c: int) -> dict[str, Any]:
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
        v[v.shape[0] // 2, c, v.shape[2] // 2].astype(np.float64)
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
