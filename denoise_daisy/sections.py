"""What all sections of the config file have in common."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from denoise_daisy.errors import InputError

SpaceTime = Literal["t", "z", "y", "x"]
AnyAxis = Literal["t", "c", "z", "y", "x"]
OutputType = Literal["input", "uint8", "uint16", "float32"]


def _half_open(value: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
    begin, end = value
    if begin is not None and end is not None and begin >= end:
        raise ValueError("begin < end: the range is empty")
    return value


Range = Annotated[
    tuple[NonNegativeInt | None, PositiveInt | None], AfterValidator(_half_open)
]
Text = Annotated[str, Field(min_length=1)]
FinitePositive = Annotated[PositiveFloat, Field(allow_inf_nan=False, le=1e6)]
Sigma = Annotated[NonNegativeFloat, Field(allow_inf_nan=False, le=1000)]


def along_space(widened: Any) -> BeforeValidator:
    """A number stands for all axes of space; the schema has it beside the object."""

    def by_letter(value: object) -> object:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number and not isinstance(value, dict):
            raise ValueError('a number, or an object by axis such as {"y": 1, "x": 1}')
        return dict.fromkeys("zyx", value) if is_number else value

    return BeforeValidator(by_letter, json_schema_input_type=widened)


SigmaByAxis = Annotated[
    dict[SpaceTime, Sigma],
    Field(min_length=1),
    along_space(dict[SpaceTime, Sigma] | Sigma),
]


class Section(BaseModel):
    """A part of the config file: read once, never changed, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


def by_kind(default: str) -> Discriminator:
    """What tells sections apart that have a `kind`; without, it is the default."""

    def kind_of(value: Any) -> Any:
        if isinstance(value, dict):
            return str(value.get("kind", default))
        return getattr(value, "kind", None)

    return Discriminator(kind_of)


def is_url(path: str) -> bool:
    """Whether it is a URL, such as "s3://bucket/image.zarr", and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path) is not None


def absolute(folder: Path, path: str) -> str:
    """A path, absolute; a relative one counts from the folder.

    Raises
    ------
    InputError
        There can be no such path.
    """
    if is_url(path):
        raise InputError(
            f"{re.sub('//[^/]*@', '//', path)!r} is a URL. Expected a path: only"
            " input.path can be a URL."
        )
    if "\0" in path:
        raise InputError(f"The path {path!r} holds a NUL character; no file can.")
    try:
        return os.path.normpath(folder / Path(path).expanduser())
    except RuntimeError as error:
        raise InputError(f"The path {path!r} has no home folder: {error}.") from error


def located(folder: Path, path: str) -> str:
    """The same of a path that may also be a URL, which stays as it is."""
    return path if is_url(path) else absolute(folder, path)


Number = TypeVar("Number", int, float)


def by_axis(
    sizes: Mapping[Any, Number], axes: str, default: Mapping[str, Number]
) -> tuple[Number, ...]:
    """The numbers of an object keyed by axis letter, in the order of `axes`."""
    return tuple(sizes.get(axis, default[axis]) for axis in axes)
