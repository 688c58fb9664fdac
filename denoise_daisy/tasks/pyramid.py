"""Pyramid: the coarser levels of an image or of labels, a stage each."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, Self

from funlib.geometry import Coordinate
from pydantic import NonNegativeInt, model_validator

from denoise_daisy.algorithms.pooling import Method, next_factors, pool
from denoise_daisy.blockwise.block_shape import TaskBlocks, Workload
from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.sources import voxel_bytes
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import FULL_RESOLUTION, LevelTransform
from denoise_daisy.tasks.base import OneInput
from denoise_daisy.tasks.builder import StageBuilder, layout_parameters

SMALLEST_PLANE = 256
"""A level whose Y-X plane is no larger is the last one."""

BYTES: dict[Method, tuple[int, int]] = {
    "mean": (2, 4),
    "nearest": (2, 0),
    "mode": (4, 4),
}
"""Peak memory of pooling per byte of the finer level's voxels, and per voxel, by
method."""

SECONDS_PER_VOXEL = 5e-8
"""For a voxel of the finer level, of one channel, reading included."""

FOR_IMAGES: Method = "mean"
FOR_LABELS: Method = "nearest"


class Pyramid(OneInput):
    """Coarser levels of an image or of labels, for viewers.

    Whatever the run writes gets a pyramid; this is to have another one.
    """

    kind: Literal["pyramid"]
    """Multiscale levels."""

    levels: NonNegativeInt | Literal["auto"] = "auto"
    """Levels beside the full resolution; auto: until Y-X planes are 256 x 256 at
    most; 0: none."""

    method: Method | Literal["auto"] = "auto"
    """What becomes of the voxels of a cell: their mean, the first, or the most
    frequent; auto: mean for images, nearest for labels."""

    @model_validator(mode="after")
    def _cut_by_nothing(self) -> Self:
        if self.blocks.shape != "auto":
            raise ValueError("no blocks: levels are cut like what they are made of")
        return self

    def build(self, builder: StageBuilder) -> None:
        """A stage for each level of what the task reads."""
        product = builder.product(self, self.input)
        level = product.stage.array if product.stage else None
        if level is None or level.transform != FULL_RESOLUTION:
            builder.array(self, self.input)
            raise InputError(
                f"Task {self.name!r} makes levels of {self.input!r}, which is no image"
                " in full resolution that this run writes. Expected denoised, or a"
                " task."
            )
        method = None if self.method == "auto" else self.method
        levels = None if self.levels == "auto" else self.levels
        build_levels(builder, self.input, self.name, self.name, levels, method)


def build_levels(
    builder: StageBuilder,
    product: str,
    name: str,
    task: str,
    levels: int | None = None,
    method: Method | None = None,
) -> None:
    """Stages NAME.1, NAME.2, ... of a product; None stands for what suits the array."""
    finer = builder.products[product].stage
    while (
        finer is not None
        and (level := finer.array) is not None
        and (factors := _factors(builder, level, levels)) is not None
    ):
        number = int(level.path.name) + 1
        chosen = method or (FOR_LABELS if level.is_labels else FOR_IMAGES)
        finer = _stage(builder, finer, level, f"{name}.{number}", task, factors, chosen)
        builder.add(finer)
        builder.offer(finer.name, finer)


def needless_levels(task: Pyramid, stages: Sequence[Stage]) -> Iterator[str]:
    """A warning of levels that no viewer needs, or of a pyramid without any."""
    own = [stage for stage in stages if stage.task == task.name]
    small = [
        s for s in own if all(max(x.roi.shape[2:]) <= SMALLEST_PLANE for x in s.sources)
    ]
    edge = f"{SMALLEST_PLANE} x {SMALLEST_PLANE}"
    if not own and task.levels != 0:
        yield (
            f"Task {task.name!r} makes no levels: the planes of {task.input!r} are"
            f" {edge} at most in this region. Set its levels to a number to have some."
        )
    if small:
        names = ", ".join(stage.name for stage in small)
        yield (
            f"Task {task.name!r} makes {names} of planes that are {edge} at most"
            " already in this region: viewers need no such levels."
            f" Expected levels {len(own) - len(small)}, or auto."
        )


def _is_small(level: Level) -> bool:
    return max(level.layout.shape[-2:]) <= SMALLEST_PLANE


def _factors(
    builder: StageBuilder, level: Level, levels: int | None
) -> Coordinate | None:
    """From this level to the next; None where it is the last one."""
    is_last = int(level.path.name) >= levels if levels is not None else _is_small(level)
    sizes = zip(builder.image.scale_um, level.transform.factor[1:], strict=True)
    scale = [size * factor if size else None for size, factor in sizes]
    factors = Coordinate(next_factors(level.roi.shape, scale))
    return None if is_last or factors == Coordinate(1, 1, 1, 1) else factors


def _stage(
    builder: StageBuilder,
    finer: Stage,
    level: Level,
    name: str,
    task: str,
    factors: Coordinate,
    method: Method,
) -> Stage:
    """The next level of what a stage writes."""
    cutting = builder.cutting
    transform = LevelTransform(level.transform.factor * factors, cutting.volume.begin)
    volume = cutting.volume_in(transform)
    whole = cutting.grid([], transform, volume.shape)
    work = _work(builder, level, factors, method)
    pooled = cutting.pooled_shape(finer.grid.block_shape, factors, volume)
    shape = cutting.block_shape(
        name,
        TaskBlocks(),
        volume,
        lambda kept: kept or builder.fitting(task, whole, work, pooled),
    )
    grid = replace(whole, block_shape=shape)
    channels, is_labels = len(level.channels), level.is_labels
    layout = cutting.layout(volume, channels, level.dtype, shape, is_labels=is_labels)

    parameters = {"kind": "pyramid", "method": method, "factors": list(factors)}
    parameters["input level"] = finer.fingerprint

    return Stage(
        name=name,
        task=task,
        grid=grid,
        sources=(level,),
        after=(finer.name,),
        compute=lambda block: pool(block.arrays[0], factors, method),
        parameters=parameters | layout_parameters(layout),
        target=builder.places.level(
            name,
            level.path.with_name(str(int(level.path.name) + 1)),
            layout,
            level.channels,
            volume,
            transform=transform,
            method=method,
        ),
        transform=transform,
        memory=work.memory(grid),
        pace=work.pace,
    )


def _work(
    builder: StageBuilder, level: Level, factors: Coordinate, method: Method
) -> Workload:
    """What pooling a level takes, per voxel of the next."""
    cell, channels = math.prod(factors), len(level.channels)
    per_byte, more = BYTES[method]
    return builder.workload(
        cell * (per_byte * voxel_bytes(level) + channels * more),
        cell * channels * SECONDS_PER_VOXEL,
    )
