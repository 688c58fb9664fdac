"""The config file as types: the reference for every key.

Shapes and radii are keyed by axis letter, so that their order can't be mistaken;
integers are voxels.  The docstrings here are the descriptions in the JSON Schema.
"""

import difflib
import json
import os
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES

SpaceTime = Literal["t", "z", "y", "x"]
AnyAxis = Literal["t", "c", "z", "y", "x"]


def _active_dimensions(value: str) -> str:
    if not value or len(set(value)) < len(value) or not set(value) <= set(AXES):
        raise ValueError('some of the letters "tzyx", each once')
    return "".join(axis for axis in AXES if axis in value)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _half_open(value: tuple[int, int]) -> tuple[int, int]:
    if value[0] >= value[1]:
        raise ValueError("begin < end: the range is empty")
    return value


def _slurm_time(value: str) -> str:
    slurm_seconds(value)
    return value


def slurm_seconds(time: str) -> int:
    """Seconds of Slurm's time formats: M, M:S, H:M:S, D-H, D-H:M and D-H:M:S."""
    days, dash, clock = time.rpartition("-")
    parts = clock.split(":")
    numeric = all(p.isdecimal() for p in (*parts, days or "0"))
    if not numeric or len(parts) > 3 or (dash and not days):
        raise ValueError('a time of Slurm, such as "90", "8:00:00" or "2-0"')
    numbers = [int(part) for part in parts]
    if dash or len(numbers) == 3:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    else:
        hours, minutes, seconds = 0, *(*numbers, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


Range = Annotated[tuple[NonNegativeInt, PositiveInt], AfterValidator(_half_open)]
Text = Annotated[str, Field(min_length=1)]
FinitePositive = Annotated[PositiveFloat, Field(allow_inf_nan=False, le=1e6)]
Count = Annotated[NonNegativeInt, Field(le=100_000)]


class Section(BaseModel):
    """A part of the config file: read once, never changed, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


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

    dtype: Literal["input", "uint8", "uint16", "float32"] = "input"
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


class Denoise(Section):
    """Parameters of ndsafir, under its own names."""

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


class AnyWorkers(Section):
    """What holds for workers wherever they run."""

    block_timeout_minutes: FinitePositive = 240
    """A block that takes longer is stopped and tried again."""

    max_retries: NonNegativeInt = 3
    """How often a failed block is tried again before it is given up."""


class LocalWorkers(AnyWorkers):
    """Worker processes on this machine."""

    kind: Literal["local"] = "local"
    """Where workers run."""

    count: Count | Literal["auto"] = "auto"
    """Number of workers; auto: cores / threads_per_worker; 0: only such as are started
    by hand."""

    threads_per_worker: PositiveInt | Literal["auto"] = 1
    """Threads of ndsafir in one worker.  With 1 the result does not depend on workers
    and blocks; with more, ndsafir repeats itself only to about 3e-4 grey levels.
    auto: cores / count."""


class SlurmWorkers(AnyWorkers):
    """Workers as jobs of Slurm; its options under their own names."""

    kind: Literal["slurm"]
    """Where workers run."""

    count: Count
    """Number of workers; 0: only such as are started by hand."""

    partition: Text | None = None
    """Slurm's --partition; null: the cluster's default."""

    account: Text | None = None
    """Slurm's --account."""

    qos: Text | None = None
    """Slurm's --qos."""

    time: Annotated[str, AfterValidator(_slurm_time)] | None = None
    """Slurm's --time, such as "8:00:00" or "2-0"; null: the partition's default.
    Workers leave before it and are replaced."""

    cpus_per_task: PositiveInt = 1
    """Slurm's --cpus-per-task, and the threads of ndsafir in one worker."""

    memory_gib: FinitePositive = 4
    """Memory of one worker; blocks are cut to fit it, or blocks.memory_gib."""

    constraint: Text | None = None
    """Slurm's --constraint."""

    nodelist: Text | None = None
    """Slurm's --nodelist."""

    exclude: Text | None = None
    """Slurm's --exclude."""

    extra_args: tuple[str, ...] = ()
    """Passed to sbatch as they are."""

    environment: str | None = None
    """Shell before the worker starts: module load, source venv/bin/activate."""

    host: Text | None = None
    """Name or address of this machine as the nodes see it; null: found."""


class LsfWorkers(AnyWorkers):
    """Workers as jobs of LSF; its options under their own names."""

    kind: Literal["lsf"]
    """Where workers run."""

    count: Count
    """Number of workers; 0: only such as are started by hand."""

    queue: Text | None = None
    """LSF's -q; null: the cluster's default."""

    project: Text | None = None
    """LSF's -P."""

    walltime_minutes: PositiveInt | None = None
    """LSF's -W; null: the queue's default.  Workers leave before and are replaced."""

    cores: PositiveInt = 1
    """LSF's -n on one host, and the threads of ndsafir in one worker."""

    memory_gib: FinitePositive = 4
    """Memory of one worker; blocks are cut to fit it, or blocks.memory_gib."""

    extra_args: tuple[str, ...] = ()
    """Passed to bsub as they are."""

    environment: str | None = None
    """Shell before the worker starts: module load, source venv/bin/activate."""

    host: Text | None = None
    """Name or address of this machine as the nodes see it; null: found."""


Workers = Annotated[
    LocalWorkers | SlurmWorkers | LsfWorkers, Field(discriminator="kind")
]


class Config(Section):
    """A run of denoise_daisy."""

    input: Input
    """The image to denoise."""

    output: Output
    """The OME-Zarr to write."""

    noise: Noise = PoissonGaussian()
    """The noise model and its numbers."""

    denoise: Denoise = Denoise()
    """Parameters of ndsafir."""

    blocks: Blocks = Blocks()
    """How the image is cut."""

    workers: Workers = LocalWorkers()
    """Who computes the blocks."""

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
            problems = "; ".join(_problems(error.errors(), values))
            raise InputError(
                f"The config {name!r} can't be used: {problems}. `denoise-daisy schema`"
                " describes every key."
            ) from error
        folder = folder.absolute()
        return config.model_copy(
            update={
                "input": config.input.model_copy(
                    update={"path": _absolute(folder, config.input.path)}
                ),
                "output": config.output.model_copy(
                    update={"path": _absolute(folder, config.output.path)}
                ),
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


def _problems(errors: list[ErrorDetails], values: object) -> list[str]:
    """The validation errors in words: where, what was found, what was expected.

    What the alternatives of one key expect is joined by "or".
    """
    expected: dict[str, list[str]] = {}
    for error in errors:
        place, said = _problem(error, values)
        expected.setdefault(place, []).append(said)
    return [place + " or ".join(dict.fromkeys(e)) for place, e in expected.items()]


def _problem(error: ErrorDetails, values: object) -> tuple[str, str]:
    where = _place(error, values)
    key = ".".join(where) or "the whole"
    if error["type"] == "extra_forbidden":
        known = list(_known_keys(where[:-1], values))
        near = difflib.get_close_matches(where[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return f"unknown key {key!r} ({hint})", ""
    if error["type"] == "missing":
        return f"{key!r} is missing", ""
    if error["type"] == "union_tag_not_found":
        return f"'{key}.kind' is missing", ""
    found = json.dumps(error["input"], default=str)
    found = found if len(found) <= 60 else found[:57] + "..."
    message = (
        error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    )
    return f"{key!r} is {found}, expected ", message[:1].lower() + message[1:]


def _place(error: ErrorDetails, values: Any) -> list[str]:
    """The keys down to the error, without pydantic's names for alternatives."""
    where: list[str] = []
    for part in error["loc"]:
        if isinstance(values, dict) and part in values:
            values = values[str(part)]
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        elif error["type"] != "missing" or part != error["loc"][-1]:
            continue
        where.append(str(part))
    return where


def _known_keys(where: list[str], values: Any) -> Iterator[str]:
    """Keys of the section at that place of the config, of the kind that it names."""
    models: list[type[BaseModel]] = [Config]
    for part in where:
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        models = [m for field in fields for m in _models(field.annotation)]
        values = values.get(part)
    if len(models) > 1:
        models = [m for m in models if values.get("kind") in _kinds(m)]
    yield from dict.fromkeys(key for model in models for key in model.model_fields)


def _kinds(model: type[BaseModel]) -> tuple[Any, ...]:
    return typing.get_args(model.model_fields["kind"].annotation)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, Annotated):
        for part in typing.get_args(annotation):
            yield from _models(part)


def by_axis(
    sizes: Mapping[Any, int], axes: str, default: Mapping[str, int]
) -> tuple[int, ...]:
    """The numbers of an object keyed by axis letter, in the order of `axes`."""
    return tuple(sizes.get(axis, default[axis]) for axis in axes)
