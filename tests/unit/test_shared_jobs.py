"""Several workers in a job: which of them live, and what becomes of those that do not.

The batch system is a stand-in, as in the other tests of its launcher; a test says how
workers end, in the place of their job.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy.errors import InputError
from denoise_daisy.launchers import shared_jobs
from denoise_daisy.launchers.base import CannotStartError, Exit
from denoise_daisy.launchers.batch import BatchLauncher
from denoise_daisy.launchers.lsf import LsfWorkers
from denoise_daisy.launchers.shared_jobs import SharedJobs
from denoise_daisy.launchers.slurm import SlurmWorkers
from denoise_daisy.launchers.workers import BatchWorkers
from denoise_daisy.run_dir.shared_jobs import remove_all_wanted
from denoise_daisy.run_dir.worker_states import WorkerState, write_state
from harness import config_for, load
from harness.batch_site import Site


class Shared:
    """Jobs of three workers each, on a site with Slurm."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared_jobs, "time", site.time)
        self.site, self.run_dir = site, site.run_dir
        self.run_dir.make([])
        self.launcher = SharedJobs(site.launcher, self.run_dir, 3)

    def submit(self, count: int, array: int = 41) -> None:
        """Start workers, if need be as the elements of that array."""
        self.site.answers("sbatch", f"{array}\n")
        self.launcher.start(count)

    def run(self, jobs: int) -> None:
        """So many jobs run."""
        self.submit(3 * jobs)
        self.says(*((i, "RUNNING") for i in range(jobs)))
        assert self.look() == []

    def says(self, *jobs: tuple[int, str], status: str = "0") -> None:
        self.site.says(*jobs, status=status)

    def look(self, seconds: float = 130) -> list[Exit]:
        """What has ended after so much time."""
        self.site.time.now += seconds
        return self.launcher.ended()

    def tells(self, job: int, ends: dict[int, int]) -> None:
        """A job of the array 41 tells how its workers have ended."""
        values = {f"slurm-41-{job}-{i}": code for i, code in ends.items()}
        file = self.run_dir.logs / f"slurm-41-{job}.ends"
        file.write_text(json.dumps(values))

    def wanted(self, job: int) -> list[str]:
        """What a job was told."""
        file = self.run_dir.workers / f"slurm-41-{job}.wanted"
        return list(json.loads(file.read_text()))

    def submitted(self) -> list[str]:
        """The arrays that were submitted."""
        words = [call.split() for call in self.site.calls("sbatch")]
        return [w.removeprefix("--array=") for ws in words for w in ws if "array" in w]


@pytest.fixture
def shared(site: Site, monkeypatch: pytest.MonkeyPatch) -> Shared:
    return Shared(site, monkeypatch)


def names(job: int, *numbers: int) -> set[str]:
    return {f"slurm-41-{job}-{i}" for i in numbers}


# Starts.


def test_whole_jobs_are_submitted_and_all_their_workers_live(shared: Shared) -> None:
    shared.submit(6)
    assert shared.submitted() == ["0-1"]
    assert shared.launcher.living() == names(0, 1, 2, 3) | names(1, 1, 2, 3)
    assert shared.launcher.running() == set()
    assert shared.launcher.waits_for() == "2 waiting in Slurm"
    shared.says((0, "RUNNING"), (1, "PENDING"))
    assert shared.look() == []
    assert shared.launcher.running() == names(0, 1, 2, 3)


def test_less_than_a_job_is_submitted_only_where_nobody_lives(shared: Shared) -> None:
    shared.submit(2)
    assert shared.submitted() == ["0-0"]
    shared.submit(2)
    shared.submit(5, array=42)
    assert shared.submitted() == ["0-0", "0-0"]


def test_a_system_that_goes_on_refusing_ends_the_run(shared: Shared) -> None:
    shared.site.answers("sbatch", err="QOSMaxSubmitJobLimit\n", code=1)
    for _ in range(19):
        shared.launcher.start(1)
        shared.look()
    with pytest.raises(CannotStartError, match="QOSMaxSubmitJobLimit"):
        shared.launcher.start(1)


def test_jobs_that_were_accepted_all_the_same_have_workers_as_well(
    shared: Shared,
) -> None:
    shared.run(1)
    shared.says((0, "RUNNING"), (5, "RUNNING"))
    assert shared.look() == []
    assert shared.launcher.running() == names(0, 1, 2, 3) | names(5, 1, 2, 3)


# Ends.


def test_an_end_is_told_once_and_its_jobs_others_live(shared: Shared) -> None:
    shared.run(2)
    shared.tells(0, {2: -9})
    assert shared.look(2) == [Exit("slurm-41-0-2", -9, host="n0")]
    assert shared.look() == []
    assert shared.launcher.living() == names(0, 1, 3) | names(1, 1, 2, 3)
    assert set(shared.wanted(0)) == names(0, 1, 3)


def test_jobs_are_looked_after_every_other_second(shared: Shared) -> None:
    shared.run(1)
    shared.tells(0, {1: 0})
    assert shared.look(1.9) == []
    assert shared.look(0.1) == [Exit("slurm-41-0-1", 0, host="n0")]


