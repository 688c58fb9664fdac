"""The config file as types: the reference for every key.

Shapes and radii are keyed by axis letter, so that their order can't be mistaken;
integers are voxels.  The docstrings here are the descriptions in the JSON Schema.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from denoise_daisy.config.problems import problems_of
from denoise_daisy.config.sections import (
    AnyAxis,
    FinitePositive,
    OutputType,
    Range,
    Section,
    SpaceTime,
)
from denoise_daisy.config.tasks import (
    Function,
    Label,
    Pyramid,
    Sigma,
    Smooth,
    Task,
    Threshold,
)
from denoise_daisy.config.workers import (
    LocalWorkers,
    LsfWorkers,
    SlurmWorkers,
    Workers,
    slurm_seconds,
)
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES

__all__ = [
    "Config",
    "Denoise",
    "Function",
    "Gaussian",
    "GaussianFilter",
    "Label",
    "LocalWorkers",
    "LsfWorkers",
    "MedianFilter",
    "Ndsafir",
    "Noise",
    "PoissonGaussian",
    "Pyramid",
    "SlurmWorkers",
    "Smooth",
    "Task",
    "Threshold",
    "Workers",
    "by_axis",
    "slurm_seconds",
]


def _active_dimensions(value: str) -> str:
    if not value or len(set(value)) < len(value) or not set(value) <= set(AXES):
        raise ValueError('some of the letters "tzyx", each once')
    return "".join(axis for axis in AXES if axis in value)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Input(Section):
    """The image to denoise."""

    path: Annotated[str, Field(min_length=1)]
    """CZI file; a relative path counts from the config file."""

    scene: NonNegativeInt | None = None
    """Scene of the CZI; null is fine for a file with none or one."""

    roi: dict[SpaceTime, Range] = {}
    """Half-open voxel ranges by axis, counted from the image's first voxel.  Context is
    still read from outside, so the result is that part of the whole image's result."""

    channels: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] | None = None
    """Channels to denoise, jointly; null is all of them."""


class Output(Section):
    """The OME-Zarr to write."""

    path: Annotated[str, Field(min_length=1)]
    """Folder to make; a relative path counts from the config file."""

    dtype: OutputType = "input"
    """Integers are rounded to nearest and clipped; clipped voxels are reported."""

    chunks: dict[AnyAxis, PositiveInt] = {}
    """Voxels of a chunk by axis; by default t 1, c 1, z 32, y 128, x 128."""

    shards: dict[AnyAxis, PositiveInt] | Literal["auto"] | None = "auto"
    """Voxels of a shard by axis (an axis not named: one chunk, all channels), null for
    no sharding, or auto: whole shards tile a block and hold all channels, 256 MiB each
    uncompressed at most."""

    compression_level: Annotated[int, Field(ge=0, le=9)] = 1
    """Level of the zstd compressor."""

    durability: Literal["fsync", "none"] = "fsync"
    """fsync: a block counts as done once it would outlive a power cut; none: once the
    system has it, which is faster on slow file systems."""


class PoissonGaussian(Section):
    """Noise of a camera: variance = gain * mean + offset, per channel."""

    kind: Literal["poisson-gaussian"] = "poisson-gaussian"
    """Photon noise and Gaussian readout noise."""

    gains: Annotated[tuple[FinitePositive, ...], Field(min_length=1)] | None = None
    """Grey levels per photo-electron, one per channel; null: calibrated once."""

    offsets: Annotated[tuple[FiniteFloat, ...], Field(min_length=1)] | None = None
    """Readout variance - gain * background level, one per channel; null: calibrated."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.gains is None) != (self.offsets is None):
            raise ValueError("both gains and offsets, or neither to calibrate")
        return self


class Gaussian(Section):
    """Noise of one standard deviation everywhere."""

    kind: Literal["gaussian"]
    """Gaussian noise."""

    noise_std: FinitePositive | None = None
    """Standard deviation in grey levels; null: calibrated once."""


Noise = Annotated[PoissonGaussian | Gaussian, Field(discriminator="kind")]


class Ndsafir(Section):
    """Parameters of ndsafir, under its own names."""

    kind: Literal["ndsafir"] = "ndsafir"
    """Patch-based denoising that knows the noise."""

    patch: dict[SpaceTime, Annotated[int, Field(ge=0, le=100)]] = {"y": 3, "x": 3}
    """Patch radius by axis; 0 for an axis not named."""

    active_dimensions: Annotated[
        str, AfterValidator(_active_dimensions), BeforeValidator(_lower)
    ] = "zyx"
    """Axes searched for similar patches, some of tzyx (y and x always are)."""

    max_iter: Annotated[int, Field(ge=1, le=10)] = 3
    """Number of iterations."""

    pvalue: Annotated[float, Field(ge=0, le=1)] = 0.1
    """p-value of the patch selection."""


class MedianFilter(Section):
    """A median filter, as scipy.ndimage.median_filter on the whole image."""

    kind: Literal["median"]
    """Median of a window."""

    size: Annotated[
        dict[SpaceTime, Annotated[int, Field(ge=1, le=100)]], Field(min_length=1)
    ]
    """Voxels of the window by axis; 1 for an axis not named."""


class GaussianFilter(Section):
    """A Gaussian filter, as scipy.ndimage.gaussian_filter on the whole image."""

    kind: Literal["gaussian"]
    """Gaussian filter."""

    sigma: Annotated[dict[SpaceTime, Sigma], Field(min_length=1)]
    """Standard deviation in voxels, by axis; 0 for an axis not named."""


def _ndsafir_unless_said(value: object) -> object:
    if isinstance(value, dict) and "kind" not in value:
        return {"kind": "ndsafir", **value}
    return value


Denoise = Annotated[
    Ndsafir | MedianFilter | GaussianFilter,
    Field(discriminator="kind"),
    BeforeValidator(_ndsafir_unless_said),
]


class Blocks(Section):
    """How the image is cut."""

    shape: dict[SpaceTime, PositiveInt] | Literal["auto"] = "auto"
    """Voxels that a block writes, by axis (an axis not named: t 1, else the whole
    axis), or auto: the shape that is done soonest within memory_gib."""

    context: dict[SpaceTime, NonNegativeInt] | Literal["exact"] = "exact"
    """Voxels read around a block.  exact: as many as make the result that of the whole
    image bit for bit.  Fewer, by axis, are faster and inexact (an axis not named:
    exact)."""

    memory_gib: FinitePositive | Literal["auto"] = "auto"
    """Memory of one worker; auto: this machine's free memory shared among workers."""


