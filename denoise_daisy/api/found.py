"""What a path or a config stands for: an output, or the run of it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from denoise_daisy.config import Config
from denoise_daisy.run_dir.many_record import is_of_many
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
    if not isinstance(run, str | os.PathLike) or Path(run).is_file():
        config = Config.of(run)
        together = run_dir_of_many(config)
        if is_many(config) and is_of_many(together):
            return together
        run = config.output.path
    place = Path(run).absolute()
    for folder in (place, place.parent / f"{place.name}.run"):
        if is_of_many(RunDir(folder)):
            return RunDir(folder)
    return find(place)


def find_output(run: AnyRun) -> Path:
    """The OME-Zarr that it stands for, which need not be there."""
    if not isinstance(run, str | os.PathLike) or Path(run).is_file():
        return Path(Config.of(run).output.path)
    place = Path(run).absolute()
    return RunDir(place).output if RunDir(place).run_file.is_file() else place
