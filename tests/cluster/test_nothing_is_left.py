"""Nothing of a run is left in the queue or on a node, however it ends.

Whoever expects an empty queue has seen it full before, and the queue is asked for all
jobs of this program, not only for those of one run.
"""

import os
import signal
import time
from collections.abc import Callable
from functools import partial

from harness import Run, processes_of, short_waits, wait_until
from harness.clusters import Cluster
from harness.frames import FOR_EVER, Frames

# Nothing of ours is left, however a run ends.


def test_nothing_is_left_after_blocks_that_fail(
    cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    it = frames(cluster, frames=6, marked=2, count=2, max_retries=1)
    run = it.start()
    assert run.wait() == 3, run.said
    it.check_nothing_is_left()
    assert "1 of 6 blocks of denoise failed for good" in run.said
    assert "block [2, 0, 0, 0] (t z y x): exception" in run.said
    assert "this block is bad" in run.said
    assert it.done() == 5
    failed = it.lines("failed")
    assert len(failed) == 2
    assert len({line["worker"] for line in failed}) == 2


def is_stopping(run: Run) -> bool:
    return "Stopping" in run.said


def test_nothing_is_left_after_ctrl_c_and_after_sigterm(
    cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """Blocks in flight finish, and the next start goes on."""
    it = frames(cluster, frames=6, seconds=FOR_EVER, count=2)
    for number, done in ((signal.SIGINT, 2), (signal.SIGTERM, 4)):
        run = it.start()
        it.wait_for_begun(done)
        assert cluster.queue()
        run.signal(number)
        wait_until(partial(is_stopping, run), "that it stops")
        it.let_go()
        assert run.wait() == 128 + number, run.said
        it.check_nothing_is_left()
        assert it.blocks_begun() == it.done() == done
    it.set_seconds(0)
    it.start().finish()
    it.check_nothing_is_left()
    it.check_result()


def test_a_second_ctrl_c_ends_workers_in_the_middle_of_a_block(
    cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    it = frames(cluster, frames=4, seconds=FOR_EVER, count=2)
    # By themselves they would stay.
    it.env |= short_waits(last_block=300)
    run = it.start()
    it.wait_for_begun(2)
    run.signal(signal.SIGINT)
    wait_until(partial(is_stopping, run), "that it stops")
    time.sleep(2)
    assert len(processes_of(it.run_dir)) == 2
    run.signal(signal.SIGINT)
    assert run.wait() == 130, run.said
    it.check_nothing_is_left()
    assert it.lines("failed") == []


def test_workers_leave_by_themselves_when_the_scheduler_is_killed(
    cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    it = frames(cluster, frames=6, seconds=FOR_EVER, count=4, **cluster.one_at_a_time)
    run = it.start()
    it.wait_for_begun(3)
    assert [job.runs for job in cluster.queue()].count(False) == 1
    run.signal(signal.SIGKILL)
    run.wait()
    it.let_go()
    it.check_nothing_is_left()
    assert it.done() < 6
    # What the killed scheduler left lying about misleads nobody.
    assert (it.run_dir / "connection.json").exists()
    it.set_seconds(0)
    it.start().finish()
    it.check_nothing_is_left()
    it.check_result()


def test_a_queue_too_full_is_waited_for_and_left_clean(
    cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """No worker ever starts: Ctrl-C, kill -9, a new start, and jobs that come late."""
    it = frames(cluster, frames=6, count=3)
    others = cluster.fill()

    run = it.start()
    wait_until(lambda: len(cluster.queue()) == 3, "3 jobs in the queue")
    waits = f"3 waiting in {cluster.name}"
    wait_until(lambda: waits in run.said, f"{waits!r}, but it says {run.said}")
    if cluster.kind == "slurm":
        wait_until(lambda: "(Resources" in run.said, "the reason")
    killed = {job.id for job in cluster.queue()}
    run.signal(signal.SIGKILL)
    run.wait()
    assert {job.id for job in cluster.queue()} == killed

    run = it.start()
    wait_until(
        lambda: (
            len(now := {job.id for job in cluster.queue()}) == 3 and not now & killed
        ),
        "new jobs in place of those of the killed run",
    )
    run.signal(signal.SIGINT)
    assert run.wait() == 130, run.said
    it.check_nothing_is_left()

    run = it.start()
    wait_until(lambda: len(cluster.queue()) == 3, "3 jobs in the queue")
    late = [job.id for job in cluster.queue()]
    run.signal(signal.SIGKILL)
    run.wait()
    # As if it had been killed a minute ago.
    lock = it.run_dir / "lock"
    os.utime(lock, (time.time() - 60, time.time() - 60))
    cluster.cancel(others)
    it.check_nothing_is_left()
    assert cluster.exits(late) == ["0", "0", "0"]
    assert it.done() == 0
    assert it.blocks_begun() == 0

    it.start().finish()
    it.check_result()
