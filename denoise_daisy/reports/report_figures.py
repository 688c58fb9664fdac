"""The plots of a report: residuals over T and Z, and Fourier ring correlation."""

from collections.abc import Mapping, Sequence

from denoise_daisy.reports.figures import BLUE, GREY, ORANGE, axes, data_uri, legend

Points = tuple[Sequence[float], Sequence[float]]
"""Positions, and what was found there."""


def over_plot(axis: str, lines: Mapping[str, Points], expected: Sequence[float]) -> str:
    """Variances of residuals along an axis, by channel; as a URI."""
    figure, plot = axes(axis, "variance / the noise's")
    plot.locator_params("x", integer=True)
    plot.axhspan(*expected, color=GREY, alpha=0.15, linewidth=0)
    for (name, (where, found)), marker in zip(lines.items(), _markers(), strict=False):
        # What begins with _ matplotlib would leave out.
        label = f" {name}" if name.startswith("_") else name
        plot.plot(where, found, f"{marker}-", label=label, markersize=4, linewidth=1)
    most = max((max(found) for _, found in lines.values()), default=1.0)
    plot.set_ylim(0, 1.35 * max(most, expected[1]))
    if len(lines) > 1:
        legend(plot, "upper right", columns=min(3, len(lines)))
    return data_uri(figure)


def _markers() -> Sequence[str]:
    return "osD^vPX*<>" * 10


def rings_plot(
    frequencies: Sequence[float],
    raw: Sequence[float],
    denoised: Sequence[float] | None,
    threshold: float,
    unit: str,
) -> str:
    """Fourier ring correlation of halves, before and after; as a URI."""
    figure, plot = axes(f"periods per {unit}", "correlation")
    plot.axhline(threshold, color=GREY, linewidth=0.8)
    plot.plot(frequencies, raw, color=ORANGE, label="raw halves")
    if denoised is not None:
        plot.plot(frequencies, denoised, color=BLUE, label="denoised halves")
    plot.set_ylim(-0.15, 1.3)
    legend(plot, "upper right", columns=2)
    return data_uri(figure)
