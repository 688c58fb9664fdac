"""Few submissions, civil polls, and no worker lost from sight: with a clock that jumps.

The launcher is the real one; its `sbatch`, `squeue`, `scancel`, `bsub` and `bjobs` are
stand-ins on PATH that note how they were called and answer what a test wants.
"""

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from denoise_daisy.errors import InputError
from denoise_daisy.launchers import batch
from denoise_daisy.launchers.base import CannotStartError, Exit
from denoise_daisy.launchers.batch import BatchLauncher
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


class Site:
    """A machine with a batch system that answers what it is told to."""

    def __init__(self, folder: Path, time: FakeTime) -> None:
        self.folder = folder
        self.time = time
        self.path = folder / "bin"
        self.path.mkdir(parents=True)
        for name in PROGRAMS:
            (self.path / name).write_text(PROGRAM)
            (self.path / name).chmod(0o755)
            self.answers(name)
        self.run_dir = RunDir(folder / "out.zarr.run")
        workers = SlurmWorkers(kind="slurm", count=1)
        self.slurm = Slurm(workers, self.run_dir, "denoise-cafe")
        self.launcher = BatchLauncher(self.slurm)

    def answers(self, name: str, out: str = "", err: str = "", code: int = 0) -> None:
        """From now on a program says that, and exits with that code."""
        for ending, text in (("out", out), ("err", err), ("code", str(code))):
            (self.folder / f"{name}.{ending}").write_text(text)

    def says(self, *jobs: tuple[int, str], status: str = "0") -> None:
        """From now on `squeue` has these jobs of the array 41, and no others."""
        lines = (
            f"{f'41_{i}':<64}{state:<32}{status:<16}{'Priority':<64}\n"
            for i, state in jobs
        )
        self.answers("squeue", "".join(lines))

    def calls(self, name: str) -> list[str]:
        """How a program was called."""
        file = self.folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.split()[0] == name]

    def submit(self, count: int) -> None:
        """Start workers as the array 41."""
        self.answers("sbatch", "41\n")
        self.launcher.start(count)

    def refuse(self) -> None:
        """Be asked for a worker, and take none."""
        self.answers("sbatch", err="sbatch: error: QOSMaxSubmitJobLimit\n", code=1)
        self.launcher.start(1)

    def poll(self) -> list[Exit]:
        """Let so much time pass that the launcher polls; what has ended."""
        polls = len(self.calls("squeue"))
        self.time.now += 130
        ended = self.launcher.ended()
        assert len(self.calls("squeue")) == polls + 1
        return ended

    def poll_times(self, seconds: int) -> list[float]:
        """Ask every second who has ended; when that led to a poll."""
        times = []
        polls = len(self.calls("squeue"))
        for _ in range(seconds):
            self.time.now += 1
            assert self.launcher.ended() == []
            if (now := len(self.calls("squeue"))) > polls:
                polls = now
                times.append(self.time.now)
        return times


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path / "site", FakeTime(5000.0))
    monkeypatch.setattr(batch, "time", site.time)
    # Nothing else: a real batch system may be on this machine.
    monkeypatch.setenv("PATH", str(site.path))
    return site


# Polls.


def test_jobs_are_polled_every_ten_seconds(site: Site) -> None:
    site.submit(2)
    site.says((0, "RUNNING"), (1, "RUNNING"))
    assert [t - 5000 for t in site.poll_times(45)] == [10, 20, 30, 40]
    assert site.calls("squeue")[0] == (
        "squeue -h -r -t all -j 41 -O JobArrayID:64,State:32,exit_code:16,Reason:64"
    )


def test_nobody_is_polled_for_when_there_are_no_jobs(site: Site) -> None:
    assert site.poll_times(200) == []


