"""A job of several workers: it starts and ends them as told, and tells their ends.

The job is the real one; its workers are stand-ins that note signals, and end with the
code that a test gives them.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import VARIABLE
from harness import ROOT, wait_until

WORKER = """#!/bin/bash
name=${4#--name=}
cd "$HERE"
echo "$name says" "$@"
trap 'echo USR1 >>"$name.signals"' USR1
trap 'echo USR2 >>"$name.signals"' USR2
trap 'exit 75' TERM
echo $$ >"$name.partial"
mv "$name.partial" "$name.pid"
until [ -s "$name.code" ]; do sleep 0.05; done
exit "$(cat "$name.code")"
"""

JOB = "slurm-41-7"


class JobOfSeveral:
    """The job, and what its workers do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = RunDir(folder / "Ann's embryo.zarr.run")
        self.run_dir.make([])
        self.worker = folder / "worker"
        self.worker.write_text(WORKER)
        self.worker.chmod(0o755)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, workers: int = 2) -> None:
        code = (
            f"import sys; sys.executable = {str(self.worker)!r}\n"
            "from denoise_daisy.worker.job import main; main()"
        )
        words = [f"--workers={workers}", str(self.run_dir.path), f"--name={JOB}"]
        env = {"HERE": str(self.folder), "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words, "--task=cells", "--ends-at", "1800"],
            env=os.environ | env | {VARIABLE: '{"shared_job": 0.1}'},
        )

    def pid(self, number: int) -> int:
        """Process of a worker, once it lives."""
        file = self.folder / f"{JOB}-{number}.pid"
        return int(wait_until(lambda: file.exists() and file.read_text(), file.name))

    def ends(self, number: int, code: int) -> None:
        """A worker is to end by itself."""
        (self.folder / f"{JOB}-{number}.code").write_text(str(code))

    def wants(self, *numbers: int) -> None:
        """As a scheduler that knows of these workers."""
        file = self.run_dir.workers / f"{JOB}.wanted"
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps([f"{JOB}-{i}" for i in numbers]))
        partial.replace(file)

    def told(self) -> dict[int, int]:
        """What it has told of the ends of its workers."""
        ends = json.loads((self.run_dir.logs / f"{JOB}.ends").read_text())
        return {int(name.removeprefix(f"{JOB}-")): code for name, code in ends.items()}

    def begun(self) -> set[int]:
        """All workers that were ever started."""
        return {int(file.stem.split("-")[-1]) for file in self.folder.glob("*.pid")}

    def signals(self, number: int) -> list[str]:
        file = self.folder / f"{JOB}-{number}.signals"
        return file.read_text().split() if file.exists() else []

    def wait(self) -> int:
        assert self.process
        return self.process.wait(60)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[JobOfSeveral]:
    job = JobOfSeveral(tmp_path)
    yield job
    pids = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
    if job.process:
        job.process.kill()
        job.process.wait()
    for pid in pids:
        if Path(f"/proc/{pid}/cmdline").exists():
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if str(job.worker).encode() in words:
                os.kill(pid, signal.SIGKILL)


def has_ended(pid: int) -> Callable[[], bool]:
    return lambda: not Path(f"/proc/{pid}").exists()


def test_each_worker_is_told_who_it_is_and_has_a_log_of_its_own(
    job: JobOfSeveral,
) -> None:
    before = time.time()
    job.start()
    for number in (1, 2):
        job.pid(number)
        log = job.run_dir.worker_log(f"{JOB}-{number}")
        said, began_at = log.read_text().split(" --began-at=")
        assert said == (
            f"{JOB}-{number} says -m denoise_daisy.worker {job.run_dir.path}"
            f" --name={JOB}-{number} --task=cells --ends-at=1800"
        )
        assert before <= float(began_at) <= time.time()
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_it_tells_how_each_ended_and_ends_with_the_last(job: JobOfSeveral) -> None:
    job.start(3)
    os.kill(job.pid(2), signal.SIGKILL)
    wait_until(lambda: job.told() == {2: -9}, "the end of one")
    job.pid(1)
    job.ends(1, 75)
    wait_until(lambda: job.told() == {2: -9, 1: 75}, "the end of two")
    job.pid(3)
    job.ends(3, 0)
    assert job.wait() == 0
    assert job.told() == {2: -9, 1: 75, 3: 0}
    assert job.begun() == {1, 2, 3}


