"""Workers that a batch system takes away are replaced, and no block pays for it.

A green run means nothing if the jobs ended before they were hurt, so every test counts
what it hurt; no block has retries.
"""

import os
import secrets
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from harness import wait_until
from harness.clusters import Cluster, LsfCluster, local_slurm
from harness.frames import Frames, submit

# Workers that are taken away.


def test_workers_cancelled_at_random_and_all_at_once_are_replaced(
    cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """Until the end, and no block's retries are spent: there are none."""
    it = frames(cluster, frames=30, seconds=1, count=3, max_retries=0)
    run = it.start()
    cancelled, done = 0, 0
    while run.is_alive:
        time.sleep(2)
        running = cluster.running()
        # As long as it gets on: else a slow machine would never be done.
        if running and it.done() > done:
            done, cancelled = it.done(), cancelled + 1
            everyone = [job.id for job in cluster.queue()]
            cluster.cancel(everyone if cancelled == 2 else [secrets.choice(running)])
    assert run.wait() == 0, run.said
    assert cancelled >= 2, "all at once was never reached"
    it.check_nothing_is_left()
    it.check_result()


@pytest.mark.slurm
def test_a_run_outlives_the_walltime_of_slurm_workers(
    slurm_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    it = frames(slurm_cluster, frames=28, seconds=4, count=2, time="1", max_retries=0)
    run = it.start()
    run.finish()
    it.check_result()
    assert len(it.workers()) >= 4, "the walltime was never reached"
    assert it.blocks_begun() - it.done() <= len(it.workers())
    it.check_nothing_is_left()


def test_a_run_outlives_the_walltime_of_lsf_workers(
    lsf_cluster: LsfCluster, frames: Callable[..., Frames]
) -> None:
    """The workers believe that they have an hour: it is LSF's signal that they obey."""
    it = frames(
        lsf_cluster, frames=24, seconds=1, count=2, walltime_minutes=60, max_retries=0
    )
    run = it.start()
    for count in (2, 4):
        it.wait_for_workers(count)
        lsf_cluster.play("run_limit")
    run.finish()
    it.check_result()
    assert len(it.workers()) >= 6, "some did not obey"
    assert it.blocks_begun() == it.done()
    it.check_nothing_is_left()


def test_a_scheduler_outlives_its_own_walltime(
    lsf_cluster: LsfCluster, frames: Callable[..., Frames]
) -> None:
    """Each time with blocks in work, which are let go once it is stopping."""
    it = frames(lsf_cluster, frames=12, seconds=600, count=2, max_retries=0)
    log = submit(it, "-W", "1:00")

    def wait_for(stops: int, what: str) -> None:
        wait_until(lambda: log.read_text().count(what) == stops, f"{what!r}, {stops}")

    for stops in (1, 2):
        it.wait_for_begun(it.done() + 2)
        lsf_cluster.play("run_limit")
        wait_for(stops, "Stopping")
        it.set_seconds(0)
        it.wait_for_done(2 * stops)
        it.set_seconds(600)
        wait_for(stops, "exit code 143")
    it.set_seconds(0)
    wait_until(lambda: "exit code 0." in log.read_text(), "the end of the run")
    wait_until(lambda: not lsf_cluster.queue(), "an empty queue")
    it.check_result()


class TestShortMemory:
    """On a fake LSF that forgets jobs as soon as they have ended."""

    @pytest.fixture
    def lsf_settings(self) -> dict[str, float | str]:
        return {"CLEAN_PERIOD": 0.5}

    def test_jobs_that_lsf_has_forgotten_are_replaced(
        self, lsf_cluster: Cluster, frames: Callable[..., Frames]
    ) -> None:
        it = frames(lsf_cluster, frames=10, seconds=1, count=2, max_retries=0)
        run = it.start()
        it.wait_for_done(2)
        lsf_cluster.cancel(lsf_cluster.running())
        run.finish()
        it.check_result()


def test_jobs_of_a_host_that_failed_are_replaced(
    lsf_cluster: LsfCluster, frames: Callable[..., Frames]
) -> None:
    it = frames(lsf_cluster, frames=12, seconds=1, count=3, max_retries=0)
    run = it.start()
    it.wait_for_done(2)
    lsf_cluster.play("host_failure")
    run.finish()
    assert len(it.workers()) > 3
    it.check_nothing_is_left()
    it.check_result()


@pytest.mark.slurm
def test_requeued_jobs_and_nodes_that_fall_away_do_no_harm(
    slurm_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """One worker per node: one is put back, one's node drained, one's node fails."""
    it = frames(
        slurm_cluster,
        frames=30,
        seconds=1.5,
        count=3,
        max_retries=0,
        extra_args=["--exclusive", "--requeue"],
    )
    run = it.start()
    it.wait_for_done(3)
    assert len(slurm_cluster.running()) == 3
    slurm_cluster.call("scontrol", "requeue", slurm_cluster.running()[0])
    try:
        for node, state in (("n2", "DRAIN"), ("n3", "DOWN")):
            it.wait_for_done(it.done() + 2)
            slurm_cluster.call(
                *("scontrol", "update", f"nodename={node}", f"state={state}"),
                "reason=test",
            )
        it.wait_for_done(it.done() + 2)
    finally:
        for node in ("n2", "n3"):
            slurm_cluster.call(
                *("scontrol", "update", f"nodename={node}", "state=RESUME"),
                check=False,
            )
    run.finish()
    it.check_nothing_is_left()
    it.check_result()


def has_ended(pid: int) -> bool:
    return not psutil.pid_exists(pid)


@pytest.mark.slurm
def test_a_controller_and_a_munge_that_come_back_do_no_harm(
    slurm: Path, slurm_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """Slurmctld is away for a while, munged with it; jobs run on meanwhile."""
    it = frames(slurm_cluster, frames=40, seconds=2, count=2, max_retries=0)
    run = it.start()
    it.wait_for_done(2)
    workers = slurm_cluster.running()
    for daemon in ("slurmctld", "munged"):
        pid = int((slurm / "pid" / f"{daemon}.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_until(partial(has_ended, pid), f"{daemon}'s end")
    it.wait_for_done(it.done() + 10)
    local_slurm("start")
    assert slurm_cluster.running() == workers
    run.finish()
    it.check_nothing_is_left()
    it.check_result()


@pytest.mark.slurm
def test_preempted_workers_are_replaced(
    slurm_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    it = frames(
        slurm_cluster,
        frames=24,
        seconds=1,
        count=3,
        max_retries=0,
        partition="low",
        extra_args=["--exclusive"],
    )
    run = it.start()
    it.wait_for_done(3)
    before = slurm_cluster.running()
    assert len(before) == 3
    slurm_cluster.call(
        *("sbatch", "-p", "high", "-N2", "--exclusive", "-o", "/dev/null"),
        *("--job-name", "other", "--wrap", "sleep 8"),
    )
    wait_until(
        lambda: len(set(before) & set(slurm_cluster.running())) == 1,
        "two workers of three preempted",
    )
    run.finish()
    it.check_nothing_is_left()
    it.check_result()
