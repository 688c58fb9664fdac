"""Denoise: the stage that every run begins with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.as_is import AsIs
from denoise_daisy.blockwise.block_shape import (
    WORKER_BYTES,
    Blocks,
    Workload,
    choose_shape,
)
from denoise_daisy.blockwise.sources import Raw
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import Block
from denoise_daisy.denoisers.base import Denoiser
from denoise_daisy.geometry import AXES, BlockGrid
from denoise_daisy.images.image import Image, roi_of
from denoise_daisy.outputs.layout import (
    V3,
    Layout,
    chunks_of,
    explicit_shards,
    with_c,
    without_c,
)
from denoise_daisy.sections import by_axis
from denoise_daisy.tasks.builder import StageBuilder

DENOISE = "denoise"
"""Name of the task and of its stage."""

ALGORITHM = 1
"""Goes up when this program's own part in the result's bytes changes."""


GAPS = "stay 0"
"""What becomes of voxels that the file does not hold."""


@dataclass(frozen=True)
class Denoising:
    """What is asked for: by what, in which blocks, within which memory."""

    denoiser: Denoiser
    blocks: Blocks
    workers: int
    threads: int
    tasks_bytes: int
    """Memory that later tasks take in a worker before its first block."""
    source: Mapping[str, Any]
    """What of the input's section decides the bytes, by name."""

    def padded(self, image: Image) -> Raw:
        """The image, with as many layers mirrored as the denoiser wants behind it."""
        return Raw(image, self.denoiser.padding(roi_of(image).shape))

    def context(self, image: Image) -> Coordinate:
        """Voxels read around a block."""
        reach = self.denoiser.stencil.reach
        if not isinstance(self.blocks.context, dict):
            return reach
        exact = dict(zip(AXES, reach, strict=True))
        asked = by_axis(self.blocks.context, "tzyx", exact)
        return Coordinate(map(min, asked, self.padded(image).roi.shape))

    def grid(self, image: Image, volume: Roi) -> BlockGrid:
        """The volume as one block."""
        return BlockGrid(
            readable_roi=self.padded(image).roi,
            volume=volume,
            block_shape=volume.shape,
            context=self.context(image),
            stencil=self.denoiser.stencil,
        )

    @property
    def base(self) -> int:
        """Memory of a worker before its first block, in bytes."""
        return WORKER_BYTES + max(self.denoiser.process_bytes, self.tasks_bytes)

    def workload(self, image: Image) -> Workload:
        """What decides memory and time beside the geometry."""
        per_voxel = self.denoiser.bytes_per_voxel + image.dtype.itemsize
        return Workload(
            bytes_per_voxel=image.shape[1] * per_voxel,
            base=self.base + self.denoiser.scratch_bytes,
            workers=max(1, self.workers),
            pace=self.denoiser.pace(image.shape[1]),
        )


def build_denoise(asked: Denoising, builder: StageBuilder, work: Workload) -> None:
    """One stage, which reads the image and writes the output's full resolution.

    Raises
    ------
    InputError
        It can't work with that image; the message has the number to change.
    """
    grid, shards = _cut(asked, builder, work)
    image, output = builder.image, builder.cutting.output
    dtype = image.dtype.name if output.dtype == "input" else output.dtype
    layout = builder.cutting.layout(
        grid.volume, image.shape[1], dtype, grid.block_shape, shards
    )
    denoiser, skip = asked.denoiser, asked.blocks.skip
    as_is = AsIs(image, skip.below if skip else None)

    stage = Stage(
        name=DENOISE,
        task=DENOISE,
        grid=grid,
        sources=(asked.padded(image),),
        after=(),
        compute=partial(_compute, denoiser, as_is),
        left=as_is.left,
        parameters=_parameters(asked, builder, grid, layout),
        target=builder.places.level(
            DENOISE, builder.places.denoised, layout, image.channels, grid.volume
        ),
        probed=denoiser.probed,
        load=partial(denoiser.load, image.dtype),
        engine=partial(_engine, denoiser),
        is_essential=True,
        memory=work.memory(grid),
        pace=work.pace,
    )
    builder.add(stage)
    builder.offer("denoised", stage)


