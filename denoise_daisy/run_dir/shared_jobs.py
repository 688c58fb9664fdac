"""What a scheduler and a job of several workers tell each other, in files."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from denoise_daisy.durable import persistently, write_atomic
from denoise_daisy.run_dir.run_dir import RunDir


def first_workers(job: str, count: int) -> set[str]:
    """Those that a job starts unless it is told others."""
    return {worker_name(job, i) for i in range(1, count + 1)}


def worker_name(job: str, number: int) -> str:
    """Name of a job's worker, counted from 1."""
    return f"{job}-{number}"


def job_of(worker: str) -> str:
    """Name of a worker's job."""
    return worker.rpartition("-")[0]


def write_wanted(run_dir: RunDir, job: str, workers: Collection[str]) -> None:
    """Tell a job which of its workers are to live; none comes back once it is gone."""
    text = json.dumps(sorted(workers))
    write_atomic(_wanted(run_dir, job), text, durable=False)


def read_wanted(run_dir: RunDir, job: str) -> set[str] | None:
    """The workers that are to live in a job; None where nobody has said."""
    names = _read(_wanted(run_dir, job))
    return None if names is None else set(names)


def remove_wanted(run_dir: RunDir, job: str) -> None:
    """The job is gone."""
    persistently(lambda: _wanted(run_dir, job).unlink(missing_ok=True))


def remove_all_wanted(run_dir: RunDir) -> None:
    """The jobs of earlier starts are gone."""
    for path in persistently(lambda: list(run_dir.workers.glob("*.wanted"))):
        remove_wanted(run_dir, path.stem)


def write_ends(run_dir: RunDir, job: str, ends: Mapping[str, int]) -> None:
    """Tell the exit codes of a job's workers, -N where signal N ended one."""
    write_atomic(_ends(run_dir, job), json.dumps(ends), durable=False)


def read_ends(run_dir: RunDir, job: str) -> dict[str, int]:
    """The exit codes of a job's workers that have ended, as far as it has told."""
    return dict(_read(_ends(run_dir, job)) or {})


def _read(path: Path) -> Any:
    try:
        return json.loads(persistently(path.read_text))
    except (OSError, ValueError):
        return None


def _wanted(run_dir: RunDir, job: str) -> Path:
    return run_dir.workers / f"{job}.wanted"


def _ends(run_dir: RunDir, job: str) -> Path:
    """Beside the logs, where it may stay."""
    return run_dir.logs / f"{job}.ends"
