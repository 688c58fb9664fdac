"""What every kind of task needs to lay out its stages."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from funlib.geometry import Coordinate, Roi

from denoise_daisy.arrays import Channel, Image
from denoise_daisy.checksums import Checksums
from denoise_daisy.config import Config, Task, by_axis
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import (
    AXES,
    FULL_RESOLUTION,
    BlockGrid,
    Frame,
    neighbourhood,
)
from denoise_daisy.ome_zarr import LABELS, LEVEL, Layout, auto_shards
from denoise_daisy.planning import check_shape
from denoise_daisy.rundir import RunDir
from denoise_daisy.stages import Level, Raw, Source, Stage

DEFAULT_CHUNKS = {"t": 1, "c": 1, "z": 32, "y": 128, "x": 128}

NO_CONTEXT = Coordinate(0, 0, 0, 0)


@dataclass(frozen=True)
class Product:
    """What a task can read of another, by its name."""

    identity: str
    """Of what decides its bytes."""

    stage: Stage | None
    """What makes it; None for the raw image."""

    source: Source | None
    """The array; None for values."""

    @property
    def after(self) -> tuple[str, ...]:
        """What a stage that reads it must come after."""
        return (self.stage.name,) if self.stage else ()


@dataclass
class Site:
    """Where tasks are laid out: the image, the output, and what is made so far."""

    config: Config
    image: Image
    volume: Roi
    """What is written, in voxels of the image."""

    block_shape: Coordinate
    """How the denoising is cut."""

    recorded: Mapping[str, Mapping[str, Any]]
    """What an earlier start settled, by stage."""

    run_id: str
    """Whose lines in the ledgers count."""

    is_restored: bool = False
    """Whether all of it was laid out before, so that nothing has to be checked."""

    stages: list[Stage] = field(default_factory=list)
    products: dict[str, Product] = field(default_factory=dict)

    @property
    def output(self) -> Path:
        """The OME-Zarr of the denoised image."""
        return Path(self.config.output.path)

    def beside(self, ending: str) -> Path:
        """A place beside the output."""
        return self.output.with_name(f"{stem_of(self.output)}.{ending}")

    def label_group(self, name: str) -> Path:
        """Where the masks and labels of a task lie."""
        return self.output / LABELS / name

    def work_folder(self, stage: str) -> Path:
        """Where a stage keeps what only other stages read."""
        return RunDir.of_output(self.output).path / "tasks" / stage

    def checksums(
        self, stage: str, shape: Sequence[int], chunks: Sequence[int]
    ) -> Checksums:
        """What the ledger of a stage says of its chunks of ``(t, c, z, y, x)``."""
        ledger = RunDir.of_output(self.output).ledger(stage)
        return Checksums(ledger, self.run_id, shape, chunks)

    def checksums_of_files(self, stage: str, grid: BlockGrid) -> Checksums:
        """The same where a stage writes a file for each block: a chunk of its own."""
        shapes = (grid.volume.shape, grid.block_shape)
        shape, chunks = ((t, 1, z, y, x) for t, z, y, x in shapes)
        return self.checksums(stage, shape, chunks)

    def add(self, *stages: Stage) -> None:
        """More stages, after those that they read."""
        self.stages.extend(stages)

    def offer(self, name: str, stage: Stage) -> None:
        """Let later tasks read what a stage makes."""
        self.products[name] = Product(identity_of(stage.facts), stage, stage.target)

    def offer_raw(self) -> None:
        """Let tasks read the image."""
        self.products["raw"] = Product(
            identity_of(self.image.identity), None, Raw(self.image)
        )

    def product(self, task: Task, name: str) -> Product:
        """What a task names as its input.

        Raises
        ------
        InputError
            There is no such thing, or not yet.
        """
        if name in self.products:
            return self.products[name]
        known = ", ".join(self.products)
        raise InputError(
            f"Task {task.name!r} reads {name!r}, which is neither raw, denoised, nor"
            f" the output of a task before it. Expected one of: {known}. Tasks stand in"
            " the order in which they read each other."
        )

    def source(self, task: Task, name: str) -> tuple[Product, Source]:
        """The array that a task names as its input."""
        product = self.product(task, name)
        if product.source is None:
            raise InputError(
                f"Task {task.name!r} reads {name!r}, which is no image but values;"
                " only a function can read these."
            )
        return product, product.source

    def volume_in(self, frame: Frame) -> Roi:
        """What is written, in voxels of a level."""
        return frame.from_image(self.volume)

    def shape_of_blocks(
        self, task: Task, stage: str, volume: Roi, span: str = ""
    ) -> Coordinate:
        """Voxels of a block of a task: as asked, as before, or as the denoising's."""
        extent = volume.shape
        shape: Sequence[int]
        if task.blocks.shape != "auto":
            default = dict(zip(AXES, (1, *extent[1:]), strict=True))
            shape = by_axis(task.blocks.shape, "tzyx", default)
        elif stage in self.recorded:
            shape = self.recorded[stage]["block_shape"]
        else:
            shape = (1, *self.block_shape[1:])
        axes = zip(AXES, shape, extent, strict=True)
        fitted = Coordinate(n if a in span else min(s, n) for a, s, n in axes)
        if task.blocks.shape != "auto":
            unit = self._unit(extent)
            check_shape(fitted, unit, extent, f"blocks.shape of task {task.name!r}")
        return fitted

    def shape_of_pooled(
        self, stage: str, finer: Coordinate, factors: Coordinate, volume: Roi
    ) -> Coordinate:
        """Voxels of a block of a coarser level: it reads about a block of the finer."""
        if stage in self.recorded:
            shape = Coordinate(self.recorded[stage]["block_shape"])
        else:
            shape = -((-finer) // factors)
            unit = self._unit(volume.shape)
            shape = -((-shape) // unit) * unit
        return Coordinate(min(s, n) for s, n in zip(shape, volume.shape, strict=True))

    def _unit(self, extent: Coordinate) -> Coordinate:
        chunks = by_axis(self.config.output.chunks, "tzyx", DEFAULT_CHUNKS)
        return Coordinate(min(c, n) for c, n in zip(chunks, extent, strict=True))

    def layout(
        self, volume: Roi, channels: int, dtype: str, block_shape: Coordinate
    ) -> Layout:
        """How an array of a task lies on disk: in whole shards of its blocks."""
        output = self.config.output
        t, z, y, x = volume.shape
        shape = (t, channels, z, y, x)
        wanted = by_axis(output.chunks, "tczyx", DEFAULT_CHUNKS)
        block = (block_shape[0], channels, *block_shape[1:])
        chunks = tuple(map(min, wanted, shape, block))
        shards = None
        if output.shards is not None:
            shards = auto_shards(block, shape, chunks, dtype)
        return Layout(shape, dtype, chunks, shards, output.compression_level)

    def level(
        self,
        stage: str,
        group: Path,
        layout: Layout,
        channels: tuple[Channel, ...],
        *,
        frame: Frame = FULL_RESOLUTION,
        name: str = LEVEL,
        method: str = "",
    ) -> Level:
        """An array of the volume that a stage writes, at some level of a group."""
        return Level(
            path=group / name,
            layout=layout,
            frame=frame,
            begin=self.volume_in(frame).begin,
            channels=channels,
            checksums=self.checksums(stage, layout.shape, layout.chunks),
            method=method,
            is_labels=group.parent.name == LABELS,
        )

    def grid(
        self,
        sources: Sequence[Source],
        frame: Frame,
        block_shape: Coordinate,
        reach: Coordinate = NO_CONTEXT,
    ) -> BlockGrid:
        """Blocks of the volume; context is clipped to what all the sources have."""
        volume = image = self.volume_in(frame)
        extents = [s.extent for s in sources if s.frame == frame]
        if extents:
            image = reduce(Roi.intersect, extents)
        return BlockGrid(image, volume, block_shape, reach, neighbourhood(reach))


def stem_of(output: Path) -> str:
    """What the names of all that lies beside an output begin with."""
    return output.name.removesuffix(".zarr")


def identity_of(facts: Mapping[str, Any]) -> str:
    """A short name for what decides the bytes of something."""
    text = json.dumps(facts, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def facts_of(
    task: Task, inputs: Mapping[str, Product], layout: Layout | None, **more: Any
) -> dict[str, Any]:
    """What decides a stage's bytes: its parameters, its inputs, its layout."""
    hidden = {"name", "input", "blocks", "workers", "max_retries", "folder"}
    facts: dict[str, Any] = task.model_dump(mode="json", exclude=hidden)
    facts |= {f"input {n}": product.identity for n, product in inputs.items()}
    facts["reads"] = list(inputs)
    if layout:
        facts |= layout_facts(layout)
    plain: dict[str, Any] = json.loads(json.dumps(facts | more))
    return plain


def layout_facts(layout: Layout) -> dict[str, Any]:
    """What of an array's layout decides the bytes of its files."""
    return {
        "dtype": layout.dtype,
        "channels": layout.shape[1],
        "chunks": list(layout.chunks),
        "shards": list(layout.shards) if layout.shards else None,
        "compression_level": layout.compression_level,
    }