def test_those_that_ended_are_replaced_where_they_were(shared: Shared) -> None:
    """As many as are asked for, in names that nobody had."""
    shared.run(2)
    shared.tells(0, {1: 1, 2: 0})
    shared.tells(1, {3: 1})
    assert len(shared.look()) == 3
    shared.submit(2)
    assert shared.wanted(0) == ["slurm-41-0-3", "slurm-41-0-4", "slurm-41-0-5"]
    assert set(shared.wanted(1)) == names(1, 1, 2)
    shared.submit(1)
    assert set(shared.wanted(1)) == names(1, 1, 2, 4)
    shared.tells(0, {1: 1, 2: 0, 4: 1})
    assert shared.look() == [Exit("slurm-41-0-4", 1, host="n0")]
    shared.submit(4, array=42)
    assert set(shared.wanted(0)) == names(0, 3, 5, 6)
    assert shared.submitted() == ["0-1", "0-0"]


def test_a_job_whose_workers_have_all_ended_gets_no_others(shared: Shared) -> None:
    """It is over, although the batch system does not say so yet."""
    shared.run(1)
    shared.tells(0, {1: 0, 2: 0, 3: 0})
    assert len(shared.look(2)) == 3
    assert shared.launcher.living() == set()
    shared.submit(1, array=42)
    assert shared.wanted(0) == []
    assert shared.submitted() == ["0-0", "0-0"]


def test_a_job_that_a_worker_left_for_want_of_time_gets_no_others(
    shared: Shared,
) -> None:
    shared.run(2)
    shared.tells(0, {2: 75})
    shared.tells(1, {2: 0})
    assert len(shared.look()) == 2
    shared.submit(2)
    assert set(shared.wanted(0)) == names(0, 1, 3)
    assert set(shared.wanted(1)) == names(1, 1, 3, 4)


def test_a_job_on_a_host_that_is_excluded_gets_no_others(shared: Shared) -> None:
    shared.run(2)
    shared.tells(0, {1: 1})
    shared.tells(1, {1: 1})
    assert len(shared.look()) == 2
    shared.launcher.exclude("n0")
    shared.submit(2)
    assert set(shared.wanted(0)) == names(0, 2, 3)
    assert set(shared.wanted(1)) == names(1, 2, 3, 4)
    shared.submit(3, array=42)
    assert "--exclude=n0" in shared.site.calls("sbatch")[-1]


@pytest.mark.parametrize(
    ("state", "status", "first", "other"),
    [
        pytest.param(
            "FAILED",
            "256",
            Exit("", 1, "FAILED", "itself", "n0"),
            Exit("", 1, "FAILED", "system", "n0"),
            id="what failed is the job's own and counts once",
        ),
        *(
            pytest.param(state, "0", same, same, id=state)
            for state, same in {
                "COMPLETED": Exit("", 0, "COMPLETED", "itself", "n0"),
                "TIMEOUT": Exit("", None, "TIMEOUT, Priority", "walltime", "n0"),
                "PREEMPTED": Exit("", None, "PREEMPTED, Priority", "system", "n0"),
            }.items()
        ),
    ],
)
def test_what_a_job_did_not_tell_of_ends_as_the_job_does(
    state: str, status: str, first: Exit, other: Exit, shared: Shared
) -> None:
    shared.run(2)
    shared.tells(0, {2: -11})
    shared.says((0, state), (1, "RUNNING"), status=status)
    ends = {end.worker: end for end in shared.look()}
    assert ends == {
        "slurm-41-0-1": named(first, "slurm-41-0-1"),
        "slurm-41-0-2": Exit("slurm-41-0-2", -11, host="n0"),
        "slurm-41-0-3": named(other, "slurm-41-0-3"),
    }
    assert shared.launcher.living() == names(1, 1, 2, 3)
    assert not list(shared.run_dir.workers.glob("slurm-41-0.*"))


@pytest.mark.parametrize(
    ("peaks", "greedy"),
    [
        pytest.param({1: 300, 2: 9000, 3: 4000}, 3, id="not one that had ended"),
        pytest.param({1: 300, 3: 200}, 1, id="the first"),
        pytest.param({3: 1}, 3, id="one that has no state"),
    ],
)
def test_of_a_job_that_took_too_much_memory_the_worker_that_took_most_is_blamed(
    peaks: dict[int, int], greedy: int, shared: Shared
) -> None:
    """The blocks of the others are only done again."""
    shared.run(2)
    for number, peak in peaks.items():
        name = f"slurm-41-0-{number}"
        state = WorkerState(name, "n0", 7, "", "denoise", (0, 0, 0, 0), 0.0, peak)
        write_state(shared.run_dir, state)
    shared.tells(0, {2: -11})
    shared.says((0, "OUT_OF_MEMORY"), (1, "RUNNING"))
    ends = {end.worker: end for end in shared.look()}
    assert {
        name: (end.code, end.why, end.by, end.host) for name, end in ends.items()
    } == {
        f"slurm-41-0-{greedy}": (None, "OUT_OF_MEMORY", "memory", "n0"),
        f"slurm-41-0-{4 - greedy}": (None, "OUT_OF_MEMORY", "system", "n0"),
        "slurm-41-0-2": (-11, "", "itself", "n0"),
    }