class Config(Section):
    """A run of denoise_daisy."""

    input: Input
    """The image to denoise."""

    output: Output
    """The OME-Zarr to write."""

    noise: Noise = PoissonGaussian()
    """The noise model and its numbers."""

    denoise: Denoise = Ndsafir()
    """The denoiser (kind: ndsafir unless said otherwise) and its parameters."""

    blocks: Blocks = Blocks()
    """How the image is cut."""

    workers: Workers = LocalWorkers()
    """Who computes the blocks."""

    tasks: tuple[Task, ...] = ()
    """What runs on the denoised blocks, each as soon as what it reads is done."""

    @model_validator(mode="after")
    def _only_ndsafir_knows_noise(self) -> Self:
        if self.denoise.kind != "ndsafir" and "noise" in self.model_fields_set:
            raise ValueError(
                f"no noise: a {self.denoise.kind} filter has no use for its numbers"
            )
        return self

    @model_validator(mode="after")
    def _task_names_differ(self) -> Self:
        names = [task.name for task in self.tasks]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"tasks of different names; twice: {sorted(twice)}")
        return self

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a config file; relative paths in it count from its folder.

        Raises
        ------
        InputError
            The file is absent, is no JSON, or is no config; the message names the keys.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
        except (OSError, ValueError) as error:
            raise InputError(
                f"The config {str(path)!r} can't be read ({_reason(error)}). Expected a"
                " JSON file; `denoise-daisy schema` describes it."
            ) from error
        return cls.parse(data, name=str(path), folder=path.parent)

    @classmethod
    def parse(cls, data: bytes, *, name: str, folder: Path) -> Self:
        """A config from JSON text; `folder` is what relative paths count from."""
        try:
            text = data.decode("utf-8-sig")
            values = json.loads(
                text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant
            )
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"The config {name!r} is no valid JSON: {error}. Correct it there."
            ) from error
        try:
            config = cls.model_validate_json(text)
        except ValidationError as error:
            if error.errors()[0]["type"] == "json_invalid":
                said = error.errors()[0]["msg"]
                raise InputError(
                    f"The config {name!r} is no valid JSON: {said}. Correct it there."
                ) from error
            problems = "; ".join(problems_of(cls, error.errors(), values))
            raise InputError(
                f"The config {name!r} can't be used: {problems}. `denoise-daisy schema`"
                " describes every key."
            ) from error
        return config.with_paths_from(folder.absolute())

    def with_paths_from(self, folder: Path) -> Self:
        """The config with every relative path made absolute."""
        tasks = (
            task.model_copy(update={"folder": _absolute(folder, task.folder)})
            if isinstance(task, Function)
            else task
            for task in self.tasks
        )
        source = {"path": _absolute(folder, self.input.path)}
        target = {"path": _absolute(folder, self.output.path)}
        return self.model_copy(
            update={
                "input": self.input.model_copy(update=source),
                "output": self.output.model_copy(update=target),
                "tasks": tuple(tasks),
            }
        )


def _absolute(folder: Path, path: str) -> str:
    if "\0" in path:
        raise InputError(f"The path {path!r} holds a NUL character; no file can.")
    try:
        return os.path.normpath(folder / Path(path).expanduser())
    except RuntimeError as error:
        raise InputError(f"The path {path!r} has no home folder: {error}.") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return result


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


Number = TypeVar("Number", int, float)


def by_axis(
    sizes: Mapping[Any, Number], axes: str, default: Mapping[str, Number]
) -> tuple[Number, ...]:
    """The numbers of an object keyed by axis letter, in the order of `axes`."""
    return tuple(sizes.get(axis, default[axis]) for axis in axes)
