"""All formats of images, and opening one by whichever it has."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from denoise_daisy.errors import InputError
from denoise_daisy.images import (
    bioio_format,
    czi_format,
    hdf5,
    npy,
    series_format,
    tiff_format,
    zarr_format,
)
from denoise_daisy.images.channels import channel_numbers
from denoise_daisy.images.file_identity import is_file
from denoise_daisy.images.format import Format, SceneName
from denoise_daisy.images.image import Image
from denoise_daisy.images.input import Input, OneInput
from denoise_daisy.images.inspection import FileFacts, facts_of_scenes
from denoise_daisy.images.original import Original
from denoise_daisy.images.overrides import overridden
from denoise_daisy.images.series_files import is_series, refuse_folder
from denoise_daisy.images.zarr_server import refuse_credentials
from denoise_daisy.wording import wrong

logger = logging.getLogger(__name__)

OWN: tuple[Format, ...] = (
    czi_format.FORMAT,
    tiff_format.FORMAT,
    zarr_format.FORMAT,
    hdf5.FORMAT,
    npy.FORMAT,
    series_format.FORMAT,
)
"""The formats of this program; the first that fits a path has it."""

LAST: tuple[Format, ...] = (bioio_format.FORMAT,)
"""Those that have what is nobody else's."""

ENTRY_POINTS = "denoise_daisy.images"
"""The group by which packages add formats."""

OPTIONAL_KEYS = ("scene", "select", "axes")
"""Keys of the input's section that some formats have no use for."""


def formats() -> tuple[Format, ...]:
    """Those of this program, and those of other packages that are installed."""
    return (*OWN, *_others()[0], *LAST)


@cache
def _others() -> tuple[tuple[Format, ...], tuple[str, ...]]:
    """The formats of other packages, and what is wrong with those that don't load."""
    found: list[Format] = []
    broken: list[str] = []
    for entry in entry_points(group=ENTRY_POINTS):
        what = f"the format {entry.name!r} ({entry.value})"
        if entry.dist is not None:
            what += f" of the package {entry.dist.name!r}"
        try:
            loaded = entry.load()
        except Exception as error:  # noqa: BLE001 - of anybody's package
            broken.append(f"{what} can't be loaded: {type(error).__name__}: {error}")
            continue
        if not isinstance(loaded, Format):
            broken.append(f"{what} is no Format")
        elif loaded.name in {each.name for each in (*OWN, *found, *LAST)}:
            broken.append(f"{what} has the name {loaded.name!r} of another one")
        else:
            found.append(loaded)
    for problem in broken:
        logger.warning("Left out: %s. Mend or uninstall it.", problem)
    return tuple(found), tuple(broken)


def is_image(path: str | Path) -> bool:
    """Whether a path or URL is an image's, and no config's.

    By the ending of its name, or because a format knows it as its own.
    """
    name = _name(str(path))
    is_known = any(name.endswith(each.endings) for each in formats())
    own = (*OWN, *_others()[0])
    return is_known or is_series(str(path)) or any(each.owns(str(path)) for each in own)


def ending_of(name: str) -> str:
    """What of the end of a name tells the format; else what follows a full stop."""
    endings = [e for f in formats() for e in f.endings if name.lower().endswith(e)]
    return max(endings, key=len, default=Path(name).suffix)


def format_of(path: str) -> Format:
    """The format of a path or URL, by its ending, else by what lies there, else CZI.

    Raises
    ------
    InputError
        It is a URL that holds a secret, or a folder of nobody's; or none fits, and one
        of another package, which might, can't be loaded.
    """
    refuse_credentials(path)
    if is_series(path):
        return series_format.FORMAT
    name = _name(path)
    by_ending = {e: f for f in reversed(formats()) for e in f.endings}
    for ending in sorted(by_ending, key=len, reverse=True):
        if name.endswith(ending):
            return by_ending[ending]
    begins = b""
    with suppress(OSError, ValueError):
        if is_file(path):
            with Path(path).open("rb") as file:
                begins = file.read(16)
    for known in formats():
        if begins.startswith(known.magic or (b"\0" * 17,)) or known.owns(path):
            return known
    broken = _others()[1]
    if broken and is_file(path):
        raise InputError(
            f"The input {path!r} is of no format that is known, and"
            f" {'; '.join(broken)}. Expected an image of a known format; mend or"
            " uninstall that package."
        )
    refuse_folder(path)
    return czi_format.FORMAT


