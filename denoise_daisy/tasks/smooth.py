"""Smooth: a Gaussian filter, each block with the context that it needs."""

from typing import Literal

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.algorithms.filters import (
    GAUSSIAN_BYTES,
    gaussian,
    gaussian_reach,
    scipy_version,
)
from denoise_daisy.blockwise.block_shape import Workload
from denoise_daisy.blockwise.sources import Source, voxel_bytes
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import Block
from denoise_daisy.sections import OutputType, SigmaByAxis, by_axis
from denoise_daisy.tasks.base import OneInput
from denoise_daisy.tasks.builder import StageBuilder, task_parameters

SECONDS_PER_NEIGHBOUR = 3e-9
"""That a Gaussian takes, along each axis in turn, for a voxel of one channel; reading
and writing included.  Measured on one core: 1.5 to 3.5 ns."""


class Smooth(OneInput):
    """A Gaussian filter, as scipy.ndimage.gaussian_filter on the whole image."""

    kind: Literal["smooth"]
    """Gaussian filter."""

    sigma: SigmaByAxis
    """Standard deviation in voxels, by axis; 0 for an axis not named.  A number: along
    z, y and x."""

    dtype: OutputType = "float32"
    """Type of the voxels written."""

    def build(self, builder: StageBuilder) -> None:
        """One stage; it writes an image of its own, beside the output."""
        product, source = builder.array(self, self.input)
        sigma = by_axis(self.sigma, "tzyx", dict.fromkeys("tzyx", 0.0))
        reach = Coordinate(gaussian_reach(sigma))
        volume = builder.cutting.volume_in(source.transform)
        whole = builder.cutting.grid([source], source.transform, volume.shape, reach)
        work = _work(builder, source, reach)
        grid = builder.cut(self, self.name, whole, work)
        dtype = source.dtype if self.dtype == "input" else self.dtype
        layout = builder.cutting.layout(
            volume, len(source.channels), dtype, grid.block_shape
        )

        def compute(block: Block) -> np.ndarray:
            return gaussian(block.arrays[0], sigma)

        stage = Stage(
            name=self.name,
            task=self.name,
            grid=grid,
            sources=(source,),
            after=product.after,
            compute=compute,
            parameters=task_parameters(
                self, {self.input: product}, layout, **scipy_version()
            ),
            target=builder.places.level(
                self.name,
                builder.places.image(self.name),
                layout,
                source.channels,
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


def _work(builder: StageBuilder, source: Source, reach: Coordinate) -> Workload:
    channels, neighbours = len(source.channels), sum(2 * r + 1 for r in reach)
    return builder.workload(
        voxel_bytes(source) + channels * GAUSSIAN_BYTES,
        channels * neighbours * SECONDS_PER_NEIGHBOUR,
    )
