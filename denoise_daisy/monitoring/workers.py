"""Who schedules a run, and what its workers say of themselves."""

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from denoise_daisy.monitoring.values import Scheduler, WorkerNow
from denoise_daisy.run_dir.lock import LockHolder
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import WorkerState, read_states


def states_at(hub: RunDir, run_dir: RunDir) -> list[WorkerState]:
    """What those workers of many images say that are at one of them.

    `hub` is the run directory of all images.
    """
    return [s for s in read_states(hub) if s.run and Path(s.run) == run_dir.path]


def scheduler_of(holder: LockHolder) -> Scheduler:
    """Who holds a lock."""
    return Scheduler(
        host=holder.host,
        pid=holder.pid,
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(holder.started)),
        heartbeat_seconds=max(0.0, time.time() - holder.heartbeat),
    )


def workers_of(
    states: Iterable[WorkerState], done: Mapping[str, int]
) -> Iterator[WorkerNow]:
    """What workers are at, and how many blocks each has done."""
    for state in states:
        yield WorkerNow(
            worker=state.worker,
            host=state.host,
            pid=state.pid,
            job=state.job or None,
            pool=state.pool,
            stage=state.stage,
            block=state.block,
            seconds=max(0.0, time.time() - state.since),
            peak_mib=state.peak_mib,
            done=done.get(state.worker, 0),
        )