def test_others_are_started_for_those_that_ended_where_they_are_wanted(
    job: JobOfSeveral,
) -> None:
    job.start()
    job.pid(2)
    os.kill(job.pid(1), signal.SIGKILL)
    wait_until(lambda: job.told() == {1: -9}, "the end of one")
    job.wants(2, 3)
    job.pid(3)
    # One that is wanted by a scheduler that does not know of its end yet.
    job.wants(1, 2, 3, 4)
    job.pid(4)
    for number in (2, 3, 4):
        job.ends(number, 0)
    assert job.wait() == 0
    assert job.begun() == {1, 2, 3, 4}
    logs = [job.run_dir.worker_log(f"{JOB}-{i}").read_text() for i in (2, 4)]
    began_at = {log.split(" --began-at=")[1] for log in logs}
    assert len(began_at) == 1, "the job's, not the worker's"


def test_one_that_is_not_wanted_any_more_is_ended_and_no_other(
    job: JobOfSeveral,
) -> None:
    job.start()
    stuck = job.pid(1)
    job.pid(2)
    os.kill(stuck, signal.SIGSTOP)
    job.wants(2)
    wait_until(lambda: job.told() == {1: -9}, "the end of one")
    job.ends(2, 0)
    assert job.wait() == 0


def test_a_job_that_was_put_back_begins_with_those_that_are_wanted(
    job: JobOfSeveral,
) -> None:
    """What it told of its workers before does not hold any more."""
    (job.run_dir.logs / f"{JOB}.ends").write_text(json.dumps({f"{JOB}-3": -9}))
    job.wants(3, 4)
    job.start()
    job.pid(3)
    job.pid(4)
    assert job.told() == {}
    for number in (3, 4):
        job.ends(number, 0)
    assert job.wait() == 0
    assert job.begun() == {3, 4}


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_warning_reaches_all_and_nobody_is_started_after_it(
    number: signal.Signals, job: JobOfSeveral
) -> None:
    job.start()
    job.pid(1)
    job.pid(2)
    assert job.process
    job.process.send_signal(number)
    name = number.name.removeprefix("SIG")
    for i in (1, 2):
        wait_until(lambda i=i: job.signals(i) == [name], "the warning")  # type: ignore[misc]
    job.wants(1, 2, 3)
    job.ends(1, 75)
    wait_until(lambda: job.told() == {1: 75}, "the end of one")
    job.ends(2, 75)
    assert job.wait() == 0
    assert job.begun() == {1, 2}


def test_it_ends_when_its_workers_leave_on_a_signal_and_heeds_no_interrupt(
    job: JobOfSeveral,
) -> None:
    job.start()
    job.pid(1)
    job.pid(2)
    assert job.process
    job.process.send_signal(signal.SIGINT)
    job.process.send_signal(signal.SIGTERM)
    assert job.wait() == 0
    assert job.told() == {1: 75, 2: 75}


def test_one_that_cannot_be_started_ends_no_other(job: JobOfSeveral) -> None:
    job.run_dir.worker_log(f"{JOB}-1").mkdir()
    job.start()
    job.pid(2)
    wait_until(lambda: job.told() == {1: 1}, "the end of one")
    job.ends(2, 0)
    assert job.wait() == 0


def test_a_job_that_fails_leaves_no_worker(job: JobOfSeveral) -> None:
    """Here it is told nonsense."""
    job.start()
    pids = [job.pid(1), job.pid(2)]
    (job.run_dir.workers / f"{JOB}.wanted").write_text("7")
    assert job.wait() == 1
    for pid in pids:
        wait_until(has_ended(pid), "no worker")


def test_a_job_that_can_tell_nobody_goes_on(job: JobOfSeveral) -> None:
    (job.run_dir.logs / f"{JOB}.ends").mkdir()
    job.start()
    job.pid(1)
    job.pid(2)
    job.ends(1, 1)
    job.ends(2, 0)
    assert job.wait() == 0
