"""How workers are started, watched and ended: here, or by a batch system."""

from denoise_daisy.config import LocalWorkers, SlurmWorkers, Workers
from denoise_daisy.launchers.base import Exit, Launcher
from denoise_daisy.launchers.batch import BatchLauncher, BatchSystem
from denoise_daisy.launchers.local import LocalLauncher
from denoise_daisy.launchers.lsf import Lsf
from denoise_daisy.launchers.slurm import Slurm
from denoise_daisy.rundir import RunDir

__all__ = [
    "BatchLauncher",
    "BatchSystem",
    "Exit",
    "Launcher",
    "LocalLauncher",
    "Lsf",
    "Slurm",
    "launcher_for",
]


def launcher_for(workers: Workers, run_dir: RunDir, run_id: str) -> Launcher:
    """The launcher of a run; its jobs bear a name of this run alone."""
    if isinstance(workers, LocalWorkers):
        return LocalLauncher(run_dir)
    job_name = f"denoise-{run_id}"
    if isinstance(workers, SlurmWorkers):
        return BatchLauncher(Slurm(workers, run_dir, job_name))
    return BatchLauncher(Lsf(workers, run_dir, job_name))
