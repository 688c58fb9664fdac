"""What a run computes: settled once by the scheduler, read by every worker."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.arrays import Image, as_array, extent
from denoise_daisy.config import (
    Config,
    LocalWorkers,
    LsfWorkers,
    SlurmWorkers,
    Workers,
    by_axis,
)
from denoise_daisy.czi import open_czi
from denoise_daisy.denoiser import (
    NoiseNumbers,
    check_extent,
    ndsafir_version,
    patch_radii,
    stencil_of,
)
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.geometry import AXES, BlockGrid
from denoise_daisy.machine import cores, free_memory
from denoise_daisy.noise import calibrate_image, given_numbers
from denoise_daisy.ome_zarr import (
    Layout,
    auto_shards,
    create_image,
    ome_metadata,
    open_level,
)
from denoise_daisy.planning import GIB, Workload, check_shape, choose_shape

if TYPE_CHECKING:
    from funlib.persistence import Array

ALGORITHM = 1
"""Goes up when this program's own part in the result's bytes changes."""

DEFAULT_CHUNKS = {"t": 1, "c": 1, "z": 32, "y": 128, "x": 128}

MEMORY_SHARE = 0.8
"""Part of the free memory that workers may plan with, where memory_gib is auto."""

TASK = "denoise"


@dataclass(frozen=True)
class Job:
    """A config that was held against its image and found good."""

    config: Config
    image: Image
    grid: BlockGrid
    layout: Layout
    workers: int
    threads: int
    noise: NoiseNumbers | None
    """None until calibrated."""

    @property
    def output(self) -> Path:
        """The OME-Zarr."""
        return Path(self.config.output.path)

    @property
    def unit(self) -> Coordinate:
        """Voxels of an output file, ``(t, z, y, x)``."""
        return _without_c(self.layout.file_shape)

    @property
    def memory(self) -> int:
        """Peak memory of a worker in bytes."""
        return _workload(self.image, self.workers).memory(self.grid)

    @property
    def is_exact(self) -> bool:
        """Whether the bytes depend on neither blocks nor workers."""
        return self.threads == 1 and not self.missing_context

    @property
    def missing_context(self) -> dict[str, tuple[int, int]]:
        """Context and the filter's reach, by axis, where the context is smaller."""
        grid = self.grid
        axes = zip(
            AXES, grid.context, grid.stencil.reach, grid.image.shape, strict=True
        )
        return {a: (c, r) for a, c, r, voxels in axes if c < min(r, voxels)}

    @cached_property
    def source(self) -> "Array":
        """The image as an Array of voxels of ``(t, z, y, x)``."""
        return as_array(self.image, Coordinate(0, 0, 0, 0))

    @cached_property
    def target(self) -> "Array":
        """The output as an Array that shares the image's coordinates."""
        return as_array(open_level(self.output), self.grid.volume.begin)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides the bytes of the output, by name."""
        config, grid, layout = self.config, self.grid, self.layout
        facts: dict[str, Any] = {
            **{f"input {name}": value for name, value in self.image.identity.items()},
            "input.scene": config.input.scene,
            "input.roi": _ranges(grid.volume),
            "input.channels": config.input.channels,
            "output.dtype": layout.dtype,
            "output.chunks": layout.chunks,
            "output.shards": layout.shards,
            "output.compression_level": layout.compression_level,
            **{f"denoise.{k}": v for k, v in config.denoise.model_dump().items()},
            "denoise.patch": patch_radii(config.denoise),
            "noise.kind": config.noise.kind,
            "ndsafir": ndsafir_version(),
            "algorithm": ALGORITHM,
            "exact": self.is_exact,
        }
        if self.noise:
            facts |= {f"noise.{k}": v for k, v in asdict(self.noise).items()}
        if not self.is_exact:
            facts |= {
                "blocks.shape": grid.block_shape,
                "blocks.context": grid.context,
                "workers.threads_per_worker": self.threads,
            }
        plain: dict[str, Any] = json.loads(json.dumps(facts))
        return plain

    def record(self, run_id: str, epoch: int) -> dict[str, Any]:
        """The contents of run.json.

        `run_id` tells the run from one that replaced it, `epoch` its starts apart.
        """
        return {
            "id": run_id,
            "epoch": epoch,
            "fingerprint": self.fingerprint,
            "config": self.config.model_dump(mode="json"),
            "block_shape": self.grid.block_shape,
            "layout": asdict(self.layout),
            "workers": self.workers,
            "threads": self.threads,
            "noise": asdict(self.noise) if self.noise else None,
            "versions": {
                name: version(name)
                for name in ("denoise-daisy", "ndsafir", "daisy", "zarr", "pylibCZIrw")
            },
        }

    @classmethod
    def restore(cls, record: dict[str, Any], output: Path) -> Self:
        """The job of a run.json; `output` is where its OME-Zarr lies now.

        Raises
        ------
        RefusedError
            The input is not the one that the run was started with.
        """
        recorded = _Recorded.read(record)
        place = recorded.config.output.model_copy(update={"path": str(output)})
        config = recorded.config.model_copy(update={"output": place})
        image = _open_image(config)
        changed = [
            name
            for name, value in image.identity.items()
            if record["fingerprint"].get(f"input {name}") != value
        ]
        if changed:
            raise RefusedError(
                f"The input {config.input.path!r} has changed since the run was started"
                f" ({', '.join(changed)} differ). Expected the same file."
            )
        return cls(
            config=config,
            image=image,
            grid=_grid(config, image, recorded.block_shape),
            layout=recorded.layout,
            workers=record["workers"],
            threads=record["threads"],
            noise=recorded.noise,
        )

    def calibrated(self) -> Self:
        """The job with its noise numbers known."""
        if self.noise:
            return self
        return replace(self, noise=calibrate_image(self.image, self.config.noise.kind))

    def create_output(self, ome: dict[str, Any]) -> None:
        """Make the OME-Zarr, all voxels missing; `ome` is its metadata."""
        own = {"version": version("denoise-daisy"), "fingerprint": self.fingerprint}
        create_image(self.output, self.layout, ome, own)

    def ome_metadata(self) -> dict[str, Any]:
        """OME metadata of the output; one plane is read for the contrast."""
        image, dtype = self.image, np.dtype(self.layout.dtype)
        t, c, z, _, _ = image.shape
        plane = image[
            slice(t // 2, t // 2 + 1), slice(0, c), slice(z // 2, z // 2 + 1), :, :
        ]
        finite = np.where(np.isfinite(plane), plane, 0)
        if dtype.kind == "u":
            value_range = (0.0, float(np.iinfo(dtype).max))
        else:
            least = float(finite.min())
            value_range = (least, max(float(finite.max()), least + 1))
        windows = []
        for i, channel in enumerate(image.channels):
            low, high = channel.window or np.percentile(finite[:, i], (0.1, 99.9))
            low, high = np.clip((low, high), *value_range)
            low = min(low, value_range[1] - 1)
            windows.append((float(low), float(max(high, low + 1))))
        name = self.output.name.removesuffix(".zarr").removesuffix(".ome")
        begin = self.grid.volume.begin
        return ome_metadata(name, image, begin, windows, value_range)


def prepare(config: Config, record: dict[str, Any] | None = None) -> Job:
    """Hold a config against its image; nothing is written.

    `record` is the run.json of a run that is to go on: what it settled (block shape,
    shards, calibrated noise) is kept where the config leaves it open.

    Raises
    ------
    InputError
        The config can't work with that image; the message has the number to change.
    """
    image = _open_image(config)
    check_extent(config.denoise, tuple(_without_c(image.shape)))
    volume = _volume(config, image)
    noise = given_numbers(config.noise, image.shape[1])
    recorded = _Recorded.read(record) if record else None
    if recorded and noise is None and config.noise.kind == recorded.config.noise.kind:
        noise = recorded.noise
    workers, threads = _workers(config.workers)
    layout = _layout(config, image, volume)
    grid = _grid(config, image, volume.shape)
    if config.output.shards == "auto" and recorded:
        layout = replace(layout, shards=recorded.layout.shards)
    unit = _without_c(layout.file_shape)
    kept = recorded.block_shape if recorded else None
    shape = _block_shape(config, grid, unit, _workload(image, workers), kept)
    grid = replace(grid, block_shape=shape)
    if config.output.shards == "auto" and layout.shards is None:
        t, z, y, x = shape
        block = (t, image.shape[1], z, y, x)
        shards = auto_shards(block, layout.shape, layout.chunks, layout.dtype)
        layout = replace(layout, shards=shards)
    return Job(config, image, grid, layout, workers, threads, noise)


def _open_image(config: Config) -> Image:
    return open_czi(config.input.path, config.input.scene, config.input.channels)


def _without_c(shape: Sequence[int]) -> Coordinate:
    t, _, z, y, x = shape
    return Coordinate(t, z, y, x)


def _ranges(roi: Roi) -> list[tuple[int, int]]:
    return list(zip(roi.begin, roi.end, strict=True))


def _volume(config: Config, image: Image) -> Roi:
    """The ROI to denoise, in voxels of ``(t, z, y, x)``."""
    begin, end = [0, 0, 0, 0], list(extent(image).end)
    for axis, (first, last) in config.input.roi.items():
        i = AXES.index(axis)
        if last > end[i]:
            raise InputError(
                f"input.roi.{axis} is [{first}, {last}], but the image has {end[i]}"
                f" voxels along {axis}. Expected a range within [0, {end[i]}]."
            )
        begin[i], end[i] = first, last
    return Roi(begin, [e - b for b, e in zip(begin, end, strict=True)])


def _grid(config: Config, image: Image, block_shape: Coordinate) -> BlockGrid:
    stencil = stencil_of(config.denoise)
    context = stencil.reach
    if config.blocks.context != "exact":
        exact = dict(zip(AXES, stencil.reach, strict=True))
        asked = by_axis(config.blocks.context, "tzyx", exact)
        context = Coordinate(map(min, asked, extent(image).shape))
    return BlockGrid(
        extent(image), _volume(config, image), block_shape, context, stencil
    )


def _layout(config: Config, image: Image, volume: Roi) -> Layout:
    """How the output lies on disk; no shards yet where they follow from the blocks."""
    output, channels = config.output, image.shape[1]
    t, z, y, x = volume.shape
    shape = (t, channels, z, y, x)
    wanted = by_axis(output.chunks, "tczyx", DEFAULT_CHUNKS)
    chunks = tuple(min(c, n) for c, n in zip(wanted, shape, strict=True))
    shards = None
    if isinstance(output.shards, dict):
        default = dict(zip("tczyx", chunks, strict=True)) | {"c": channels}
        asked = by_axis(output.shards, "tczyx", default)
        # A shard larger than the image is as good as one that just holds it.
        most = (-(-n // c) * c for n, c in zip(shape, chunks, strict=True))
        shards = tuple(map(min, asked, most))
        for axis, shard, chunk, n in zip("tczyx", shards, chunks, shape, strict=True):
            if shard % chunk:
                raise InputError(
                    f"output.shards.{axis} is {shard}, no multiple of the chunk's"
                    f" {chunk} voxels. The nearest that is: "
                    f"{max(1, round(shard / chunk)) * chunk}."
                )
            if axis == "c" and shard < n:
                raise InputError(
                    f"output.shards.c is {shard}, but a block writes all {n} channels"
                    f" at once. Expected {-(-n // chunk) * chunk}."
                )
    dtype = image.dtype.name if output.dtype == "input" else output.dtype
    return Layout(shape, dtype, chunks, shards, output.compression_level)


def _workers(workers: Workers) -> tuple[int, int]:
    """Number of workers, and threads of each."""
    if isinstance(workers, SlurmWorkers):
        return workers.count, workers.cpus_per_task
    if isinstance(workers, LsfWorkers):
        return workers.count, workers.cores
    wanted = workers.threads_per_worker
    if workers.count == "auto":
        threads = 1 if wanted == "auto" else wanted
        return max(1, cores() // threads), threads
    threads = cores() // max(1, workers.count) if wanted == "auto" else wanted
    return workers.count, max(1, threads)


def _workload(image: Image, workers: int) -> Workload:
    return Workload(image.shape[1], image.dtype.itemsize, max(1, workers))


def _block_shape(
    config: Config,
    grid: BlockGrid,
    unit: Coordinate,
    work: Workload,
    kept: Coordinate | None,
) -> Coordinate:
    """The block shape asked for, recorded, or chosen, within the memory there is."""
    blocks, voxels = config.blocks, grid.volume.shape
    memory = _memory(config, work)
    if blocks.shape == "auto":
        if kept and work.memory(replace(grid, block_shape=kept)) <= memory:
            return kept
        return choose_shape(grid, unit, work, memory)
    default = dict(zip(AXES, (1, *voxels[1:]), strict=True))
    asked = by_axis(blocks.shape, "tzyx", default)
    shape = Coordinate(min(n, m) for n, m in zip(asked, voxels, strict=True))
    check_shape(shape, unit, voxels)
    needed = work.memory(replace(grid, block_shape=shape))
    if needed > memory:
        raise InputError(
            f"Blocks of blocks.shape and their context need {needed / GIB:.2f} GiB per"
            f" worker, but only {memory / GIB:.2f} GiB are there. Raise"
            " blocks.memory_gib, lower workers.count, or make the blocks smaller."
        )
    return shape


def _memory(config: Config, work: Workload) -> int:
    """Bytes that one worker may take."""
    wanted, workers = config.blocks.memory_gib, config.workers
    if isinstance(workers, LocalWorkers):
        if wanted == "auto":
            return int(free_memory() * MEMORY_SHARE / work.workers)
        return int(wanted * GIB)
    if wanted == "auto":
        return int(workers.memory_gib * GIB)
    if wanted > workers.memory_gib:
        raise InputError(
            f"blocks.memory_gib is {wanted:g}, but a worker's job asks for"
            f" workers.memory_gib {workers.memory_gib:g} only. Raise that, or leave"
            " blocks.memory_gib at auto."
        )
    return int(wanted * GIB)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What a run.json settles, in types."""

    config: Config
    block_shape: Coordinate
    layout: Layout
    noise: NoiseNumbers | None

    @classmethod
    def read(cls, record: dict[str, Any]) -> Self:
        """Take it from run.json's values.

        Raises
        ------
        RefusedError
            They are not those of a run of this version.
        """
        try:
            noise = record["noise"]
            return cls(
                config=Config.model_validate_json(json.dumps(record["config"])),
                block_shape=Coordinate(record["block_shape"]),
                layout=Layout(**_with_tuples(record["layout"])),
                noise=NoiseNumbers(**_with_tuples(noise)) if noise else None,
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise RefusedError(
                f"run.json can't be used: {error}. Expected the record of a run of this"
                " version; choose another output.path, or start anew with --overwrite."
            ) from error


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with tuples where JSON has lists."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
