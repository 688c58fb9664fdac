"""The folders and files that a run writes: described, made, checked, removed."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.arrays import Channel
from denoise_daisy.errors import RefusedError
from denoise_daisy.files import delete, is_there
from denoise_daisy.job import Job
from denoise_daisy.kinds.site import stem_of
from denoise_daisy.ledger import Ledger
from denoise_daisy.ome_zarr import (
    LABELS,
    METADATA,
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

LOOKED_AT_AGAIN = 1000
"""Files at most that are asked for themselves where a list does not have them."""

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
        check_array(stage.target.path, stage.target.layout)
    except RefusedError as error:
        if stage.name == DENOISE:
            raise
        raise RefusedError(
            f"{error} To have just {stage.name} made again, delete {str(ledger)!r}."
        ) from error


def gone_files(stages: Iterable[Stage], ledgers: Mapping[str, Ledger]) -> str:
    """Which files of blocks that are recorded as done are not there, in words.

    Empty where all are there.
    """
    count, first = 0, ""
    for stage in stages:
        try:
            gone = ledgers[stage.name].done_files() & ~_files_there(stage)
            _look_again(stage, gone)
        except OSError as error:
            return (
                f"The files of blocks that are recorded as done can't be looked for"
                f" ({error}). Correct that and start again."
            )
        count += int(np.count_nonzero(gone))
        if count and not first:
            position = Coordinate(map(int, np.unravel_index(gone.argmax(), gone.shape)))
            voxel = list(stage.grid.volume.begin + position * stage.unit)
            first = f"{stage.name}, at voxel {voxel} (t z y x), in {str(stage.place)!r}"
    if not count:
        return ""
    return (
        f"{count} files of blocks that are recorded as done are gone (the first: of"
        f" {first}). Put them back; or run `verify`, after which their blocks count as"
        " undone, and start again."
    )


def _look_again(stage: Stage, gone: np.ndarray) -> None:
    """Ask for files themselves that were not in a list, which may be an old one."""
    for position in np.argwhere(gone)[:LOOKED_AT_AGAIN]:
        begin = stage.grid.volume.begin + Coordinate(map(int, position)) * stage.unit
        roi = Roi(begin, stage.unit).intersect(stage.grid.volume)
        files = stage.outputs(stage.grid, tuple(map(int, position)))
        if stage.target is not None:
            files = stage.target.files(roi)
        if all(map(is_there, files)):
            gone[tuple(position)] = False


def _files_there(stage: Stage) -> np.ndarray:
    """Which output files a stage has, ``(t, z, y, x)`` in files.

    Folders are listed: with a million files that is much faster than to ask for each.
    """
    extent = stage.grid.volume.shape
    counts = [-(-n // u) for n, u in zip(extent, stage.unit, strict=True)]
    if stage.file is not None:
        return np.full(counts, is_there(stage.file))
    if stage.target is None:
        there: np.ndarray = np.zeros(counts, bool)
        for (name,) in _files_in(stage.place, depth=1):
            _mark(there, name.removesuffix(".npz").split("-"))
        return there
    layout = stage.target.layout
    channels = -(-layout.shape[1] // layout.file_shape[1])
    there = np.zeros((counts[0], channels, *counts[1:]), bool)
    if stage.target.is_there:
        for names in _files_in(stage.target.path / "c", depth=5):
            _mark(there, names)
    return np.asarray(there.all(axis=1))


def _files_in(folder: Path, *, depth: int) -> Iterator[tuple[str, ...]]:
    """The parts of the paths of files so deep in a folder, behind links as well."""

    def report(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for path, folders, files in os.walk(folder, onerror=report, followlinks=True):
        parents = Path(path).relative_to(folder).parts
        if len(parents) == depth - 1:
            folders.clear()
            yield from ((*parents, file) for file in files)


def _mark(there: np.ndarray, numbers: Sequence[str]) -> None:
    """Note the file of that position, if it is one."""
    if len(numbers) == there.ndim and all(n.isdecimal() for n in numbers):
        position = tuple(map(int, numbers))
        if all(i < n for i, n in zip(position, there.shape, strict=True)):
            there[position] = True


def check_places(
    job: Job, record: Mapping[str, Any] | None, *, overwrite: bool
) -> None:
    """Refuse to write where something lies that the run of `record` did not make.

    To overwrite, what any run of this program has made will do.
    """
    known = {
        ours for place in recorded_places(job, record) for ours in (place, place.parent)
    }
    for stage in job.chain:
        place = stage.place
        if stage.target and place.parent != job.output:
            place = place.parent
        if place in known or not place.exists() or _is_empty(place):
            continue
        if RunDir.of_output(job.output).path in place.parents and not record:
            # What a run without run.json has left there is set aside.
            continue
        if overwrite and _is_ours(place, job):
            continue
        raise RefusedError(
            f"{str(place)!r} exists, and the run in {job.output.name + '.run'!r} did"
            f" not make it. Expected a free place for task {stage.task!r}; name the"
            " task otherwise, or move that away."
        )


def recorded_places(job: Job, record: Mapping[str, Any] | None) -> list[Path]:
    """Where the stages of a run.json have written.

    Raises
    ------
    RefusedError
        It names a place where no stage ever writes: somebody has changed it.
    """
    stages = record["stages"] if record else {}
    return [recorded_place(job, name, stages) for name in stages]


def recorded_place(job: Job, name: str, stages: Mapping[str, Any]) -> Path:
    """Where a stage of a run.json has written; see `recorded_places`."""
    place = stages[name].get("output")
    output, stem = re.escape(job.output.name), re.escape(stem_of(job.output))
    task, dotted = r"[\w-]+", r"[\w-]+(\.[\w-]+)*"
    made = (
        rf"{output}/([1-9]\d*|{LABELS}/{task}/\d+)"
        rf"|{output}\.run/tasks/{dotted}(/{dotted})?"
        rf"|{stem}\.{task}\.zarr/\d+"
    )
    if name.endswith(".table"):
        made = rf"{stem}\.{re.escape(name.removesuffix('.table'))}\.(csv|parquet)"
    if not isinstance(place, str) or not re.fullmatch(made, place, re.ASCII):
        raise RefusedError(
            f"run.json of {job.output.name + '.run'!r} says that {name!r} is written to"
            f" {place!r}, where this program never writes that. Nothing was deleted. If"
            " the output was renamed, give it its old name back; else correct run.json,"
            " or delete the output and its run directory by hand."
        )
    return job.output.parent / place


def _is_ours(place: Path, job: Job) -> bool:
    """Whether it lies in the output or its run directory, or is a task's image."""
    if place.parent != job.output.parent:
        return True
    has_own_run = RunDir.of_output(place).run_file.exists()
    return own_attributes(place) is not None and not has_own_run


