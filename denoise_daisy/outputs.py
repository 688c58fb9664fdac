"""The folders and files that a run writes: described, made, checked, removed."""

import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from denoise_daisy.arrays import Channel
from denoise_daisy.errors import RefusedError
from denoise_daisy.job import Job
from denoise_daisy.ome_zarr import (
    LABELS,
    Resolution,
    check_array,
    create_array,
    create_group,
    create_labels,
    display_metadata,
    ome_metadata,
    own_attributes,
    remove_image,
)
from denoise_daisy.rundir import RunDir
from denoise_daisy.stages import DENOISE, Level, Stage

Windows = dict[str, tuple[float, float]]
"""Grey levels shown as black and as full colour, by channel name."""


def describe(job: Job) -> dict[Path, dict[str, Any]]:
    """OME metadata of every group; one plane of the image is read for the contrast."""
    windows = _windows(job)
    return {
        path: _labels(job, path, levels)
        if levels[0].is_labels
        else _image(job, path, levels, windows)
        for path, levels in _groups(job.stages).items()
    }


def create(job: Job, described: Mapping[Path, Mapping[str, Any]]) -> None:
    """Make all groups and arrays that are not there, all voxels missing."""
    own = {"version": version("denoise-daisy"), "fingerprint": job.fingerprint}
    groups = _groups(job.stages)
    for path, levels in groups.items():
        create_group(path, described[path], own)
        for level in levels:
            create_array(level.path, level.layout)
    labels = [path.name for path, levels in groups.items() if levels[0].is_labels]
    create_labels(job.output, labels)


def check_stage(stage: Stage, ledger: Path) -> None:
    """Refuse a stage whose array is gone, though blocks of it are done.

    `ledger` is where that is recorded.
    """
    if stage.target is None:
        return
    try:
        check_array(stage.target.path)
    except RefusedError as error:
        if stage.name == DENOISE:
            raise
        raise RefusedError(
            f"{error} To have just {stage.name} made again, delete {str(ledger)!r}."
        ) from error


def check_places(
    job: Job, record: Mapping[str, Any] | None, *, overwrite: bool
) -> None:
    """Refuse to write where something lies that the run of `record` did not make.

    To overwrite, what any run of this program has made will do.
    """
    stages = record["stages"].values() if record else ()
    places = (job.output.parent / stage["output"] for stage in stages)
    known = {ours for place in places for ours in (place, place.parent)}
    for stage in job.chain:
        place = stage.place
        if stage.target and place.parent != job.output:
            place = place.parent
        if place in known or not place.exists() or _is_empty(place):
            continue
        if overwrite and _is_ours(place, job):
            continue
        raise RefusedError(
            f"{str(place)!r} exists, and the run in {job.output.name + '.run'!r} did"
            f" not make it. Expected a free place for task {stage.task!r}; name the"
            " task otherwise, or move that away."
        )


def _is_ours(place: Path, job: Job) -> bool:
    """Whether it lies in the output or its run directory, or is a task's image."""
    if place.parent != job.output.parent:
        return True
    has_own_run = RunDir.of_output(place).run_file.exists()
    return own_attributes(place) is not None and not has_own_run


def remove_place(job: Job, place: Path) -> None:
    """Delete what a stage has written, with its group if that was all of it."""
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    group = place.parent
    others = {job.output, job.output.parent, job.output / LABELS}
    if group in others or own_attributes(group) is None:
        return
    if not any(child.is_dir() for child in group.iterdir()):
        remove_image(group)


def remove_all(job: Job, record: Mapping[str, Any] | None) -> None:
    """Delete all that a run has written; cut short, it can be tried again."""
    recorded = record["stages"].values() if record else ()
    places = [job.output.parent / stage["output"] for stage in recorded]
    for place in dict.fromkeys([*places, *(stage.place for stage in job.chain)]):
        remove_place(job, place)
    if job.output.exists() and not _is_empty(job.output):
        remove_image(job.output)


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _groups(stages: Iterable[Stage]) -> dict[Path, list[Level]]:
    """The levels of each OME-Zarr group, the full resolution first."""
    groups: dict[Path, list[Level]] = defaultdict(list)
    for stage in stages:
        if stage.target is not None:
            groups[stage.target.path.parent].append(stage.target)
    return groups


def _image(
    job: Job, path: Path, levels: list[Level], windows: Windows
) -> dict[str, Any]:
    first = levels[0]
    low, high = _value_range(first.dtype)
    shown = [_window(c, windows, low, high) for c in first.channels]
    if first.dtype == "float32":
        low, high = min(a for a, _ in shown), max(b for _, b in shown)
    omero = display_metadata(first.channels, shown, (low, high), first.layout.shape[2])
    return {**_multiscale(job, path, levels), "omero": omero}


def _labels(job: Job, path: Path, levels: list[Level]) -> dict[str, Any]:
    source = {"version": "0.5", "source": {"image": "../../"}}
    return {**_multiscale(job, path, levels), "image-label": source}


def _multiscale(job: Job, path: Path, levels: list[Level]) -> dict[str, Any]:
    name = path.name.removesuffix(".zarr").removesuffix(".ome")
    resolutions = [
        Resolution(
            path=level.path.name,
            begin=level.frame.to_image(level.extent).begin,
            factor=level.frame.factor,
            is_sampled=level.method == "nearest",
        )
        for level in levels
    ]
    return ome_metadata(name, job.image, resolutions, levels[-1].method)


def _windows(job: Job) -> Windows:
    """From the file, or from the grey levels of the plane in the middle."""
    image = job.image
    t, c, z, _, _ = image.shape
    plane = image[
        slice(t // 2, t // 2 + 1), slice(0, c), slice(z // 2, z // 2 + 1), :, :
    ]
    finite = np.where(np.isfinite(plane), plane, 0)
    windows: Windows = {}
    for i, channel in enumerate(image.channels):
        low, high = np.percentile(finite[:, i], (0.1, 99.9))
        windows[channel.name] = channel.window or (float(low), float(high))
    return windows


def _value_range(dtype: str) -> tuple[float, float]:
    if dtype == "float32":
        return -np.inf, np.inf
    return 0.0, float(np.iinfo(dtype).max)


def _window(
    channel: Channel, windows: Windows, low: float, high: float
) -> tuple[float, float]:
    """Within the range that the type has, and not empty."""
    start, end = np.clip(windows.get(channel.name, (0.0, 1.0)), low, high)
    start = min(start, high - 1)
    return float(start), float(max(end, start + 1))
