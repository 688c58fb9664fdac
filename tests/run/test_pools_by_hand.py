"""Workers started by hand serve a task that has workers of its own."""

import subprocess
import sys
from collections.abc import Callable

from harness import ROOT, wait_until
from harness.pools import Pools

# Workers started by hand.


def test_a_worker_started_by_hand_serves_a_task(pools: Callable[..., Pools]) -> None:
    """It does that task's blocks, and no others."""
    it = pools(None, {"one": {"kind": "local", "count": 0}})
    run = it.start()
    it.wait_until_hands_are_wanted(run)
    assert it.done_by("one") == []
    worker = [sys.executable, "workers/block_worker.py", str(it.run_dir)]
    done = subprocess.run(
        [*worker, "--task", "one", "--name", "by-hand"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run.finish()
    assert set(it.done_by("one")) == {"by-hand"}
    it.check_nothing_is_left()
    it.check_result()


def test_a_run_and_a_worker_without_blocks_say_so(pools: Callable[..., Pools]) -> None:
    """The run waits for hands, though its other blocks have workers.

    A worker for a task without workers of its own ends at once, instead of waiting for
    blocks that never come.
    """
    it = pools(None, {"one": {"kind": "local", "count": 0}})
    run = it.start()
    it.wait_until_hands_are_wanted(run)
    wait_until(
        lambda: "waiting for manually started workers" in run.said,
        "that it says what it waits for",
    )
    worker = [sys.executable, "workers/block_worker.py", str(it.run_dir)]
    done = subprocess.run(
        [*worker, "--task", "another"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "another" in done.stderr
    assert done.returncode != 0
    assert run.is_alive, run.said