def test_a_system_that_does_not_answer_is_asked_less_and_less(site: Site) -> None:
    """From ten seconds to two minutes, and nobody is taken for dead."""
    site.submit(2)
    site.answers("squeue", err="Unable to contact slurm controller\n", code=1)
    times = site.poll_times(700)
    assert times[0] - 5000 == 10
    assert [b - a for a, b in pairwise(times)] == [20, 40, 80, 120, 120, 120, 120]
    assert site.launcher.living() == {"slurm-41-0", "slurm-41-1"}
    site.says((0, "RUNNING"), (1, "RUNNING"))
    times = site.poll_times(150)
    assert len(times) >= 2
    assert {b - a for a, b in pairwise(times)} == {10}


def test_a_command_that_hangs_for_a_minute_is_no_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.submit(1)
    limits = []

    def hang(command: list[str], *, timeout: float, **_: object) -> None:
        limits.append(timeout)
        raise subprocess.TimeoutExpired(command, timeout)

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", hang)
        for _ in range(3):
            site.time.now += 130
            assert site.launcher.ended() == []
    assert limits == [60, 60, 60]
    assert site.launcher.living() == {"slurm-41-0"}


def test_one_poll_that_does_not_name_a_job_does_not_end_it_but_two_do(
    site: Site,
) -> None:
    site.submit(2)
    site.says((0, "RUNNING"), (1, "RUNNING"))
    assert site.poll() == []
    site.says((0, "RUNNING"))
    assert site.poll() == []
    assert site.launcher.running() == {"slurm-41-0", "slurm-41-1"}
    assert site.poll() == [Exit("slurm-41-1", None, "unknown to Slurm", "system")]
    assert site.launcher.living() == {"slurm-41-0"}


def test_polls_that_do_not_name_a_job_must_follow_each_other(site: Site) -> None:
    site.submit(1)
    for _ in range(3):
        site.says()
        assert site.poll() == []
        site.says((0, "RUNNING"))
        assert site.poll() == []
    assert site.launcher.living() == {"slurm-41-0"}


def test_no_answer_is_not_an_absence(site: Site) -> None:
    site.submit(1)
    site.says()
    assert site.poll() == []
    site.answers("squeue", err="Unable to contact slurm controller\n", code=1)
    for _ in range(5):
        assert site.poll() == []
    assert site.launcher.living() == {"slurm-41-0"}


def test_jobs_that_slurm_has_forgotten_have_ended(site: Site) -> None:
    site.submit(1)
    error = "slurm_load_jobs error: Invalid job id specified\n"
    site.answers("squeue", err=error, code=1)
    assert site.poll() == []
    assert site.poll() == [Exit("slurm-41-0", None, "unknown to Slurm", "system")]


def test_jobs_that_lsf_has_forgotten_have_ended(site: Site) -> None:
    workers = LsfWorkers(kind="lsf", count=1)
    launcher = BatchLauncher(Lsf(workers, site.run_dir, "denoise-cafe"))
    site.answers("bsub", "Job <41> is submitted to queue <normal>.\n")
    launcher.start(1)
    site.answers("bjobs", err="Job <41> is not found\n", code=255)
    site.time.now += 60
    assert launcher.ended() == []
    site.time.now += 60
    assert launcher.ended() == [Exit("lsf-41-1", None, "unknown to LSF", "system")]


def test_lsf_is_asked_for_jobs_that_have_ended_too(site: Site) -> None:
    """And what else it prints is no job."""
    workers = LsfWorkers(kind="lsf", count=1)
    launcher = BatchLauncher(Lsf(workers, site.run_dir, "denoise-cafe"))
    site.answers("bsub", "Job <41> is submitted to queue <normal>.\n")
    launcher.start(2)
    site.answers("bjobs", "Welcome to LSF\n41^1^EXIT^9^-\n41^2^RUN^-^-\n")
    site.time.now += 60
    assert launcher.ended() == [Exit("lsf-41-1", 9)]
    assert launcher.running() == {"lsf-41-2"}
    assert site.calls("bjobs") == [
        "bjobs -a -noheader -o jobid jobindex stat exit_code exit_reason delimiter='^'"
        " 41"
    ]
    launcher.end_all()
    assert site.calls("bkill") == [
        "bkill -s KILL -J denoise-cafe* 0",
        "bkill -J denoise-cafe* 0",
    ]


