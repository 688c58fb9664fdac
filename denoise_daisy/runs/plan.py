"""What a run will do: as values, as text and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from denoise_daisy.blockwise.as_is_share import AsIsShare
from denoise_daisy.reports.notebook import Shown
from denoise_daisy.runs.plan_report import text_of
from denoise_daisy.runs.probing import Measured

Shape = tuple[int, ...]
"""Voxels or blocks per axis; of ``(t, z, y, x)`` unless said otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """What is read."""

    path: str
    shape: Shape
    """``(t, c, z, y, x)``."""
    dtype: str
    channels: tuple[str, ...]
    voxel_size_um: tuple[float | None, ...]
    """``(z, y, x)``; null where the file does not tell."""
    time_step_s: float | None
    grey_levels: tuple[tuple[float, float] | None, ...]
    """By channel, the darkest and the brightest of samples all over it; null where they
    are of no use, and none where the denoiser asks for no samples."""
    region: tuple[tuple[int, int], ...]
    """Begin and end of what is denoised, by axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOutput:
    """The array of the denoised image."""

    path: str
    dtype: str
    chunks: Shape
    """``(t, c, z, y, x)``, as shards."""
    shards: Shape | None
    files: int
    bytes: int
    """Uncompressed."""
    compressed_bytes: int | None
    """About; null where nothing could be read to tell."""
    free_bytes: int
    """On its disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDenoiser:
    """What denoises."""

    engine: str
    settings: Mapping[str, Any]
    """The section `denoise`, with all defaults."""
    noise: Mapping[str, Any] | None
    """The numbers of the noise; null where none are needed."""
    noise_text: str
    is_calibrated_now: bool
    """Whether these were found just now, and nothing has kept them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBlocks:
    """How the image is cut."""

    count: int
    grid: Shape
    """Blocks per axis."""
    shape: Shape
    context: Shape
    """Voxels read on each side."""
    stride: Shape
    """Of the denoiser's own grid, on which blocks begin."""
    mirrored: Shape
    """Layers mirrored behind the image's far ends."""
    is_exact: bool
    """Whether the result is the whole image's, to the bit."""
    read_factor: float
    """Voxels read, by voxels written."""
    memory_bytes: int
    """Of a worker, at most."""
    seconds: float | None
    """Of the block that reads most; null where it was not to be known."""
    done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWorkers:
    """Who does blocks."""

    kind: str
    count: int
    threads: int
    """Of each."""
    jobs: str
    """How they share jobs, in words; empty where none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """A stage of what comes after the denoising."""

    name: str
    task: str
    reads: tuple[str, ...]
    """The stages that it reads; none: the image."""
    blocks: int
    block_shape: Shape
    shape: Shape | None
    """``(t, c, z, y, x)`` of its array; null where it writes files."""
    dtype: str | None
    place: str
    files: int
    done: int
    is_done_again: bool
    """Whether what is there is thrown away, for it has changed."""
    is_asked: bool
    own_workers: PlannedWorkers | None
    """Null: those of the run do its blocks."""
    memory_bytes: int | None
    """Of a worker, at most; null where it is not known beforehand."""
    seconds: float | None
    """Of a block, as for memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTime:
    """How long it takes: see `plan_hours`."""

    hours: float
    """From start to end, all blocks of the tasks that are asked for."""
    core_hours: float
    core_hours_by_task: Mapping[str, float]
    hours_left: float
    """Without the blocks that are done."""
    not_known: tuple[str, ...]
    """Stages whose time is not known beforehand, and so not in these numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """What another setting would change."""

    setting: str
    """The keys to set, as in a config."""
    blocks: int
    read_factor: float
    workers: int
    memory_bytes: int
    hours: float
    core_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Shown):
    """What a run will do; its `str` is what `plan` prints."""

    image: PlannedImage
    output: PlannedOutput
    denoiser: PlannedDenoiser
    blocks: PlannedBlocks
    workers: PlannedWorkers
    stages: tuple[PlannedStage, ...]
    """Of the tasks and levels, in order."""
    time: PlannedTime
    skipped: AsIsShare | None
    """Blocks that are written as they are; null where every one is denoised."""
    measured: Measured | None
    """What one block took, where that was asked for."""
    alternatives: tuple[Alternative, ...]
    warnings: tuple[str, ...]
    jobs: str
    """How workers would be submitted; empty where they are not."""

    def __str__(self) -> str:
        return text_of(self)

    def json(self) -> str:
        """All of it as one JSON object, with the names above as keys."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)
