"""What the metadata of a TIFF tell of its images: sizes, times, channels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

from denoise_daisy.images.image import Channel
from denoise_daisy.images.stored_array import plain_channels

TO_UM = {
    "m": 1e6,
    "dm": 1e5,
    "cm": 1e4,
    "mm": 1e3,
    "um": 1.0,
    "µm": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "nm": 1e-3,
    "pm": 1e-6,
    "å": 1e-4,
    "inch": 25400.0,
    "in": 25400.0,
}
"""Micrometers in a unit of length; others, such as pixel, say nothing."""

TO_SECONDS = {
    "h": 3600.0,
    "min": 60.0,
    "s": 1.0,
    "sec": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}


@dataclass(frozen=True, slots=True)
class TiffFacts:
    """What the metadata of an image say; None and nothing where they are silent."""

    scale_um: tuple[float | None, ...] = (None, None, None)
    """Along (z, y, x)."""
    time_step_s: float | None = None
    names: tuple[str | None, ...] = ()
    colors: tuple[str | None, ...] = ()
    """RRGGBB."""
    ranges: tuple[tuple[float, float], ...] = ()
    """Grey levels shown as black and as full colour, by channel."""

    def channels(self, count: int) -> tuple[Channel, ...]:
        """So many channels, as far as the metadata know them."""
        return tuple(
            replace(
                channel,
                color=(self.colors[i : i + 1] or (None,))[0] or channel.color,
                display_range=(self.ranges[i : i + 1] or (None,))[0],
            )
            for i, channel in enumerate(plain_channels(count, self.names))
        )


def ome_root(text: str | None) -> ElementTree.Element | None:
    """The OME-XML of a description; None where it is none."""
    if text is None or "OME" not in text[-40:]:
        return None
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None


def named(parent: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    """The children of that name, whatever the version of OME-XML."""
    return [child for child in parent if child.tag.rpartition("}")[2] == tag]


def ome_facts(root: ElementTree.Element, number: int, name: str) -> TiffFacts:
    """What OME-XML says of the image of that number; of the one so named, if it can.

    The number need not be right: images without pixels in the file have none.
    """
    images = [image for image in named(root, "Image") if named(image, "Pixels")]
    so_named = [image for image in images if image.get("Name") == name]
    if len(so_named) == 1:
        images, number = so_named, 0
    if number >= len(images):
        return TiffFacts()
    pixels = named(images[number], "Pixels")[0]
    channels: list[ElementTree.Element] = []
    for channel in named(pixels, "Channel"):
        # Each of its samples is one of the image's channels.
        channels += [channel] * max(1, _whole(channel.get("SamplesPerPixel")) or 1)
    return TiffFacts(
        scale_um=tuple(
            length_um(
                pixels.get(f"PhysicalSize{axis}"),
                pixels.get(f"PhysicalSize{axis}Unit", "µm"),
            )
            for axis in "ZYX"
        ),
        time_step_s=_positive(
            pixels.get("TimeIncrement"),
            TO_SECONDS.get(pixels.get("TimeIncrementUnit", "s")),
        ),
        names=tuple(channel.get("Name") for channel in channels),
        colors=tuple(_rgb(channel.get("Color")) for channel in channels),
    )


def imagej_facts(
    metadata: Mapping[str, Any], pixels_per_unit: Sequence[float | None]
) -> TiffFacts:
    """What ImageJ says of an image; resolutions are those along (y, x)."""
    unit = metadata.get("unit")
    y, x = (
        length_um(1 / per_unit if per_unit else None, metadata.get(key, unit))
        for per_unit, key in zip(pixels_per_unit, ("yunit", "unit"), strict=True)
    )
    tables, levels = metadata.get("LUTs", ()), metadata.get("Ranges", ())
    ends = [bytes(int(part[-1]) for part in table) for table in tables]
    pairs = zip(levels[::2], levels[1::2], strict=False)
    ranges = tuple((float(low), float(high)) for low, high in pairs)
    return TiffFacts(
        scale_um=(
            length_um(metadata.get("spacing"), metadata.get("zunit", unit)),
            y,
            x,
        ),
        time_step_s=_positive(metadata.get("finterval"), 1.0),
        colors=tuple(end.hex().upper() if any(end) else None for end in ends),
        ranges=ranges if all(low < high for low, high in ranges) else (),
    )


def lsm_facts(metadata: Mapping[str, Any]) -> TiffFacts:
    """What Zeiss's LSM says of an image: lengths in meter."""
    colors = metadata.get("ChannelColors", {})
    return TiffFacts(
        scale_um=tuple(
            length_um(metadata.get(f"VoxelSize{axis}"), "m") for axis in "ZYX"
        ),
        time_step_s=_positive(metadata.get("TimeIntervall"), 1.0),
        names=tuple(str(name) for name in colors.get("ColorNames", ())),
    )


def micromanager_facts(summary: Mapping[str, Any]) -> TiffFacts:
    """What Micro-Manager says of an image."""
    pixel = length_um(summary.get("PixelSize_um"), "um")
    names = summary.get("ChNames", ())
    return TiffFacts(
        scale_um=(length_um(summary.get("z-step_um"), "um"), pixel, pixel),
        time_step_s=_positive(summary.get("Interval_ms"), 1e-3),
        names=tuple(map(str, names)) if isinstance(names, list) else (),
    )


def length_um(value: Any, unit: Any) -> float | None:
    """A length in micrometer; None where it is none, or of an unknown unit."""
    written = str(unit or "").strip().replace("\\u00B5", "µ").replace("μ", "µ")
    return _positive(value, TO_UM.get(written.lower()))


def _positive(value: Any, factor: float | None) -> float | None:
    if value is None or factor is None:
        return None
    try:
        number = float(value) * factor
    except (TypeError, ValueError):
        return None
    # 12 digits undo what the factor adds.
    return float(f"{number:.12g}") if 0 < number < math.inf else None


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 4 else None


def _rgb(color: str | None) -> str | None:
    """RRGGBB of OME-XML's signed 32-bit RGBA."""
    try:
        number = int(color or "")
    except ValueError:
        return None
    rgb = number >> 8 & 0xFFFFFF
    # White is the schema's default: it says nothing.
    return None if rgb in (0, 0xFFFFFF) else f"{rgb:06X}"
