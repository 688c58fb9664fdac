"""What all sections of the config file have in common."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
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


def _half_open(value: tuple[int, int]) -> tuple[int, int]:
    if value[0] >= value[1]:
        raise ValueError("begin < end: the range is empty")
    return value


Range = Annotated[tuple[NonNegativeInt, PositiveInt], AfterValidator(_half_open)]
Text = Annotated[str, Field(min_length=1)]
FinitePositive = Annotated[PositiveFloat, Field(allow_inf_nan=False, le=1e6)]
Sigma = Annotated[NonNegativeFloat, Field(allow_inf_nan=False, le=1000)]


class Section(BaseModel):
    """A part of the config file: read once, never changed, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


def absolute(folder: Path, path: str) -> str:
    """A path, absolute; a relative one counts from the folder.

    Raises
    ------
    InputError
        There can be no such path.
    """
    if "\0" in path:
        raise InputError(f"The path {path!r} holds a NUL character; no file can.")
    try:
        return os.path.normpath(folder / Path(path).expanduser())
    except RuntimeError as error:
        raise InputError(f"The path {path!r} has no home folder: {error}.") from error


Number = TypeVar("Number", int, float)


def by_axis(
    sizes: Mapping[Any, Number], axes: str, default: Mapping[str, Number]
) -> tuple[Number, ...]:
    """The numbers of an object keyed by axis letter, in the order of `axes`."""
    return tuple(sizes.get(axis, default[axis]) for axis in axes)
