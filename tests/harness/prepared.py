"""Runs that are resolved and checked in this process, without being run."""

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
