"""Smooth: a Gaussian filter, each block with the context that it needs."""

from importlib.metadata import version

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.config import Smooth, by_axis
from denoise_daisy.filters import gaussian, gaussian_reach
from denoise_daisy.kinds.site import Site, facts_of
from denoise_daisy.stages import Block, Stage


def lay_out(task: Smooth, site: Site) -> None:
    """One stage; it writes an image of its own, beside the output."""
    product, source = site.source(task, task.input)
    sigma = by_axis(task.sigma, "tzyx", dict.fromkeys("tzyx", 0.0))
    volume = site.volume_in(source.frame)
    shape = site.shape_of_blocks(task, task.name, volume)
    dtype = source.dtype if task.dtype == "input" else task.dtype
    layout = site.layout(volume, len(source.channels), dtype, shape)

    def compute(block: Block) -> np.ndarray:
        return gaussian(block.arrays[0], sigma)

    group = site.beside(f"{task.name}.zarr")
    stage = Stage(
        name=task.name,
        task=task.name,
        grid=site.grid(
            [source], source.frame, shape, Coordinate(gaussian_reach(sigma))
        ),
        sources=(source,),
        after=product.after,
        compute=compute,
        facts=facts_of(task, {task.input: product}, layout, scipy=version("scipy")),
        target=site.level(
            task.name,
            group,
            layout,
            source.channels,
            frame=source.frame,
            method=source.method,
        ),
        frame=source.frame,
    )
    site.add(stage)
    site.offer(task.name, stage)
