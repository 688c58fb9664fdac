"""Which runs are at work now, of many that workers go through."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from denoise_daisy.durable import persistently
from denoise_daisy.run_dir.run_dir import RunDir

FILE = "at_work.json"

REFUSAL = ".refusal"
"""Ending of the file in which a worker says why it can't work for a run."""


def write_at_work(run_dir: RunDir, ready: Mapping[Path, int]) -> None:
    """Tell workers the run directories, and how many blocks of each are ready.

    Unless they have been told just that.
    """
    if read_at_work(run_dir) != dict(ready):
        path = run_dir.path / FILE
        beside = path.with_name(f"{FILE}.partial")
        told = {str(run): count for run, count in ready.items()}
        beside.write_text(json.dumps(told), encoding="utf-8")
        beside.replace(path)


def end_at_work(run_dir: RunDir) -> None:
    """Let workers know that no other run will be at work."""
    (run_dir.path / FILE).unlink(missing_ok=True)


def read_at_work(run_dir: RunDir) -> dict[Path, int] | None:
    """The run directories, and how many blocks are ready; None where there are none.

    No more of them will come then.
    """
    try:
        told = json.loads((run_dir.path / FILE).read_text(encoding="utf-8"))
        return {Path(run): int(count) for run, count in told.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def write_refusal(run_dir: RunDir, worker: str, why: str) -> None:
    """Tell the scheduler of a run that a worker can't work for it."""
    file = run_dir.workers / f"{worker}{REFUSAL}"
    persistently(lambda: file.write_text(why, encoding="utf-8"))


def read_refusals(run_dir: RunDir) -> list[str]:
    """Why workers can't work for a run, each in its own words."""
    files = persistently(lambda: sorted(run_dir.workers.glob(f"*{REFUSAL}")))
    return [persistently(partial(f.read_text, encoding="utf-8")) for f in files]


def remove_refusals(run_dir: RunDir) -> None:
    """Forget what workers of earlier starts have said."""
    for file in run_dir.workers.glob(f"*{REFUSAL}"):
        file.unlink(missing_ok=True)
