"""What an output says of its run, as a run that is done again takes it.

It may come from anybody, and may be damaged: shell lines in it are not taken, and code
that it names is told before it is imported.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from denoise_daisy.config import Config
from denoise_daisy.config.problems import problems_of
from denoise_daisy.durable import is_there
from denoise_daisy.errors import DenoiseDaisyError, InputError, RefusedError
from denoise_daisy.outputs.ome_groups import is_group, own_attributes
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.provenance import FORM, without_environments
from denoise_daisy.tasks.function import Function

DAMAGES = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What comes of values that are not of the kind that they should be."""


def noted_of(path: Path) -> Mapping[str, Any]:
    """What an output says of its run.

    Raises
    ------
    InputError
        It says nothing, or not enough.
    """
    own = own_attributes(path) if is_there(path) else None
    if own is None:
        raise InputError(
            f"{str(path)!r} is no OME-Zarr that this program has written, or is not"
            " there. Expected one, or the image of a task of its own."
        )
    if own.get("form") != FORM:
        holds = "run" not in own and "form" not in own
        raise InputError(
            f"{str(path)!r} does not say how its run can be done again: "
            + (
                "it holds images that have runs of their own. Name one of these."
                if holds
                else "it holds labels, or was written by another version of this"
                f" program ({own.get('version')!r}). Expected the OME-Zarr of an image;"
                " of labels, name the one that they lie in."
            )
        )
    return own


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Tell what is wrong with what an output says of itself."""
    try:
        yield
    except DAMAGES as error:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, ValidationError):
            reason = "; ".join(problems_of(Config, error.errors(), {}))
        raise RefusedError(
            f"What {str(path)!r} says of its run can't be used ({reason}). Expected"
            f" what this version ({version('denoise-daisy')}) has written; use the"
            " version that is named there."
        ) from error


def settings(path: Path, noted: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config, from the run's own record where that is still there.

    That has what is kept in no output, such as the environment of jobs.
    """
    with suppress(DenoiseDaisyError):
        record = RunRecord.read(RunDir.of_output(path.with_name(noted["output"])))
        if record is not None and record.id == noted["run"]:
            return record.config
    # No output of this program has these.
    config = without_environments(noted["config"])
    return {key: value for key, value in config.items() if key != "notify"}


def code_told(config: Config) -> Iterator[str]:
    """The modules that will be imported, and the words that batch systems get."""
    for task in config.tasks:
        if isinstance(task, Function):
            names = [task.function, task.setup, task.teardown]
            modules = dict.fromkeys(n.partition(":")[0] for n in names if n)
            yield (
                f"Task {task.name} imports {', '.join(modules)} from"
                f" {task.folder!r}, or as installed, and runs it."
            )
    for workers in (config.workers, *(task.workers for task in config.tasks)):
        words = getattr(workers, "extra_args", ())
        if words:
            yield f"Jobs are submitted with: {' '.join(words)}."


def check_code(path: Path, config: Config) -> None:
    """Refuse code that has come with an output.

    Raises
    ------
    RefusedError
        The folder of a function lies in an OME-Zarr.
    """
    for task in config.tasks:
        if not isinstance(task, Function):
            continue
        folder = Path(os.path.realpath(task.folder))
        if any(is_group(place) for place in (folder, *folder.parents)):
            raise RefusedError(
                f"What {str(path)!r} says of its run can't be used: the code of the"
                f" task {task.name!r} would come from {task.folder!r}, within an"
                " OME-Zarr, where this program puts no code. Nothing was imported;"
                " look at where this output is from."
            )
