"""The noise that a denoiser is told of: models, their numbers, and where they clip."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, FiniteFloat, Tag, model_validator

from denoise_daisy.errors import InputError
from denoise_daisy.sections import FinitePositive, Section, Text, by_kind

Value = TypeVar("Value", bound=float)

PerChannel = (
    Annotated[tuple[Value, ...], Field(min_length=1)]
    | Annotated[dict[Text, Value], Field(min_length=1)]
)

NoiseMethod = Literal["robust", "ndsafir"]
"""What calibrates."""


class PoissonGaussian(Section):
    """Noise of a camera: variance = gain * mean + offset, per channel."""

    kind: Literal["poisson-gaussian"] = "poisson-gaussian"
    """Photon noise and Gaussian readout noise."""

    gains: PerChannel[FinitePositive] | None = None
    """Grey levels per photo-electron, one per channel, in their order or by name; null:
    calibrated once."""

    offsets: PerChannel[FiniteFloat] | None = None
    """Readout variance - gain * background level, one per channel, in their order or by
    name; null: calibrated."""

    method: NoiseMethod = "robust"
    """What calibrates.  robust: a fit to the flattest places of samples all over the
    image; ndsafir: ndsafir's own calibration, of fewer samples."""

    shared: bool = False
    """Of many images: whether they are calibrated once for all, from some of them."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.gains is None) != (self.offsets is None):
            raise ValueError("both gains and offsets, or neither to calibrate")
        return self


class GaussianNoise(Section):
    """Noise of one standard deviation everywhere."""

    kind: Literal["gaussian"]
    """Gaussian noise."""

    noise_std: FinitePositive | None = None
    """Standard deviation in grey levels; null: calibrated once."""

    method: NoiseMethod = "robust"
    """What calibrates.  robust: a fit to the flattest places of samples all over the
    image; ndsafir: ndsafir's own calibration, of fewer samples."""

    shared: bool = False
    """Of many images: whether they are calibrated once for all, from some of them."""


Noise = Annotated[
    Annotated[PoissonGaussian, Tag("poisson-gaussian")]
    | Annotated[GaussianNoise, Tag("gaussian")],
    by_kind("poisson-gaussian"),
]


@dataclass(frozen=True, slots=True)
class NoiseNumbers:
    """The noise that ndsafir is told of: gains and offsets, or a standard deviation."""

    gains: tuple[float, ...] | None = None
    offsets: tuple[float, ...] | None = None
    noise_std: float | None = None

    @property
    def kind(self) -> Literal["poisson-gaussian", "gaussian"]:
        """The model that they belong to."""
        return "poisson-gaussian" if self.noise_std is None else "gaussian"

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The numbers that `dataclasses.asdict` and JSON made these values of."""
        gains, offsets = (
            tuple(values[name]) if values.get(name) is not None else None
            for name in ("gains", "offsets")
        )
        return cls(gains, offsets, values.get("noise_std"))


def given_numbers(noise: Noise, channels: int) -> NoiseNumbers | None:
    """The numbers in the config, in order; None where they are to be calibrated.

    Raises
    ------
    InputError
        Not one number per channel; ndsafir would read past the list's end.
    """
    if isinstance(noise, GaussianNoise):
        if noise.noise_std is None:
            return None
        return NoiseNumbers(noise_std=noise.noise_std)
    if not isinstance(noise.gains, tuple) or not isinstance(noise.offsets, tuple):
        return None
    for name, numbers in (("gains", noise.gains), ("offsets", noise.offsets)):
        if len(numbers) != channels:
            raise InputError(
                f"noise.{name} has {len(numbers)} numbers, but {channels} channels are"
                " denoised. Expected one number per channel, or null to calibrate."
            )
    return NoiseNumbers(gains=noise.gains, offsets=noise.offsets)


def describe(numbers: NoiseNumbers) -> str:
    """The noise model and its numbers in words, one number per channel."""
    if numbers.noise_std is not None:
        return f"gaussian, noise_std {short(numbers.noise_std)}"
    gains = ", ".join(map(short, numbers.gains or ()))
    offsets = ", ".join(map(short, numbers.offsets or ()))
    return f"poisson-gaussian, gains {gains}, offsets {offsets}"


Models = tuple[tuple[float, float], ...]
"""Gain and offset of each channel's noise; of Gaussian noise 0 and the variance."""


def models_of(numbers: NoiseNumbers | None, channels: int) -> Models | None:
    """The noise of each channel; None where nothing is known of it."""
    if numbers is None:
        return None
    if numbers.noise_std is not None:
        return ((0.0, numbers.noise_std**2),) * channels
    return tuple(zip(numbers.gains or (), numbers.offsets or (), strict=True))


def floors(noise: NoiseNumbers) -> tuple[float, ...]:
    """Grey levels below which voxels become one value, by channel; none if Gaussian.

    ndsafir transforms a grey level x to ``2 / gain * sqrt(gain * x + 3/8 gain**2 +
    offset)`` and takes what is below 0 under the root for 0: all that lies below
    ``-offset / gain - 3/8 gain``.  Measured on ndsafir 2026.1014a0 and tested against
    the installed version.
    """
    pairs = zip(noise.gains or (), noise.offsets or (), strict=True)
    return tuple(-offset / gain - 3 / 8 * gain for gain, offset in pairs)


def short(number: float) -> str:
    """Four digits, and no exponent where a person would write none."""
    return f"{number:.0f}" if 1e3 <= abs(number) < 1e9 else f"{number:.4g}"


def six_digits(number: float) -> float:
    """The number as a person may copy it."""
    return float(f"{number:.6g}")
