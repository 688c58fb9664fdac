"""Batch systems for tests: a real Slurm on this machine, and a stand-in for LSF.

Slurm is started by `scripts/local_slurm`; the stand-in, `fake_lsf/`, really runs and
really kills jobs.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.images import ROOT
from harness.program import environment
from harness.waiting import wait_until

FAKE_LSF = Path(__file__).parent / "fake_lsf"


@dataclass(frozen=True)
class Queued:
    """A job of this program that has not ended."""

    id: str
    name: str
    runs: bool


@dataclass(frozen=True)
class Call:
    """A command that was called."""

    time: float
    caller: str
    """The job that called it, - for none."""
    words: list[str]


class Cluster:
    """A batch system as the tests use it; `env` is what a run on it needs."""

    kind: str
    name: str
    polls: str
    submits: str
    one_at_a_time: ClassVar[dict[str, Any]]
    """Settings of workers of which three run at once, and the others wait."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.env = env | {"PYTHONPATH": str(ROOT), "PATH": f"{env['PATH']}:{path}"}

    def call(self, *words: str, check: bool = True, **more: Any) -> str:
        """A command of the batch system, called by the test."""
        env = environment(self.env) | {"TEST_CALLER": "test"}
        return subprocess.run(
            words,
            env=env | more.pop("env", {}),
            check=check,
            text=True,
            stdout=subprocess.PIPE,
            timeout=60,
            **more,
        ).stdout

    def calls(self, program: str) -> list[Call]:
        """Calls of one program by others than the test."""
        log = self.folder / "calls.log"
        lines = log.read_text().splitlines() if log.exists() else []
        words = [line.split() for line in lines]
        every = [Call(float(w[0]), w[1], w[2:]) for w in words]
        return [c for c in every if c.words[0] == program and c.caller != "test"]

    def queue(self) -> list[Queued]:
        """All jobs of this program."""
        return [job for job in self.all_queued() if job.name.startswith("denoise")]

    def running(self) -> list[str]:
        return [job.id for job in self.queue() if job.runs]

    def all_queued(self) -> list[Queued]:
        raise NotImplementedError

    def cancel(self, jobs: Sequence[str]) -> None:
        raise NotImplementedError

    def fill(self) -> list[str]:
        """Jobs of somebody else that leave no place for ours."""
        raise NotImplementedError

    def exits(self, jobs: Sequence[str]) -> list[str]:
        """Exit codes of jobs that have ended."""
        raise NotImplementedError

    def add_worker(self, run_dir: Path, env: dict[str, str]) -> None:
        """The template that people use by hand."""
        raise NotImplementedError

    def end(self) -> None:
        """Nothing of any test is left."""
        raise NotImplementedError


class SlurmCluster(Cluster):
    kind = "slurm"
    name = "Slurm"
    polls = "squeue"
    submits = "sbatch"
    one_at_a_time: ClassVar = {"extra_args": ["--exclusive"]}

    def __init__(self, folder: Path) -> None:
        wrappers = folder / "bin"
        wrappers.mkdir()
        for program in ("sbatch", "squeue", "scancel", "scontrol", "sacct", "sinfo"):
            wrapper = wrappers / program
            real = shutil.which(program)
            wrapper.write_text(
                "#!/bin/sh\ncaller=${TEST_CALLER:-${SLURM_JOB_ID:--}}\n"
                f'echo "$(date +%s.%N) $caller {program} $*" >>{folder}/calls.log\n'
                f'exec {real} "$@"\n'
            )
            wrapper.chmod(0o755)
        super().__init__(folder, {"PATH": str(wrappers)})

    def all_queued(self) -> list[Queued]:
        text = self.call("squeue", "-h", "-r", "-o", "%i|%j|%T")
        rows = [line.split("|") for line in text.splitlines()]
        return [Queued(i, name, state != "PENDING") for i, name, state in rows]

    def cancel(self, jobs: Sequence[str]) -> None:
        self.call("scancel", *jobs)

    def fill(self) -> list[str]:
        job = self.call(
            *("sbatch", "--parsable", "-o", "/dev/null", "-N3", "--exclusive"),
            *("--job-name", "other", "--wrap", "sleep 600"),
        ).strip()
        wait_until(
            lambda: [j.runs for j in self.all_queued() if j.id == job] == [True],
            "the other job runs",
        )
        return [job]

    def exits(self, jobs: Sequence[str]) -> list[str]:
        text = self.call(
            *("squeue", "-h", "-r", "-t", "all", "-j", ",".join(jobs)),
            *("-O", "exit_code:8"),
        )
        return text.split()

    def add_worker(self, run_dir: Path, env: dict[str, str]) -> None:
        script = ("workers/slurm_worker.sh", str(run_dir))
        self.call("sbatch", *script, cwd=ROOT, env=env)

    def end(self) -> None:
        every = [job.id for job in self.all_queued()]
        if every:
            self.call("scancel", "--full", *every)
        wait_until(lambda: not self.all_queued(), "an empty queue")


