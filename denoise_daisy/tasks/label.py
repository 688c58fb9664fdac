"""Label: connected components of the whole volume, right across block borders.

Three stages.  The *pieces*: each block is labelled alone, and its faces and a table of
its pieces are kept.  The *union*: for each time point, pieces that touch across blocks
become objects, which are numbered.  The labels: each block is labelled again, in the
same way, and its pieces get their objects' ids.  Voxels are in memory a block at a
time; of the rest, only faces and tables.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from funlib.geometry import Coordinate
from pydantic import Field, PositiveInt

from denoise_daisy.algorithms.intensities import columns
from denoise_daisy.algorithms.labelling import COLUMNS, label_block, pieces_of
from denoise_daisy.blockwise.block_shape import Workload
from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.sources import Source, voxel_bytes
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import Block
from denoise_daisy.errors import InputError
from denoise_daisy.outputs.layout import Layout
from denoise_daisy.outputs.object_table import Format, check_format
from denoise_daisy.tasks.base import InputName, OneInput
from denoise_daisy.tasks.builder import Product, StageBuilder, task_parameters
from denoise_daisy.tasks.label_files import Ids, joined, npz, packed
from denoise_daisy.tasks.label_table import table_stage

PIECES_BYTES = 15
LABEL_BYTES = 9
MEASURED_SHARE = 0.13
"""Peak memory of a voxel of the mask, beside those read: where pieces are described,
where they get their ids, and as a share of what is kept of a piece that is measured."""

PIECES_SECONDS = 8e-7
LABEL_SECONDS = 1e-7
MEASURED_SECONDS = 1e-6
"""The same in seconds, the last for each channel that is measured; reading and writing
included.  All are those of noise of which three voxels in ten are foreground: there are
hardly more pieces in any mask."""


class Label(OneInput):
    """Connected components of a mask, over the whole volume.

    Each time point and channel by itself; ids are dense from 1, in the order of the
    objects' first voxels (z, then y, then x).
    """

    kind: Literal["label"]
    """Numbered objects."""

    connectivity: Annotated[int, Field(ge=1, le=3)] = 1
    """As in scikit-image: 1 joins voxels that share a face, 2 an edge, 3 a corner."""

    min_voxels: PositiveInt = 1
    """Objects of fewer voxels are left out."""

    table: Format | None = None
    """Write a table of all objects beside the output, OUTPUT.NAME.csv or .parquet:
    what joins with the labels, time, volume, box, centroid, and mean, standard
    deviation, minimum and maximum of the intensity per channel."""

    intensity: InputName = "denoised"
    """The image that the table's intensities are measured in."""

    def doubts(self, mask: Source) -> Iterator[str]:
        """What is said of a mask that is none, but an image of grey levels."""
        if not (isinstance(mask, Level) and mask.is_labels):
            yield (
                f"Task {self.name!r} labels {self.input!r}, an image of {mask.dtype}"
                " grey levels: all that is not 0 counts as objects, and nearly all of"
                " it becomes one. Expected a mask or labels. Put a threshold task"
                f" before it, and set the input of {self.name!r} to that."
            )

    def build(self, builder: StageBuilder) -> None:
        """The stages NAME.pieces, NAME.union and NAME, and NAME.table if asked for."""
        mask_product, mask = builder.array(self, self.input)
        inputs, image = {self.input: mask_product}, None
        if self.table:
            inputs[self.intensity], image = builder.array(self, self.intensity)
            if image.transform != mask.transform:
                raise InputError(
                    f"Task {self.name!r} labels {self.input!r} and measures"
                    f" {self.intensity!r}, which have different resolutions. Expected"
                    " an intensity image of the mask's."
                )
            check_format(self.table, self.name)
        read = _Read(inputs, mask, image)
        pieces = _pieces(self, builder, read)
        union = _union(self, builder, read, pieces)
        labels = _labels(self, builder, read, pieces, union)
        builder.add(pieces, union, labels)
        if self.table and image is not None:
            table = table_stage(self.name, self.table, builder, mask, image, union)
            builder.add(table)
        builder.offer(self.name, labels)


