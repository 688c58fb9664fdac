"""What a run computes: settled once by the scheduler, read by every worker."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from funlib.geometry import Coordinate, Roi

from denoise_daisy.arrays import Image, extent
from denoise_daisy.config import (
    Config,
    LocalWorkers,
    LsfWorkers,
    Ndsafir,
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
)
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.geometry import AXES, BlockGrid
from denoise_daisy.kinds import Site, lay_out
from denoise_daisy.kinds.denoise import denoise_stage, stencil_of
from denoise_daisy.kinds.site import DEFAULT_CHUNKS
from denoise_daisy.machine import cores, free_memory
from denoise_daisy.noise import given_numbers
from denoise_daisy.ome_zarr import Layout, auto_shards
from denoise_daisy.planning import (
    GIB,
    TASKS_BYTES,
    WORKER_BYTES,
    Workload,
    check_shape,
    choose_shape,
)
from denoise_daisy.stages import Stage, without_c

ALGORITHM = 1
"""Goes up when this program's own part in the result's bytes changes."""

MEMORY_SHARE = 0.8
"""Part of the free memory that workers may plan with, where memory_gib is auto."""


@dataclass(frozen=True)
class Job:
    """A config that was held against its image and found good."""

    config: Config
    image: Image
    grid: BlockGrid
    layout: Layout
    workers: int
    threads: int
    run_id: str
    """Unguessable; tells the run from one that replaces it."""
    noise: NoiseNumbers | None
    """None until calibrated."""
    recorded: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What earlier starts settled of the stages after the denoising, by name."""
    is_restored: bool = False
    """Whether it is that of a run.json, so that nothing has to be checked again."""

    @property
    def output(self) -> Path:
        """The OME-Zarr."""
        return Path(self.config.output.path)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The denoising and all that comes after it, each after what it reads."""
        site = Site(
            config=self.config,
            image=self.image,
            volume=self.grid.volume,
            block_shape=self.grid.block_shape,
            recorded=self.recorded,
            run_id=self.run_id,
            is_restored=self.is_restored,
        )
        denoise = denoise_stage(
            site, self.grid, self.layout, self.noise, self.threads, self.fingerprint
        )
        return lay_out(site, denoise)

    def checked(self) -> Self:
        """The job, whose every task can be laid out.

        Raises
        ------
        InputError
            One can't.
        """
        _ = self.stages
        return self

    def pool_of(self, stage: Stage) -> str:
        """The task that has workers of its own for a stage; empty for the run's."""
        own = {task.name for task in self.config.tasks if task.workers is not None}
        return stage.task if stage.task in own else ""

    def stages_of_pool(self, pool: str) -> tuple[Stage, ...]:
        """The stages whose blocks the workers of a pool do."""
        return tuple(s for s in self.stages if self.pool_of(s) == pool)

    def workers_of_pool(self, pool: str) -> Workers:
        """Who these workers are."""
        own = {task.name: task.workers for task in self.config.tasks}
        return own.get(pool) or self.config.workers

    def retries_of(self, stage: Stage) -> int:
        """How often a failed block of a stage is tried again."""
        own = {task.name: task.max_retries for task in self.config.tasks}
        retries = own.get(stage.task)
        if retries is not None:
            return retries
        return self.workers_of_pool(self.pool_of(stage)).max_retries

    @property
    def chain(self) -> tuple[Stage, ...]:
        """What comes after the denoising."""
        return self.stages[1:]

    @property
    def memory(self) -> int:
        """Peak memory of a worker in bytes."""
        return _workload(self.config, self.image, self.workers).memory(self.grid)

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
            "algorithm": ALGORITHM,
            "exact": self.is_exact,
        }
        if isinstance(config.denoise, Ndsafir):
            facts |= {
                "denoise.patch": patch_radii(config.denoise),
                "noise.kind": config.noise.kind,
                "ndsafir": ndsafir_version(),
            }
        else:
            facts["scipy"] = version("scipy")
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

    def record(self, epoch: int) -> dict[str, Any]:
        """The contents of run.json; `epoch` tells its starts apart."""
        return {
            "id": self.run_id,
            "epoch": epoch,
            "fingerprint": self.fingerprint,
            "config": self.config.model_dump(
                mode="json", exclude=None if self.needs_noise else {"noise"}
            ),
            "block_shape": self.grid.block_shape,
            "layout": asdict(self.layout),
            "workers": self.workers,
            "threads": self.threads,
            "noise": asdict(self.noise) if self.noise else None,
            "stages": self.stage_records,
            "versions": {
                name: version(name)
                for name in ("denoise-daisy", "ndsafir", "daisy", "zarr", "pylibCZIrw")
            },
        }

    @property
    def stage_records(self) -> dict[str, Any]:
        """What is to be kept of each stage, those of tasks taken out as well."""
        own = {
            stage.name: {
                "fingerprint": stage.facts,
                "block_shape": list(stage.grid.block_shape),
                "settled": stage.settled,
                "output": str(stage.place.relative_to(self.output.parent)),
            }
            for stage in self.chain
        }
        return {**self.recorded, **own}

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
            run_id=str(record["id"]),
            noise=recorded.noise,
            recorded=record["stages"],
            is_restored=True,
        )

    @property
    def needs_noise(self) -> bool:
        """Whether the denoiser wants to know of the noise."""
        return isinstance(self.config.denoise, Ndsafir)


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
    if isinstance(config.denoise, Ndsafir):
        check_extent(config.denoise, tuple(without_c(image.shape)))
    volume = _volume(config, image)
    noise = given_numbers(config.noise, image.shape[1])
    recorded = _Recorded.read(record) if record else None
    if recorded and noise is None and config.noise.kind == recorded.config.noise.kind:
        noise = recorded.noise
    workers, threads = count_and_threads(config.workers)
    layout = _layout(config, image, volume)
    grid = _grid(config, image, volume.shape)
    if config.output.shards == "auto" and recorded:
        layout = replace(layout, shards=recorded.layout.shards)
    unit = without_c(layout.file_shape)
    kept = recorded.block_shape if recorded else None
    shape = _block_shape(config, grid, unit, _workload(config, image, workers), kept)
    grid = replace(grid, block_shape=shape)
    if config.output.shards == "auto" and layout.shards is None:
        t, z, y, x = shape
        block = (t, image.shape[1], z, y, x)
        shards = auto_shards(block, layout.shape, layout.chunks, layout.dtype)
        layout = replace(layout, shards=shards)
    return Job(
        config=config,
        image=image,
        grid=grid,
        layout=layout,
        workers=workers,
        threads=threads,
        run_id=str(record["id"]) if record else secrets.token_hex(8),
        noise=noise,
        recorded=record["stages"] if record else {},
    ).checked()


def _open_image(config: Config) -> Image:
    return open_czi(config.input.path, config.input.scene, config.input.channels)


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


def count_and_threads(workers: Workers) -> tuple[int, int]:
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


def _workload(config: Config, image: Image, workers: int) -> Workload:
    needs_more = config.tasks or not isinstance(config.denoise, Ndsafir)
    base = WORKER_BYTES + (TASKS_BYTES if needs_more else 0)
    return Workload(image.shape[1], image.dtype.itemsize, max(1, workers), base)


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
