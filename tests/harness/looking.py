"""A look at a run, as a person has it."""

from denoise_daisy.monitoring.collect import run_status
from denoise_daisy.monitoring.text import status_text
from denoise_daisy.run_dir.run_dir import RunDir


def status(run_dir: RunDir) -> str:
    """How far a run is, in words."""
    return status_text(run_status(run_dir))
