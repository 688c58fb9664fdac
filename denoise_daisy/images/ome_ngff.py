"""OME's metadata of a Zarr's groups: axes, sizes, positions, channels.

Versions 0.1 to 0.5 of the specification of next-generation file formats.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from denoise_daisy.errors import InputError
from denoise_daisy.images.image import Channel
from denoise_daisy.images.stored_array import IMAGE_AXES, plain_channels
from denoise_daisy.images.units import MICROMETERS, SECONDS
from denoise_daisy.wording import wrong

LONG_NAMES = {"time": "t", "channel": "c"}
"""Names and types of axes, of which there is only one axis each."""


Kind = TypeVar("Kind")


class Axis(BaseModel):
    """An axis; of 0.3 it is just a name."""

    name: str
    type: str | None = None
    unit: str | None = None


class Transformation(BaseModel):
    """A step from voxels to physical coordinates; others than these two are not OME's.

    Its numbers are one per axis.
    """

    scale: list[float] | None = None
    translation: list[float] | None = None


Transformations = Annotated[
    list[Transformation], Field(default_factory=list, alias="coordinateTransformations")
]


class Dataset(BaseModel):
    """A level of a pyramid."""

    path: Annotated[str, Field(min_length=1)]
    transformations: Transformations


class Multiscale(BaseModel):
    """An image, of one level or several."""

    axes: list[str | Axis] | None = None
    datasets: Annotated[list[Dataset], Field(min_length=1)]
    transformations: Transformations

    def level(self, path: str) -> Dataset | None:
        """The level of that path; None where it is none of this image's."""
        wanted = path.strip("/")
        return next((d for d in self.datasets if d.path.strip("/") == wanted), None)


@dataclass(frozen=True)
class Sizes:
    """What the metadata tell of a level's voxels."""

    scale_um: tuple[float | None, ...] = (None, None, None)
    """Along (z, y, x); None where not recorded."""
    time_step_s: float | None = None
    origin: tuple[int, ...] = (0, 0, 0, 0)
    """Where the first lies, in voxels of (t, z, y, x), where that is a whole number."""
    shift: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    """Where its centre lies, in the same, to a part of a voxel."""


def multiscale_of(path: str, ome: dict[str, Any]) -> Multiscale | None:
    """The first image of a group; None where it has none.

    Raises
    ------
    InputError
        The metadata are not as OME's specification says.
    """
    if "multiscales" not in ome:
        return None
    found = checked(path, "multiscales", list[Multiscale], ome["multiscales"])
    if not found:
        raise _damaged(path, "multiscales is empty")
    for dataset in found[0].datasets:
        if {"", "..", "."} & set(dataset.path.strip("/").split("/")):
            raise _damaged(path, f"a level has the path {dataset.path!r}")
    return found[0]


