"""How fast a run is, since its latest start."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE
from denoise_daisy.run_dir.ledger_table import LedgerTable
from denoise_daisy.run_dir.lock import LockHolder
from denoise_daisy.run_dir.run_dir import RunDir

Tables = Mapping[str, LedgerTable]


def share_done(run: ResolvedRun, tables: Tables) -> float:
    """Of all work, by a rough measure; a stage without a table is done."""
    done = every = 0.0
    for stage in run.stages:
        every += stage.work
        table = tables.get(stage.name)
        mask = np.ones(stage.grid.size, bool) if table is None else table.done
        done += stage.work_of(stage.grid.voxels_in(mask))
    return done / every


def elapsed(
    tables: Tables, start: int, run_dir: RunDir, at_work: LockHolder | None
) -> float | None:
    """Seconds since a start began, till now or till its last line."""
    began = LockHolder.read(run_dir)
    if began is None:
        return None
    ends = [int(rows["ended"].max(initial=0)) for rows in _of_start(tables, start)]
    end = time.time() if at_work else max(ends, default=0)
    return max(0.0, end - began.started) if end else None


def voxels_per_second(run: ResolvedRun, table: LedgerTable, start: int) -> float | None:
    """Voxels denoised in a second of the time in which any were, since a start."""
    grid, engines = run.denoising.grid, table.names.engines
    rows = table.rows
    mask = rows["is_done"] & (rows["epoch"] == start) & (rows["shape"] == 0)
    mask &= rows["ended"] > 0
    if NO_ENGINE in engines:
        mask &= rows["engine"] != engines.index(NO_ENGINE)
    rows = rows[mask]
    if not len(rows):
        return None
    blocks = np.zeros(grid.size, bool)
    blocks[table.flat(rows)] = True
    voxels = grid.voxels_in(blocks) * run.image.shape[1]
    first = float((rows["ended"] - rows["seconds"].astype(float)).min())
    span = max(float(rows["ended"].max()) - first, float(rows["seconds"].max()))
    return voxels / span if span > 0 else None


def done_by(tables: Tables, start: int) -> Counter[str]:
    """Blocks done since a start, by worker."""
    found = Counter[str]()
    for table in tables.values():
        rows = table.rows
        own = rows[rows["is_done"] & (rows["epoch"] == start)]
        names = table.names.workers
        counts = np.bincount(own["worker"], minlength=len(names))
        found.update(dict(zip(names, counts.tolist(), strict=True)))
    return found


def _of_start(tables: Tables, start: int) -> Iterator[np.ndarray]:
    for table in tables.values():
        rows = table.rows
        yield rows[rows["epoch"] == start]
