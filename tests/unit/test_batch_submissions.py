"""Few submissions, and none whose jobs are not known: with a clock that jumps."""

import pytest

from denoise_daisy.launchers import batch_command
from denoise_daisy.launchers.base import CannotStartError
from denoise_daisy.launchers.batch_system import job_name
from denoise_daisy.waits import Waits
from harness.batch_site import Site, lsf_line

TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out\n"


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


def test_workers_are_started_on_no_host_that_was_excluded(site: Site) -> None:
    site.submit(1)
    for host in ("n7", "n5", "n7"):
        site.launcher.exclude(host)
    site.submit(1)
    before, after = site.calls("sbatch")
    assert "--exclude" not in before
    assert "--exclude=n5,n7 " in after


def test_workers_of_lsf_are_started_on_no_host_that_was_excluded(site: Site) -> None:
    site.use_lsf()
    for host in ("n7", "n5"):
        site.launcher.exclude(host)
    site.submit(1)
    (call,) = site.calls("bsub")
    assert "-R select[hname!='n5'] -R select[hname!='n7']" in call


# Refusals.


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
    site.says((0, "RUNNING"))
    for _ in range(22):
        site.refuse()
    assert site.launcher.living() == {"slurm-41-0"}


def test_a_submission_that_tells_no_job_is_a_refusal(site: Site) -> None:
    site.answers("sbatch", "Welcome to the cluster\n")
    for _ in range(19):
        site.launcher.start(1)
        site.poll()
    assert site.launcher.living() == set()
    with pytest.raises(CannotStartError):
        site.launcher.start(1)


def test_a_system_that_is_away_for_long_stops_a_run_without_workers(
    site: Site,
) -> None:
    """Neither submissions nor polls are answered."""
    site.answers("sbatch", err=TIMED_OUT, code=1)
    site.is_away()
    site.launcher.start(1)
    for _ in range(18):
        site.poll()
        site.launcher.start(1)
    site.poll()
    with pytest.raises(CannotStartError, match="Unable to contact slurm controller"):
        site.launcher.start(1)
    assert len(site.calls("sbatch")) == 1


# Submissions that were accepted all the same.


def accept_without_a_word(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission that has no answer in time, and is accepted nevertheless."""
    site.hangs(site.submits)
    with monkeypatch.context() as patched:
        patched.setattr(batch_command, "WAITS", Waits(command=0.3))
        site.launcher.start(3)


def test_jobs_that_were_accepted_with_an_error_are_found_by_their_name(
    site: Site,
) -> None:
    """Nothing is submitted before it is known what there is."""
    site.answers("sbatch", "41\n", TIMED_OUT, code=1)
    site.launcher.start(3)
    assert site.launcher.living() == set()
    site.is_away()
    for _ in range(3):
        site.poll()
        site.launcher.start(3)
    site.says((0, "RUNNING"), (1, "PENDING"), (2, "COMPLETED"))
    site.launcher.start(3)
    assert len(site.calls("sbatch")) == 1
    assert site.poll() == []
    assert site.launcher.living() == {"slurm-41-0", "slurm-41-1"}
    assert site.launcher.running() == {"slurm-41-0"}
    site.answers("sbatch", "42\n")
    site.launcher.start(1)
    assert site.launcher.living() == {"slurm-41-0", "slurm-41-1", "slurm-42-0"}


def test_jobs_of_a_submission_without_an_answer_are_found_by_their_name(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept_without_a_word(site, monkeypatch)
    site.says((0, "PENDING"), (1, "PENDING"), (2, "PENDING"))
    site.poll()
    assert site.launcher.living() == {"slurm-41-0", "slurm-41-1", "slurm-41-2"}
    site.says((0, "PENDING"), (1, "FAILED"), (2, "PENDING"), status="2304")
    assert [(e.worker, e.code) for e in site.poll()] == [("slurm-41-1", 9)]


def test_jobs_of_lsf_without_an_answer_are_found_by_their_name(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.use_lsf()
    accept_without_a_word(site, monkeypatch)
    site.answers("bjobs", lsf_line(1, "RUN") + lsf_line(2, "PEND"))
    site.poll()
    assert site.launcher.living() == {"lsf-41-1", "lsf-41-2"}


def test_jobs_that_show_late_are_found_while_others_run(site: Site) -> None:
    site.answers("sbatch", err=TIMED_OUT, code=1)
    site.launcher.start(1)
    site.poll()
    site.submit(1)
    site.says((0, "RUNNING"))
    site.poll()
    late = site.lines((0, "RUNNING"), (1, "RUNNING"), array=40)
    site.answers("squeue", site.lines((0, "RUNNING")) + late)
    site.poll()
    assert site.launcher.living() == {"slurm-41-0", "slurm-40-0", "slurm-40-1"}


def test_what_has_ended_or_leaves_is_not_found_again(site: Site) -> None:
    """Slurm tells of an earlier start's jobs as well, for some minutes."""
    site.answers("sbatch", err=TIMED_OUT, code=1)
    site.launcher.start(1)
    states = ("CANCELLED", "COMPLETED", "COMPLETING", "TIMEOUT")
    site.says(*enumerate(states))
    assert site.poll() == []
    assert site.launcher.living() == set()


# Names.


@pytest.mark.parametrize(
    ("output", "task", "expected"),
    [
        ("embryo_denoised.ome.zarr", "", "denoise-embryo_denoised-cafe"),
        ("out.zarr", "cells", "denoise-out-cafe-cells"),
        ("Ann's embryo, 2nd*[1].zarr", "", "denoise-Ann-s-embryo-2nd-1-cafe"),
        ("ünïcode", "", "denoise-n-code-cafe"),
        ("胚胎.zarr", "", "denoise-cafe"),
        ("x" * 300, "", f"denoise-{'x' * 40}-cafe"),
    ],
)
def test_the_name_of_jobs_tells_whose_they_are_and_is_legal(
    output: str, task: str, expected: str
) -> None:
    assert job_name(output, "cafe", task) == expected
