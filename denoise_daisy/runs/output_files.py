"""Whether the files of done blocks are there."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import SingleFile
from denoise_daisy.durable import is_there, persistently
from denoise_daisy.errors import RefusedError
from denoise_daisy.outputs.ome_zarr import check_array
from denoise_daisy.run_dir.block_tables import file_counts
from denoise_daisy.run_dir.ledger import Ledger

LOOKED_AT_AGAIN = 1000
"""Files at most that are asked for themselves where a list does not have them."""


def check_stage(stage: Stage, ledger: Path) -> None:
    """Refuse a stage whose array is gone, though blocks of it are done.

    `ledger` is where that is recorded.
    """
    if stage.array is None:
        return
    try:
        check_array(stage.array.path, stage.array.layout)
    except RefusedError as error:
        if stage.is_essential:
            raise
        raise RefusedError(
            f"{error} To have just {stage.name} made again, delete {str(ledger)!r}."
        ) from error


def gone_files(stages: Iterable[Stage], ledgers: Mapping[str, Ledger]) -> str:
    """What of the blocks that are recorded as done is not there, in words.

    Empty where all are there.
    """
    count, first = 0, ""
    for stage in stages:
        try:
            done = ledgers[stage.name].done_files()
            if stage.array is not None and done.any() and not stage.array.is_there:
                document = stage.array.path / stage.array.layout.metadata
                return (
                    f"The metadata of {str(document.parent)!r} are gone, without which"
                    f" nobody can read its blocks. Put its {document.name} back and"
                    " start again."
                )
            gone = done & ~persistently(partial(_files_there, stage))
            _look_again(stage, gone)
        except OSError as error:
            return (
                f"The files of blocks that are recorded as done can't be looked for"
                f" ({error}). Correct that and start again."
            )
        count += int(np.count_nonzero(gone))
        if count and not first:
            position = Coordinate(map(int, np.unravel_index(gone.argmax(), gone.shape)))
            voxel = list(stage.grid.volume.begin + position * stage.file_shape)
            place = str(stage.target.place)
            first = f"{stage.name}, at voxel {voxel} (t z y x), in {place!r}"
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
        begin = (
            stage.grid.volume.begin + Coordinate(map(int, position)) * stage.file_shape
        )
        if stage.array is not None:
            roi = Roi(begin, stage.file_shape).intersect(stage.grid.volume)
            files = stage.array.files_in(roi)
        else:
            files = stage.target.files(stage.grid, tuple(map(int, position)))
        if all(map(is_there, files)):
            gone[tuple(position)] = False


def _files_there(stage: Stage) -> np.ndarray:
    """Which output files a stage has, ``(t, z, y, x)`` in files.

    Folders are listed: with a million files that is much faster than to ask for each.
    """
    counts = file_counts(stage.grid, stage.file_shape)
    if stage.array is not None:
        return _array_files_there(stage.array, counts)
    if isinstance(stage.target, SingleFile):
        return np.full(counts, is_there(stage.target.place))
    there: np.ndarray = np.zeros(counts, bool)
    for (name,) in _files_in(stage.target.place, depth=1):
        _mark(there, name.removesuffix(".npz").split("-"))
    return there


def _array_files_there(array: Level, counts: Sequence[int]) -> np.ndarray:
    """The same of an array, where the shards of all channels are there."""
    layout = array.layout
    channels = -(-layout.shape[1] // layout.file_shape[1])
    there = np.zeros((counts[0], channels, *counts[1:]), bool)
    for names in _files_in(array.path / layout.keys, depth=len(layout.axes)):
        _mark(there, names if layout.has_channels else (names[0], "0", *names[1:]))
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
