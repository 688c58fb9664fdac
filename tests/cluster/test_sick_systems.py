"""A batch system that loses hosts, or does what it said it would not."""

import shutil
from collections.abc import Callable
from pathlib import Path

from harness import short_waits, wait_until
from harness.clusters import Cluster, LsfCluster
from harness.frames import FOR_EVER, Frames

SAYS_NO = """#!/bin/sh
{real} "$@" || exit
case "$*" in *--test-only*) exit ;; esac
echo "error: Job submission failed: Socket timed out on send/recv operation" >&2
exit 1
"""


def test_workers_of_a_host_that_vanishes_are_given_up_and_replaced(
    lsf_cluster: LsfCluster, frames: Callable[..., Frames]
) -> None:
    """LSF does not know what they do, and no kill reaches them."""
    it = frames(lsf_cluster, frames=8, seconds=FOR_EVER, count=3, max_retries=0)
    it.env |= short_waits(job_lost=5)
    run = it.start()
    it.wait_for_begun(3)
    assert len(lsf_cluster.running()) == 3
    lsf_cluster.play("host_vanishes")
    it.wait_for_begun(6)
    it.set_seconds(0)
    run.finish()
    assert it.blocks_begun() == 8 + 3
    assert "out of reach of LSF" in (it.run_dir / "logs/scheduler.log").read_text()
    by_id = [c for c in lsf_cluster.calls("bkill") if "-J" not in c.words]
    assert len(by_id) <= 2 * 3
    it.check_result()


def test_jobs_that_were_accepted_with_an_error_are_the_workers(
    cluster: Cluster, frames: Callable[..., Frames], tmp_path: Path
) -> None:
    """Every submission is: none is repeated while its jobs live."""
    folder = tmp_path / "bin"
    folder.mkdir()
    wrapper = folder / cluster.submits
    real = shutil.which(cluster.submits, path=cluster.env["PATH"])
    wrapper.write_text(SAYS_NO.format(real=real))
    wrapper.chmod(0o755)
    it = frames(cluster, frames=6, seconds=FOR_EVER, count=3)
    it.env |= {"PATH": f"{folder}:{it.env['PATH']}"}
    run = it.start()
    wait_until(lambda: it.blocks_begun() == 3 or not run.is_alive, "three blocks")
    polls = len(cluster.calls(cluster.polls))
    wait_until(lambda: len(cluster.calls(cluster.polls)) > polls + 2, "more polls")
    assert len(cluster.queue()) == 3
    submissions = [
        call
        for call in cluster.calls(cluster.submits)
        if "--test-only" not in call.words
    ]
    assert len(submissions) == 1
    it.set_seconds(0.2)
    run.finish()
    it.check_nothing_is_left()
    it.check_result()
