"""Noise numbers for a run: given or calibrated from samples, and held against them."""

from collections.abc import Iterator

import numpy as np

from denoise_daisy.arrays import Image
from denoise_daisy.config import Gaussian, Noise
from denoise_daisy.denoiser import NoiseNumbers, calibrate, floors
from denoise_daisy.errors import InputError

POSITIONS = 8
"""Places along T and Z that are sampled."""

DEPTH = 16
EDGE = 160
"""Voxels of a sample along z, and along y and x."""

QUANTILES = (0.5, 1.0)
"""Of the windows of a plane, by mean grey level, those that are sampled."""

MOST_CLIPPED = 0.01
"""Part of a channel's sampled voxels that may lie below the floor without a warning."""

LEAST_GAIN = 0.05
"""A lower gain in an integer image is doubted: steps of one grey level would hold 20
photo-electrons and more, so its noise would be that of rounding."""


def given_numbers(noise: Noise, channels: int) -> NoiseNumbers | None:
    """The numbers in the config, None where they are to be calibrated.

    Raises
    ------
    InputError
        Not one number per channel; ndsafir would read past the list's end.
    """
    if isinstance(noise, Gaussian):
        if noise.noise_std is None:
            return None
        return NoiseNumbers(noise_std=noise.noise_std)
    if noise.gains is None or noise.offsets is None:
        return None
    for name, numbers in (("gains", noise.gains), ("offsets", noise.offsets)):
        if len(numbers) != channels:
            raise InputError(
                f"noise.{name} has {len(numbers)} numbers, but {channels} channels are"
                " denoised. Expected one number per channel, or null to calibrate."
            )
    return NoiseNumbers(gains=noise.gains, offsets=noise.offsets)


def describe(numbers: NoiseNumbers) -> str:
    """The noise model and its numbers in words, one number per channel."""
    if numbers.noise_std is not None:
        return f"gaussian, noise_std {_short(numbers.noise_std)}"
    gains = ", ".join(map(_short, numbers.gains or ()))
    offsets = ", ".join(map(_short, numbers.offsets or ()))
    return f"poisson-gaussian, gains {gains}, offsets {offsets}"


def settle(
    image: Image, kind: str, known: NoiseNumbers | None
) -> tuple[NoiseNumbers, tuple[str, ...]]:
    """The noise numbers, calibrated unless known, and what is doubtful about them.

    The image is sampled once for both.  Samples that can't be read are no reason to
    refuse a run whose numbers are known: only the blocks there will fail.

    Raises
    ------
    InputError
        The numbers are not known, and the samples can't be read or tell nothing.
    """
    if known is not None and known.noise_std is not None:
        return known, ()
    try:
        sample = sample_image(image)
    except InputError as error:
        if known is None:
            raise
        unread = f"The noise numbers could not be held against the image: {error}"
        return known, (*implausible(image, known), unread)
    numbers = known or _calibrate(image, sample, kind)
    return numbers, (*implausible(image, numbers), *clipped(image, numbers, sample))


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
                f"Channel {name!r}: a gain of {_short(gain)} is implausible for"
                f" {image.dtype}. Expected {LEAST_GAIN} to {most} grey levels per"
                f" photo-electron. {advice}"
            )
        darkness = -offset / gain
        if not lowest <= darkness <= levels:
            yield (
                f"Channel {name!r}: gain {_short(gain)} and offset {_short(offset)} put"
                f" darkness (-offset / gain) at grey level {_short(darkness)}, which"
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
                f" level {_short(floor)}, where ndsafir clips with gain {_short(gain)}"
                f" and offset {_short(offset)} (-offset / gain - 3/8 gain): they come"
                " out as one value, and the mean rises. Expected at most"
                f" {MOST_CLIPPED:.0%}. Set this channel's numbers in noise.gains and"
                " noise.offsets (a higher offset clips less), or noise.kind to gaussian"
                " with noise.noise_std."
            )


def sample_image(image: Image) -> np.ndarray:
    """Samples of ``(c, z, y, x)`` spread over T, Z and intensity.

    They lie behind each other along y in one array: a fit over all of them sees the
    whole range of intensities, where one sample alone may hold background only.
    """
    return np.concatenate(list(_samples(image)), axis=2)


def _calibrate(image: Image, sample: np.ndarray, kind: str) -> NoiseNumbers:
    for channel, voxels in zip(image.channels, sample, strict=True):
        if not np.isfinite(voxels).all() or voxels.min() == voxels.max():
            raise InputError(
                f"The noise of channel {channel.name!r} can't be calibrated: its"
                " samples are all of one value, or no numbers. Give noise.gains and"
                " noise.offsets, or noise.noise_std."
            )
    return calibrate(sample, kind)


def _by_channel(
    image: Image, numbers: NoiseNumbers
) -> Iterator[tuple[str, float, float]]:
    """Name, gain and offset of each channel; none of Gaussian noise."""
    if numbers.gains is not None and numbers.offsets is not None:
        names = [channel.name for channel in image.channels]
        yield from zip(names, numbers.gains, numbers.offsets, strict=True)


def _short(number: float) -> str:
    """Four digits, and no exponent where a person would write none."""
    return f"{number:.0f}" if 1e3 <= abs(number) < 1e9 else f"{number:.4g}"


def _samples(image: Image) -> Iterator[np.ndarray]:
    """Windows of ``(c, z, y, x)``, of one shape."""
    t_size, _, z_size, y_size, x_size = image.shape
    depth, height, width = min(z_size, DEPTH), min(y_size, EDGE), min(x_size, EDGE)
    z_steps = max(1, min(POSITIONS, z_size // depth))
    positions = min(POSITIONS, t_size * z_steps)
    for i in range(positions):
        t = round(i * (t_size - 1) / max(1, positions - 1))
        # Depths in turn, so that late time points are not all sampled at the far end.
        z = round((i % z_steps) * (z_size - depth) / max(1, z_steps - 1))
        plane = _read(image, t, slice(z + depth // 2, z + depth // 2 + 1))[0, 0]
        corners = [
            (y, x)
            for y in range(0, y_size - height + 1, height)
            for x in range(0, x_size - width + 1, width)
        ]
        with np.errstate(all="ignore"):  # floats may be inf, or too large to add up
            corners.sort(
                key=lambda c: plane[c[0] : c[0] + height, c[1] : c[1] + width].mean()
            )
        for y, x in sorted({corners[round(q * (len(corners) - 1))] for q in QUANTILES}):
            yield _read(
                image, t, slice(z, z + depth), slice(y, y + height), slice(x, x + width)
            )


def _read(
    image: Image, t: int, z: slice, y: slice = slice(None), x: slice = slice(None)
) -> np.ndarray:
    block: np.ndarray = image[slice(t, t + 1), slice(None), z, y, x][0]
    return block
