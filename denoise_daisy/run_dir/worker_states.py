"""What each worker says that it is doing; not durable, for it is of this moment."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from denoise_daisy.durable import persistently
from denoise_daisy.run_dir.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a worker is doing."""

    worker: str
    host: str
    pid: int
    pool: str
    """The task whose own worker it is; empty for those of the run."""
    stage: str
    """The stage of the block."""
    block: tuple[int, ...] | None
    since: float
    """When it took the block, in seconds since 1970 by its own clock."""
    peak_mib: int
    engine: str | None = None
    """What computes the block, see `Entry`."""
    run: str = ""
    """Run directory of the block, of a worker that goes from run to run."""
    job: str = ""
    """That of a batch system in which it runs."""
    run_id: str = ""
    """That of the run whose block it is; another's may have come to the same place."""

    @property
    def place(self) -> str:
        """The stage that it is at, told from those of other runs."""
        return place_of(self.stage, self.run)


LATEST = 1 << 40
"""No time is that far from 1970, in seconds."""


def place_of(stage: str, run: str) -> str:
    """A stage of a run directory, told from others where `run` is not empty."""
    return f"{run}:{stage}" if run else stage


def write_state(run_dir: RunDir, state: WorkerState) -> None:
    """Replace what the worker is doing."""
    path = _file(run_dir, state.worker)
    partial = path.with_suffix(".partial")
    text = json.dumps(asdict(state))

    def write() -> None:
        partial.write_text(text)
        partial.replace(path)

    persistently(write)


def read_state(run_dir: RunDir, worker: str) -> WorkerState | None:
    """What a worker said last."""
    try:
        values = json.loads(persistently(_file(run_dir, worker).read_text))
        if values["block"] is not None:
            values["block"] = tuple(values["block"])
        state = WorkerState(**values)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return state if _makes_sense(state) else None


def read_states(run_dir: RunDir) -> list[WorkerState]:
    """What all workers said last."""
    files = persistently(lambda: sorted(run_dir.workers.glob("*.json")))
    names = (path.stem for path in files)
    return [state for name in names if (state := read_state(run_dir, name))]


def state_shown(run_dir: RunDir, worker: str) -> float:
    """When a worker wrote its state last, by the file server's clock."""
    try:
        return persistently(_file(run_dir, worker).stat).st_mtime
    except OSError:
        return 0.0


def remove_states(run_dir: RunDir) -> None:
    """Forget workers of earlier starts; those that live show themselves again."""
    for state in read_states(run_dir):
        remove_state(run_dir, state.worker)


def remove_state(run_dir: RunDir, worker: str) -> None:
    """The worker is gone."""
    persistently(lambda: _file(run_dir, worker).unlink(missing_ok=True))


def _makes_sense(state: WorkerState) -> bool:
    """Whether words are words, and numbers numbers that can be reckoned with."""
    words = [state.worker, state.host, state.pool, state.stage]
    words += [state.run, state.run_id, state.job]
    whole = (state.pid, state.peak_mib, *(state.block or ()))
    return (
        all(isinstance(word, str) for word in words)
        and all(isinstance(number, int) for number in whole)
        and isinstance(state.since, int | float)
        and abs(state.since) < LATEST
    )


def _file(run_dir: RunDir, worker: str) -> Path:
    return run_dir.workers / f"{worker}.json"
