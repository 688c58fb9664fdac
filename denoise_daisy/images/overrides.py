"""What a config says of an image in the place of its file, and doubtful sizes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from denoise_daisy.errors import InputError
from denoise_daisy.images.image import Image
from denoise_daisy.images.input import Input

SMALLEST_UM, LARGEST_UM = 1e-3, 1e3
"""Sizes of a voxel that a light microscope may have, in micrometer."""

MOST_FLATTENED = 100.0
"""A voxel is not so many times longer along one axis than along another."""


def overridden(image: Any, source: Input) -> Image:
    """An image with the sizes and names that a config gives it, and its doubts.

    Raises
    ------
    InputError
        There is not one name for each channel.
    """
    sizes = dict(zip("zyx", image.scale_um, strict=True)) | source.voxel_size_um
    scale = tuple(sizes.values())
    step = source.time_step_s or image.time_step_s
    told: Image = replace(
        image,
        scale_um=scale,
        time_step_s=step,
        channels=_named(image, source),
        warnings=(*image.warnings, *size_warnings(scale, image.shape)),
    )
    return told


def _named(image: Image, source: Input) -> tuple[Any, ...]:
    names = source.channel_names
    if names is None:
        return image.channels
    if len(names) != len(image.channels):
        raise InputError(
            f"input.channel_names has {len(names)} names, but {source.path!r} has"
            f" {len(image.channels)} channels. Expected one for each."
        )
    pairs = zip(image.channels, names, strict=True)
    return tuple(replace(channel, name=name) for channel, name in pairs)


def size_warnings(
    scale_um: Sequence[float | None], shape: Sequence[int]
) -> Iterator[str]:
    """A warning where the sizes of a voxel, ``(z, y, x)``, are unknown or not right.

    `shape` is the image's, ``(t, c, z, y, x)``.
    """
    pairs = zip("zyx", scale_um, shape[2:], strict=True)
    unknown = [a for a, size, n in pairs if size is None and (n > 1 or a != "z")]
    if unknown:
        yield (
            f"The file does not say how large a voxel is along {', '.join(unknown)}."
            " Set input.voxel_size_um, or the output does not say it either."
        )
    known = {a: n for a, n in zip("zyx", scale_um, strict=True) if n is not None}
    said = ", ".join(f"{axis} {size:g}" for axis, size in known.items())
    absurd = any(not SMALLEST_UM <= size <= LARGEST_UM for size in known.values())
    flat = known and max(known.values()) > MOST_FLATTENED * min(known.values())
    if absurd or flat:
        yield (
            f"A voxel is said to measure {said} um, as of no light microscope. Correct"
            " it with input.voxel_size_um, or the output has it too."
        )
