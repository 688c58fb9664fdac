"""What is doubtful about noise numbers, held against a survey of the image."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from denoise_daisy.denoisers.noise import NoiseNumbers, floors, short, six_digits
from denoise_daisy.denoisers.survey import ChannelSurvey, Survey
from denoise_daisy.images.image import Image

MOST_CLIPPED = 0.01
"""Part of a channel's sampled voxels that may lie below the floor without a warning."""

LEAST_GAIN = 0.05
"""A lower gain in an integer image is doubted: steps of one grey level would hold 20
photo-electrons and more, so its noise would be that of rounding."""


def doubts(image: Image, numbers: NoiseNumbers, survey: Survey) -> Iterator[str]:
    """Warnings of each channel's gain and offset; none of Gaussian noise."""
    if numbers.gains is None or numbers.offsets is None:
        return
    pairs = zip(numbers.gains, numbers.offsets, strict=True)
    for channel, (gain, offset) in zip(survey.channels, pairs, strict=True):
        fit = channel.found
        # The fit of noise that does not grow with the signal has next to no gain.
        if fit is None or not fit.is_gaussian or six_digits(fit.gain) != gain:
            yield from implausible(image.dtype, channel.name, gain, offset)
        yield from clipped(channel, gain, offset)


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
    advice = (
        "Set this channel's numbers in noise.gains and noise.offsets, or noise.kind to"
        " gaussian with noise.noise_std."
    )
    if not LEAST_GAIN <= gain <= most:
        yield (
            f"Channel {name!r}: a gain of {short(gain)} is implausible for {dtype}."
            f" Expected {LEAST_GAIN} to {most} grey levels per photo-electron. {advice}"
        )
    darkness = -offset / gain
    if not lowest <= darkness <= levels:
        yield (
            f"Channel {name!r}: gain {short(gain)} and offset {short(offset)} put"
            f" darkness (-offset / gain) at grey level {short(darkness)}, which is"
            f" implausible for {dtype}. Expected {lowest} to {levels}. {advice}"
        )


def clipped(channel: ChannelSurvey, gain: float, offset: float) -> Iterator[str]:
    """A warning if more than 1 % of the sampled voxels lie below ndsafir's floor.

    Or if nothing is known of these.
    """
    if channel.levels is None:
        yield (
            f"The noise numbers could not be held against the image: {channel.problem}"
        )
        return
    (floor,) = floors(NoiseNumbers((gain,), (offset,)))
    share = channel.levels.share_below(floor)
    if share > MOST_CLIPPED:
        yield (
            f"Channel {channel.name!r}: {share:.1%} of the sampled voxels lie below"
            f" grey level {short(floor)}, where ndsafir clips with gain {short(gain)}"
            f" and offset {short(offset)} (-offset / gain - 3/8 gain): they come out as"
            f" one value, and the mean rises. Expected at most {MOST_CLIPPED:.0%}. Set"
            " this channel's numbers in noise.gains and noise.offsets (a higher offset"
            " clips less), or noise.kind to gaussian with noise.noise_std."
        )
