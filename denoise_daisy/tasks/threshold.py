"""Threshold: a mask, above a value that is given or found from samples."""

import json
import math
from importlib.metadata import version
from typing import Literal, Self

import numpy as np
from pydantic import FiniteFloat, NonNegativeInt, model_validator

from denoise_daisy.algorithms.thresholds import (
    Method,
    above,
    find_threshold,
    sample_windows,
)
from denoise_daisy.blockwise.block_shape import Workload
from denoise_daisy.blockwise.limits import Pace
from denoise_daisy.blockwise.sources import Source, voxel_bytes
from denoise_daisy.blockwise.stage import ONLY_BLOCK, Stage
from denoise_daisy.blockwise.targets import Block
from denoise_daisy.images.channels import channel_numbers
from denoise_daisy.sections import Text
from denoise_daisy.tasks.base import OneInput
from denoise_daisy.tasks.builder import Product, StageBuilder, task_parameters

MASK_BYTES = 2
"""Peak memory of a mask per voxel beside the voxels, its writing included."""

SAMPLE_BYTES = 8
BYTES_PER_BYTE = 4
"""Peak memory of finding a value, per voxel sampled and per byte of these voxels:
that of scikit-image's threshold_li, which takes most."""

SECONDS_PER_SAMPLE = 3e-7
"""For a voxel sampled, of one channel."""

SECONDS_PER_VOXEL = 4e-8
"""For a voxel of one channel, reading and writing included."""


class Threshold(OneInput):
    """A mask: 1 where the input is strictly above a value, else 0."""

    kind: Literal["threshold"]
    """Mask of what is bright."""

    value: FiniteFloat | None = None
    """Grey level."""

    method: Method | None = None
    """Find the value by this method of scikit-image, from samples of each channel."""

    channel: NonNegativeInt | Text | None = None
    """Channel by number or name; null: every channel, by itself."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.value is None) == (self.method is None):
            raise ValueError("either value or method")
        return self

    def build(self, builder: StageBuilder) -> None:
        """One stage that writes a mask, after one that finds the value if need be."""
        product, source = builder.array(self, self.input)
        told, chosen = _by_number(self, source)
        finder = None
        if self.method is not None:
            finder = _finder(told, self.method, builder, product, source, chosen)
            builder.add(finder)
        volume = builder.cutting.volume_in(source.transform)
        work = _work(builder, source, chosen)
        whole = builder.cutting.grid([source], source.transform, volume.shape)
        grid = builder.cut(self, self.name, whole, work)
        layout = builder.cutting.layout(
            volume, len(chosen), "uint8", grid.block_shape, is_labels=True
        )

        def compute(block: Block) -> np.ndarray:
            values = [self.value or 0.0] * len(chosen)
            if finder is not None:
                values = json.loads(finder.read_file(ONLY_BLOCK))["values"]
            return above(block.arrays[0][:, chosen], values)

        stage = Stage(
            name=self.name,
            task=self.name,
            grid=grid,
            sources=(source,),
            after=(*product.after, *([finder.name] if finder else [])),
            compute=compute,
            parameters=task_parameters(
                told,
                {self.input: product},
                layout,
                **(_skimage_version() if finder else {}),
            ),
            target=builder.places.level(
                self.name,
                builder.places.labels(self.name),
                layout,
                tuple(source.channels[i] for i in chosen),
                volume,
                transform=source.transform,
                method=source.method,
            ),
            transform=source.transform,
            memory=work.memory(grid),
            pace=work.pace,
        )
        builder.add(stage)
        builder.offer(self.name, stage)


def _work(builder: StageBuilder, source: Source, chosen: list[int]) -> Workload:
    each = np.dtype(source.dtype).itemsize + MASK_BYTES
    return builder.workload(
        voxel_bytes(source) + len(chosen) * each,
        len(source.channels) * SECONDS_PER_VOXEL,
    )


def _skimage_version() -> dict[str, str]:
    """What may change the values that are found."""
    return {"scikit-image": version("scikit-image")}


def _finder(
    task: Threshold,
    method: Method,
    builder: StageBuilder,
    product: Product,
    source: Source,
    chosen: list[int],
) -> Stage:
    """One block that samples the whole volume, once that is there."""
    volume = builder.cutting.volume_in(source.transform)
    sampled = sum(math.prod(roi.shape) for roi in sample_windows(volume.shape))
    itemsize = np.dtype(source.dtype).itemsize

    def compute(block: Block) -> bytes:
        rois = [roi + volume.begin for roi in sample_windows(volume.shape)]
        found = []
        for channel in chosen:
            # One after the other, for the memory's sake.
            parts = (block.read(0, roi)[:, channel].ravel() for roi in rois)
            found.append(find_threshold(np.concatenate(list(parts)), method))
        return json.dumps({"method": method, "values": found}).encode()

    name = f"{task.name}.value"
    grid = builder.cutting.grid([source], source.transform, volume.shape)
    file = builder.places.run_dir.work_folder(task.name) / "value.json"
    return Stage(
        name=name,
        task=task.name,
        grid=grid,
        sources=(source,),
        after=product.after,
        compute=compute,
        parameters=task_parameters(
            task, {task.input: product}, None, **_skimage_version()
        ),
        target=builder.places.file(name, grid, file),
        transform=source.transform,
        reads_parts=True,
        memory=builder.base + sampled * (SAMPLE_BYTES + BYTES_PER_BYTE * itemsize),
        pace=Pace(lambda _: sampled * len(chosen), lambda: SECONDS_PER_SAMPLE),
    )


def _by_number(task: Threshold, source: Source) -> tuple[Threshold, list[int]]:
    """The task with its channel by number, and the channels asked for."""
    names = [channel.name for channel in source.channels]
    if task.channel is None:
        return task, list(range(len(names)))
    key, of = f"channel of task {task.name!r}", repr(task.input)
    (number,) = channel_numbers([task.channel], names, key, of)
    return task.model_copy(update={"channel": number}), [number]
