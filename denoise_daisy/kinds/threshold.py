"""Threshold: a mask, above a value that is given or found from samples."""

import json
from importlib.metadata import version

import numpy as np

from denoise_daisy.config import Threshold
from denoise_daisy.errors import InputError
from denoise_daisy.kinds.site import Product, Site, facts_of
from denoise_daisy.stages import ONLY_BLOCK, Block, Source, Stage
from denoise_daisy.thresholds import above, find_threshold, sample_windows


def lay_out(task: Threshold, site: Site) -> None:
    """One stage that writes a mask, after one that finds the value if need be."""
    product, source = site.source(task, task.input)
    chosen = _channels(task, source)
    after = product.after
    finder = None
    if task.method is not None:
        finder = _finder(task, site, product, source, chosen)
        site.add(finder)
        after = (*after, finder.name)
    volume = site.volume_in(source.frame)
    shape = site.shape_of_blocks(task, task.name, volume)
    layout = site.layout(volume, len(chosen), "uint8", shape)
    more = _skimage_version() if task.method else {}

    def compute(block: Block) -> np.ndarray:
        values = [task.value or 0.0] * len(chosen)
        if finder is not None:
            values = json.loads(finder.load(ONLY_BLOCK))["values"]
        return above(block.arrays[0][:, chosen], values)

    stage = Stage(
        name=task.name,
        task=task.name,
        grid=site.grid([source], source.frame, shape),
        sources=(source,),
        after=after,
        compute=compute,
        facts=facts_of(task, {task.input: product}, layout, **more),
        target=site.level(
            task.name,
            site.label_group(task.name),
            layout,
            tuple(source.channels[i] for i in chosen),
            frame=source.frame,
            method=source.method,
        ),
        frame=source.frame,
    )
    site.add(stage)
    site.offer(task.name, stage)


def _skimage_version() -> dict[str, str]:
    """What may change the values that are found."""
    return {"scikit-image": version("scikit-image")}


def _finder(
    task: Threshold, site: Site, product: Product, source: Source, chosen: list[int]
) -> Stage:
    """One block that samples the whole volume, once that is there."""
    assert task.method is not None, "there is something to find"  # noqa: S101
    method = task.method
    volume = site.volume_in(source.frame)

    def compute(_: Block) -> bytes:
        rois = [roi + volume.begin for roi in sample_windows(volume.shape)]
        found = []
        for channel in chosen:
            # One after the other, for the memory's sake.
            parts = (source.read(roi)[:, channel].ravel() for roi in rois)
            found.append(find_threshold(np.concatenate(list(parts)), method))
        return json.dumps({"method": method, "values": found}).encode()

    name = f"{task.name}.value"
    grid = site.grid([source], source.frame, volume.shape)
    return Stage(
        name=name,
        task=task.name,
        grid=grid,
        sources=(),
        after=product.after,
        compute=compute,
        facts=facts_of(task, {task.input: product}, None, **_skimage_version()),
        file=site.work_folder(task.name) / "value.json",
        checksums=site.checksums_of_files(name, grid),
        frame=source.frame,
    )


def _channels(task: Threshold, source: Source) -> list[int]:
    """The channels asked for, by position."""
    names = [channel.name for channel in source.channels]
    if task.channel is None:
        return list(range(len(names)))
    if isinstance(task.channel, str) and names.count(task.channel) == 1:
        return [names.index(task.channel)]
    if isinstance(task.channel, int) and task.channel < len(names):
        return [task.channel]
    raise InputError(
        f"Task {task.name!r} names channel {task.channel!r}, but {task.input!r} has"
        f" {len(names)}: {names}. Expected an index below {len(names)}, or a name that"
        " stands there once."
    )