def remove_place(job: Job, place: Path) -> None:
    """Delete what a stage has written, with its group if that was all of it.

    Beside the output only what has this program's mark is deleted, and tables.
    """
    group = place.parent
    is_beside = group.parent == job.output.parent and group != job.output
    if is_beside and group.exists() and not _is_ours(group, job):
        raise RefusedError(
            f"{str(group)!r} is not, or not any more, an image of this run's. Nothing"
            " was deleted there; move it away and start again in the same way."
        )
    delete(place)
    others = {job.output, job.output.parent, job.output / LABELS}
    if group in others or own_attributes(group) is None:
        return
    if not any(child.is_dir() for child in group.iterdir()):
        remove_image(group)


def remove_all(job: Job, record: Mapping[str, Any] | None) -> None:
    """Delete all that a run has written; cut short, it can be tried again."""
    places = recorded_places(job, record)
    for place in dict.fromkeys([*places, *(stage.place for stage in job.chain)]):
        remove_place(job, place)
    if not job.output.exists() or _is_empty(job.output):
        return
    if not is_made_here(job.output):
        raise RefusedError(f"{str(job.output)!r} is not an output of this program.")
    remove_image(job.output)


def is_made_here(output: Path) -> bool:
    """Whether this program has made an output: whole, or what is left of it.

    What is left may lack the attributes; but then its run record lies beside it, and
    there is nothing in it that a run would not write.
    """
    if own_attributes(output) is not None:
        return True
    names = [child.name for child in output.iterdir()]
    own = (METADATA, LABELS)
    return RunDir.of_output(output).run_file.is_file() and all(
        name in own or name.isdecimal() for name in names
    )


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
