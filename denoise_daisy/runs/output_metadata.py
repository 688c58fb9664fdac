"""The OME-Zarr groups of a run: their metadata, and making them."""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.durable import persistently
from denoise_daisy.images.formats import original_of
from denoise_daisy.images.image import Channel
from denoise_daisy.images.original import Original
from denoise_daisy.outputs.ome_collections import keep_metadata
from denoise_daisy.outputs.ome_groups import (
    LABELS,
    create_group,
    create_labels,
    is_damaged_group,
    listed_labels,
    own_attributes,
)
from denoise_daisy.outputs.ome_metadata import (
    Resolution,
    display_metadata,
    label_metadata,
    ome_metadata,
)
from denoise_daisy.outputs.ome_xml import Collected
from denoise_daisy.outputs.ome_zarr import create_array
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.runs.provenance import marks, provenance
from denoise_daisy.tasks.threshold import Threshold

logger = logging.getLogger("denoise_daisy")

DisplayRanges = dict[str, tuple[float, float]]
"""Grey levels shown as black and as full colour, by channel name."""


def describe(run: ResolvedRun) -> dict[Path, dict[str, Any]]:
    """OME metadata of every group; one plane of the image is read for the contrast."""
    ranges = _display_ranges(run)
    return {
        path: _labels(run, path, levels)
        if levels[0].is_labels
        else _image(run, path, levels, ranges)
        for path, levels in _groups(run.stages).items()
    }


def damaged_groups(run: ResolvedRun) -> list[Path]:
    """Groups that have arrays, but no metadata by which anybody could open them."""
    groups = {
        path: levels[0].is_labels
        for path, levels in _groups(run.stages).items()
        if any(level.is_there for level in levels)
    }
    damaged = [
        path
        for path in groups
        if own_attributes(path) is None or is_damaged_group(path)
    ]
    labels = {path.name for path, is_labels in groups.items() if is_labels}
    if labels - set(persistently(partial(listed_labels, run.output))):
        damaged.append(run.output / LABELS)
    return damaged


def create(
    run: ResolvedRun,
    described: Mapping[Path, Mapping[str, Any]],
    *,
    left_alone: Collection[str] = (),
    notes: Mapping[str, Any] = MappingProxyType({}),
    keeps_original: bool = True,
) -> None:
    """Make all groups and arrays that are not there, all voxels missing.

    Those of the stages `left_alone`, by name, stay as they are.  `notes` are for the
    groups of images, beside their provenance.  The metadata of the input's file are
    kept in the output as they stand there, unless they are elsewhere.
    """
    known, original = marks(run), original_of(run.image)
    if original.problem:
        logger.warning("What is kept of the input's metadata: %s.", original.problem)
    own = {**provenance(run, original, left_alone), **notes}
    form = run.config.output.ome_version
    groups = _groups(stage for stage in run.stages if stage.name not in left_alone)
    for path, levels in groups.items():
        noted = known if levels[0].is_labels else own
        persistently(partial(create_group, path, described[path], noted, form))
        for level in levels:
            persistently(partial(create_array, level.path, level.layout))
    labels = [path.name for path, levels in groups.items() if levels[0].is_labels]
    persistently(partial(create_labels, run.output, labels))
    if run.denoising.name not in left_alone:
        kept = original if keeps_original else Original()
        image = _collected(run, original)
        told = (run.output, [image], kept, known)
        persistently(partial(keep_metadata, *told, version=form))


def _collected(run: ResolvedRun, original: Original) -> Collected:
    """What the OME-XML of the output tells."""
    image, array = run.image, run.array
    return Collected(
        path="0",
        name=_name(run.output),
        shape=array.layout.shape,
        dtype=array.dtype,
        scale_um=image.scale_um,
        channels=array.channels,
        time_step_s=image.time_step_s,
        acquisition=original.acquisition,
    )


def _groups(stages: Iterable[Stage]) -> dict[Path, list[Level]]:
    """The levels of each OME-Zarr group, the full resolution first."""
    groups: dict[Path, list[Level]] = defaultdict(list)
    for stage in stages:
        if stage.array is not None:
            groups[stage.array.path.parent].append(stage.array)
    return groups


def _image(
    run: ResolvedRun, path: Path, levels: list[Level], ranges: DisplayRanges
) -> dict[str, Any]:
    first = levels[0]
    low, high = _value_range(first.dtype)
    shown = [_shown_range(c, ranges, low, high) for c in first.channels]
    if first.dtype == "float32":
        low, high = min(a for a, _ in shown), max(b for _, b in shown)
    omero = display_metadata(first.channels, shown, (low, high), first.layout.shape[2])
    return {**_multiscale(run, path, levels), "omero": omero}


def _labels(run: ResolvedRun, path: Path, levels: list[Level]) -> dict[str, Any]:
    masks = {task.name for task in run.config.tasks if isinstance(task, Threshold)}
    # Of other labels only a narrow type bounds the ids.
    values = 255 if levels[0].dtype == "uint8" else 0
    told = label_metadata(1 if path.name in masks else values)
    return {**_multiscale(run, path, levels), "image-label": told}


def _multiscale(run: ResolvedRun, path: Path, levels: list[Level]) -> dict[str, Any]:
    resolutions = [
        Resolution(
            path=level.path.name,
            begin=level.transform.to_image(level.roi).begin,
            factor=level.transform.factor,
            is_sampled=level.method == "nearest",
        )
        for level in levels
    ]
    method, axes = levels[-1].method, levels[0].layout.axes
    return ome_metadata(_name(path), run.image, resolutions, method, axes)


def _name(path: Path) -> str:
    return path.name.removesuffix(".zarr").removesuffix(".ome")


def _display_ranges(run: ResolvedRun) -> DisplayRanges:
    """From the file, or from the grey levels of the plane in the middle."""
    image = run.image
    t, c, z, _, _ = image.shape
    plane = image[
        slice(t // 2, t // 2 + 1), slice(0, c), slice(z // 2, z // 2 + 1), :, :
    ]
    finite = np.where(np.isfinite(plane), plane, 0)
    ranges: DisplayRanges = {}
    for i, channel in enumerate(image.channels):
        low, high = np.percentile(finite[:, i], (0.1, 99.9))
        ranges[channel.name] = channel.display_range or (float(low), float(high))
    return ranges


def _value_range(dtype: str) -> tuple[float, float]:
    if dtype == "float32":
        return -np.inf, np.inf
    return 0.0, float(np.iinfo(dtype).max)


def _shown_range(
    channel: Channel, ranges: DisplayRanges, low: float, high: float
) -> tuple[float, float]:
    """Within the range that the type has, and not empty."""
    start, end = np.clip(ranges.get(channel.name, (0.0, 1.0)), low, high)
    start = min(start, high - 1)
    return float(start), float(max(end, start + 1))