def _compute(denoiser: Denoiser, as_is: AsIs, block: Block) -> np.ndarray:
    return as_is.without_gaps(block, denoiser.denoise(block.arrays[0]))


def _engine(denoiser: Denoiser) -> str:
    return denoiser.engine


def _cut(
    asked: Denoising, builder: StageBuilder, work: Workload
) -> tuple[BlockGrid, tuple[int, ...] | None]:
    """The blocks, and shards that do not follow from them."""
    image = builder.image
    output, volume = builder.cutting.output, builder.cutting.volume
    shape = with_c(volume.shape, image.shape[1])
    chunks = chunks_of(output, shape)
    shards = explicit_shards(output, shape, chunks)
    if output.shards == "auto" and output.has_shards and DENOISE in builder.recorded:
        # A run may go on with another block shape, but not with other shards.
        shards = _recorded_shards(builder.recorded[DENOISE].parameters)
    file_shape = without_c(shards or chunks)
    grid = asked.grid(image, volume)

    def choose(kept: Coordinate | None) -> Coordinate:
        if kept and not is_exact(asked.denoiser, grid, asked.blocks):
            # Other blocks would be another run.
            return kept
        limits = builder.limits(DENOISE)
        if kept:
            cut = replace(grid, block_shape=kept)
            fits = work.memory(cut) <= limits.memory
            if fits and work.is_within(cut, limits.seconds):
                return kept
        return choose_shape(grid, file_shape, work, limits)

    block_shape = builder.cutting.block_shape(
        DENOISE,
        asked.blocks,
        volume,
        choose,
        key="blocks.shape",
        file_shape=file_shape,
    )
    return replace(grid, block_shape=block_shape), shards


def _recorded_shards(parameters: Mapping[str, Any]) -> tuple[int, ...] | None:
    shards = parameters.get("output.shards")
    return tuple(shards) if isinstance(shards, list) else None


def _parameters(
    asked: Denoising, builder: StageBuilder, grid: BlockGrid, layout: Layout
) -> dict[str, Any]:
    """Everything that decides the bytes of the output, by name."""
    exact, skip = is_exact(asked.denoiser, grid, asked.blocks), asked.blocks.skip
    parameters: dict[str, Any] = {
        **{f"input {name}": v for name, v in builder.image.identity.items()},
        **asked.source,
        "input.roi": ranges_of(grid.volume),
        "output.dtype": layout.dtype,
        "output.chunks": layout.chunks,
        "output.shards": layout.shards,
        "output.compression_level": layout.compression_level,
        **asked.denoiser.parameters,
        "algorithm": ALGORITHM,
        "exact": exact,
    }
    if not exact:
        parameters |= {
            "blocks.shape": grid.block_shape,
            "blocks.context": grid.context,
            # Without repeating itself; else they do not matter.
            "workers.threads_per_worker": (
                1 if asked.denoiser.repeats else asked.threads
            ),
        }
    if layout.ome_version != V3:
        parameters["output.ome_version"] = layout.ome_version
    if skip:
        parameters["blocks.skip"] = skip.model_dump()
    if builder.image.has_gaps:
        # Not of other images, whose runs have no such parameter.
        parameters["gaps"] = GAPS
    plain: dict[str, Any] = json.loads(json.dumps(parameters))
    return plain


def ranges_of(roi: Roi) -> list[tuple[int, int]]:
    """Begin and end along each axis."""
    return list(zip(roi.begin, roi.end, strict=True))


def missing_context(grid: BlockGrid) -> dict[str, tuple[int, int]]:
    """Context and the denoiser's reach, by axis, where the context is smaller."""
    shape = grid.readable_roi.shape
    axes = zip(AXES, grid.context, grid.stencil.reach, shape, strict=True)
    return {a: (c, r) for a, c, r, voxels in axes if c < min(r, voxels)}


def is_exact(denoiser: Denoiser, grid: BlockGrid, blocks: Blocks) -> bool:
    """Whether the bytes depend on neither blocks nor workers."""
    return denoiser.repeats and not missing_context(grid) and blocks.skip is None
