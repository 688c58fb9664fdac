"""Building the stages of a run: what tasks read by name, and what they add."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from funlib.geometry import Coordinate

from denoise_daisy.blockwise.block_shape import Workload, choose_shape, fitted
from denoise_daisy.blockwise.limits import Limits, Pace
from denoise_daisy.blockwise.sources import Raw, Source
from denoise_daisy.blockwise.stage import Stage, fingerprint_of
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import BlockGrid
from denoise_daisy.images.image import Image
from denoise_daisy.outputs.layout import V3, Layout
from denoise_daisy.run_dir.record import StageRecord
from denoise_daisy.tasks.base import AnyTask
from denoise_daisy.tasks.cutting import Cutting
from denoise_daisy.tasks.places import Places


@dataclass(frozen=True)
class Product:
    """What a task can read of another, by its name."""

    fingerprint: str
    """Of what decides its bytes."""

    stage: Stage | None
    """What makes it; None for the raw image."""

    source: Source | None
    """The array; None for values."""

    @property
    def after(self) -> tuple[str, ...]:
        """What a stage that reads it must come after."""
        return (self.stage.name,) if self.stage else ()


@dataclass(frozen=True)
class StageBuilder:
    """Where stages are built: the image, the output, and what is built so far."""

    image: Image

    cutting: Cutting
    """The volume, its blocks and layouts."""

    places: Places
    """Where stages write."""

    limits: Callable[[str], Limits]
    """What a block of a task may take, by the task's name; asked for only where that
    matters."""

    base: int
    """Memory of a worker before its first block, in bytes."""

    stages: list[Stage] = field(default_factory=list)
    products: dict[str, Product] = field(default_factory=dict)

    @property
    def recorded(self) -> Mapping[str, StageRecord]:
        """What an earlier start has kept of its stages."""
        return self.cutting.recorded

    @property
    def is_restored(self) -> bool:
        """Whether all of it was built before, so that nothing is checked again."""
        return self.cutting.is_restored

    def add(self, *stages: Stage) -> None:
        """More stages, after those that they read."""
        self.stages.extend(stages)

    def offer(self, name: str, stage: Stage) -> None:
        """Let later tasks read what a stage makes."""
        self.products[name] = Product(stage.fingerprint, stage, stage.array)

    def offer_raw(self) -> None:
        """Let tasks read the image."""
        fingerprint = fingerprint_of(self.image.identity)
        self.products["raw"] = Product(fingerprint, None, Raw(self.image))

    def product(self, task: AnyTask, name: str) -> Product:
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
            " the order in which they read each other; an image that is small enough"
            " for viewers has no pyramid.1."
        )

    def array(self, task: AnyTask, name: str) -> tuple[Product, Source]:
        """The array that a task names as its input.

        Raises
        ------
        InputError
            There is no such thing, or it is no array.
        """
        product = self.product(task, name)
        if product.source is None:
            raise InputError(
                f"Task {task.name!r} reads {name!r}, which is no image but values;"
                " only a function can read these."
            )
        return product, product.source

    def cut(
        self,
        task: AnyTask,
        stage: str,
        whole: BlockGrid,
        work: Workload | None = None,
        span: str = "",
    ) -> BlockGrid:
        """The blocks of a task's stage, from a grid of the volume as one block.

        Unless asked for, they are cut like the denoising, one time point in a block,
        or smaller where the task's workers can't do those, as far as `work` is known.
        """
        volume = whole.volume

        def choose(kept: Coordinate | None) -> Coordinate:
            if kept:
                return kept
            _, *zyx = self.stages[0].grid.block_shape
            shape = fitted((1, *zyx), volume.shape, span)
            return self.fitting(task.name, whole, work, shape) if work else shape

        shape = self.cutting.block_shape(
            stage,
            task.blocks,
            volume,
            choose,
            key=f"blocks.shape of task {task.name!r}",
            span=span,
        )
        return replace(whole, block_shape=shape)

    def workload(self, bytes_per_voxel: int, seconds_per_voxel: float) -> Workload:
        """What a task's blocks take, per position that they read."""
        pace = Pace.known(seconds_per_voxel)
        return Workload(
            bytes_per_voxel=bytes_per_voxel, base=self.base, workers=1, pace=pace
        )

    def fitting(
        self, task: str, whole: BlockGrid, work: Workload, shape: Coordinate
    ) -> Coordinate:
        """That block shape, or one that the task's workers can do.

        Raises
        ------
        InputError
            They can do none.
        """
        limits, cut = self.limits(task), replace(whole, block_shape=shape)
        fits = work.memory(cut) <= limits.memory
        if fits and work.is_within(cut, limits.seconds_cut_for):
            return shape
        chunk = self.cutting.chunk(whole.volume)
        return choose_shape(whole, chunk, work, limits, f" of task {task!r}")


def task_parameters(
    task: AnyTask, inputs: Mapping[str, Product], layout: Layout | None, **more: Any
) -> dict[str, Any]:
    """What decides a stage's bytes: its settings, its inputs, its layout, and more."""
    hidden = {"name", "input", "blocks", "workers", "max_retries", "folder", "keep"}
    parameters: dict[str, Any] = task.model_dump(mode="json", exclude=hidden)
    parameters |= {f"input {name}": p.fingerprint for name, p in inputs.items()}
    parameters["reads"] = list(inputs)
    if layout:
        parameters |= layout_parameters(layout)
    plain: dict[str, Any] = json.loads(json.dumps(parameters | more))
    return plain


def layout_parameters(layout: Layout) -> dict[str, Any]:
    """What of an array's layout decides the bytes of its files."""
    # What is as ever has no name, as in runs of earlier versions.
    more = {} if layout.ome_version == V3 else {"ome_version": layout.ome_version}
    axes = {} if layout.has_channels else {"axes": layout.axes}
    return (
        more
        | axes
        | {
            "dtype": layout.dtype,
            "channels": layout.shape[1],
            "chunks": list(layout.chunks),
            "shards": list(layout.shards) if layout.shards else None,
            "compression_level": layout.compression_level,
        }
    )
