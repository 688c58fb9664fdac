"""A report as the values of its part of a page."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from denoise_daisy.algorithms.ring_correlation import THRESHOLD
from denoise_daisy.amounts import duration
from denoise_daisy.assessing import limits
from denoise_daisy.assessing.allowance import Allowance
from denoise_daisy.assessing.make import Made
from denoise_daisy.assessing.values import Cost, Facts, Figure, Report, Residual
from denoise_daisy.assessing.views import View
from denoise_daisy.denoisers.noise import short
from denoise_daisy.reports.figures import picture
from denoise_daisy.reports.report_figures import over_plot, rings_plot

EXPECTED = limits.LEAST_VARIANCE, limits.MOST_VARIANCE

MOST_SHOWN = 60
"""Places in the table of residuals."""


def section(made: Made) -> dict[str, Any]:
    """What `report.html.j2` names."""
    report, allowed = made.report, Allowance(None)
    plots = [plot for plot in _plots(report, allowed) if plot["uri"]]
    return {
        "made": report.made,
        "took": duration(report.seconds),
        "findings": report.findings,
        "good": sum(f.verdict == "good" for f in report.figures),
        "doubtful": sum(f.verdict == "doubtful" for f in report.figures),
        "facts": [*_facts(report.facts)],
        "figures": [*_by_name(report.figures)],
        "plots": plots,
        "residuals": [_residual(r) for r in report.residuals[:MOST_SHOWN]],
        "more_residuals": max(0, len(report.residuals) - MOST_SHOWN),
        "channels": [*_shots(made.views)],
        "cost": None if report.cost is None else _cost(report.cost),
        "warnings": report.warnings,
        "left_out": (*report.left_out, *allowed.left_out),
    }


def _by_name(figures: Sequence[Figure]) -> Iterator[dict[str, Any]]:
    """Figures of one name together, and once what all of them mean.

    With each is what it alone means: the sentences that not all others have.
    """
    for name in dict.fromkeys(figure.name for figure in figures):
        rows = [figure for figure in figures if figure.name == name]
        said = [re.split(r"(?<=\.) ", figure.meaning) for figure in rows]
        shared = [s for s in said[0] if all(s in others for others in said)]
        own = [" ".join(s for s in mine if s not in shared) for mine in said]
        yield {
            "name": name,
            "meaning": " ".join(shared),
            "rows": [*zip(rows, own, strict=True)],
        }


def _facts(facts: Facts) -> Iterator[tuple[str, str]]:
    """In words, by what they are."""
    yield "Input", facts.input
    yield "Image", f"{_by(facts.shape)} voxels (t c z y x), {facts.dtype}"
    ranges = ", ".join(
        f"{axis} {begin}:{end}"
        for axis, (begin, end) in zip("tzyx", facts.volume, strict=True)
    )
    yield "Denoised of it", f"{ranges}, written as {facts.output_dtype}"
    sizes = zip("zyx", facts.voxel_um, strict=True)
    yield (
        "Voxel",
        ", ".join(
            f"{a} {n:.4g} \N{MICRO SIGN}m" if n else f"{a} not known" for a, n in sizes
        ),
    )
    yield "Channels", ", ".join(facts.channels)
    yield "Identity of the input", _pairs(facts.input_identity)
    yield "Denoiser", f"{facts.denoiser}: {_pairs(facts.settings)}"
    yield "Noise", facts.noise
    yield (
        "Exact",
        "yes: the bytes depend on neither blocks nor workers"
        if facts.is_exact
        else "no: the bytes depend on the blocks",
    )
    for engine, blocks in facts.engines.items():
        yield "Engine", f"{engine} ({blocks} blocks)"
    yield "Versions", _pairs(facts.versions)
    failed = f", {facts.failed} failed" if facts.failed else ""
    yield "Blocks", f"{facts.done} of {facts.blocks} done{failed}"
    if facts.began and facts.ended:
        starts = f", in {facts.starts} starts" if facts.starts > 1 else ""
        yield "When", f"{facts.began} to {facts.ended}{starts}"
    yield (
        "Where",
        f"{facts.workers} worker{'s' * (facts.workers != 1)} on"
        f" {', '.join(facts.hosts) or 'unknown hosts'}",
    )


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _pairs(values: Any) -> str:
    parts = []
    for name, value in values.items():
        said = value
        if isinstance(value, dict):
            said = " ".join(f"{k} {v}" for k, v in value.items())
        parts.append(f"{name} {said}")
    return ", ".join(parts) or "none"


def _plots(report: Report, allowed: Allowance) -> Iterator[dict[str, str]]:
    """Those that can be drawn."""
    for axis in ("t", "z"):
        lines = _along(report.residuals, axis)
        if any(len(where) > 1 for where, _ in lines.values()):
            what, draw = (
                f"A plot over {axis}",
                partial(over_plot, axis, lines, EXPECTED),
            )
            uri = allowed.measured(what, draw, "")
            yield {
                "uri": uri,
                "caption": f"Variance of the residual over {axis}, as a share of the"
                " noise's. Expected within the grey band, and even.",
                "words": "; ".join(
                    f"{name}: {min(found):.0%} to {max(found):.0%}"
                    for name, (_, found) in lines.items()
                ),
            }
    for each in report.resolution:
        unit = "voxel" if each.pixel_um is None else "\N{MICRO SIGN}m"
        rings = each.frequencies, each.raw, each.denoised
        draw = partial(rings_plot, *rings, THRESHOLD, unit)
        uri = allowed.measured(f"The plot of rings of {each.channel}", draw, "")
        yield {
            "uri": uri,
            "caption": f"{each.channel}: Fourier ring correlation of two independent"
            f" halves of the photons, at {each.place}. The line is 1/7.",
            "words": "",
        }


def _along(
    residuals: Sequence[Residual], axis: str
) -> dict[str, tuple[list[float], list[float]]]:
    """Variances along t at the middle z, or the other way round, by channel."""
    if not residuals:
        return {}
    first = residuals[0]
    found: dict[str, dict[int, float]] = {}
    for r in residuals:
        is_on = r.z == first.z if axis == "t" else r.t == first.t
        share = r.variance if r.measured is None else r.measured
        if is_on and share is not None and not r.is_as_is:
            found.setdefault(r.channel, {})[r.t if axis == "t" else r.z] = share
    lines = {}
    for name, by in found.items():
        where = sorted(by)
        lines[name] = (list(map(float, where)), [by[w] for w in where])
    return lines


def _residual(r: Residual) -> dict[str, str]:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.0%}"

    return {
        "channel": r.channel,
        "t": str(r.t),
        "z": str(r.z),
        "level": short(r.level),
        "variance": "as it was" if r.is_as_is else share(r.variance),
        "measured": "as it was" if r.is_as_is else share(r.measured),
        "neighbours": f"{r.neighbours:+.2f}",
        "structure": f"{r.structure:+.2f}",
        "change": f"{round(r.change, 3) + 0.0:+.1%}",
    }


def _shots(views: Sequence[View]) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys(view.channel for view in views):
        mine = [view for view in views if view.channel == name]
        yield {"name": name, "views": [_shot(view) for view in mine]}


def _shot(view: View) -> dict[str, Any]:
    after = _numbers(view.denoised)
    before = None if view.raw is None else _numbers(view.raw)
    rest = None if view.residual is None else _numbers(view.residual)
    scale = after if before is None else before
    low, high = (float(v) for v in np.percentile(scale, [0.3, 99.7]))
    raw = None if before is None else picture(before, low, high)
    residual, most = None, 0.0
    if rest is not None:
        most = max(3 * float(rest.std()), 1e-6)
        residual = picture(rest, -most, most)
    return {
        "title": view.title,
        "is_projection": view.is_projection,
        "raw": raw,
        "denoised": picture(after, low, high),
        "residual": residual,
        "low": short(low),
        "high": short(high),
        "most": f"{most:.2g}" if most < 100 else short(most),
    }


def _numbers(plane: np.ndarray) -> np.ndarray:
    """The plane, with 0 for what is no number."""
    found: np.ndarray = np.nan_to_num(plane, posinf=0, neginf=0)
    return found


def _cost(cost: Cost) -> dict[str, Any]:
    return {
        "bottleneck": cost.bottleneck,
        "rows": [
            {
                "name": stage.name,
                "blocks": stage.blocks,
                "times": [
                    duration(seconds)
                    for seconds in (
                        stage.reading,
                        stage.computing,
                        stage.writing,
                        stage.longest,
                    )
                ],
                "overhead": f"{stage.overhead:.2f}",
                "peak": f"{stage.peak_mib} MiB",
            }
            for stage in cost.stages
        ],
        "workers": cost.workers,
        "hosts": cost.hosts,
        "busy": duration(cost.busy_seconds),
        "waiting": duration(cost.waiting_seconds),
        "elapsed": duration(cost.elapsed_seconds),
    }
