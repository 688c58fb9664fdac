"""Jobs write the right bytes, and the batch system is called civilly.

A green run means nothing if the jobs never ran, or were looked for under a wrong name:
the calls and the workers in the ledger are counted.
"""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness import (
    REAL_WAITS,
    cli,
    config_for,
    ledger_lines,
    output_of,
    small_czi,
    small_image,
    wait_until,
    whole_image,
    write_config,
)
from harness.clusters import Cluster
from harness.frames import Frames

# The right bytes, and civil calls.


def test_jobs_write_the_same_bytes_as_local_workers_and_ndsafir(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Blocks that need their neighbours, to the byte of each file."""
    shape = (2, 1, 4, 64, 64)
    source = small_czi(tmp_path / "in.czi", shape)
    workers = {
        "local": {"kind": "local", "count": 1},
        cluster.kind: {"kind": cluster.kind, "count": 3, "memory_gib": 1},
    }
    trees = []
    for kind, settings in workers.items():
        output = tmp_path / f"{kind}.zarr"
        config = config_for(
            source,
            output,
            output={"dtype": "float32", "chunks": {"z": 4, "y": 16, "x": 16}},
            blocks={"shape": {"y": 32, "x": 32}},
        ) | {"workers": settings}
        done = cli(write_config(tmp_path / "config.json", config), env=cluster.env)
        assert done.returncode == 0, done.stderr
        wait_until(lambda: not cluster.queue(), "an empty queue")
        files = sorted(p for p in (output / "0").rglob("*") if p.is_file())
        trees.append({str(p.relative_to(output)): p.read_bytes() for p in files})
    lines = list(ledger_lines(output))
    assert len(lines) == 8
    assert {line["worker"].split("-")[0] for line in lines} == {cluster.kind}
    assert trees[0] == trees[1]
    expected = whole_image(small_image(shape), config)
    np.testing.assert_array_equal(output_of(output), expected)


def test_calls_stay_few_however_many_workers_wait(
    cluster: Cluster, frames: Callable[..., Frames]
) -> None:
    """40 workers of which 3 run at a time: at most one poll in 5 s."""
    it = frames(cluster, frames=40, seconds=2, count=40, **cluster.one_at_a_time)
    it.env = it.env | REAL_WAITS
    began = time.time()
    run = it.start()
    wait_until(lambda: len(cluster.queue()) == 40, "40 jobs in the queue")
    wait_until(lambda: len(cluster.running()) == 3, "3 jobs run")
    run.finish()
    it.check_nothing_is_left()
    it.check_result()
    minutes = (time.time() - began) / 60
    polls = [c.time for c in cluster.calls(cluster.polls) if c.caller == "-"]
    gaps = [b - a for a, b in itertools.pairwise(polls)]
    assert polls, "the run is too short to show anything"
    assert min(gaps, default=5) >= 5
    assert len(polls) <= 12 * minutes
    assert len(cluster.calls(cluster.submits)) <= 2 + 4 * minutes
    # A worker may ask for its own end, once.
    asked = [c.caller for c in cluster.calls(cluster.polls) if c.caller != "-"]
    assert len(asked) == len(set(asked))
