"""The image to denoise, as the config names it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from funlib.geometry import Roi
from pydantic import Field, NonNegativeInt, TypeAdapter, ValidationError

from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES
from denoise_daisy.images.czi import CziImage, open_czi
from denoise_daisy.images.image import Image, roi_of
from denoise_daisy.sections import Range, Section, SpaceTime, Text
from denoise_daisy.wording import wrong


class Input(Section):
    """The image to denoise."""

    path: Annotated[str, Field(min_length=1)]
    """CZI file; a relative path counts from the config file."""

    scene: NonNegativeInt | None = None
    """Scene of the CZI; null or 0 for a file with none or one."""

    roi: dict[SpaceTime, Range] = {}
    """Half-open voxel ranges by axis, counted from the image's first voxel; null: the
    image's own begin or end.  Context is still read from outside, so the result is that
    part of the whole image's result."""

    channels: (
        Annotated[tuple[NonNegativeInt | Text, ...], Field(min_length=1)] | None
    ) = None
    """Channels to denoise, jointly, each by its number or name; null is all of them."""


def _open_czi(source: Input) -> Image:
    return open_czi(source.path, source.scene, source.channels)


FORMATS: Mapping[str, Callable[[Input], Image]] = {".czi": _open_czi}
"""What opens a file, by the ending of its name."""


def is_image(path: Path) -> bool:
    """Whether a file is an image, and no config, by the ending of its name."""
    return path.suffix.lower() in FORMATS


_DESCRIPTION: TypeAdapter[Image] = TypeAdapter(CziImage)


def open_image(source: Input) -> Image:
    """The image that a config names; what its path's ending does not tell is a CZI.

    Raises
    ------
    InputError
        It can't be read, or is of a kind that can't be denoised.
    """
    open_format = FORMATS.get(Path(source.path).suffix.lower(), _open_czi)
    return open_format(source)


def describe(image: Image) -> dict[str, Any]:
    """An image as plain values, for a file of JSON."""
    description: dict[str, Any] = _DESCRIPTION.dump_python(image, mode="json")
    return description


def described_image(description: Mapping[str, Any]) -> Image:
    """The image that was described; its file is opened by the first read.

    Raises
    ------
    ValueError
        It is no description of an image.
    """
    try:
        return _DESCRIPTION.validate_python(description)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {wrong(first)}") from error


def volume_of(source: Input, image: Image) -> Roi:
    """The region to denoise, in voxels of ``(t, z, y, x)``.

    Raises
    ------
    InputError
        It reaches beyond the image.
    """
    begin, end = [0, 0, 0, 0], list(roi_of(image).end)
    for axis, asked in source.roi.items():
        i = AXES.index(axis)
        first, last = asked[0] or 0, end[i] if asked[1] is None else asked[1]
        if last > end[i] or first >= last:
            raise InputError(
                f"input.roi.{axis} is {json.dumps(asked)}, but the image has {end[i]}"
                f" voxels along {axis}. Expected a range within [0, {end[i]}]."
            )
        begin[i], end[i] = first, last
    return Roi(begin, [e - b for b, e in zip(begin, end, strict=True)])