def checked(path: str, key: str, kind: type[Kind], value: Any) -> Kind:
    """A part of the metadata as values of a kind.

    Raises
    ------
    InputError
        It is not of that kind.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (key, *first["loc"])))
        raise _damaged(path, f"{where}: {wrong(first)}") from error


def axes_of(path: str, multiscale: Multiscale, count: int) -> str | None:
    """The axes of an image by their letters, the slowest first; None if not told.

    Before version 0.3 an image has all five axes.

    Raises
    ------
    InputError
        An axis is none of t c z y x.
    """
    if multiscale.axes is None:
        return IMAGE_AXES if count == len(IMAGE_AXES) else None
    named = [Axis(name=a) if isinstance(a, str) else a for a in multiscale.axes]
    return letters(path, [axis.name for axis in named], [axis.type for axis in named])


def letters(
    path: str, names: Sequence[str], types: Sequence[str | None] | None = None
) -> str:
    """The letters of axes by names, or where these are other words, by types.

    Raises
    ------
    InputError
        An axis is none of t c z y x.
    """
    found = []
    for name, kind in zip(names, types or [None] * len(names), strict=True):
        lower = name.lower()
        letter = LONG_NAMES.get(lower) or LONG_NAMES.get(kind or "")
        if lower in (*IMAGE_AXES,):
            letter = lower
        if letter is None:
            raise InputError(
                f"The image {path!r} has an axis {name!r}, its axes are"
                f" {', '.join(map(repr, names))}. Expected some of t c z y x: write it"
                " again without that axis, or say what it is with input.axes."
            )
        found.append(letter)
    return "".join(found)


def sizes_of(path: str, multiscale: Multiscale, dataset: Dataset, axes: str) -> Sizes:
    """The sizes of a level's voxels, whose array has these axes.

    Raises
    ------
    InputError
        There is not one number for each axis.
    """
    scale, place = [1.0] * len(axes), [0.0] * len(axes)
    steps = [*dataset.transformations, *multiscale.transformations]
    for step in steps:
        factors = step.scale or [1.0] * len(axes)
        shifts = step.translation or [0.0] * len(axes)
        if {len(factors), len(shifts)} != {len(axes)}:
            raise _damaged(
                path,
                f"a transformation has {len(factors)} factors and {len(shifts)} shifts"
                f" for {len(axes)} axes",
            )
        scale = [a * b for a, b in zip(scale, factors, strict=True)]
        place = [a * b + c for a, b, c in zip(place, factors, shifts, strict=True)]
    if not any(step.scale for step in steps):
        return Sizes()
    units = [
        None if isinstance(axis, str) else axis.unit for axis in multiscale.axes or axes
    ]
    known = dict(zip(axes, zip(scale, place, units, strict=False), strict=False))
    nothing = (math.nan, 0.0, None)
    space = [known.get(axis, nothing) for axis in "zyx"]
    time = known.get("t", nothing)
    return Sizes(
        tuple(_converted(size, MICROMETERS.get(unit or "")) for size, _, unit in space),
        _converted(time[0], SECONDS.get(time[2] or "")),
        tuple(_whole(shift, size) for size, shift, _ in (time, *space)),
        tuple(_in_voxels(shift, size) for size, shift, _ in (time, *space)),
    )


def _converted(size: float, factor: float | None) -> float | None:
    value = size * (factor or math.nan)
    # 144.992 nm are 0.144992 um: 12 digits undo what the factor adds.
    return float(f"{value:.12g}") if 0 < value < math.inf else None


def _whole(shift: float, size: float) -> int:
    voxels = _in_voxels(shift, size)
    return round(voxels) if is_whole(voxels) else 0


def _in_voxels(shift: float, size: float) -> float:
    voxels = shift / size if size else math.nan
    return voxels if abs(voxels) < 2**53 else 0.0


def is_whole(voxels: float) -> bool:
    """Whether a number of voxels is a whole one, but for how it was computed."""
    return abs(voxels - round(voxels)) <= 1e-6


class _Window(BaseModel):
    start: float = math.nan
    end: float = math.nan


class _OmeroChannel(BaseModel):
    label: str | int | None = None
    color: str | None = None
    window: _Window | None = None


class _Omero(BaseModel):
    channels: list[_OmeroChannel]


def channels_of(ome: dict[str, Any], count: int) -> tuple[tuple[Channel, ...], bool]:
    """So many channels, with what is told of them, and whether that is damaged."""
    default = plain_channels(count)
    if "omero" not in ome:
        return default, False
    try:
        told = _Omero.model_validate(ome["omero"]).channels
    except ValidationError:
        return default, True
    found = [
        _channel(own, plain)
        for own, plain in zip(told, default[: len(told)], strict=False)
    ]
    return (*found, *default[len(found) :]), len(told) != count


def _channel(told: _OmeroChannel, default: Channel) -> Channel:
    color = re.fullmatch("#?([0-9A-Fa-f]{6})", told.color or "")
    window = told.window or _Window()
    is_range = -math.inf < window.start < window.end < math.inf
    return Channel(
        default.name if told.label in (None, "") else str(told.label),
        color[1].upper() if color else default.color,
        (window.start, window.end) if is_range else None,
    )


def _damaged(path: str, what: str) -> InputError:
    return InputError(
        f"The OME metadata of {path!r} are damaged: {what}. Expected those of OME-NGFF"
        " 0.1 to 0.5; write the image again, or name its array in input.path"
        " (image.zarr/0)."
    )
