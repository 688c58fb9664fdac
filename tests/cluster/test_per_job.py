"""Several workers in a job: real ones, of which some die or are warned.

A green run means nothing if each worker had a job of its own: the ledger names them.
"""

import os
import signal
from collections.abc import Callable

import pytest

from harness import wait_until
from harness.clusters import Cluster
from harness.frames import FOR_EVER, Frames


def name_of(cluster: Cluster) -> str:
    """How the workers of the only job are named."""
    (job,) = cluster.running()
    words = job.rstrip("]").replace("[", "_").split("_")
    return "-".join([cluster.kind, *words])


def hurt_one(it: Frames, number: signal.Signals) -> None:
    """Send a signal to the worker that has begun a block last."""
    _, pid = it.begun()[-1]
    os.kill(pid, number)


def test_a_worker_that_dies_is_replaced_in_its_job_and_ends_no_other(
    cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    it = frames(cluster, frames=6, seconds=FOR_EVER, count=2, per_job=2, max_retries=1)
    run = it.start()
    it.wait_for_begun(2)
    name = name_of(cluster)
    hurt_one(it, signal.SIGKILL)
    it.wait_for_begun(3)
    it.set_seconds(0)
    run.finish()
    (failed,) = it.lines("failed")
    assert failed["reason"] == "lost"
    assert failed["worker"] in {f"{name}-1", f"{name}-2"}
    assert it.workers() == {f"{name}-{i}" for i in (1, 2, 3)} - {failed["worker"]}
    it.check_nothing_is_left()
    it.check_result(failed=1)


def test_a_worker_that_is_stuck_is_ended_and_replaced_in_its_job(
    lsf_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    it = frames(
        lsf_cluster,
        frames=80,
        seconds=FOR_EVER,
        count=2,
        per_job=2,
        max_retries=1,
        block_timeout_minutes=0.5,
    )
    run = it.start()
    it.wait_for_begun(2)
    name = name_of(lsf_cluster)
    hurt_one(it, signal.SIGSTOP)
    it.set_seconds(3)
    wait_until(lambda: it.lines("failed"), "the stuck one is ended")
    wait_until(lambda: f"{name}-3" in it.workers(), "a block done by another")
    it.set_seconds(0)
    run.finish()
    (failed,) = it.lines("failed")
    assert failed["reason"] == "timeout", failed
    assert it.workers() == {f"{name}-{i}" for i in (1, 2, 3)} - {failed["worker"]}
    it.check_nothing_is_left()
    it.check_result(failed=1)


@pytest.mark.slurm
def test_whole_jobs_are_cancelled_and_replaced(
    slurm_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """At no cost of any block, and no process outlives its job."""
    it = frames(
        slurm_cluster,
        frames=10,
        seconds=FOR_EVER,
        count=4,
        per_job=2,
        max_retries=0,
    )
    run = it.start()
    it.wait_for_begun(4)
    jobs = slurm_cluster.running()
    assert len(jobs) == 2
    slurm_cluster.cancel(jobs[:1])
    wait_until(lambda: it.told_to_leave() == 2, "two workers told to leave")
    it.let_go()
    # Two go on with others, and a job of two comes in place of the other.
    it.wait_for_begun(8)
    it.set_seconds(0)
    run.finish()
    assert len({worker.rpartition("-")[0] for worker in it.workers()}) == 3
    assert it.blocks_begun() == 10
    it.check_nothing_is_left()
    it.check_result()
