"""What the XML metadata of a CZI tell: pixel sizes, time step, channels, skew."""

import math
import re
from xml.etree import ElementTree

import numpy as np

from denoise_daisy.images.czi_attachments import metadata_text
from denoise_daisy.images.image import COLORS, Channel

_WELL = re.compile(r"([A-Z]{1,2})0*([1-9][0-9]?)")
"""As plates are lettered: of 96, 384 or 1536 wells."""


def read_metadata(path: str) -> tuple[ElementTree.Element, list[str]]:
    """The metadata as XML, empty (and why) where they can't be read.

    Raises
    ------
    InputError
        The file can't be opened.
    """
    try:
        return ElementTree.fromstring(metadata_text(path)), []
    except (ValueError, LookupError, ElementTree.ParseError) as error:
        return ElementTree.Element("ImageDocument"), [
            f"The CZI's metadata can't be read ({error}); pixel sizes, time step and"
            " channel names are missing in the output."
        ]


def text_of(root: ElementTree.Element, path: str) -> str | None:
    """The text of an element; None where there is none."""
    node = root.find(path)
    return None if node is None or node.text is None else node.text.strip() or None


def positive(text: str | None, factor: float = 1.0) -> float | None:
    """The number that a text is, times a factor; None where it is no positive one."""
    try:
        value = float(text or "nan") * factor
    except ValueError:
        return None
    # 0.145 um is stored as 1.45E-07 m: 12 digits undo what the factor adds.
    return float(f"{value:.12g}") if 0 < value < math.inf else None


def scale_um(root: ElementTree.Element, axis: str) -> float | None:
    """Size of a voxel along an axis in micrometer; None where not recorded."""
    path = f".//Scaling/Items/Distance[@Id='{axis}']/Value"
    return positive(text_of(root, path), 1e6)


def time_step_s(root: ElementTree.Element) -> float | None:
    """Seconds between time points; None where not recorded."""
    positions = ".//Information/Image/Dimensions/T/Positions"
    step = positive(text_of(root, f"{positions}/Interval/Increment"))
    offsets = (text_of(root, f"{positions}/List/Offsets") or "").split()
    if step is None and len(offsets) > 1:
        try:
            span = float(offsets[-1]) - float(offsets[0])
        except ValueError:
            return None
        step = positive(str(span / (len(offsets) - 1)))
    return step


def scene_names(
    root: ElementTree.Element,
) -> dict[int | None, tuple[str, tuple[str, str] | None]]:
    """Names of scenes by their numbers, and the wells that they lie in.

    A well is its row and column, such as ("D", "6"), None where a scene is in none.
    """
    scenes = root.iterfind(".//Information/Image/Dimensions/S/Scenes/Scene")
    found: dict[int | None, tuple[str, tuple[str, str] | None]] = {}
    for scene in scenes:
        index = scene.get("Index") or ""
        # In plates, scenes are named for the position, their array for the well.
        well = _WELL.fullmatch((text_of(scene, "ArrayName") or "").upper())
        if index.isdecimal():
            name = (scene.get("Name") or "").strip()
            found[int(index)] = name, (well[1], well[2]) if well else None
    return found


def channels(root: ElementTree.Element, count: int, dtype: str) -> list[Channel]:
    """The channels of a file, with its display settings where there are some.

    These are of a type of voxels; where there is none, they are left out.
    """
    described = root.findall(".//Information/Image/Dimensions/Channels/Channel")
    displayed = root.findall(".//DisplaySetting/Channels/Channel")
    nothing = ElementTree.Element("Channel")
    defaults = COLORS[count > 1]
    found = []
    for i in range(count):
        channel = described[i] if i < len(described) else nothing
        display = displayed[i] if i < len(displayed) else nothing
        color = text_of(display, "Color") or text_of(channel, "Color") or ""
        rgb = re.fullmatch(r"#(?:[0-9A-Fa-f]{2})?([0-9A-Fa-f]{6})", color)
        found.append(
            Channel(
                name=channel.get("Name") or display.get("Name") or f"Channel {i}",
                color=rgb[1].upper() if rgb else defaults[i % len(defaults)],
                display_range=_display_range(display, dtype),
            )
        )
    return found


def _display_range(
    display: ElementTree.Element, dtype: str
) -> tuple[float, float] | None:
    """Low and High of the display setting, fractions of the type's range."""
    high = positive(text_of(display, "High"))
    if high is None or not dtype.startswith("uint"):
        return None
    largest = int(np.iinfo(dtype).max)
    low = positive(text_of(display, "Low")) or 0.0
    return (round(low * largest), round(high * largest)) if low < high <= 1 else None


def skew(root: ElementTree.Element) -> list[str]:
    """A warning where planes are shifted against each other."""
    shear = text_of(root, ".//ZAxisShear")
    if shear in (None, "None"):
        return []
    return [
        f"The stack is skewed (ZAxisShear {shear!r}): neighbours in z are shifted in"
        " y, so ndsafir finds less there. Deskewing comes after denoising."
    ]
