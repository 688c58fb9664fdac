"""Jobs that nobody can reach or end: killed seldom, then given up, and not for ever.

A dead worker that counts as living keeps its block from all others.
"""

import pytest

from denoise_daisy.launchers.base import Exit
from harness.batch_site import Site, lsf_line

OUT_OF_REACH = Exit("slurm-41-0", None, "out of reach of Slurm", "system", "n0")


def watch(site: Site, seconds: int) -> dict[float, list[Exit]]:
    """Ask every second who has ended; when somebody had."""
    ends = {}
    for _ in range(seconds):
        site.time.now += 1
        if exits := site.launcher.ended():
            ends[site.time.now] = exits
    return ends


def run_one(site: Site, seconds: float = 0) -> None:
    """A worker that runs, for so long."""
    site.submit(1)
    site.says((0, "RUNNING"))
    site.poll()
    site.time.now += seconds


def test_a_kill_ends_that_worker_alone_and_its_end_is_told_by_a_poll(
    site: Site,
) -> None:
    site.submit(2)
    site.says((0, "RUNNING"), (1, "RUNNING"))
    site.poll()
    site.launcher.kill("slurm-41-1")
    assert site.calls("scancel") == [
        "scancel --batch --signal=KILL 41_1",
        "scancel 41_1",
    ]
    assert site.launcher.living() == {"slurm-41-0", "slurm-41-1"}
    site.says((0, "RUNNING"), (1, "CANCELLED"))
    (end,) = site.poll()
    assert end == Exit("slurm-41-1", None, "CANCELLED, Priority", "system", "n1")
    watch(site, 400)
    assert len(site.calls("scancel")) == 2, "it has ended"


@pytest.mark.parametrize("phase", ["RUNNING", "COMPLETING"])
def test_what_no_kill_ends_is_killed_three_times_and_given_up(
    phase: str, site: Site
) -> None:
    """However often it is asked for; a minute and two between the times."""
    run_one(site)
    site.says((0, phase))
    killed = site.time.now
    times: list[float] = []
    for _ in range(299):
        site.launcher.kill("slurm-41-0")
        calls = len(site.calls("scancel"))
        times += [site.time.now - killed] * (calls - 2 * len(times) > 0)
        site.time.now += 1
        assert site.launcher.ended() == []
    assert times == [0, 60, 180]
    assert site.launcher.living() == {"slurm-41-0"}
    assert watch(site, 400) == {killed + 300: [OUT_OF_REACH]}
    assert len(site.calls("scancel")) == 8, "once more, should its host come back"


def test_what_is_killed_is_given_up_though_nobody_answers(site: Site) -> None:
    run_one(site)
    site.is_away()
    site.answers("scancel", err="Unable to contact slurm controller\n", code=1)
    site.launcher.kill("slurm-41-0")
    killed = site.time.now
    assert watch(site, 400) == {killed + 300: [OUT_OF_REACH]}


def test_what_was_given_up_is_not_found_again(site: Site) -> None:
    """Or it would count as living once more."""
    run_one(site)
    site.launcher.kill("slurm-41-0")
    assert len(watch(site, 400)) == 1
    assert site.launcher.living() == set()
    site.answers("sbatch", "42\n")
    site.launcher.start(1)
    both = site.lines((0, "RUNNING")) + site.lines((0, "RUNNING"), array=42)
    site.answers("squeue", both)
    site.poll()
    assert site.launcher.living() == {"slurm-42-0"}


@pytest.mark.parametrize("stat", ["UNKWN", "ZOMBI"])
def test_a_job_whose_host_has_vanished_is_given_up(stat: str, site: Site) -> None:
    """Five minutes after LSF has lost it, and it is killed then, should it be back."""
    site.use_lsf()
    site.submit(1)
    site.answers("bjobs", lsf_line(1, "RUN"))
    site.poll()
    site.answers("bjobs", lsf_line(1, stat))
    assert site.poll() == []
    lost = site.time.now
    assert site.launcher.running() == {"lsf-41-1"}
    end = Exit("lsf-41-1", None, "out of reach of LSF", "system", "n7")
    assert watch(site, 400) == {lost + 300: [end]}
    assert site.calls("bkill") == ["bkill -s KILL 41[1]", "bkill 41[1]"]
    assert site.launcher.living() == set()


def test_a_host_that_is_back_in_time_has_lost_nothing(site: Site) -> None:
    site.use_lsf()
    site.submit(1)
    for _ in range(4):
        site.answers("bjobs", lsf_line(1, "UNKWN"))
        assert watch(site, 200) == {}
        site.answers("bjobs", lsf_line(1, "RUN"))
        assert watch(site, 20) == {}
    assert site.launcher.living() == {"lsf-41-1"}
    assert site.calls("bkill") == []


def test_a_job_that_is_long_about_to_end_is_given_up(site: Site) -> None:
    """Slurm says so as long as the job's node does not answer."""
    run_one(site)
    site.says((0, "COMPLETING"))
    assert site.poll() == []
    begun = site.time.now
    assert watch(site, 400) == {begun + 300: [OUT_OF_REACH]}
