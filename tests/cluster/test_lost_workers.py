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
from harness.frames import FOR_EVER, Frames, submit

# Workers that are taken away.


def cancel(it: Frames, cluster: Cluster, jobs: list[str]) -> None:
    """Cancel workers in the middle of blocks, which they may finish if they live."""
    told = it.told_to_leave() + len(jobs)
    cluster.cancel(jobs)
    wait_until(
        lambda: it.told_to_leave() == told or not {*jobs} & {*cluster.running()},
        "those that are cancelled leave or are gone",
    )
    it.let_go()


def test_workers_cancelled_at_random_and_all_at_once_are_replaced(
    cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """Until the end, and no block's retries are spent: there are none."""
    it = frames(cluster, frames=24, seconds=FOR_EVER, count=3, max_retries=0)
    run = it.start()
    it.wait_for_begun(3)
    cancel(it, cluster, [job.id for job in cluster.queue()])
    it.wait_for_begun(6)
    cancel(it, cluster, cluster.running()[:1])
    # Two go on with others, and somebody comes in place of the third.
    it.wait_for_begun(9)
    it.set_seconds(1)
    cancelled, done = 0, it.done()
    while run.is_alive:
        time.sleep(2)
        running = cluster.running()
        # As long as it gets on: else a slow machine would never be done.
        if running and it.done() > done and cancelled < 6:
            done, cancelled = it.done(), cancelled + 1
            cluster.cancel([secrets.choice(running)])
    assert run.wait() == 0, run.said
    it.check_nothing_is_left()
    it.check_result()


@pytest.mark.slurm
def test_a_run_outlives_the_walltime_of_slurm_workers(
    slurm_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    it = frames(slurm_cluster, frames=60, seconds=4, count=2, time="1", max_retries=0)
    run = it.start()
    it.wait_for_workers(2)
    it.wait_for_workers(4)
    it.set_seconds(0)
    run.finish()
    it.check_result()
    assert it.blocks_begun() - it.done() <= len(it.workers())
    it.check_nothing_is_left()


def has_told(it: Frames, workers: int) -> bool:
    return it.told_to_leave() == workers


def test_a_run_outlives_the_walltime_of_lsf_workers(
    lsf_cluster: LsfCluster, frames: Callable[..., Frames]
) -> None:
    """The workers believe that they have an hour: it is LSF's signal that they obey."""
    it = frames(
        lsf_cluster,
        frames=8,
        seconds=FOR_EVER,
        count=2,
        walltime_minutes=60,
        max_retries=0,
    )
    run = it.start()
    for count in (2, 4):
        it.wait_for_begun(count)
        lsf_cluster.play("run_limit")
        wait_until(partial(has_told, it, count), f"{count} told to leave")
        it.let_go()
    it.wait_for_begun(6)
    it.set_seconds(0)
    run.finish()
    it.check_result()
    assert len(it.workers()) >= 6, "some did not obey"
    assert it.blocks_begun() == it.done()
    it.check_nothing_is_left()


def test_a_scheduler_outlives_its_own_walltime(
    lsf_cluster: LsfCluster, frames: Callable[..., Frames]
) -> None:
    """Each time with blocks in work, which are let go once it is stopping."""
    it = frames(lsf_cluster, frames=12, seconds=FOR_EVER, count=2, max_retries=0)
    log = submit(it, "-W", "1:00")

    def wait_for(stops: int, what: str) -> None:
        wait_until(lambda: log.read_text().count(what) == stops, f"{what!r}, {stops}")

    for stops in (1, 2):
        it.wait_for_begun(it.done() + 2)
        lsf_cluster.play("run_limit")
        wait_for(stops, "Stopping")
        it.let_go()
        wait_for(stops, "exit code 143")
        assert it.done() == 2 * stops
    it.set_seconds(0)
    wait_until(lambda: "exit code 0." in log.read_text(), "the end of the run")
    wait_until(lambda: not lsf_cluster.queue(), "an empty queue")
    it.check_result()


class TestShortMemory:
    """On a fake LSF that forgets jobs as soon as they have ended."""

    @pytest.fixture
    def lsf_settings(self) -> dict[str, float | str]:
        return {"CLEAN_PERIOD": 0}

    def test_jobs_that_lsf_has_forgotten_are_replaced(
        self, lsf_cluster: Cluster, frames: Callable[..., Frames]
    ) -> None:
        it = frames(lsf_cluster, frames=6, seconds=FOR_EVER, count=2, max_retries=0)
        run = it.start()
        it.wait_for_begun(2)
        lsf_cluster.cancel(lsf_cluster.running())
        it.wait_for_begun(4)
        it.set_seconds(0)
        run.finish()
        said = (it.run_dir / "logs/scheduler.log").read_text()
        assert said.count("was taken away (unknown to LSF)") == 2
        assert it.blocks_begun() == 6 + 2
        it.check_result()


def test_jobs_of_a_host_that_failed_are_replaced(
    lsf_cluster: LsfCluster, frames: Callable[..., Frames]
) -> None:
    it = frames(lsf_cluster, frames=8, seconds=FOR_EVER, count=3, max_retries=0)
    run = it.start()
    it.wait_for_begun(3)
    lsf_cluster.play("host_failure")
    it.wait_for_begun(6)
    it.set_seconds(0)
    run.finish()
    assert it.blocks_begun() == 8 + 3
    it.check_nothing_is_left()
    it.check_result()


@pytest.mark.slurm
def test_requeued_jobs_and_nodes_that_fall_away_do_no_harm(
    slurm_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """One worker per node: one is put back, one's node drained, one's node fails."""
    it = frames(
        slurm_cluster,
        frames=60,
        seconds=1.5,
        count=3,
        max_retries=0,
        extra_args=["--exclusive", "--requeue"],
    )
    run = it.start()
    it.wait_for_workers(3)
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
    it.set_seconds(0)
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
    it = frames(slurm_cluster, frames=8, seconds=FOR_EVER, count=2, max_retries=0)
    run = it.start()
    it.wait_for_begun(2)
    workers = slurm_cluster.running()
    for daemon in ("slurmctld", "munged"):
        pid = int((slurm / "pid" / f"{daemon}.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_until(partial(has_ended, pid), f"{daemon}'s end")
    polls = len(slurm_cluster.calls("squeue"))
    for begun in (4, 6):
        it.let_go()
        it.wait_for_begun(begun)
    wait_until(lambda: len(slurm_cluster.calls("squeue")) > polls + 1, "a poll in vain")
    local_slurm("start")
    assert slurm_cluster.running() == workers
    it.set_seconds(0)
    run.finish()
    assert it.blocks_begun() == 8
    it.check_nothing_is_left()
    it.check_result()


@pytest.mark.slurm
def test_preempted_workers_are_replaced(
    slurm_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    it = frames(
        slurm_cluster,
        frames=8,
        seconds=FOR_EVER,
        count=3,
        max_retries=0,
        partition="low",
        extra_args=["--exclusive"],
    )
    run = it.start()
    it.wait_for_begun(3)
    before = slurm_cluster.running()
    assert len(before) == 3
    slurm_cluster.call(
        *("sbatch", "-p", "high", "-N2", "--exclusive", "-o", "/dev/null"),
        *("--job-name", "other", "--wrap", "sleep 8"),
    )
    wait_until(partial(has_told, it, 2), "two workers told to leave")
    it.let_go()
    wait_until(
        lambda: len(set(before) & set(slurm_cluster.running())) == 1,
        "two workers of three preempted",
    )
    # The third goes on with another, and two come in place of the others.
    it.wait_for_begun(6)
    it.set_seconds(0)
    run.finish()
    assert it.blocks_begun() == 8
    it.check_nothing_is_left()
    it.check_result()
