"""OME-NGFF 0.5: the metadata of multiscale images and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from funlib.geometry import Coordinate

from denoise_daisy.images.image import Channel, Image

VERSION = "0.5"
"""Of OME-NGFF."""

AXES = (
    ("t", "time", "second"),
    ("c", "channel", None),
    ("z", "space", "micrometer"),
    ("y", "space", "micrometer"),
    ("x", "space", "micrometer"),
)


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
    name: str, image: Image, levels: Sequence[Resolution], method: str
) -> dict[str, Any]:
    """The "ome" attribute of OME-NGFF 0.5: axes, units, scales and translations.

    `method` is how a level came from the one before.  An axis whose scale is not
    recorded has scale 1 and no unit.
    """
    steps = [image.time_step_s, None, *image.scale_um]
    scale = [step or 1.0 for step in steps]
    axes = [
        {"name": axis, "type": kind} | ({"unit": unit} if unit and step else {})
        for (axis, kind, unit), step in zip(AXES, steps, strict=True)
    ]
    datasets = []
    for level in levels:
        factor = (level.factor[0], 1, *level.factor[1:])
        first = level.begin + Coordinate(image.origin)
        # A voxel lies at its centre: that of its cell, or of the one that it was.
        shift = [0.0 if level.is_sampled else (f - 1) / 2 for f in factor]
        offset = [o + d for o, d in zip((first[0], 0, *first[1:]), shift, strict=True)]
        own_scale = [s * f for s, f in zip(scale, factor, strict=True)]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": own_scale}]
        if any(offset):
            translation = [o * s for o, s in zip(offset, scale, strict=True)]
            transformations.append({"type": "translation", "translation": translation})
        datasets.append(
            {"path": level.path, "coordinateTransformations": transformations}
        )
    multiscale: dict[str, Any] = {"name": name, "axes": axes, "datasets": datasets}
    if len(levels) > 1:
        multiscale["type"] = method
    return {"version": VERSION, "multiscales": [multiscale]}


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
