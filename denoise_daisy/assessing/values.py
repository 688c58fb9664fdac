"""What a report says, as values: for pages, for programs and for notebooks."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Verdict = Literal["good", "doubtful", "told"]
"""Of a figure: within what is expected; beyond it; nothing is expected of it."""

Of = Literal["denoised", "residual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number, what is expected of it, and what it means."""

    name: str
    of: str
    """What it is of: a channel, an axis; empty where it is of all."""
    value: float
    text: str
    """The number as a person reads it."""
    expected: str
    """The same of what is expected; empty where nothing is."""
    verdict: Verdict
    meaning: str
    """A plain sentence: what it says here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """What was taken away from one channel, at one place."""

    channel: str
    t: int
    z: int
    y: tuple[int, int]
    """First and last + 1 voxel of the image."""
    x: tuple[int, int]
    is_as_is: bool
    """Whether nothing was denoised there, on purpose."""
    level: float
    """Mean grey level of the raw image."""
    variance: float | None
    """Of the residual, over what the noise numbers expect; null without a model."""
    measured: float | None
    """The same over the noise that was measured in the raw image."""
    neighbours: float
    """Correlation of voxels of the residual that touch, -1 to 1."""
    structure: float
    """How much larger it is where there is structure, -1 to 1."""
    change: float
    """Of the mean grey level, as a share of it."""
    shift: float
    """The same over the standard deviation of the noise."""
    shift_error: float
    """Its standard error."""
    below_floor: float | None
    """Share of the raw voxels that the noise model clips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Fourier ring correlation of two halves of a channel's photons."""

    channel: str
    place: str
    pixel_um: tuple[float, float] | None
    """Along y and x; null where not known: then all is in voxels."""
    frequencies: tuple[float, ...]
    """Of the rings, in periods per micrometer, or per voxel."""
    raw: tuple[float, ...]
    """Correlation of the raw halves."""
    denoised: tuple[float, ...] | None
    """Of the halves, each denoised by itself; null where there was no time for it."""
    raw_resolution: float | None
    """Micrometers, or voxels, at which it falls below 1/7; null if it begins below."""
    denoised_resolution: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """Whether borders of blocks show, along one axis."""

    axis: str
    of: Of
    score: float
    """Mean absolute step across faces of blocks, over steps one voxel inside; 1 where
    there is no seam."""
    uncertainty: float
    """Its standard error."""
    faces: int
    """That were looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How like a reference a channel is, before and after."""

    channel: str
    psnr_raw: float | None
    """Decibels; null without the raw image, or where it is the reference."""
    psnr_denoised: float | None
    ssim_raw: float | None
    ssim_denoised: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise of a channel: as the run was told, and as the raw image shows it."""

    channel: str
    gain: float | None
    """Null where the noise is Gaussian."""
    offset: float | None
    """Of Gaussian noise the variance."""
    level: float
    """The median grey level, at which both are compared."""
    deviation: float
    """Standard deviation of the run's model at that level."""
    measured: float | None
    """The same as measured in the image; null where that can't be trusted."""
    left: float | None
    """Of nothing but noise, denoised: the standard deviation after, over before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """Where the time of a stage's blocks went; all that the ledger has of them."""

    name: str
    blocks: int
    """That were done; one that was done again counts twice."""
    reading: float
    """Seconds of all workers together."""
    computing: float
    writing: float
    other: float
    """Between these: checksums, syncing, the ledger."""
    longest: float
    """Seconds of the longest block."""
    overhead: float
    """Voxels read, over voxels written."""
    peak_mib: int
    """Most memory that a worker held while it did one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a run has cost."""

    stages: tuple[StageCost, ...]
    workers: int
    """That have done blocks."""
    hosts: int
    busy_seconds: float
    """Of all workers together, with blocks."""
    waiting_seconds: float
    """The same without one, between a worker's first block and its last."""
    elapsed_seconds: float
    """From the first block's begin to the last one's end, pauses between starts left
    out."""
    bottleneck: str
    """In words: what the time went to, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was run on what."""

    output: str
    run_dir: str
    input: str
    input_identity: Mapping[str, Any]
    shape: tuple[int, ...]
    """Of the image, ``(t, c, z, y, x)``."""
    dtype: str
    volume: tuple[tuple[int, int], ...]
    """What was denoised of it: begin and end along ``(t, z, y, x)``."""
    voxel_um: tuple[float | None, ...]
    """Along ``(z, y, x)``."""
    channels: tuple[str, ...]
    output_dtype: str
    denoiser: str
    settings: Mapping[str, Any]
    """The section `denoise` of the config."""
    noise: str
    is_exact: bool
    versions: Mapping[str, str]
    engines: Mapping[str, int]
    """What denoised how many blocks."""
    blocks: int
    done: int
    failed: int
    starts: int
    began: str | None
    """When the first block was begun."""
    ended: str | None
    """When the last one was done."""
    hosts: tuple[str, ...]
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Voxels:
    """Voxels that are told of by number."""

    clipped: int
    """To the range of the output's type; of all blocks."""
    as_is_blocks: int
    """Written as they are, and not denoised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How good a run has become, and what it cost."""

    made: str
    """When."""
    seconds: float
    """What it took to make."""
    facts: Facts
    findings: tuple[str, ...]
    """What deserves a look: found, expected, and the key to change."""
    figures: tuple[Figure, ...]
    """What was measured, each with what is expected of it."""
    noise: tuple[Noise, ...]
    residuals: tuple[Residual, ...]
    resolution: tuple[Resolution, ...]
    seams: tuple[Seam, ...]
    voxels: Voxels
    likeness: tuple[Likeness, ...]
    """With a reference only."""
    reference: str | None
    cost: Cost | None
    """Null before the first block is done."""
    warnings: tuple[str, ...]
    """That the run began with."""
    left_out: tuple[str, ...]
    """What could not be measured, and why."""

    def json(self) -> str:
        """All of it as one JSON object, by the names of the fields."""
        return json.dumps(plain(asdict(self)), indent=2, allow_nan=False)


def plain(value: Any) -> Any:
    """A value as JSON can hold it: what is no finite number becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
