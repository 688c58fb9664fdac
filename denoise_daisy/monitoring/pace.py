"""How fast a run is, since its latest start."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from denoise_daisy.durable import persistently
from denoise_daisy.forecast import Ahead, Pace, TimeLeft, time_left
from denoise_daisy.monitoring.stages import Failures
from denoise_daisy.monitoring.values import StageStatus
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE
from denoise_daisy.run_dir.ledger_table import LedgerTable
from denoise_daisy.run_dir.lock import LockHolder
from denoise_daisy.run_dir.worker_states import WorkerState

Tables = Mapping[str, LedgerTable]

ASTRAY = 3600.0
"""Seconds by which clocks may differ; one that is off by more is not believed."""


def ahead_of(
    run: ResolvedRun,
    tables: Tables,
    stages: Iterable[StageStatus],
    failures: Mapping[str, Failures],
    start: int,
    spent: Mapping[str, Sequence[float]],
) -> Iterator[Ahead]:
    """What is left of each stage, and how long its blocks took since a start.

    What has failed and will be tried again is left as well.  `spent` is for how long
    workers have been at blocks, by stage.
    """
    for stage, told in zip(run.stages, stages, strict=True):
        pace, earlier, again = Pace(), None, 0
        if table := tables.get(stage.name):
            rows = table.rows
            ended, seconds = rows["ended"], rows["seconds"]
            now = np.flatnonzero(rows["is_done"] & (rows["epoch"] == start))
            now = now[np.argsort(ended[now], kind="stable")]
            pace = Pace.of(seconds[now].astype(float))
            earlier = _earlier(table, start)
            again = int(np.count_nonzero(~failures[stage.name].given_up))
        yield Ahead(
            name=stage.name,
            reads=told.reads,
            pool=run.pool_of(stage).name,
            left=told.left + again,
            at_work=told.running,
            done=told.done,
            pace=pace,
            guess=stage.usual_seconds,
            earlier=earlier,
            spent=spent.get(stage.name, ()),
        )


def _earlier(table: LedgerTable, start: int) -> float | None:
    """Seconds of a block in other starts, if each voxel takes as long as then."""
    rows = table.rows
    then = rows["is_done"] & (rows["epoch"] != start) & (rows["seconds"] >= 0)
    if not then.any():
        return None
    voxels = np.prod(np.array(table.names.shapes, float), axis=1)
    each = rows["seconds"].sum(dtype=float, where=then)
    return float(each / voxels[rows["shape"][then]].sum() * voxels[0])


def seconds_at_work(
    workers: Iterable[WorkerState], lock: LockHolder | None
) -> dict[str, list[float]]:
    """For how long workers have been at their blocks, by stage.

    What a wrong clock tells, of a time before the start or to come, is left out.
    """
    now, found = time.time(), defaultdict[str, list[float]](list)
    for worker in workers:
        if worker.block is not None and lock and lock.started <= worker.since <= now:
            found[worker.stage].append(now - worker.since)
    return found


def expected_end(
    run: ResolvedRun, ahead: Sequence[Ahead], workers: Iterable[WorkerState]
) -> TimeLeft | None:
    """How long what is left will take those who are at work."""
    running = Counter(worker.pool for worker in workers)
    hands = {pool.name: pool.workers.hands(running[pool.name]) for pool in run.pools}
    return time_left(ahead, hands)


def elapsed(
    tables: Tables, start: int, lock: LockHolder | None, *, is_at_work: bool
) -> float | None:
    """Seconds since a start began, till now or till its last line."""
    if lock is None:
        return None
    pairs = [(np.empty(0, np.int64), np.empty(0)), *_of_start(tables, start)]
    ended, seconds = map(np.concatenate, zip(*pairs, strict=True))
    ended = ended[in_its_time(ended, seconds, lock)]
    end = time.time() if is_at_work else int(ended.max(initial=0))
    return max(0.0, end - lock.started) if end else None


def voxels_per_second(
    run: ResolvedRun, table: LedgerTable, start: int, lock: LockHolder | None
) -> float | None:
    """Voxels denoised in a second of the time in which any were, since a start."""
    grid, engines = run.denoising.grid, table.names.engines
    rows = table.rows
    mask = rows["is_done"] & (rows["epoch"] == start) & (rows["shape"] == 0)
    mask &= rows["ended"] > 0
    if NO_ENGINE in engines:
        mask &= rows["engine"] != engines.index(NO_ENGINE)
    if not mask.any():
        return None
    blocks = np.zeros(grid.size, bool)
    blocks[table.flat(rows["block"][mask])] = True
    voxels = grid.voxels_in(blocks) * run.image.shape[1]
    ended, seconds = rows["ended"][mask], rows["seconds"][mask].astype(float)
    inside = in_its_time(ended, seconds, lock)
    ended, seconds = ended[inside], seconds[inside]
    span = max(float(ended.max() - (ended - seconds).min()), float(seconds.max()))
    return voxels / span if span > 0 else None


def denoised_per_second(run: ResolvedRun, start: int) -> float | None:
    """The same of a run whose ledger is not read yet."""
    stage = run.denoising
    folder = run.run_dir.ledger(stage.name)
    table = LedgerTable(folder, run.id, stage.grid, stage.file_shape)
    persistently(table.refresh)
    return voxels_per_second(run, table, start, LockHolder.read(run.run_dir))


def done_by(tables: Tables, start: int) -> Counter[str]:
    """Blocks done since a start, by worker."""
    found = Counter[str]()
    for table in tables.values():
        rows = table.rows
        own = rows["worker"][rows["is_done"] & (rows["epoch"] == start)]
        names = table.names.workers
        counts = np.bincount(own, minlength=len(names))
        found.update(dict(zip(names, counts.tolist(), strict=True)))
    return found


def in_its_time(
    ended: np.ndarray, seconds: np.ndarray, lock: LockHolder | None
) -> np.ndarray:
    """Which blocks of the latest start were done while it went on, by their times.

    A host with a wrong clock tells others.  Where it is most of them that do, the lock
    is wrong, or not that of the start.
    """
    every = np.ones(len(ended), bool)
    if lock is None:
        return every
    began = ended - seconds.astype(float)
    now = max(time.time(), lock.heartbeat)
    inside = (began >= lock.started - ASTRAY) & (ended <= now + ASTRAY)
    return inside if 2 * np.count_nonzero(inside) >= len(ended) else every


def _of_start(tables: Tables, start: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """When the blocks of a start ended, and how long they took."""
    for table in tables.values():
        rows = table.rows
        own = (rows["epoch"] == start) & (rows["ended"] > 0)
        yield rows["ended"][own], rows["seconds"][own]