class LsfCluster(Cluster):
    kind = "lsf"
    name = "LSF"
    polls = "bjobs"
    submits = "bsub"
    one_at_a_time: ClassVar = {}

    def __init__(self, folder: Path, **settings: float | str) -> None:
        given = {"SLOTS": 3, "KILL_INTERVAL": 1} | settings
        env = {f"FAKE_LSF_{name}": str(value) for name, value in given.items()}
        env |= {
            "FAKE_LSF_DIR": str(folder),
            "FAKE_LSF_NOTICE": "This job will be billed to <9>; see Job 1 of the FAQ.",
            "PATH": str(FAKE_LSF),
        }
        super().__init__(folder, env)

    def all_queued(self) -> list[Queued]:
        file = self.folder / "jobs.json"
        jobs = json.loads(file.read_text()) if file.exists() else []
        return [
            Queued(self._title(job), job["name"], job["stat"] == "RUN")
            for job in jobs
            if job["stat"] in {"PEND", "RUN"}
        ]

    @staticmethod
    def _title(job: dict[str, Any]) -> str:
        return f"{job['id']}[{job['index']}]" if job["index"] else str(job["id"])

    def cancel(self, jobs: Sequence[str]) -> None:
        self.call("bkill", *jobs, check=False)

    def fill(self) -> list[str]:
        said = self.call("bsub", "-J", "other[1-3]", "-o", "/dev/null", "sleep 600")
        wait_until(
            lambda: sum(job.runs for job in self.all_queued()) == 3,
            "the other jobs run",
        )
        return re.findall(r"Job <(\d+)> is", said)

    def exits(self, jobs: Sequence[str]) -> list[str]:
        every = json.loads((self.folder / "jobs.json").read_text())
        return [str(j["exit_code"]) for j in every if self._title(j) in jobs]

    def add_worker(self, run_dir: Path, env: dict[str, str]) -> None:
        with (ROOT / "workers" / "lsf_worker.sh").open() as script:
            env = env | {"DENOISE_DAISY_RUN": str(run_dir)}
            self.call("bsub", stdin=script, env=env)

    def play(self, event: str) -> None:
        """Let something happen to the fake, such as `host_failure`."""
        self.call(sys.executable, "-I", str(FAKE_LSF / "fake_lsf.py"), event)

    def end(self) -> None:
        self.play("stop")
        said = (self.folder / "daemon.log").read_text()
        assert "Traceback" not in said, said


def local_slurm(verb: str) -> None:
    subprocess.run(
        [ROOT / "scripts" / "local_slurm", verb],
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
    )


def free_ports(count: int) -> int:
    """The first of some free ports in a row, which no other test process looks at."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    begin = 26000 + 400 * (number % 15)
    for first in range(begin, begin + 400, 10):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")
