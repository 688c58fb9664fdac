"""What is doubtful about noise numbers, held against a survey of the image."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from denoise_daisy.algorithms.anscombe import bias_of_algebraic_inverse
from denoise_daisy.denoisers.noise import NoiseNumbers, floors, short, six_digits
from denoise_daisy.denoisers.survey import ChannelSurvey, Survey
from denoise_daisy.images.image import Image

if TYPE_CHECKING:
    from denoise_daisy.algorithms.noise_fit import NoiseFit

MOST_CLIPPED = 0.01
"""Part of a channel's sampled voxels that may lie below the floor without a warning."""

LEAST_GAIN = 0.05
"""A lower gain in an integer image is doubted: steps of one grey level would hold 20
photo-electrons and more, so its noise would be that of rounding."""


MOST_SHIFTED = 0.01
"""Part by which a channel's total may change without a warning."""

SHARPENED = 1.4
"""Whiteness beyond which neighbours' noise is of opposite signs."""

ADVICE = (
    " Set this channel's numbers in noise.gains and noise.offsets, or noise.kind to"
    " gaussian with noise.noise_std."
)


def doubts(
    image: Image, numbers: NoiseNumbers, survey: Survey, *, is_unbiased: bool = False
) -> Iterator[str]:
    """Warnings of each channel: its voxels, and its gain and offset if it has them."""
    for channel in survey.channels:
        if channel.found is not None:
            yield from not_white(channel.name, channel.found)
            yield from saturated(channel.name, channel.found)
    if numbers.gains is None or numbers.offsets is None:
        return
    pairs = zip(numbers.gains, numbers.offsets, strict=True)
    for channel, (gain, offset) in zip(survey.channels, pairs, strict=True):
        fit = channel.found
        # Where noise hardly grows with the signal, the gain that was found is next to
        # none, and darkness is far from all levels: neither tells of a mistake.
        if fit is None or six_digits(fit.gain) != gain or _grows(fit):
            yield from implausible(image.dtype, channel.name, gain, offset)
        yield from clipped(channel, gain, offset)
        if not is_unbiased:
            yield from shifted(channel, gain, offset)


def _grows(fit: "NoiseFit") -> bool:
    """Whether noise grows with the signal, by a fifth over the image's grey levels."""
    levels = dict(fit.quantiles)
    return fit.sd(levels[0.99]) > 1.2 * fit.sd(levels[0.01])


def not_white(name: str, fit: "NoiseFit") -> Iterator[str]:
    """A warning if the noise of neighbouring voxels is not independent."""
    if fit.verdict == "white" and fit.whiteness <= SHARPENED:
        return
    found, why = {
        "white": ("is sharpened", "as by an unsharp mask or deconvolution"),
        "correlated": ("is correlated", "as by deskewing, smoothing or compression"),
        "not to be trusted": (
            "can't be told from structure",
            "as after deconvolution or Airyscan processing",
        ),
    }[fit.verdict]
    yield (
        f"Channel {name!r}: the noise of neighbouring voxels {found} ({why}):"
        f" differences of neighbours tell of {fit.whiteness:.2f} times the noise of"
        " differences farther apart. Expected 1, noise that is independent: that is"
        " what ndsafir is made for. Denoise the data as they were recorded, before any"
        " processing; or compare a preview with noise.gains and noise.offsets of your"
        " own."
    )


def saturated(name: str, fit: "NoiseFit") -> Iterator[str]:
    """A warning if the detector or the format has cut off what is bright."""
    if fit.saturation is not None:
        yield (
            f"Channel {name!r}: {fit.saturated:.2%} of the sampled voxels are at the"
            f" highest grey level, {short(fit.saturation)}, and may have been brighter:"
            " they are saturated, and their noise is gone with them. Nothing brings"
            " that back: record with less light or gain, or leave the channel out with"
            " input.channels."
        )


def implausible(
    dtype: np.dtype[Any], name: str, gain: float, offset: float
) -> Iterator[str]:
    """Warnings of a gain and an offset that no detector of that pixel type has.

    The grey level of darkness is ``-offset / gain``: there the noise's variance
    ``gain * level + offset`` is 0.  Nothing is said of float32 images, whose grey
    levels may be of any size.
    """
    if dtype.kind != "u":
        return
    levels = 256**dtype.itemsize
    most = levels // 16
    lowest = -max(most, 256)
    if not LEAST_GAIN <= gain <= most:
        yield (
            f"Channel {name!r}: a gain of {short(gain)} is implausible for {dtype}."
            f" Expected {LEAST_GAIN} to {most} grey levels per photo-electron.{ADVICE}"
        )
    darkness = -offset / gain
    if not lowest <= darkness <= levels:
        yield (
            f"Channel {name!r}: gain {short(gain)} and offset {short(offset)} put"
            f" darkness (-offset / gain) at grey level {short(darkness)}, which is"
            f" implausible for {dtype}. Expected {lowest} to {levels}.{ADVICE}"
        )


def clipped(channel: ChannelSurvey, gain: float, offset: float) -> Iterator[str]:
    """A warning if many of the sampled voxels lie below ndsafir's floor.

    That is 1 % more than do so by noise alone.  Or if nothing is known of these.
    """
    if channel.levels is None:
        yield (
            f"The noise numbers could not be held against the image: {channel.problem}"
        )
        return
    (floor,) = floors(NoiseNumbers((gain,), (offset,)))
    share = channel.levels.share_below(floor)
    most = MOST_CLIPPED + _by_noise(channel.expected, gain, offset, floor)
    if share > most:
        yield (
            f"Channel {channel.name!r}: {share:.1%} of the sampled voxels lie below"
            f" grey level {short(floor)}, where ndsafir clips with gain {short(gain)}"
            f" and offset {short(offset)} (-offset / gain - 3/8 gain): they come out as"
            f" one value, and the mean rises. Expected at most {most:.1%}. Set"
            " this channel's numbers in noise.gains and noise.offsets (a higher offset"
            " clips less), or noise.kind to gaussian with noise.noise_std."
        )


def _by_noise(
    levels: np.ndarray | None, gain: float, offset: float, floor: float
) -> float:
    """Part of voxels whose noise takes them below a floor that they are not below."""
    if levels is None or not len(levels):
        return 0.0
    with np.errstate(all="ignore"):  # any float can be named as gain or offset
        above = levels[levels > floor]
        distance = (above - floor) / np.sqrt(np.maximum(gain * above + offset, 0))
    return sum(math.erfc(n / math.sqrt(2)) / 2 for n in distance) / len(levels)


def shifted(channel: ChannelSurvey, gain: float, offset: float) -> Iterator[str]:
    """A warning if ndsafir's transform and inverse change a channel's total."""
    if channel.expected is None or not channel.expected.any():
        return
    levels = channel.expected
    weights = np.full(len(levels), 1 / len(levels))
    with np.errstate(all="ignore"):  # any float can be named as gain or offset
        numbers = np.float64(gain), np.float64(offset)
        part = bias_of_algebraic_inverse(*numbers, levels, weights)
    if math.isfinite(part) and abs(part) > MOST_SHIFTED:
        yield (
            f"Channel {channel.name!r}: its total is predicted to change by {part:+.1%}"
            f" with gain {short(gain)} and offset {short(offset)}, by what ndsafir's"
            " transform clips and its inverse adds. Expected at most"
            f' {MOST_SHIFTED:.0%}. Set denoise.inverse to "unbiased".'
        )
