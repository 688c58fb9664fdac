"""What a path or a config stands for: an output, or the run of it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from denoise_daisy.config import Config
from denoise_daisy.durable import is_there
from denoise_daisy.errors import InputError
from denoise_daisy.outputs.ome_groups import own_attributes
from denoise_daisy.resolved.recorded import run_dir_of
from denoise_daisy.run_dir.many_record import ManyRecord, is_of_many
from denoise_daisy.run_dir.run_dir import RunDir, find
from denoise_daisy.runs.many_images import is_many, run_dir_of_many

AnyRun: TypeAlias = str | os.PathLike[str] | Config | Mapping[str, Any]
"""A run: its config, the path of that, its output or its run directory."""


def find_run(run: AnyRun) -> RunDir:
    """The run directory that a config, an output or a run directory stands for.

    Raises
    ------
    InputError
        There is none.
    """
    if isinstance(run, str | os.PathLike) and not Path(run).is_file():
        place, is_config = Path(run).absolute(), False
    else:
        config = Config.of(run)
        together = run_dir_of_many(config)
        if is_many(config) and is_of_many(together):
            return together
        place, is_config = Path(config.output.path).absolute(), True
    for folder in (place, place.parent / f"{place.name}.run"):
        if is_of_many(RunDir(folder)):
            return RunDir(folder)
    try:
        return find(place)
    except InputError as error:
        own = own_attributes(place) if is_there(place) else None
        if own and "run" in own:
            return _of_task(place, own)
        if is_config and not is_there(place):
            raise InputError(
                f"There is no run of this config: its output {str(place)!r} is not"
                " there. Expected one that was begun; start it first."
            ) from error
        raise


def find_one(run: AnyRun) -> RunDir:
    """The same of one image.

    Raises
    ------
    InputError
        There is none, or it is the run of many.
    """
    found = find_run(run)
    if is_of_many(found):
        names = ", ".join(ManyRecord.of(found).images)
        raise InputError(
            f"{str(found.path)!r} is the run of many images ({names}). Expected the"
            " output of one of them."
        )
    return found


def _of_task(place: Path, own: Mapping[str, Any]) -> RunDir:
    """The run directory of an image beside whose own name there is none: a task's.

    `own` is what it says of itself.

    Raises
    ------
    InputError
        It is gone, and so is all that could be told.
    """
    run_dir = run_dir_of(place)
    if run_dir.run_file.is_file():
        return run_dir
    whole = f"{own.get('output', place.name)}.run"
    ended: Any = own.get("ended")
    is_done = isinstance(ended, dict) and ended.get("is_done")
    said = f" By its own word all was done at {ended.get('time')}." if is_done else ""
    raise InputError(
        f"{str(place)!r} was written by the run {own['run']!r}, and its run directory"
        f" {whole!r} is not beside it: that has the checksums, and what was"
        f" done.{said} Expected it there; put it back. `denoise-daisy rerun` needs no"
        " run directory: it does the run again."
    )


def find_output(run: AnyRun) -> Path:
    """The OME-Zarr that it stands for, which need not be there.

    Raises
    ------
    InputError
        It stands for many, those of a run of many images.
    """
    if not isinstance(run, str | os.PathLike) or Path(run).is_file():
        output = Path(Config.of(run).output.path)
    else:
        place = Path(run).absolute()
        output = RunDir(place).output if RunDir(place).run_file.is_file() else place
    for folder in (output, RunDir.of_output(output).path):
        if is_of_many(RunDir(folder)):
            named = repr(str(run)) if isinstance(run, str | os.PathLike) else "That"
            raise InputError(
                f"{named} stands for many images. Expected one of them: name its"
                " output."
            )
    return output
