"""A machine whose batch system says what a test wants, and notes how it was called.

The launcher is the real one; its `sbatch`, `squeue`, `scancel`, `bsub`, `bjobs` and
`bkill` are stand-ins on PATH, and its clock jumps.
"""

import shlex
from pathlib import Path

import pytest

from denoise_daisy.launchers import batch_check, batch_polls, lost_jobs
from denoise_daisy.launchers.base import Exit
from denoise_daisy.launchers.batch import BatchLauncher
from denoise_daisy.launchers.batch_system import BatchSystem
from denoise_daisy.launchers.lsf import Lsf, LsfWorkers
from denoise_daisy.launchers.slurm import Slurm, SlurmWorkers
from denoise_daisy.run_dir.run_dir import RunDir
from harness.stand_ins import FakeTime

PROGRAM = """#!/bin/sh
PATH=/usr/bin:/bin
here=${0%/*}/..
name=${0##*/}
echo "$name $*" >>"$here/calls"
cat >"$here/$name.in"
env >"$here/$name.env"
cat "$here/$name.out"
cat "$here/$name.err" >&2
exit "$(cat "$here/$name.code")"
"""

PROGRAMS = ("sbatch", "squeue", "scancel", "bsub", "bjobs", "bkill")

NAME = "denoise-cafe"
"""Of the run's jobs."""


def slurm_line(job: str, state: str, status: str, reason: str, host: str) -> str:
    """As `squeue` prints it."""
    return f"{job:<64}{state:<32}{status:<16}{reason:<64}{host:<64}\n"


def lsf_line(index: int, stat: str, code: str = "-", reason: str = "-") -> str:
    """As `bjobs` prints it, for a job of the array 41."""
    return f"{NAME}[{index}]^41^{index}^{stat}^{code}^n7^{reason}\n"


class Site:
    """A machine with a batch system that answers what it is told to."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Time and PATH are its own until the end of the test."""
        self.folder = folder
        self.time = FakeTime(5000.0)
        for module in (batch_check, batch_polls, lost_jobs):
            monkeypatch.setattr(module, "time", self.time)
        self.path = folder / "bin"
        self.path.mkdir(parents=True)
        for name in PROGRAMS:
            self.program(name, PROGRAM)
            self.answers(name)
        # Nothing else: a real batch system may be on this machine.
        monkeypatch.setenv("PATH", str(self.path))
        self.run_dir = RunDir(folder / "out.zarr.run")
        workers = SlurmWorkers(kind="slurm", count=1)
        self.slurm = Slurm(workers, self.run_dir, NAME)
        self.system: BatchSystem = self.slurm
        self.launcher = BatchLauncher(self.slurm)
        self.polls, self.submits = "squeue", "sbatch"

    def use_lsf(self) -> None:
        """From now on it is a machine with LSF."""
        self.system = Lsf(LsfWorkers(kind="lsf", count=1), self.run_dir, NAME)
        self.launcher = BatchLauncher(self.system)
        self.polls, self.submits = "bjobs", "bsub"

    def program(self, name: str, script: str) -> None:
        (self.path / name).write_text(script)
        (self.path / name).chmod(0o755)

    def hangs(self, name: str) -> None:
        """From now on a program never ends, nor does what it has started."""
        place = shlex.quote(str(self.folder))
        self.program(
            name,
            f"#!/bin/sh\nPATH=/usr/bin:/bin\necho {name} $* >>{place}/calls\n"
            f"sleep 600 & echo $! >>{place}/hanging\nwait\n",
        )

    def answers(self, name: str, out: str = "", err: str = "", code: int = 0) -> None:
        """From now on a program says that, and exits with that code."""
        for ending, text in (("out", out), ("err", err), ("code", str(code))):
            (self.folder / f"{name}.{ending}").write_text(text)

    def says(self, *jobs: tuple[int, str], status: str = "0", array: int = 41) -> None:
        """From now on `squeue` has these jobs of that array, and no others."""
        self.answers("squeue", self.lines(*jobs, status=status, array=array))

    @staticmethod
    def lines(*jobs: tuple[int, str], status: str = "0", array: int = 41) -> str:
        """What `squeue` prints of these jobs of an array."""
        return "".join(
            slurm_line(f"{array}_{i}", state, status, "Priority", f"n{i}")
            for i, state in jobs
        )

    def is_away(self) -> None:
        """From now on nobody answers a poll."""
        err = "slurm_load_jobs error: Unable to contact slurm controller\n"
        self.answers(self.polls, err=err, code=1)

    def calls(self, name: str) -> list[str]:
        """How a program was called."""
        file = self.folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.split()[0] == name]

    def submit(self, count: int) -> None:
        """Start workers as the array 41."""
        self.answers("sbatch", "41\n")
        self.answers("bsub", "Job <41> is submitted to queue <normal>.\n")
        self.launcher.start(count)

    def refuse(self) -> None:
        """Be asked for a worker, and take none, as the next poll tells as well."""
        self.answers("sbatch", err="sbatch: error: QOSMaxSubmitJobLimit\n", code=1)
        self.launcher.start(1)
        self.poll()

    def poll(self) -> list[Exit]:
        """Let so much time pass that the launcher polls; what has ended."""
        polls = len(self.calls(self.polls))
        self.time.now += 130
        ended = self.launcher.ended()
        assert len(self.calls(self.polls)) == polls + 1
        return ended

    def poll_times(self, seconds: int) -> list[float]:
        """Ask every second who has ended; when that led to a poll."""
        times = []
        polls = len(self.calls(self.polls))
        for _ in range(seconds):
            self.time.now += 1
            assert self.launcher.ended() == []
            if (now := len(self.calls(self.polls))) > polls:
                polls = now
                times.append(self.time.now)
        return times
