"""Runs that are resolved, checked or copied in this process, without being run."""

import shutil
from pathlib import Path
from typing import Any

from denoise_daisy.config import Config
from denoise_daisy.resolved.resolve import resolve
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.preflight import Preflight, preflight

NEW_ID = "0123456789abcdef"


def resolved(config: Config) -> ResolvedRun:
    """A new run of a config."""
    return resolve(config, None, NEW_ID)


def checked(config: Config, **options: Any) -> Preflight:
    """What a start of a config would find, where a run may be already."""
    existing = RunRecord.read(RunDir.of_output(Path(config.output.path)))
    return preflight(config, existing, new_id=NEW_ID, **options)


def copied(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The config of a copy of a run, with all that lies beside it, in a folder."""
    output = Path(config["output"]["path"])
    shutil.copytree(output.parent, folder, dirs_exist_ok=True)
    path = str(folder / output.name)
    return config | {"output": config["output"] | {"path": path}}