def test_what_an_answer_with_an_error_tells_is_believed(site: Site) -> None:
    """One of two arrays is forgotten: `squeue` tells of the other, and fails."""
    site.submit(1)
    site.says((0, "RUNNING"))
    (site.folder / "squeue.code").write_text("1")
    assert site.poll() == []
    assert site.launcher.running() == {"slurm-41-0"}


def test_an_end_is_told_once_and_as_the_system_tells_it(site: Site) -> None:
    site.submit(2)
    site.says((0, "FAILED"), (1, "RUNNING"), status="2304")
    assert site.poll() == [Exit("slurm-41-0", 9, "FAILED")]
    assert site.poll() == []
    assert site.launcher.living() == {"slurm-41-1"}


def test_workers_that_wait_are_counted_with_their_reasons(site: Site) -> None:
    assert site.launcher.waits_for() == ""
    site.submit(3)
    assert site.launcher.waits_for() == "3 waiting in Slurm"
    assert site.launcher.running() == set()
    site.says((0, "PENDING"), (1, "RUNNING"), (2, "PENDING"))
    assert site.poll() == []
    assert site.launcher.waits_for() == "2 waiting in Slurm (Priority)"
    assert site.launcher.running() == {"slurm-41-1"}


# Submissions.


@pytest.mark.parametrize(
    ("asked", "submitted"), [(1, 1), (500, 500), (501, 500), (3000, 500)]
)
def test_no_submission_has_more_than_five_hundred_jobs(
    asked: int, submitted: int, site: Site
) -> None:
    site.submit(asked)
    (call,) = site.calls("sbatch")
    assert f"--array=0-{submitted - 1} " in call
    assert len(site.launcher.living()) == submitted


def test_the_job_script_comes_on_standard_input(site: Site) -> None:
    site.submit(1)
    assert (site.folder / "sbatch.in").read_text() == site.slurm.script()


