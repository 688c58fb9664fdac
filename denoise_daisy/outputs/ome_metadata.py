"""OME-NGFF: the metadata of multiscale images and labels, in the form of 0.5."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from funlib.geometry import Coordinate

from denoise_daisy.images.image import Channel, Image
from denoise_daisy.outputs.layout import ARRAY_AXES, V3

VERSION = V3
"""Of OME-NGFF, in whose form metadata are put together."""

AXES = (
    ("t", "time", "second"),
    ("c", "channel", None),
    ("z", "space", "micrometer"),
    ("y", "space", "micrometer"),
    ("x", "space", "micrometer"),
)

FIRST_HUE, GOLDEN = 0.12, 0.6180339887
"""Of the colour of id 1, an orange that few channels have; and from id to id."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """A level of a multiscale image, as its metadata tell of it."""

    path: str
    begin: Coordinate
    """Where its first voxel begins, in voxels of the image, ``(t, z, y, x)``."""
    factor: Coordinate
    """Voxels of the image per voxel, ``(t, z, y, x)``."""
    is_sampled: bool
    """Whether a voxel is the first one of its cell, rather than all of it."""


def ome_metadata(
    name: str,
    image: Image,
    levels: Sequence[Resolution],
    method: str,
    axes: str = ARRAY_AXES,
) -> dict[str, Any]:
    """The "ome" attribute of OME-NGFF 0.5: axes, units, scales and translations.

    `method` is how a level came from the one before, `axes` are those on disk.  An axis
    whose scale is not recorded has scale 1 and no unit.
    """
    steps = [image.time_step_s, None, *image.scale_um]
    scale = [step or 1.0 for step in steps]
    told = [
        {"name": axis, "type": kind} | ({"unit": unit} if unit and step else {})
        for (axis, kind, unit), step in zip(AXES, steps, strict=True)
        if axis in axes
    ]
    on_disk = [axis in axes for axis, _, _ in AXES]
    datasets = []
    for level in levels:
        factor = (level.factor[0], 1, *level.factor[1:])
        first = level.begin + Coordinate(image.origin)
        # A voxel lies at its centre: that of its cell, or of the one that it was.
        shift = [0.0 if level.is_sampled else (f - 1) / 2 for f in factor]
        offset = [o + d for o, d in zip((first[0], 0, *first[1:]), shift, strict=True)]
        own_scale = [s * f for s, f in zip(scale, factor, strict=True)]
        own_scale = list(compress(own_scale, on_disk))
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": own_scale}]
        if any(offset):
            translation = [o * s for o, s in zip(offset, scale, strict=True)]
            translation = list(compress(translation, on_disk))
            transformations.append({"type": "translation", "translation": translation})
        datasets.append(
            {"path": level.path, "coordinateTransformations": transformations}
        )
    multiscale: dict[str, Any] = {"name": name, "axes": told, "datasets": datasets}
    if len(levels) > 1:
        multiscale["type"] = method
    return {"version": VERSION, "multiscales": [multiscale]}


def label_metadata(values: int) -> dict[str, Any]:
    """The "image-label" attribute: what was labelled, and a colour for ids up to that.

    Viewers leave out ids without a colour where others have one, so that labels whose
    ids have no bound get none (0), and viewers' own colours are shown.
    """
    told: dict[str, Any] = {"version": VERSION, "source": {"image": "../../"}}
    if values:
        told["colors"] = [
            {"label-value": value, "rgba": _color(value)}
            for value in range(1, values + 1)
        ]
    return told


def _color(value: int) -> list[int]:
    """Bright, and far from those of the ids before and after it."""
    hue = (FIRST_HUE + GOLDEN * (value - 1)) % 1
    return [*(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.8, 1.0)), 255]


def display_metadata(
    channels: Sequence[Channel],
    display_ranges: Sequence[tuple[float, float]],
    value_range: tuple[float, float],
    planes: int,
) -> dict[str, Any]:
    """The "omero" attribute of an image: how viewers show it.

    `display_ranges` are the grey levels shown as black and as full colour, by channel;
    `planes` is its size along z.
    """
    low, high = value_range
    return {
        "channels": [
            {
                "label": channel.name,
                "color": channel.color,
                "active": True,
                "window": {"start": start, "end": end, "min": low, "max": high},
            }
            for channel, (start, end) in zip(channels, display_ranges, strict=True)
        ],
        "rdefs": {"defaultT": 0, "defaultZ": planes // 2, "model": "color"},
    }