def named(end: Exit, worker: str) -> Exit:
    return Exit(worker, end.code, end.why, end.by, end.host)


def test_an_end_is_not_lost_where_it_can_not_be_passed_on(shared: Shared) -> None:
    shared.run(1)
    shared.tells(0, {2: -9})
    (shared.run_dir.workers / "slurm-41-0.wanted").mkdir()
    with pytest.raises(OSError, match=r"slurm-41-0\.wanted"):
        shared.look()
    (shared.run_dir.workers / "slurm-41-0.wanted").rmdir()
    assert shared.look(0) == [Exit("slurm-41-0-2", -9, host="n0")]
    assert set(shared.wanted(0)) == names(0, 1, 3)


def test_nonsense_in_a_file_of_a_job_is_no_news(shared: Shared) -> None:
    shared.run(1)
    (shared.run_dir.logs / "slurm-41-0.ends").write_text("{")
    assert shared.look() == []


# Kills.


def test_a_kill_is_passed_on_to_the_job_which_goes_on(shared: Shared) -> None:
    shared.run(1)
    shared.launcher.kill("slurm-41-0-2")
    assert set(shared.wanted(0)) == names(0, 1, 3)
    assert shared.look(299) == []
    assert shared.launcher.running() == names(0, 1, 2, 3)
    assert shared.site.calls("scancel") == []
    shared.tells(0, {2: -9})
    assert shared.look() == [Exit("slurm-41-0-2", -9, host="n0")]
    assert shared.look(400) == []
    assert shared.site.calls("scancel") == []


def test_a_job_that_does_not_end_a_worker_is_cancelled_with_all_processes(
    site: Site, shared: Shared
) -> None:
    workers = SlurmWorkers(kind="slurm", count=3, per_job=3)
    made = workers.launcher(shared.run_dir, "cafe", "")
    assert isinstance(made, SharedJobs)
    shared.launcher = made
    shared.run(1)
    shared.launcher.kill("slurm-41-0-2")
    shared.look(299)
    shared.launcher.kill("slurm-41-0-2")
    assert site.calls("scancel") == []
    shared.look(1)
    assert site.calls("scancel") == [
        "scancel --full --signal=KILL 41_0",
        "scancel 41_0",
    ]


def test_what_waits_is_taken_back_in_whole_jobs(shared: Shared) -> None:
    shared.submit(9)
    shared.says((0, "RUNNING"), (1, "PENDING"), (2, "PENDING"))
    shared.look()
    shared.launcher.cancel_waiting({"slurm-41-1-2", "host-7"})
    assert shared.site.calls("scancel")[-1] == "scancel 41_2"
    assert shared.launcher.living() == names(0, 1, 2, 3) | names(1, 1, 2, 3)


def test_the_end_of_all_leaves_nothing(shared: Shared) -> None:
    shared.run(2)
    shared.tells(0, {1: 0})
    shared.look()
    shared.launcher.end_all()
    assert shared.launcher.living() == set()
    assert shared.look() == []
    assert not list(shared.run_dir.workers.iterdir())


def test_what_earlier_starts_have_told_their_jobs_is_deleted(shared: Shared) -> None:
    shared.run(2)
    for job in (0, 1):
        shared.launcher.kill(f"slurm-41-{job}-1")
    (shared.run_dir.workers / "other.json").touch()
    remove_all_wanted(shared.run_dir)
    assert [f.name for f in shared.run_dir.workers.iterdir()] == ["other.json"]


# The config.


@pytest.mark.parametrize(
    "alone", [SlurmWorkers(kind="slurm", count=6), LsfWorkers(kind="lsf", count=6)]
)
def test_a_worker_alone_in_its_job_is_a_job(alone: BatchWorkers, site: Site) -> None:
    assert isinstance(alone.launcher(site.run_dir, "cafe", ""), BatchLauncher)


def config(**workers: Any) -> dict[str, Any]:
    return config_for(Path("in.czi"), Path("out.zarr")) | {
        "workers": {"kind": "lsf"} | workers
    }


def test_a_number_of_workers_that_makes_no_whole_jobs_is_refused() -> None:
    said = "'workers.per_job' is 8, expected a number that divides workers.count"
    with pytest.raises(InputError, match=f"{said}, which is 50"):
        load(config(count=50, per_job=8))
    assert load(config(count=48, per_job=8)).workers.number == 48


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        (48, " in 6 jobs of 8"),
        (9, " in 2 jobs of 8"),
        (8, " in 1 job of 8"),
        (3, " in 1 job of 8"),
    ],
)
def test_jobs_are_counted_in_words(workers: int, words: str) -> None:
    assert LsfWorkers(kind="lsf", count=48, per_job=8).jobs_of(workers) == words
