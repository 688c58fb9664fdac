"""Workers of several pools have names of their own, local ones and jobs."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from denoise_daisy.launchers.base import Exit
from denoise_daisy.launchers.local import LocalLauncher
from denoise_daisy.launchers.lsf import Lsf, LsfWorkers
from denoise_daisy.launchers.slurm import Slurm, SlurmWorkers
from denoise_daisy.run_dir.run_dir import RunDir
from harness import wait_until
from harness.pools import NAMES


def test_local_workers_of_two_pools_have_names_of_their_own(tmp_path: Path) -> None:
    """Real processes, which find no scheduler and end at once."""
    run_dir = RunDir.of_output(tmp_path / "out.zarr")
    run_dir.make([])
    tasks = ("", "1", "1-1")
    launchers = [LocalLauncher(run_dir, task) for task in tasks]
    names = []
    for launcher in launchers:
        launcher.start(2)
        names += sorted(launcher.living())
    assert len(names) == 6
    assert len(set(names)) == 6
    exits: list[Exit] = []

    def all_ended() -> bool:
        exits.extend(e for launcher in launchers for e in launcher.ended())
        return len(exits) == 6

    wait_until(all_ended, "the end of all")
    assert {e.code for e in exits} == {0}
    assert sorted(e.worker for e in exits) == sorted(names)


@pytest.mark.parametrize(
    ("workers", "system"),
    [
        (SlurmWorkers(kind="slurm", count=2), Slurm),
        (LsfWorkers(kind="lsf", count=2), Lsf),
    ],
)
def test_jobs_of_two_pools_have_names_of_their_own(
    workers: SlurmWorkers | LsfWorkers,
    system: Callable[..., Slurm | Lsf],
    tmp_path: Path,
) -> None:
    """A name finds the jobs of one pool; a worker is named after its job."""
    run_dir = RunDir.of_output(tmp_path / "out.zarr")
    names = set()
    for task in ("", *NAMES):
        launcher = workers.launcher(run_dir, "cafe", task)
        options = shlex.split(launcher.describe().partition("<<")[0])
        (name,) = (word for word in options if "denoise-out-cafe" in word)
        names.add(name)
    assert len(names) == 3
    jobs = [system(workers, run_dir, "denoise-cafe", t) for t in NAMES]
    found = [w for i, job in enumerate(jobs) for w in job.workers(f"1{i}", 12)]
    assert len(set(found)) == 24
