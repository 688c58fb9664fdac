"""What the sections of the config file have in common."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

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


class Section(BaseModel):
    """A part of the config file: read once, never changed, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )
