"""Workers of several pools have names of their own, local ones and jobs."""

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from denoise_daisy.launchers.base import Exit
from denoise_daisy.launchers.local import LocalLauncher
from denoise_daisy.launchers.lsf import Lsf, LsfWorkers
from denoise_daisy.launchers.slurm import Slurm, SlurmWorkers
from denoise_daisy.run_dir.run_dir import RunDir
from harness import wait_until
from harness.pools import NAMES


def ends_of(launchers: Sequence[LocalLauncher], count: int) -> list[Exit]:
    """How so many workers ended, once they have."""
    exits: list[Exit] = []

    def all_ended() -> bool:
        exits.extend(e for launcher in launchers for e in launcher.ended())
        return len(exits) >= count

    wait_until(all_ended, "the end of all")
    return exits


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    run_dir = RunDir.of_output(tmp_path / "out.zarr")
    run_dir.make([])
    return run_dir


def test_a_worker_that_finds_no_scheduler_ends_at_once(run_dir: RunDir) -> None:
    """A real process."""
    launcher = LocalLauncher(run_dir)
    launcher.start(1)
    (name,) = launcher.living()
    assert ends_of([launcher], 1) == [Exit(name, 0)]


def test_local_workers_of_two_pools_have_names_of_their_own(
    run_dir: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a stand-in for Python, which stays until it is ended."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    launchers = [LocalLauncher(run_dir, task) for task in ("", "1", "1-1")]
    names = []
    for launcher in launchers:
        launcher.start(2)
        names += sorted(launcher.living())
    assert len(set(names)) == len(names) == 6
    for launcher in launchers:
        launcher.end_all()
    assert sorted(e.worker for e in ends_of(launchers, 6)) == sorted(names)


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
