"""What `calibrate` found, in words and as a page."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from denoise_daisy.denoisers.noise import NoiseNumbers, floors, short
from denoise_daisy.denoisers.survey import ChannelSurvey
from denoise_daisy.reports.noise_figure import (
    NoisePicture,
    histogram_plot,
    variance_plot,
)
from denoise_daisy.reports.page import render

if TYPE_CHECKING:
    from denoise_daisy.denoisers.noise_drift import Drift

SAID_AT = (0.01, 0.5, 0.99)
"""Shares of the voxels that lie below the levels whose noise is said."""

_SHARES = ", ".join(f"{share:.0%}" for share in SAID_AT)

VERDICTS = {
    "white": (
        "white: the noise of neighbouring voxels is independent, as ndsafir takes it to"
        " be"
    ),
    "correlated": (
        "correlated: the noise of a voxel reaches its neighbours, and was measured"
        " between voxels farther apart; ndsafir takes it to be independent and leaves"
        " part of it. Look at a preview before the run"
    ),
    "not to be trusted": (
        "not to be trusted: neighbours are alike, as in deconvolved, deskewed,"
        " sharpened or compressed images, or texture is as fine as the noise. Denoise"
        " the image as it was acquired, or set numbers measured on such images of the"
        " same detector"
    ),
}

Row = tuple[str, str]


def channel_rows(
    channel: ChannelSurvey, own: tuple[float, float] | str
) -> Iterator[Row]:
    """A channel's noise as names and texts.

    `own` is gain and offset of ndsafir's own calibration, or why it has none.
    """
    fit = channel.found
    if fit is None:
        yield "noise", channel.problem
        return
    levels = [level for share, level in fit.quantiles if share in SAID_AT]
    yield "gain", f"{short(fit.gain)} ({_interval(fit.gain_interval)})"
    yield "offset", f"{short(fit.offset)} ({_interval(fit.offset_interval)})"
    at = ", ".join(map(short, levels))
    shares = f"where {_SHARES} of the voxels are darker"
    yield "noise", f"{_noise(levels, (fit.gain, fit.offset))} at levels {at} ({shares})"
    if fit.is_gaussian:
        yield (
            "",
            "it does not grow with the signal; noise.kind gaussian with noise_std"
            f" {short(fit.noise_std)} says the same",
        )
    ratio = f"{fit.whiteness:.2f} where 1 is white"
    yield "verdict", f"{VERDICTS[fit.verdict]} ({ratio})"
    for drift in channel.drift:
        yield f"over {drift.axis}", _drift(drift)
    yield "saturated", _saturated(fit.saturated, fit.saturation)
    yield "clipped", _clipped(channel, (fit.gain, fit.offset))
    yield "ndsafir's", own if isinstance(own, str) else _own(channel, levels, own)


def page(
    *,
    source: str,
    sampled: str,
    channels: Sequence[tuple[ChannelSurvey, tuple[float, float] | str]],
    warnings: Sequence[str],
    in_config: Sequence[str],
) -> str:
    """All channels with their plots, as one HTML file that needs no other."""
    parts = [
        {
            "name": channel.name,
            "rows": list(channel_rows(channel, own)),
            "plots": list(_plots(channel, own)),
        }
        for channel, own in channels
    ]
    return render(
        "noise.html.j2",
        source=Path(source).name,
        sampled=sampled,
        channels=parts,
        warnings=warnings,
        in_config=in_config,
    )


def _plots(
    channel: ChannelSurvey, own: tuple[float, float] | str
) -> Iterator[dict[str, str]]:
    fit, levels = channel.found, channel.levels
    if fit is None or levels is None:
        return
    picture = NoisePicture(
        levels=fit.levels,
        variances=fit.variances,
        gain=fit.gain,
        offset=fit.offset,
        gain_interval=fit.gain_interval,
        offset_interval=fit.offset_interval,
        floor=fit.floor,
        seen=(levels.values, levels.counts),
        shown=(levels.lowest, max(fit.levels[-1], levels.quantile(0.999))),
        saturation=fit.saturation,
        other=None if isinstance(own, str) else own,
    )
    yield {
        "uri": variance_plot(picture),
        "caption": "Noise found in the flattest places of each brightness, and models.",
    }
    yield {
        "uri": histogram_plot(picture),
        "caption": "Grey levels of the samples.",
    }


def _interval(ends: tuple[float, float]) -> str:
    low, high = ends
    return f"95 %: {short(low)} to {short(high)}"


def _noise(levels: list[float], numbers: tuple[float, float]) -> str:
    gain, offset = numbers
    said = [short(max(0.0, gain * level + offset) ** 0.5) for level in levels]
    return f"sd {', '.join(said)}"


def _drift(drift: "Drift") -> str:
    first, last = drift.brightness
    times = f"sd {drift.noise_change:.2f} times from the first third to the last"
    verdict = (
        "steady"
        if drift.is_steady
        else "CHANGES: one set of numbers does not fit all of it; denoise parts of the"
        " image (input.roi) with numbers of their own"
    )
    said = f"{verdict} ({times}"
    if drift.axis == "T" and first > 0:
        said += f"; brightness {last / first:.2f} times"
        if drift.bleaches:
            said += ", it bleaches: the model follows"
    return said + ")"


def _saturated(share: float, level: float | None) -> str:
    if level is None:
        return "no"
    return f"{_per_cent(share)} of the voxels, at level {short(level)}: left out"


def _clipped(channel: ChannelSurvey, numbers: tuple[float, float]) -> str:
    (floor,) = floors(NoiseNumbers((numbers[0],), (numbers[1],)))
    share = channel.levels.share_below(floor) if channel.levels else 0.0
    return (
        f"{_per_cent(share)} of the voxels: what lies below {short(floor)} comes out as"
        " one value"
    )


def _own(channel: ChannelSurvey, levels: list[float], own: tuple[float, float]) -> str:
    gain, offset = own
    return (
        f"gain {short(gain)}, offset {short(offset)}: {_noise(levels, own)} at these"
        f" levels; {_clipped(channel, own)}"
    )


def _per_cent(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")
