"""The pixels of a CZI's channels: of one type in an image, and colours as channels."""

from collections.abc import Sequence
from xml.etree import ElementTree

from denoise_daisy.errors import InputError
from denoise_daisy.images import czi_metadata
from denoise_daisy.images.channels import channel_numbers
from denoise_daisy.images.czi_entries import PIXEL_TYPES
from denoise_daisy.images.czi_words import MOST_LISTED, listed
from denoise_daisy.images.image import Channel

DTYPES = {"Gray8": "uint8", "Gray16": "uint16", "Gray32Float": "float32"}

COLOURS = {"Bgr24": ("uint8", 3), "Bgr48": ("uint16", 3), "Bgra32": ("uint8", 4)}
"""Type of a sample, and samples per pixel: blue, green, red and what is no colour."""

RGB = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}
"""The colours as channels, in their order."""


def colour_warning(pixel_type: str) -> list[str]:
    """What to know of an image of that type whose colours are channels."""
    if pixel_type not in COLOURS:
        return []
    return [
        f"The file is a colour image ({pixel_type}): its colours are denoised as"
        " channels. A camera with a colour mosaic on its chip fills in two of three"
        " from neighbours, and noise that neighbours share is not removed."
    ]


def image_channels(
    path: str,
    types: Sequence[Sequence[int]],
    metadata: ElementTree.Element,
    asked: Sequence[int | str] | None,
    names: Sequence[str] | None,
) -> tuple[str, tuple[Channel, ...]]:
    """The pixel type of those channels that are asked for, and all channels.

    `types` has the numbers of the types of each of the file's channels, `names` are
    those that a config gives them.  The colours of a colour image are channels each.

    Raises
    ------
    InputError
        They are of several types, or of one that can't be denoised.
    """
    described = czi_metadata.channels(metadata, len(types), "")
    if names is None or len(names) != len(described):
        names = [channel.name for channel in described]
    found = {number for numbers in types for number in numbers}
    if len(found) > 1 and asked is not None:
        chosen = channel_numbers(asked, names, "input.channels", repr(path))
        found = {number for i in chosen for number in types[i]}
    if len(found) != 1:
        raise _refused(path, _mixed(types, names) if found else "has no such plane")
    pixel_type = _name(*found)
    if pixel_type in COLOURS and all(set(numbers) <= found for numbers in types):
        if asked is None:
            raise InputError(
                f"The input {path!r} is a colour image ({pixel_type}). Expected one"
                f" grey pixel type, of {', '.join(DTYPES)}; to denoise its colours as"
                ' channels, set input.channels to ["red", "green", "blue"].'
            )
        return pixel_type, _colours(described)
    if pixel_type not in DTYPES:
        raise _refused(path, f"has pixels of {pixel_type}")
    dtype = DTYPES[pixel_type]
    return pixel_type, tuple(czi_metadata.channels(metadata, len(types), dtype))


def _colours(described: Sequence[Channel]) -> tuple[Channel, ...]:
    """Those of one channel after the other."""
    return tuple(
        Channel(f"{channel.name} {name}" if len(described) > 1 else name, color)
        for channel in described
        for name, color in RGB.items()
    )


def _name(number: int) -> str:
    return PIXEL_TYPES.get(number, f"type {number}")


def _mixed(types: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    found = sorted({_name(number) for numbers in types for number in numbers})
    words = [
        f"{i} {name!r} {' and '.join(map(_name, numbers)) or 'no plane'}"
        for i, (name, numbers) in enumerate(zip(names, types, strict=True))
    ]
    return (
        f"mixes the pixel types {listed(found[:MOST_LISTED], len(found))}, by channel:"
        f" {listed(words[:MOST_LISTED], len(words))}; input.channels can choose those"
        " of one type"
    )


def _refused(path: str, problem: str) -> InputError:
    return InputError(
        f"The input {path!r} {problem}. Expected one grey pixel type throughout, of"
        f" {', '.join(DTYPES)}; export the image or its channels as such in ZEN."
    )