@dataclass(frozen=True)
class _Read:
    """What the task reads."""

    inputs: dict[str, Product]
    """By name; the mask is the first."""
    mask: Source
    image: Source | None
    """What is measured for the table."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """The mask, and the image if there is one."""
        return (self.mask,) if self.image is None else (self.mask, self.image)

    def work(self, builder: StageBuilder) -> Workload:
        """What a block takes where its pieces are described."""
        channels = len(self.mask.channels)
        measured = len(self.image.channels) if self.image else 0
        read = sum(voxel_bytes(source) for source in self.sources)
        seconds = PIECES_SECONDS + measured * MEASURED_SECONDS
        each = PIECES_BYTES
        if self.image:
            kept = np.dtype(columns(measured, self.image.dtype)).itemsize
            each += math.ceil(kept * MEASURED_SHARE)
        return builder.workload(read + channels * each, channels * seconds)


def _pieces(task: Label, builder: StageBuilder, read: _Read) -> Stage:
    transform = read.mask.transform
    volume = builder.cutting.volume_in(transform)
    name, work = f"{task.name}.pieces", read.work(builder)
    whole = builder.cutting.grid([], transform, volume.shape)
    grid = builder.cut(task, name, whole, work)
    _, *zyx = grid.block_shape
    grid = replace(grid, block_shape=Coordinate(1, *zyx))

    def compute(block: Block) -> bytes:
        mask, *images = block.arrays
        begin = (block.write_roi.begin - volume.begin)[1:]
        image = images[0][0] if images else None
        pieces = []
        for channel in mask[0]:
            labels, count = label_block(channel, task.connectivity)
            pieces.append(pieces_of(labels, count, begin, volume.shape[1:], image))
        return packed(pieces)

    return Stage(
        name=name,
        task=task.name,
        grid=grid,
        sources=read.sources,
        after=tuple(name for p in read.inputs.values() for name in p.after),
        compute=compute,
        parameters=_parameters(
            task,
            read.inputs,
            grid.block_shape,
            unused=("min_voxels",),
            **_measured(read),
        ),
        target=builder.places.files(name, grid),
        transform=transform,
        memory=work.memory(grid),
        pace=work.pace,
    )


def _union(task: Label, builder: StageBuilder, read: _Read, pieces: Stage) -> Stage:
    def compute(block: Block) -> bytes:
        archives = {
            position: partial(pieces.read_file, (block.index[0], *position))
            for position in itertools.product(*map(range, pieces.grid.shape[1:]))
        }
        arrays: dict[str, np.ndarray] = {}
        for channel in range(len(read.mask.channels)):
            found = joined(
                archives,
                channel,
                connectivity=task.connectivity,
                min_voxels=task.min_voxels,
                with_table=task.table is not None,
            )
            arrays |= {f"{name}{channel}": array for name, array in found.items()}
        return npz(arrays)

    name = f"{task.name}.union"
    whole = Coordinate(1, *pieces.grid.volume.shape[1:])
    grid = builder.cutting.grid([], pieces.transform, whole)
    return Stage(
        name=name,
        task=task.name,
        grid=grid,
        sources=(),
        after=(pieces.name,),
        compute=compute,
        parameters=_parameters(
            task, read.inputs, pieces.grid.block_shape, **_measured(read)
        ),
        target=builder.places.files(name, grid),
        transform=pieces.transform,
    )


def _labels(
    task: Label, builder: StageBuilder, read: _Read, pieces: Stage, union: Stage
) -> Stage:
    transform, shape = pieces.transform, pieces.grid.block_shape
    mask, product = read.mask, read.inputs[task.input]
    layout = builder.cutting.layout(
        pieces.grid.volume, len(mask.channels), "uint32", shape, is_labels=True
    )
    ids, channels = Ids(union), len(mask.channels)
    each = voxel_bytes(mask) + channels * LABEL_BYTES
    work = builder.workload(each, channels * LABEL_SECONDS)
    grid = builder.cutting.grid([], transform, shape)

    def compute(block: Block) -> np.ndarray:
        t, *position = block.index
        place = int(np.ravel_multi_index(position, pieces.grid.shape[1:]))
        result = np.empty(block.arrays[0].shape, np.uint32)
        for channel, voxels in enumerate(block.arrays[0][0]):
            own = ids.of_block(t, channel, place)
            here = result[0, channel]
            labels, count = label_block(voxels, task.connectivity, here.view(np.int32))
            _check_count(count, len(own))
            names = np.concatenate(([0], own)).astype(np.uint32)
            for plane, plane_labels in zip(here, labels, strict=True):
                plane[...] = names[plane_labels]
        return result

    return Stage(
        name=task.name,
        task=task.name,
        grid=grid,
        sources=(mask,),
        after=(*product.after, union.name),
        compute=compute,
        parameters=_parameters(task, {task.input: product}, shape, layout),
        target=builder.places.level(
            task.name,
            builder.places.labels(task.name),
            layout,
            mask.channels,
            pieces.grid.volume,
            transform=transform,
            method=mask.method,
        ),
        transform=transform,
        memory=work.memory(grid),
        pace=work.pace,
    )


def _check_count(now: int, before: int) -> None:
    """The pieces of a block are as many as when they were described."""
    if now != before:
        raise ValueError(
            f"the block has {now} pieces now and had {before} before: what it read has"
            " changed; `verify` finds the cause"
        )


def _measured(read: _Read) -> dict[str, Any]:
    """What the pieces are measured by, for they are added up in the union."""
    return {"columns": COLUMNS} if read.image else {}


def _parameters(
    task: Label,
    inputs: dict[str, Product],
    shape: Coordinate,
    layout: Layout | None = None,
    unused: tuple[str, ...] = (),
    **more: Any,
) -> dict[str, Any]:
    """What decides the bytes; pieces belong to blocks: cut otherwise, they are others.

    What is measured is among the inputs; the table's format matters to itself only.
    """
    every = task_parameters(task, inputs, layout, block_shape=list(shape), **more)
    without = {"table", "intensity", *unused}
    return {name: value for name, value in every.items() if name not in without}
