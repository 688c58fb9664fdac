"""ndsafir as a denoiser: its parameters, its tiling law, its noise."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from funlib.geometry import Coordinate
from pydantic import Field, model_validator

from denoise_daisy.denoisers import ndsafir_engine
from denoise_daisy.denoisers.base import Denoiser, DenoiserSection, timed
from denoise_daisy.denoisers.calibration import find_noise
from denoise_daisy.denoisers.engine_choice import EngineChoice
from denoise_daisy.denoisers.native_engine import MOST_THREADS, Precision
from denoise_daisy.denoisers.ndsafir_axes import ActiveDimensions, ImageAxes
from denoise_daisy.denoisers.ndsafir_engine import Algorithm
from denoise_daisy.denoisers.ndsafir_time import time_warnings
from denoise_daisy.denoisers.noise import (
    Noise,
    NoiseMethod,
    NoiseNumbers,
    describe,
    given_numbers,
)
from denoise_daisy.denoisers.noise_doubts import doubts
from denoise_daisy.denoisers.survey import Survey
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import Stencil
from denoise_daisy.images.image import Image
from denoise_daisy.sections import SpaceTime, by_axis

TRIAL_PATCH = 2
TRIAL_ITERATIONS = 3
"""Largest patch radius, and most iterations, that its time is measured with."""


class Ndsafir(DenoiserSection):
    """Parameters of ndsafir, under its own names."""

    kind: Literal["ndsafir"] = "ndsafir"
    """Patch-based denoising that knows the noise."""

    patch: dict[SpaceTime, Annotated[int, Field(ge=0, le=100)]] = {"y": 3, "x": 3}
    """Patch radius by axis; 0 for an axis not named."""

    active_dimensions: ActiveDimensions = "zyx"
    """Axes searched for similar patches, some of tzyx (y and x always are)."""

    max_iter: Annotated[int, Field(ge=1, le=10)] = 3
    """Number of iterations."""

    pvalue: Annotated[float, Field(ge=0, le=1)] = 0.1
    """p-value of the patch selection."""

    precision: Precision = "bitwise"
    """bitwise: ndsafir's result to the bit; float32: the same within rounding, and some
    three times as fast."""

    engine: Literal["auto", "ndsafir"] = "auto"
    """What computes: auto: the fastest with that result; ndsafir: ndsafir itself."""

    cover: Literal["ndsafir", "all"] = "ndsafir"
    """What becomes of the last layers of an axis where no patch reaches them.  ndsafir:
    they stay as noisy as they were.  all: they are denoised, with as few layers as that
    takes mirrored behind them."""

    inverse: Literal["ndsafir", "unbiased"] = "ndsafir"
    """Of the transform that makes Poisson-Gaussian noise Gaussian.  ndsafir: its own,
    which shifts the mean of few photo-electrons, and of gains other than 1.  unbiased:
    the exact unbiased one."""

    time_as_z: bool = False
    """Whether the time points of a movie of single planes are denoised as the planes of
    a stack: patch.z and the z of active_dimensions then mean time."""

    @model_validator(mode="after")
    def _time_is_z(self) -> Self:
        if self.time_as_z and (self.patch.get("t") or "t" in self.active_dimensions):
            raise ValueError(
                "no t in patch or active_dimensions: with time_as_z the time points"
                " are planes of z; set patch.z and the z of active_dimensions"
            )
        return self

    @model_validator(mode="after")
    def _ndsafir_has_its_own_precision(self) -> Self:
        if self.engine == "ndsafir" and self.precision != "bitwise":
            raise ValueError(
                "engine auto, or precision bitwise: ndsafir itself has no other"
            )
        return self

    knows_noise: ClassVar[bool] = True

    @property
    def algorithm(self) -> Algorithm:
        """What an engine is told."""
        patch = by_axis(self.patch, "tzyx", dict.fromkeys("tzyx", 0))
        return Algorithm(patch, self.active_dimensions, self.max_iter, self.pvalue)

    @property
    def axes(self) -> ImageAxes:
        """What that means for the axes of an image."""
        return ImageAxes(self.algorithm, self.time_as_z)

    def choice(self, channels: int, threads: int) -> EngineChoice:
        """The engine for an image of so many channels."""
        told = (self.precision, self.inverse, self.algorithm)
        return EngineChoice(self.engine, *told, channels, threads)

    def check_engine(self) -> None:
        """Refuse a version of ndsafir for which the tiling law is not known to hold."""
        ndsafir_engine.check_version()

    def denoiser(
        self,
        *,
        noise: Noise,
        channels: int,
        threads: int,
        probed: Mapping[str, Any] | None,
    ) -> "NdsafirDenoiser":
        """It knows the noise numbers that are given or were found before.

        Raises
        ------
        InputError
            There is not one number per channel, or nothing to be inverted.
        """
        if self.inverse == "unbiased" and noise.kind == "gaussian":
            raise InputError(
                "denoise.inverse is unbiased, but noise.kind is gaussian: such noise is"
                " not transformed, so there is nothing to invert. Set noise.kind to"
                " poisson-gaussian, or denoise.inverse to ndsafir."
            )
        numbers = given_numbers(noise, channels)
        if numbers is None and probed:
            found = NoiseNumbers.from_json(probed)
            numbers = found if found.kind == noise.kind else None
        kind, method = noise.kind, noise.method
        return NdsafirDenoiser(self, kind, numbers, threads, channels, method)


@dataclass(frozen=True)
class NdsafirDenoiser(Denoiser):
    """ndsafir on some threads, told of the noise once that is known."""

    section: Ndsafir
    noise_kind: Literal["poisson-gaussian", "gaussian"]
    noise: NoiseNumbers | None
    threads: int
    channels: int
    noise_method: NoiseMethod = "robust"

    kind: ClassVar[str] = "ndsafir"

    @property
    def bytes_per_voxel(self) -> int:
        """That of the engine that is expected here."""
        return self._choice.bytes_per_voxel

    @property
    def scratch_bytes(self) -> int:
        """What the engine's threads work with."""
        return self._choice.scratch_bytes

    @property
    def stencil(self) -> Stencil:
        """The tiling law."""
        return self.section.axes.stencil

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its own, the noise, and the version of ndsafir.

        Not the engine: each has the bits of its precision.
        """
        numbers = asdict(self.noise) if self.noise else {}
        # A run whose record does not name them has ndsafir's own.
        added = {
            "cover": "ndsafir",
            "precision": "bitwise",
            "inverse": "ndsafir",
            "time_as_z": False,
        }
        values = self.section.model_dump(exclude={"engine"}).items()
        return {
            **{f"denoise.{k}": v for k, v in values if added.get(k) != v},
            "denoise.patch": list(self.section.algorithm.patch),
            "noise.kind": self.noise_kind,
            "ndsafir": ndsafir_engine.ndsafir_version(),
            **{f"noise.{name}": number for name, number in numbers.items()},
        }

    @property
    def engine(self) -> str:
        """The fastest that is there, and was not found to differ from ndsafir."""
        return self._choice.expected.name

    @property
    def repeats(self) -> bool:
        """Only ndsafir itself does not quite, with several threads."""
        return self._choice.repeats

    @property
    def shares_threads(self) -> bool:
        """Where the engine in C computes."""
        return self._choice.shares_threads

    @property
    def probed(self) -> Mapping[str, Any] | None:
        """The noise numbers."""
        return asdict(self.noise) if self.noise else None

    @property
    def needs_probing(self) -> bool:
        """Until its noise is known."""
        return self.noise is None

    @property
    def noise_text(self) -> str:
        """The noise model and its numbers."""
        return describe(self.noise) if self.noise else "not known yet"

    def check(self, shape: Sequence[int]) -> None:
        """Refuse what would crash ndsafir on an image of that shape, or not be it."""
        self._choice.check()
        self.section.axes.check(shape)

    def padding(self, shape: Sequence[int]) -> Coordinate:
        """As many layers as it takes to have every voxel in a patch, if asked for."""
        if self.section.cover == "ndsafir":
            return super().padding(shape)
        return self.section.axes.padding(shape)

    def warnings(self, shape: Sequence[int], end: Sequence[int]) -> Iterator[str]:
        """What is said of the engine, and layers that lie in no patch."""
        yield from self._choice.warnings()
        yield from self.section.axes.warnings(shape, end)
        if not self.section.time_as_z:
            yield from time_warnings(self.section.algorithm, shape)

    def probe(self, image: Image) -> tuple[Denoiser, Survey]:
        """With noise numbers, found in the image unless known."""
        kind, method = self.noise_kind, self.noise_method
        numbers, survey = find_noise(image, kind, method, self.noise)
        return replace(self, noise=numbers), survey

    def doubts(self, image: Image, survey: Survey) -> Iterator[str]:
        """Of its noise numbers."""
        if self.noise is not None:
            is_unbiased = self.section.inverse == "unbiased"
            yield from doubts(image, self.noise, survey, is_unbiased=is_unbiased)

    def steps(self, shape: Sequence[int], channels: int) -> float:
        """Elements of patches, times the places that each is compared with."""
        return channels * self.section.axes.steps(shape)

    def seconds_per_step(self, channels: int) -> float:
        """By trial, on one thread, with few iterations; several threads share the work.

        And with small patches for ndsafir: large ones take it the same per step, and
        minutes for the smallest image.
        """
        section, most = self.section, min(self.section.max_iter, TRIAL_ITERATIONS)
        few: dict[str, Any] = {"max_iter": most, "time_as_z": False}
        if not self._choice.expected.instructions:
            few["patch"] = {a: min(n, TRIAL_PATCH) for a, n in section.patch.items()}
        # The photons of the image that it is timed on: 100 of them, within 10.
        photons = NoiseNumbers(gains=(1.0,) * channels, offsets=(0.0,) * channels)
        easy = section.model_copy(update=few)
        told = NdsafirDenoiser(easy, photons.kind, photons, 1, channels)
        return timed(told, channels) / min(self._choice.threads_used, MOST_THREADS)

    def load(self, dtype: np.dtype[Any]) -> None:
        """A worker without its engine must not take a block and fail it."""
        self._choice.load(self._known_noise, dtype)

    def denoise(self, image: np.ndarray) -> np.ndarray:
        """As float32."""
        turned = self.section.axes.turned
        return turned(self._choice.denoise(turned(image), self._known_noise))

    @property
    def _known_noise(self) -> NoiseNumbers:
        if self.noise is None:
            raise ValueError("the noise is not known: probe the image first")
        return self.noise

    @property
    def _choice(self) -> EngineChoice:
        return self.section.choice(self.channels, self.threads)
