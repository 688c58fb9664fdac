"""Pyramid: the coarser levels of an image or of labels, a stage each."""

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.config import Pyramid
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import FULL_RESOLUTION, Frame
from denoise_daisy.kinds.site import Product, Site, layout_facts
from denoise_daisy.pooling import Method, next_factors, pool
from denoise_daisy.stages import Block, Level, Stage

SMALLEST_PLANE = 256
"""A level whose Y-X plane is no larger is the last one."""

FOR_IMAGES: Method = "mean"
FOR_LABELS: Method = "nearest"


def lay_out(task: Pyramid, site: Site) -> None:
    """A stage for each level of what the task reads."""
    product, source = site.source(task, task.input)
    if not isinstance(source, Level) or source.frame != FULL_RESOLUTION:
        raise InputError(
            f"Task {task.name!r} makes levels of {task.input!r}, which is no image in"
            " full resolution that this run writes. Expected denoised, or a task."
        )
    method = None if task.method == "auto" else task.method
    levels = None if task.levels == "auto" else task.levels
    lay_out_levels(site, product, task.name, task.name, levels, method)


def lay_out_levels(
    site: Site,
    product: Product,
    name: str,
    task: str,
    levels: int | None = None,
    method: Method | None = None,
) -> None:
    """Stages NAME.1, NAME.2, ...; None stands for what suits the array."""
    level = product.source
    assert isinstance(level, Level), "there is a folder to write to"  # noqa: S101
    chosen = method or (FOR_LABELS if level.is_labels else FOR_IMAGES)
    number = 0
    while _goes_on(level, number, levels):
        number += 1
        factors = _factors(site, level)
        if factors == Coordinate(1, 1, 1, 1):
            break
        stage = _stage(site, product, f"{name}.{number}", task, factors, chosen)
        site.add(stage)
        site.offer(stage.name, stage)
        product = site.products[stage.name]
        assert isinstance(product.source, Level), "it was just laid out"  # noqa: S101
        level = product.source


def _goes_on(level: Level, number: int, levels: int | None) -> bool:
    if levels is not None:
        return number < levels
    return max(level.layout.shape[-2:]) > SMALLEST_PLANE


def _factors(site: Site, level: Level) -> Coordinate:
    """From this level to the next."""
    sizes = zip(site.image.scale_um, level.frame.factor[1:], strict=True)
    scale = [size * factor if size else None for size, factor in sizes]
    return Coordinate(next_factors(level.extent.shape, scale))


def _stage(
    site: Site,
    product: Product,
    name: str,
    task: str,
    factors: Coordinate,
    method: Method,
) -> Stage:
    level, maker = product.source, product.stage
    assert isinstance(level, Level), "levels are made of levels"  # noqa: S101
    assert maker is not None, "and these by a stage"  # noqa: S101
    frame = Frame(level.frame.factor * factors, site.volume.begin)
    volume = site.volume_in(frame)
    shape = site.shape_of_pooled(name, maker.grid.block_shape, factors, volume)
    layout = site.layout(volume, len(level.channels), level.dtype, shape)

    def compute(block: Block) -> np.ndarray:
        return pool(block.arrays[0], factors, method)

    return Stage(
        name=name,
        task=task,
        grid=site.grid([], frame, shape),
        sources=(level,),
        after=product.after,
        compute=compute,
        facts={
            "kind": "pyramid",
            "method": method,
            "factors": list(factors),
            "input level": product.identity,
            **layout_facts(layout),
        },
        target=site.level(
            name,
            level.path.parent,
            layout,
            level.channels,
            frame=frame,
            name=str(int(level.path.name) + 1),
            method=method,
        ),
        frame=frame,
    )
