"""Workers started by hand, the scheduler as a job, and what can't work on a cluster."""

import re
import signal
import sys
from collections.abc import Callable

import pytest

from denoise_daisy.run_dir.exit_codes import EXIT_LEFT
from harness import ROOT, Run, short_waits, wait_until
from harness.clusters import Cluster
from harness.frames import FOR_EVER, GONE_SECONDS, Frames, submit

# By hand, and the scheduler as a job.


def test_workers_started_by_hand_can_do_all_the_work(
    cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """One as a job, one as a process of this machine; late ones do no harm."""
    it = frames(cluster, frames=12, seconds=FOR_EVER, count=0)
    run = it.start()
    wait_until((it.run_dir / "connection.json").exists, "connection.json")
    cluster.add_worker(it.run_dir, it.slow)
    it.wait_for_begun(1)
    words = [sys.executable, str(ROOT / "workers/block_worker.py"), str(it.run_dir)]
    by_hand = Run(words, it.slow, it.folder / "by-hand.log")
    it.at_end(by_hand)
    it.wait_for_begun(2)
    it.set_seconds(0.2)
    run.finish()
    # It may find the scheduler gone before it hears that all is done.
    assert by_hand.wait(GONE_SECONDS) in (0, EXIT_LEFT), by_hand.said
    assert len(it.workers()) == 2
    it.check_nothing_is_left()
    it.check_result()
    late = Run(words, it.slow, it.folder / "late.log")
    it.at_end(late)
    late.finish(GONE_SECONDS)
    it.check_result()


def scheduler(cluster: Cluster) -> str:
    """The job that the scheduler is, named after its output."""
    (job,) = {j.id for j in cluster.queue() if j.name == "denoise-out-scheduler"}
    return job


class TestCancelled:
    """On a fake LSF that takes its usual time to the second signal."""

    @pytest.fixture
    def lsf_settings(self) -> dict[str, float | str]:
        return {"KILL_INTERVAL": 10, "LAST_INTERVAL": 40}

    def test_a_scheduler_that_is_cancelled_stays_away_and_its_workers_leave(
        self, cluster: Cluster, frames: Callable[..., Frames]
    ) -> None:
        """In the middle of long blocks; the same run goes on later."""
        it = frames(cluster, frames=6, seconds=FOR_EVER, count=2)
        log = submit(it)
        it.wait_for_begun(2)
        cluster.cancel([scheduler(cluster)])
        it.check_nothing_is_left()
        assert "The job was" in log.read_text()
        assert it.done() == 0
        it.set_seconds(0)
        it.start().finish()
        it.check_result()


@pytest.mark.slurm
def test_a_scheduler_that_is_preempted_is_put_back_by_slurm(
    slurm_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    it = frames(slurm_cluster, frames=4, seconds=FOR_EVER, count=1, nodelist="n1")
    log = submit(it, "--partition=low", "--nodelist=n3")
    it.wait_for_begun(1)
    slurm_cluster.call(
        *("sbatch", "-p", "high", "-w", "n3", "--exclusive", "-o", "/dev/null"),
        *("--job-name", "other", "--wrap", "sleep 5"),
    )
    wait_until(lambda: "Stopping" in log.read_text(), "that it stops")
    it.set_seconds(0)
    wait_until(lambda: "or preempted" in log.read_text(), "its first end")
    wait_until(lambda: "exit code 0." in log.read_text(), "the end of the run")
    it.check_nothing_is_left()
    it.check_result()


@pytest.mark.slurm
def test_a_scheduler_that_is_told_to_leave_comes_back_until_all_is_done(
    slurm_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """The signal is the one that Slurm sends before a walltime ends."""
    it = frames(slurm_cluster, frames=6, seconds=FOR_EVER, count=2, max_retries=0)
    log = submit(it)
    it.wait_for_begun(2)
    slurm_cluster.call("scancel", "--batch", "--signal=USR1", scheduler(slurm_cluster))
    wait_until(lambda: "Stopping" in log.read_text(), "that it stops")
    it.let_go()
    wait_until(lambda: "exit code 143" in log.read_text(), "its first end")
    assert it.done() == 2
    it.set_seconds(0)
    wait_until(lambda: "exit code 0." in log.read_text(), "the end of the run")
    it.check_nothing_is_left()
    it.check_result()


# What can't work is said.


@pytest.mark.slurm
def test_an_unknown_partition_is_refused_before_anything_is_written(
    slurm_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    it = frames(slurm_cluster, frames=2, count=1, partition="nowhere")
    run = it.start()
    assert run.wait() == 2
    assert "invalid partition specified: nowhere" in run.said
    assert not it.output.exists()
    assert not it.run_dir.exists()
    assert slurm_cluster.queue() == []


def test_an_unknown_queue_is_reported_in_bsubs_words(
    lsf_cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """LSF has no dry run: its refusal comes with the first submission."""
    it = frames(lsf_cluster, frames=2, count=1, queue="nowhere")
    run = it.start()
    refusal = "nowhere: No such queue. Job not submitted."
    wait_until(lambda: refusal in run.said, refusal)
    if run.is_alive:
        run.signal(signal.SIGINT)
    assert run.wait() in (2, 5, 130)
    assert lsf_cluster.queue() == []


def test_an_address_that_workers_cant_reach_stops_the_run(
    cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """An address of the documentation's networks, which nobody has."""
    it = frames(cluster, frames=4, count=3, host="198.51.100.7")
    it.env |= short_waits(connect=3)
    run = it.start()
    assert run.wait() == 5, run.said
    assert re.search(r"can't reach the scheduler at 198\.51\.100\.7 port \d+", run.said)
    assert "firewall" in run.said
    assert "workers.host" in run.said
    it.check_nothing_is_left()
