"""The places that a run writes to: whose they are, and removing what is there."""

import os
import re
from pathlib import Path

from denoise_daisy.config import Config
from denoise_daisy.durable import delete, is_there, partial_of, persistently
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.images.series_files import is_member
from denoise_daisy.outputs.ome_groups import (
    DOCUMENTS,
    LABELS,
    own_attributes,
    remove_image,
)
from denoise_daisy.outputs.ome_xml import FOLDER
from denoise_daisy.resolved.recorded import check_run_of
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.record import RunRecord, StageRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.tasks.denoise import DENOISE
from denoise_daisy.tasks.places import TABLE, stem_of


def check_output(config: Config, run_dir: RunDir) -> None:
    """Refuse an output at or in the input, and places that can't be written.

    Raises
    ------
    InputError
        With what to change.
    """
    output, source = Path(config.output.path), Path(config.input.one.path)
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(source)):
        raise InputError(
            f"output.path {str(output)!r} lies at or in the input {str(source)!r}."
            " Expected another place."
        )
    if is_member(config.input.one.path, config.output.path):
        raise InputError(
            f"output.path {str(output)!r} would be one of the files of the input"
            f" {str(source)!r} when it is opened again. Expected another name or place."
        )
    for path in (output, run_dir.path):
        _check_folder(path)


def check_owner(output: Path, record: RunRecord | None, *, overwrite: bool) -> None:
    """Refuse an output that is not that of the run of `record`.

    Raises
    ------
    RefusedError
        It is somebody else's, or of a run whose record is gone.
    """
    if not output.exists() or not any(output.iterdir()):
        return
    if not is_made_here(output):
        raise RefusedError(
            f"{str(output)!r} exists and was not made by this program. Expected a free"
            " place; choose another output.path, or move that folder away."
        )
    if record is None and not overwrite:
        raise RefusedError(
            f"{str(output)!r} is an output of this program whose run directory"
            f" {output.name + '.run'!r} is gone. Put it back, choose another"
            " output.path, or start over with --overwrite."
        )
    if record and not overwrite:
        check_run_of(output, record)


def _check_folder(path: Path) -> None:
    """Refuse a place where no folder can be made or written."""
    try:
        while not persistently(path.exists):
            if path.is_symlink():
                raise InputError(
                    f"{str(path)!r} is a broken link. Change output.path, or correct"
                    " the link."
                )
            path = path.parent
        if not path.is_dir():
            problem = "is a file; expected a folder"
        elif not os.access(path, os.W_OK | os.X_OK):
            problem = "can't be written; expected a folder with write permission"
        else:
            return
    except (OSError, RuntimeError) as error:
        problem = f"can't be used ({getattr(error, 'strerror', None) or error})"
    raise InputError(f"{str(path)!r} {problem}. Change output.path or correct that.")


def check_places(
    run: ResolvedRun, record: RunRecord | None, *, overwrite: bool
) -> None:
    """Refuse to write where something lies that the run of `record` did not make.

    To overwrite, what any run of this program has made will do.

    Raises
    ------
    InputError
        The name of a place is too long.
    """
    _check_names(run)
    known = {
        ours for place in recorded_places(run, record) for ours in (place, place.parent)
    }
    for stage in run.tasks:
        place = stage.target.place
        if stage.array is not None and place.parent != run.output:
            place = place.parent
        if place in known or not place.exists() or _is_empty(place):
            continue
        if run.run_dir.path in place.parents and not record:
            # What a run without run.json has left there is set aside.
            continue
        if overwrite and _is_ours(place, run):
            continue
        raise RefusedError(
            f"{str(place)!r} exists, and the run in {run.output.name + '.run'!r} did"
            f" not make it. Expected a free place for task {stage.task!r}; name the"
            " task otherwise, or move that away."
        )


def _check_names(run: ResolvedRun) -> None:
    """Refuse what the file system would not take at the last block."""
    folder = run.output.parent
    while not folder.exists():
        folder = folder.parent
    most = os.pathconf(folder, "PC_NAME_MAX")
    for stage in run.stages:
        written = partial_of(stage.target.place)
        for name in written.relative_to(run.output.parent).parts:
            if len(os.fsencode(name)) > most:
                raise InputError(
                    f"Task {stage.task!r} would write {name!r}, a name that"
                    f" has {len(os.fsencode(name))} bytes. Expected {most} at most at"
                    f" {str(folder)!r}; shorten output.path or the name of the task."
                )


