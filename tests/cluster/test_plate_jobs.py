"""The scenes of a plate on a batch system: one set of jobs for all of them.

A green run would mean nothing if each scene had jobs of its own: submissions and the
workers in the ledgers are counted.
"""

import os
import shlex
import signal
from pathlib import Path

import numpy as np
from scipy import ndimage

from harness import cli, ledger_lines, output_of, start, wait_until, write_config
from harness.clusters import Cluster
from harness.images import ROOT
from harness.plates import write_plate
from harness.waiting import PATIENCE, short_waits

WELLS = ("A1", "A1", "A2", "B1")

FIELDS = ("A/1/0", "A/1/1", "A/2/0", "B/1/0")

CODE = """
import sys, time
from pathlib import Path

def wait(block, context):
    while "worker" in sys.argv[0] and Path({flag!r}).exists():
        time.sleep(0.05)
    return block
"""


def test_a_plate_shares_its_jobs_and_goes_on_after_a_kill(
    cluster: Cluster, tmp_path: Path
) -> None:
    scenes = write_plate(tmp_path / "plate.czi", WELLS)
    flag = tmp_path / "flag"
    flag.touch()
    (tmp_path / "code.py").write_text(CODE.format(flag=str(flag)))
    config = write_config(
        tmp_path / "config.json",
        {
            "input": {"path": "plate.czi", "scene": "all"},
            "output": {"path": "plate.zarr"},
            "denoise": {"kind": "median", "size": {"y": 3, "x": 3}},
            "tasks": [{"kind": "function", "name": "f", "function": "code:wait"}],
            "workers": {
                "kind": cluster.kind,
                "count": 2,
                "memory_gib": 1,
                "environment": f"export PYTHONPATH={shlex.quote(str(ROOT))}",
            },
        },
    )
    plate = tmp_path / "plate.zarr"

    def lines(stage: str) -> list[str]:
        every = (ledger_lines(plate / field, stage) for field in FIELDS)
        return [line["worker"] for lines in every for line in lines]

    env = cluster.env | short_waits(idle=PATIENCE)
    process = start(config, env=env)
    wait_until(lambda: len(lines("denoise")) >= 2, "two scenes are denoised")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    flag.unlink()
    wait_until(lambda: not cluster.queue(), "workers have left")
    ended = cli(config, env=env)
    assert ended.returncode == 0, ended.stderr
    for field, voxels in zip(FIELDS, scenes, strict=True):
        wanted = ndimage.median_filter(voxels, (1, 1, 1, 3, 3))
        np.testing.assert_array_equal(output_of(plate / field), wanted)
    assert len(lines("denoise")) == len(lines("f")) == len(FIELDS)
    workers = set(lines("denoise") + lines("f"))
    assert len(workers) <= 4  # two of each start
    submissions = [
        c for c in cluster.calls(cluster.submits) if "--test-only" not in c.words
    ]
    assert len(submissions) <= 3
    assert not cluster.queue()
