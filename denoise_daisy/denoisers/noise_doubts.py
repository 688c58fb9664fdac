"""What is doubtful about noise numbers, held against an image."""

from collections.abc import Iterator

import numpy as np

from denoise_daisy.denoisers.noise import NoiseNumbers, floors, short
from denoise_daisy.images.image import Image

MOST_CLIPPED = 0.01
"""Part of a channel's sampled voxels that may lie below the floor without a warning."""

LEAST_GAIN = 0.05
"""A lower gain in an integer image is doubted: steps of one grey level would hold 20
photo-electrons and more, so its noise would be that of rounding."""


def implausible(image: Image, numbers: NoiseNumbers) -> Iterator[str]:
    """Warnings of gains and offsets that no detector of that pixel type has.

    The grey level of darkness is ``-offset / gain``: there the noise's variance
    ``gain * level + offset`` is 0.  Nothing is said of float32 images, whose grey
    levels may be of any size.
    """
    if image.dtype.kind != "u":
        return
    levels = 256**image.dtype.itemsize
    most = levels // 16
    lowest = -max(most, 256)
    advice = (
        "Set this channel's numbers in noise.gains and noise.offsets, or noise.kind to"
        " gaussian with noise.noise_std."
    )
    for name, gain, offset in _by_channel(image, numbers):
        if not LEAST_GAIN <= gain <= most:
            yield (
                f"Channel {name!r}: a gain of {short(gain)} is implausible for"
                f" {image.dtype}. Expected {LEAST_GAIN} to {most} grey levels per"
                f" photo-electron. {advice}"
            )
        darkness = -offset / gain
        if not lowest <= darkness <= levels:
            yield (
                f"Channel {name!r}: gain {short(gain)} and offset {short(offset)} put"
                f" darkness (-offset / gain) at grey level {short(darkness)}, which"
                f" is implausible for {image.dtype}. Expected {lowest} to {levels}."
                f" {advice}"
            )


def clipped(image: Image, numbers: NoiseNumbers, sample: np.ndarray) -> Iterator[str]:
    """Warnings of channels with more than 1 % of a sample below ndsafir's floor.

    `sample` is of axes ``(c, z, y, x)``.
    """
    channels = _by_channel(image, numbers)
    for i, ((name, gain, offset), floor) in enumerate(
        zip(channels, floors(numbers), strict=True)
    ):
        with np.errstate(over="ignore"):  # a floor that float32 can't hold
            share = np.count_nonzero(sample[i] < floor) / sample[i].size
        if share > MOST_CLIPPED:
            yield (
                f"Channel {name!r}: {share:.1%} of the sampled voxels lie below grey"
                f" level {short(floor)}, where ndsafir clips with gain {short(gain)}"
                f" and offset {short(offset)} (-offset / gain - 3/8 gain): they come"
                " out as one value, and the mean rises. Expected at most"
                f" {MOST_CLIPPED:.0%}. Set this channel's numbers in noise.gains and"
                " noise.offsets (a higher offset clips less), or noise.kind to gaussian"
                " with noise.noise_std."
            )


def _by_channel(
    image: Image, numbers: NoiseNumbers
) -> Iterator[tuple[str, float, float]]:
    """Name, gain and offset of each channel; none of Gaussian noise."""
    if numbers.gains is not None and numbers.offsets is not None:
        names = [channel.name for channel in image.channels]
        yield from zip(names, numbers.gains, numbers.offsets, strict=True)