def recorded_places(run: ResolvedRun, record: RunRecord | None) -> list[Path]:
    """Where the stages of a run.json have written.

    Raises
    ------
    RefusedError
        It names a place where no stage ever writes: somebody has changed it.
    """
    stages = record.stages if record else {}
    return [recorded_place(run, name, kept) for name, kept in stages.items()]


def recorded_place(run: ResolvedRun, name: str, kept: StageRecord) -> Path:
    """Where a stage of a run.json has written; see `recorded_places`."""
    place = kept.output
    output, stem = re.escape(run.output.name), re.escape(stem_of(run.output))
    task, dotted = r"[\w-]+", r"[\w-]+(\.[\w-]+)*"
    made = (
        rf"{output}/([1-9]\d*|{LABELS}/{task}/\d+)"
        rf"|{output}\.run/tasks/{dotted}(/{dotted})?"
        rf"|{stem}\.{task}\.zarr/\d+"
    )
    if name == DENOISE:
        made = rf"{output}/0"
    elif name.endswith(TABLE):
        made = rf"{stem}\.{re.escape(name.removesuffix(TABLE))}\.(csv|parquet)"
    if not re.fullmatch(made, place, re.ASCII):
        raise RefusedError(
            f"run.json of {run.output.name + '.run'!r} says that {name!r} is written to"
            f" {place!r}, where this program never writes that. Nothing was deleted. If"
            " the output was renamed, give it its old name back; else correct run.json,"
            " or delete the output and its run directory by hand."
        )
    return run.output.parent / place


def _is_ours(place: Path, run: ResolvedRun) -> bool:
    """Whether it lies in the output or its run directory, or is a task's image."""
    if place.parent != run.output.parent:
        return True
    has_own_run = RunDir.of_output(place).run_file.exists()
    return own_attributes(place) is not None and not has_own_run


def is_left(run: ResolvedRun, place: Path) -> bool:
    """Whether what a stage has written is there, or its group, be it in part."""
    return is_there(place) or _has_own_group(run, place)


def remove_place(run: ResolvedRun, place: Path) -> None:
    """Delete what a stage has written, with its group if that was all of it.

    Beside the output only what has this program's mark is deleted, and tables.
    """
    group = place.parent
    is_beside = group.parent == run.output.parent and group != run.output
    has_files = group.exists() and not _is_empty(group)
    if is_beside and has_files and not _is_ours(group, run):
        raise RefusedError(
            f"{str(group)!r} is not, or not any more, an image of this run's. Nothing"
            " was deleted there; move it away and start again in the same way."
        )
    delete(place)
    has_group = _has_own_group(run, place)
    if has_group and not any(child.is_dir() for child in group.iterdir()):
        remove_image(group)


def _has_own_group(run: ResolvedRun, place: Path) -> bool:
    """Whether a stage's folder is one that goes with it, or the empty rest of one."""
    group = place.parent
    if group in {run.output, run.output.parent, run.output / LABELS}:
        return False
    return _is_empty(group) or own_attributes(group) is not None


def remove_all(run: ResolvedRun, record: RunRecord | None) -> None:
    """Delete all that a run has written; cut short, it can be tried again."""
    places = recorded_places(run, record)
    for place in dict.fromkeys([*places, *(stage.target.place for stage in run.tasks)]):
        remove_place(run, place)
    if not run.output.exists() or _is_empty(run.output):
        return
    if not is_made_here(run.output):
        raise RefusedError(f"{str(run.output)!r} is not an output of this program.")
    remove_image(run.output)


def is_made_here(output: Path) -> bool:
    """Whether this program has made an output: whole, or what is left of it.

    What is left may lack the attributes; but then its run record lies beside it, and
    there is nothing in it that a run would not write.
    """
    if own_attributes(output) is not None:
        return True
    names = [child.name for child in output.iterdir()]
    own = (*DOCUMENTS, LABELS, FOLDER)
    return RunDir.of_output(output).run_file.is_file() and all(
        name in own or name.isdecimal() for name in names
    )


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
