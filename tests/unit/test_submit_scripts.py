"""The scheduler as a job: what puts it back into the queue, and what ends it for good.

The job scripts are what `scripts/submit_*` submit; bash runs them, with stand-ins for
Python and the batch system's commands.
"""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from harness import ROOT, wait_until

PYTHON = """#!/bin/bash
here=${0%/*}/..
case "$*" in
-c*) echo denoise-out-scheduler ; exit ;;
*plan*) exit ;;
esac
trap 'exit 143' TERM
trap 'exit 130' INT
: >"$here/runs"
until [ -s "$here/code" ]; do /bin/sleep 0.05; done
exit "$(cat "$here/code")"
"""


class Submitted:
    """A scheduler that was submitted, and runs as a job."""

    def __init__(
        self, folder: Path, kind: str, stops: int = 0, asked: str = ""
    ) -> None:
        """`stops` is how often it has stopped since it was submitted.

        `asked` is what Slurm does when it is asked to put the job back, in shell.
        """
        self.kind, self.folder = kind, folder
        self._bin = folder / "bin"
        self._bin.mkdir()
        submits = f'cat >"{folder}/job"; echo "$@" >"{folder}/options"; echo'
        self._program("python", PYTHON)
        self._program("sbatch", f"#!/bin/sh\n{submits} 77\n")
        said = '"Welcome to <1>.\nJob <77> is submitted to queue <normal>."'
        self._program("bsub", f"#!/bin/sh\n{submits} {said}\n")
        self._program("scontrol", f'#!/bin/sh\necho "$@" >>"{folder}/again"\n{asked}')
        # What would be waited for is noted instead.
        self._program("sleep", f'#!/bin/sh\necho "$@" >>"{folder}/slept"\n')
        env = {"PATH": f"{self._bin}:/usr/bin:/bin", "SLURM_JOB_ID": "77"}
        self.said = subprocess.run(
            [ROOT / "scripts" / f"submit_{kind}", folder / "config.json"],
            env=env | {"PYTHON": str(self._bin / "python")},
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout
        with (folder / "config.json.log").open("a") as log:
            log.write("The scheduler ended with exit code 5.\n" * stops)
        self._job = subprocess.Popen(["bash", folder / "job"], env=env)
        wait_until((folder / "runs").exists, "the scheduler runs")

    def _program(self, name: str, script: str) -> None:
        (self._bin / name).write_text(script)
        (self._bin / name).chmod(0o755)

    def signal(self, number: int) -> None:
        """To the job script, which alone has a trap for it."""
        os.kill(self._job.pid, number)

    def ends(self, code: int) -> None:
        """The scheduler ends by itself."""
        (self.folder / "code").write_text(str(code))

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._job.wait(60)

    def comes_back(self) -> bool:
        """Whether the job, once it has ended, is put back into the queue."""
        code = self.wait()
        again = self.folder / "again"
        if self.kind == "lsf":
            found = re.search(r"-Q ([\d ]+)", (self.folder / "options").read_text())
            assert found
            return str(code) in found[1].split()
        assert not again.exists() or again.read_text() == "requeue 77\n"
        return again.exists()


KINDS = ("slurm", "lsf")
WARNING = {"slurm": signal.SIGUSR1, "lsf": signal.SIGUSR2}


@pytest.mark.parametrize("kind", KINDS)
def test_a_scheduler_whose_time_is_up_comes_back(kind: str, tmp_path: Path) -> None:
    job = Submitted(tmp_path, kind)
    job.signal(WARNING[kind])
    assert job.comes_back()
    assert "exit code 143" in (tmp_path / "config.json.log").read_text()


@pytest.mark.parametrize(
    ("kind", "number"),
    [("slurm", signal.SIGTERM), ("lsf", signal.SIGINT), ("lsf", signal.SIGTERM)],
)
def test_a_scheduler_that_is_cancelled_does_not_come_back(
    kind: str, number: int, tmp_path: Path
) -> None:
    job = Submitted(tmp_path, kind)
    job.signal(number)
    assert not job.comes_back()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("code", "again"), [(0, False), (2, False), (3, False), (4, False), (5, True)]
)
def test_a_scheduler_that_had_to_stop_comes_back_and_no_other(
    kind: str, code: int, again: bool, tmp_path: Path
) -> None:
    """After a rest: what has stopped it may take a while."""
    job = Submitted(tmp_path, kind)
    job.ends(code)
    assert job.comes_back() == again
    assert (tmp_path / "slept").exists() == again


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stops", "again"), [(99, True), (100, False)])
def test_a_scheduler_that_had_to_stop_a_hundred_times_does_not_come_back(
    kind: str, stops: int, again: bool, tmp_path: Path
) -> None:
    """Those before it was submitted are not counted."""
    earlier = "The scheduler ended with exit code 5.\n" * 200
    (tmp_path / "config.json.log").write_text(earlier)
    job = Submitted(tmp_path, kind, stops)
    job.ends(5)
    assert job.comes_back() == again


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [130, 143])
def test_a_scheduler_that_somebody_ended_does_not_come_back(
    kind: str, code: int, tmp_path: Path
) -> None:
    job = Submitted(tmp_path, kind)
    job.ends(code)
    assert not job.comes_back()


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        pytest.param('[ "$(wc -l <"${0%/*}/../again")" = 3 ]', 3, id="at last"),
        pytest.param("exit 1", 60, id="not within an hour"),
        pytest.param("kill -TERM $PPID; exit 1", 1, id="cancelled meanwhile"),
    ],
)
def test_a_slurm_that_does_not_put_a_scheduler_back_is_asked_each_minute(
    asked: str, count: int, tmp_path: Path
) -> None:
    job = Submitted(tmp_path, "slurm", asked=asked)
    job.ends(5)
    job.wait()
    assert (tmp_path / "again").read_text() == "requeue 77\n" * count
    waited = (tmp_path / "slept").read_text().split()
    assert waited.count("60") == count - (count == 3)
    said = (tmp_path / "config.json.log").read_text()
    assert said.count("Slurm did not put the job back") == waited.count("60")


@pytest.mark.parametrize(
    ("kind", "option", "words"),
    [
        ("slurm", "--job-name=denoise-out-scheduler", "scancel 77"),
        ("lsf", "-J denoise-out-scheduler", "bkill 77"),
    ],
)
def test_a_person_is_told_how_to_stop_it_for_good(
    kind: str, option: str, words: str, tmp_path: Path
) -> None:
    job = Submitted(tmp_path, kind)
    job.ends(0)
    assert not job.comes_back()
    assert f"To stop the run for good: {words}\n" in job.said
    assert option in (tmp_path / "options").read_text()
