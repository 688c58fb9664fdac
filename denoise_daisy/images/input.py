"""The image to denoise, as the config names it."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal

from funlib.geometry import Roi
from pydantic import Field, NonNegativeInt

from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES
from denoise_daisy.images.image import Image, roi_of
from denoise_daisy.sections import FinitePositive, Range, Section, SpaceTime, Text

Space = Literal["z", "y", "x"]
Position = Literal["b", "h", "i", "r", "v"]


ALL = "all"
"""In the place of one number: each by itself, an image of its own."""


class Input(Section):
    """The image to denoise, or images."""

    path: Text | Annotated[tuple[Text, ...], Field(min_length=1)]
    """File, or folder of a Zarr; a relative path counts from the config file.  Of an
    HDF5 file with several datasets, one is named behind it: "run.h5/volumes/raw".  Of
    files that are one image together, {t}, {c} and {z} stand for numbers ({c} also for
    words) and * and ? for anything else: "raw/img_{t}_{c}_z{z}.tif".  Without these, *
    and ? stand for many images, ** also for those in folders below, and so does a list:
    each is an image of its own."""

    scene: NonNegativeInt | Literal["all"] | None = None
    """Scene of the file; null or 0 for a file with none or one; all: each by itself, an
    image of its own."""

    select: Mapping[Position, NonNegativeInt | Literal["all"]] = {}
    """Which position of further dimensions is denoised, as the file counts them:
    rotations (r), illuminations (i), phases or detectors (h), views (v) and blocks (b);
    a dimension not named: its only one; all: each by itself, an image of its own."""

    roi: dict[SpaceTime, Range] = {}
    """Half-open voxel ranges by axis, counted from the image's first voxel; null: the
    image's own begin or end.  Context is still read from outside, so the result is that
    part of the whole image's result."""

    channels: (
        Annotated[tuple[NonNegativeInt | Text, ...], Field(min_length=1)] | None
    ) = None
    """Channels to denoise, jointly, each by its number or name; null is all of them.
    The colours of a colour image have to be asked for, as ["red", "green", "blue"]."""

    axes: Annotated[str, Field(pattern="^[tczyx]{2,5}$")] | None = None
    """What the axes of a bare array, or of each file of a series, are, the slowest
    first, such as "tzyx"; null: what the file says.  Each of t c z y x once at most, y
    and x among them."""

    voxel_size_um: dict[Space, FinitePositive] = {}
    """Micrometers by axis, in the place of what the file says; an axis not named: the
    file's."""

    time_step_s: FinitePositive | None = None
    """Seconds between time points, in the place of what the file says."""

    channel_names: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """Names of all channels of the file, in the place of its own."""

    @property
    def one(self) -> "OneInput":
        """The same, where it is one image.

        Raises
        ------
        InputError
            It is several.
        """
        if not isinstance(self.path, str) or ALL in (self.scene, *self.select.values()):
            raise InputError(
                "The config names several images (input.path is a list, or input.scene"
                " or a part of input.select is all), and this takes one. Name one of"
                " them."
            )
        return OneInput.model_validate(dict(self))


class OneInput(Input):
    """One image to denoise."""

    path: Text
    scene: NonNegativeInt | None = None
    select: Mapping[Position, NonNegativeInt] = {}


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