def _name(path: str) -> str:
    """The last part of a path or URL, in lower case."""
    return path.rstrip("/").rsplit("/", 1)[-1].lower()


def open_image(asked: Input) -> Image:
    """The image that a config names, of the channels that it names.

    Raises
    ------
    InputError
        It can't be read, or is of a kind that can't be denoised.
    """
    source = asked.one
    image = overridden(open_plain(source), source)
    return image if source.channels is None else selecting(image, source)


def open_plain(source: OneInput) -> Image:
    """All channels of an image, as its file says it is.

    Raises
    ------
    InputError
        It can't be read, or is of a kind that can't be denoised.
    """
    found = format_of(source.path)
    for key in OPTIONAL_KEYS:
        value = getattr(source, key)
        # Scene 0 is the only one of a file without scenes.
        if key not in found.takes and value not in (None, 0, {}):
            raise InputError(
                f"input.{key} is {value!r}, but {source.path!r} is {found.name}, where"
                " it means nothing. Leave it out."
            )
    return found.open(source)


def selecting(image: Any, source: Input) -> Image:
    """An image of the channels that a config names, of one of all channels."""
    names = [channel.name for channel in image.channels]
    numbers = channel_numbers(
        source.channels or (), names, "input.channels", repr(source.path)
    )
    chosen: Image = replace(
        image,
        selected=tuple(image.selected[i] for i in numbers),
        channels=tuple(image.channels[i] for i in numbers),
    )
    return chosen


def scenes_of(path: str) -> tuple[SceneName, ...]:
    """The scenes of a file; raises InputError where it can't be read."""
    return format_of(path).scenes(path)


def positions_of(path: str, scene: int | None) -> Mapping[str, range]:
    """What ``input.select`` can ask for of a scene, by its letters.

    Raises
    ------
    InputError
        It can't be read.
    """
    return format_of(path).positions(path, scene)


def inspect_image(path: str) -> FileFacts:
    """What a file holds.

    Raises
    ------
    InputError
        It is absent, of no known format, cut short or damaged.
    """
    found = format_of(path)
    if found.inspect is not None:
        return found.inspect(path)
    numbers = [scene.number for scene in found.scenes(path)]
    return facts_of_scenes(
        path,
        found.name,
        numbers,
        lambda scene: open_image(Input(path=path, scene=scene)),
    )


def describe(image: Image) -> dict[str, Any]:
    """An image as plain values, for a file of JSON."""
    found = _format_of_image(image)
    described: dict[str, Any] = TypeAdapter(found.image).dump_python(image, mode="json")
    return {"format": found.name} | described


def described_image(description: Mapping[str, Any]) -> Image:
    """The image that was described; its file is opened by the first read.

    Raises
    ------
    ValueError
        It is no description of an image.
    """
    values = dict(description)
    # Records of old have none: there was one format.
    name = values.pop("format", czi_format.FORMAT.name)
    known = {each.name: each for each in formats()}
    if name not in known:
        broken = "".join(f"; {problem}" for problem in _others()[1])
        listed = ", ".join(known)
        raise ValueError(f"format: {name!r}, which is none of {listed}{broken}")
    try:
        image: Image = TypeAdapter(known[name].image).validate_python(values)
        return image
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {wrong(first)}") from error


def versions_of(image: Image) -> dict[str, str]:
    """The versions of the packages that read an image."""
    return {name: version(name) for name in _format_of_image(image).packages}


def original_of(image: Image) -> Original:
    """What the file of an image tells of it; nothing, and why, if it can't be read."""
    try:
        return _format_of_image(image).original(image)
    except Exception as error:  # noqa: BLE001 - of damaged files, and other packages
        return Original(problem=f"{type(error).__name__}: {error}")


def _format_of_image(image: Image) -> Format:
    return next(each for each in formats() if type(image) is each.image)
