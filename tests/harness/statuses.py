"""How far runs are that never were: made by hand, for the pages that show it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from denoise_daisy.forecast import TimeLeft
from denoise_daisy.monitoring.history import History, rows_of
from denoise_daisy.monitoring.values import (
    DONE,
    FAILED,
    ORPHANED,
    RUNNING,
    FailedBlock,
    RunStatus,
    Scheduler,
    SlowBlock,
    StageStatus,
    WorkerNow,
)

NOW = 1_796_000_000.0
"""When they were looked at, in seconds since 1970."""

HOSTILE = (
    "</script><script>document.title='harmed'</script>\"'><img src=x:y onerror=z>"
    "&amp;{{ 7 * 7 }}\nthe next line \u202e \udcff"
)
"""What a page must show as it is."""


def states_of(grid: Sequence[int], done: float = 0.0, **others: int) -> np.ndarray:
    """States of the blocks of a grid: of the first that share is done, then others."""
    states = np.zeros(math.prod(grid), np.uint8)
    at = int(done * states.size)
    states[:at] = DONE
    codes = {"running": RUNNING, "failed": FAILED, "orphaned": ORPHANED}
    for name, number in others.items():
        states[at : at + number] = codes[name]
        at += number
    return states


def stage(
    name: str, grid: Sequence[int], states: np.ndarray, **more: Any
) -> StageStatus:
    """A stage with blocks in these states."""
    counts = np.bincount(states, minlength=5).tolist()
    values: dict[str, Any] = {
        "name": name,
        "task": name.partition(".")[0],
        "reads": (),
        "grid": tuple(grid),
        "block_shape": (1, 16, 512, 512),
        "blocks": states.size,
        "done": counts[DONE],
        "running": counts[RUNNING],
        "failed": counts[FAILED],
        "orphaned": counts[ORPHANED],
        "left": counts[0] + counts[RUNNING],
        "as_is": 0,
        "is_deleted": False,
        "given_up": "",
        "seconds": 41.5,
        "states": states,
    }
    return StageStatus(**values | more)


def failed(block: tuple[int, ...] = (0, 1, 2, 3), **more: Any) -> FailedBlock:
    """A block that failed."""
    values: dict[str, Any] = {
        "stage": "denoise",
        "block": block,
        "attempts": 3,
        "is_given_up": True,
        "reason": "exception",
        "error": "ValueError: no cell in this block",
        "where": "/home/anna/mine.py:12, in count",
        "traceback": "Traceback (most recent call last):\n  File mine.py\nValueError",
        "traceback_file": "/data/a b/out.zarr.run/logs/failed.txt",
        "worker": "w-3",
        "host": "node07",
        "time": "2026-11-29T15:20:01Z",
    }
    return FailedBlock(**values | more)


def worker(number: int, **more: Any) -> WorkerNow:
    """A worker at a block."""
    values: dict[str, Any] = {
        "worker": f"worker-{number}",
        "host": f"node{number:02d}",
        "pid": 4000 + number,
        "job": f"8812_{number}",
        "pool": "",
        "stage": "denoise",
        "block": (0, 0, number % 4, 1),
        "seconds": 12.0 + number,
        "peak_mib": 1830,
        "done": 31,
    }
    return WorkerNow(**values | more)


def status(*stages: StageStatus, **more: Any) -> RunStatus:
    """A run that goes on, with these stages."""
    done = sum(each.done for each in stages)
    values: dict[str, Any] = {
        "output": "/data/a b/out.zarr",
        "run_dir": "/data/a b/out.zarr.run",
        "state": "running",
        "start": 2,
        "scheduler": Scheduler(
            host="login1",
            pid=77,
            started="2026-11-29T12:00:00Z",
            heartbeat_seconds=3.2,
        ),
        "share": done / max(1, sum(each.blocks for each in stages)),
        "time_left": TimeLeft(least=7200, most=11000),
        "elapsed_seconds": 12600.0,
        "voxels_per_second": 1.31e6,
        "stages": stages,
        "workers": tuple(worker(i) for i in range(4)),
        "waits_for": "",
        "failures": (),
        "slowest": tuple(
            SlowBlock(
                stage="denoise", block=(0, 1, 2, i), seconds=s, worker="w", host="h"
            )
            for i, s in enumerate((300.0, 210.0, 99.0))
        ),
        "engines": {"ndsafir's algorithm in C, avx2, float32": done},
        "as_is_because": "the file holds nothing of them",
        "clipped": 12,
        "noise": "gain 3.92, offset -367, read noise 5.1",
        "warnings": (),
        "input_problem": "",
        "unreadable": (),
    }
    return RunStatus(**values | more)


def ended(state: str, *stages: StageStatus, **more: Any) -> RunStatus:
    """A run that is over."""
    over: dict[str, Any] = {"scheduler": None, "workers": (), "time_left": None}
    return status(*stages, state=state, **over | more)


def history(blocks: int, workers: int, seconds: float = 40.0) -> History:
    """Workers that did blocks one after the other until `NOW`."""
    random = np.random.default_rng(1)
    each = -(-blocks // workers)
    took = random.uniform(0.6 * seconds, 1.4 * seconds, (workers, each))
    ends = np.cumsum(took, axis=1)
    rows = rows_of(
        (NOW - ends.max() + ends).ravel()[:blocks],
        took.ravel()[:blocks],
        np.full(blocks, 1 << 22),
        np.repeat(np.arange(workers), each)[:blocks],
    )
    return History(rows, tuple(f"worker-{i}" for i in range(workers)))


def samples() -> dict[str, RunStatus]:
    """A run of every kind, by name."""
    small, middle, large = (1, 1, 4, 3), (3, 5, 8, 12), (50, 20, 10, 10)
    half = states_of(middle, 0.43, running=4)
    hurt = states_of(small, 0.5, failed=2, orphaned=1)
    return {
        "running": status(
            stage("denoise", middle, half),
            stage("labels.pieces", small, states_of(small)),
            warnings=("The noise along z changes by 40 %. See the noise page.",),
        ),
        "not begun": status(
            stage("denoise", small, states_of(small), seconds=None),
            time_left=None,
            elapsed_seconds=None,
            voxels_per_second=None,
            workers=(),
            slowest=(),
            engines={},
            waits_for="2 jobs are in the queue of Slurm",
        ),
        "done": ended("done", stage("denoise", small, states_of(small, 1.0))),
        "failed": ended(
            "failed",
            stage("denoise", small, hurt),
            stage("twice", small, hurt, given_up="All of it fails. " * 9),
            failures=(failed(), failed((0, 0, 3, 2), traceback=None, where=None)),
        ),
        "stopped": ended("stopped", stage("denoise", small, states_of(small, 0.3))),
        "hostile": status(
            stage(HOSTILE, small, hurt, task=HOSTILE, given_up=HOSTILE),
            output=f"/data/{HOSTILE}/out.zarr",
            run_dir=f"/data/{HOSTILE}/out.zarr.run",
            workers=(worker(1, worker=HOSTILE, host=HOSTILE, job=HOSTILE),),
            failures=(
                failed(error=HOSTILE, traceback=HOSTILE, where=HOSTILE, stage=HOSTILE),
            ),
            warnings=(HOSTILE,),
            noise=HOSTILE,
            engines={HOSTILE: 3},
            input_problem=HOSTILE,
            waits_for=HOSTILE,
            unreadable=(HOSTILE,),
        ),
        "large": status(
            *(
                stage(name, large, states_of(large, share, running=40, failed=2))
                for name, share in (("denoise", 0.61), ("cells", 0.4), ("more", 0.1))
            ),
            workers=tuple(worker(i) for i in range(300)),
        ),
        "many stages": status(
            *(
                stage(f"labels.pyramid.{i}", small, states_of(small, i / 25))
                for i in range(25)
            )
        ),
    }