def test_commands_get_nothing_of_the_job_that_submits(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_MEM_PER_CPU", "SBATCH_EXPORT", "SQUEUE_FORMAT"):
        monkeypatch.setenv(name, "inherited")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    site.submit(1)
    site.says((0, "RUNNING"))
    site.poll()
    for program in ("sbatch", "squeue"):
        got = (site.folder / f"{program}.env").read_text()
        assert "inherited" not in got
        assert "SLURM_CONF=/etc/slurm.conf\n" in got


def test_twenty_refusals_in_a_row_stop_a_run_without_workers(site: Site) -> None:
    for _ in range(19):
        site.refuse()
    with pytest.raises(CannotStartError, match="QOSMaxSubmitJobLimit") as stopped:
        site.refuse()
    assert "Slurm refuses the workers' jobs" in str(stopped.value)
    assert len(site.calls("sbatch")) == 20


def test_refusals_are_counted_anew_after_a_submission(site: Site) -> None:
    for _ in range(19):
        site.refuse()
    site.submit(1)
    site.says((0, "COMPLETED"))
    assert [exit_.code for exit_ in site.poll()] == [0]
    for _ in range(19):
        site.refuse()
    with pytest.raises(CannotStartError):
        site.refuse()


def test_refusals_stop_no_run_that_has_a_worker(site: Site) -> None:
    site.submit(1)
    for _ in range(22):
        site.refuse()
    assert site.launcher.living() == {"slurm-41-0"}


def test_a_submission_that_fails_is_a_refusal_whatever_it_prints(site: Site) -> None:
    site.answers("sbatch", "41\n", "sbatch: error: Socket timed out\n", code=1)
    site.launcher.start(1)
    assert site.launcher.living() == set()


def test_a_submission_that_tells_no_job_is_a_refusal(site: Site) -> None:
    site.answers("sbatch", "Welcome to the cluster\n")
    for _ in range(19):
        site.launcher.start(1)
    assert site.launcher.living() == set()
    with pytest.raises(CannotStartError):
        site.launcher.start(1)


def test_workers_are_started_on_no_host_that_was_excluded(site: Site) -> None:
    site.submit(1)
    site.launcher.exclude("n7")
    site.launcher.exclude("n5")
    site.launcher.exclude("n7")
    site.submit(1)
    before, after = site.calls("sbatch")
    assert "--exclude" not in before
    assert "--exclude=n5,n7 " in after


def test_workers_of_lsf_are_started_on_no_host_that_was_excluded(site: Site) -> None:
    workers = LsfWorkers(kind="lsf", count=1)
    launcher = BatchLauncher(Lsf(workers, site.run_dir, "denoise-cafe"))
    launcher.exclude("n7")
    launcher.exclude("n5")
    site.answers("bsub", "Job <41> is submitted to queue <normal>.\n")
    launcher.start(1)
    (call,) = site.calls("bsub")
    assert "-R select[hname!='n5'] -R select[hname!='n7']" in call


def test_a_machine_without_the_batch_system_is_refused(site: Site) -> None:
    (site.path / "sbatch").unlink()
    with pytest.raises(InputError, match="'sbatch' is not on this machine"):
        site.launcher.start(1)


def test_what_slurm_would_not_take_is_refused_in_its_own_words(site: Site) -> None:
    site.launcher.check()
    (call,) = site.calls("sbatch")
    assert call.startswith("sbatch --test-only ")
    site.answers("sbatch", err="invalid partition specified: nowhere\n", code=1)
    with pytest.raises(InputError, match="invalid partition specified: nowhere"):
        site.launcher.check()


# Ends.


def test_what_waits_is_taken_back_and_what_has_begun_is_not(site: Site) -> None:
    """Worker 0 runs; 1 has begun since the last poll and shown itself; 2 and 3 wait."""
    site.submit(4)
    site.says((0, "RUNNING"), *((i, "PENDING") for i in (1, 2, 3)))
    site.poll()
    site.launcher.cancel_waiting({"slurm-41-1", "host-77"})
    cancelled = [call.split() for call in site.calls("scancel")]
    assert cancelled
    for call in cancelled:
        assert [word for word in call if word[0] != "-"][1:] == ["41_2", "41_3"]
    assert site.launcher.living() == {"slurm-41-0", "slurm-41-1"}


def test_nothing_is_cancelled_where_nothing_waits(site: Site) -> None:
    site.submit(1)
    site.launcher.cancel_waiting({"slurm-41-0"})
    assert site.calls("scancel") == []


def test_a_kill_ends_that_worker_alone_and_its_end_is_told_by_a_poll(
    site: Site,
) -> None:
    site.submit(2)
    site.launcher.kill("slurm-41-1")
    assert site.calls("scancel") == [
        "scancel --batch --signal=KILL 41_1",
        "scancel 41_1",
    ]
    assert site.launcher.living() == {"slurm-41-0", "slurm-41-1"}
    site.says((0, "RUNNING"), (1, "CANCELLED"))
    assert site.poll() == [Exit("slurm-41-1", None, "CANCELLED, Priority", "system")]


@pytest.mark.parametrize("count", [0, 2])
def test_the_end_of_all_ends_what_earlier_starts_have_left_too(
    count: int, site: Site
) -> None:
    if count:
        site.submit(count)
    site.launcher.end_all()
    assert site.calls("scancel") == [
        "scancel --state=PENDING --name=denoise-cafe",
        "scancel --batch --signal=KILL --name=denoise-cafe",
        "scancel --name=denoise-cafe",
    ]
    assert site.launcher.living() == set()
    assert site.launcher.ended() == []
