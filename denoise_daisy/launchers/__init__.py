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


def launcher_for(
    workers: Workers, run_dir: RunDir, run_id: str, task: str = ""
) -> Launcher:
    """The launcher of a run's workers, or of those that a task has for itself.

    The name of its jobs begins with that of the run's.
    """
    if isinstance(workers, LocalWorkers):
        return LocalLauncher(run_dir, task)
    job_name = f"denoise-{run_id}" + (f"-{task}" if task else "")
    if isinstance(workers, SlurmWorkers):
        return BatchLauncher(Slurm(workers, run_dir, job_name, task))
    return BatchLauncher(Lsf(workers, run_dir, job_name, task))
