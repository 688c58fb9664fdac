"""The page of a run: what is read for it from the run's files, again and again."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from denoise_daisy.monitoring.collect import StatusReader
from denoise_daisy.monitoring.history import NO_HISTORY, ROW, History, rows_of
from denoise_daisy.monitoring.keeper import MakePage
from denoise_daisy.monitoring.pace import in_its_time
from denoise_daisy.monitoring.page import page_of
from denoise_daisy.monitoring.slices import SliceReader, Slices
from denoise_daisy.monitoring.values import DONE, LEFT, RUNNING, RunStatus, State
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE
from denoise_daisy.run_dir.ledger_table import LedgerTable
from denoise_daisy.run_dir.lock import LockHolder
from denoise_daisy.run_dir.run_dir import RunDir

NOTHING = np.zeros(0, ROW)

logger = logging.getLogger("denoise_daisy")


class RunPage:
    """Makes the page of a run, and reads only what is new."""

    def __init__(self, run_dir: RunDir, hub: RunDir | None = None) -> None:
        """Find out what is run; `hub` is the run directory of many images together.

        Raises
        ------
        RefusedError
            The output is gone or another's, or run.json can't be read.
        """
        self._reader = StatusReader(run_dir, hub)
        self._slices = SliceReader(self._reader.run)

    def text(
        self,
        *,
        ended: State | None = None,
        refresh: float | None = None,
        report: Mapping[str, Any] | None = None,
        has_pictures: bool = True,
    ) -> str:
        """The page of now.

        `ended` is how a start has ended whose scheduler is still there; `report` are
        the values of `report.html.j2`.  Pictures take most of the time.

        Raises
        ------
        RefusedError
            As at the beginning.
        """
        status = self._reader.read()
        if self._slices.run is not self._reader.run:
            self._slices = SliceReader(self._reader.run)
        history = history_of(self._reader, status)
        if ended:
            status = _over(status, ended)
            if status.elapsed_seconds and history.rows.size:
                # What it took since the last block is no part of the run's time.
                since = time.time() - history.end
                elapsed = max(0.1, status.elapsed_seconds - max(0.0, since))
                status = replace(status, elapsed_seconds=elapsed)
        shown = self._shown(status) if has_pictures and not report else ()
        return page_of(
            status,
            history=history if has_pictures else NO_HISTORY,
            slices=shown,
            refresh=None if status.is_over else refresh,
            report=report,
        )

    def _shown(self, status: RunStatus) -> tuple[Slices, ...]:
        """Slices; a page is one without them, too."""
        try:
            return self._slices.of(status.stages[0].states == DONE)
        except Exception:
            logger.debug("The page of the run shows no slices.", exc_info=True)
            return ()


def pages_of(run_dir: RunDir, hub: RunDir | None = None) -> MakePage:
    """What makes a page again and again; `hub` is as in `RunPage`.

    Raises
    ------
    RefusedError
        The output is gone or another's, or run.json can't be read.
    """
    page = RunPage(run_dir, hub)

    def make(
        ended: State | None, refresh: float | None, /, *, has_pictures: bool
    ) -> str:
        return page.text(ended=ended, refresh=refresh, has_pictures=has_pictures)

    return make


def page_of_run(run_dir: RunDir, report: Mapping[str, Any] | None = None) -> str:
    """The page of a run as it is now, for whoever looks once.

    Raises
    ------
    RefusedError
        The output is gone or another's, or run.json can't be read.
    """
    return RunPage(run_dir).text(report=report)


def _over(status: RunStatus, state: State) -> RunStatus:
    """A run whose scheduler is about to leave.

    A start of some of its tasks may have done all of them, and others are left.
    """
    if state == "done" and any(stage.left for stage in status.stages):
        state = "stopped"
    stages = (
        replace(
            stage,
            running=0,
            states=np.where(stage.states == RUNNING, LEFT, stage.states),
        )
        for stage in status.stages
    )
    return replace(
        status,
        state=state,
        stages=tuple(stages),
        scheduler=None,
        workers=(),
        time_left=None,
        waits_for="",
    )


def history_of(reader: StatusReader, status: RunStatus) -> History:
    """What was done since the latest start, and the time so far of blocks under way."""
    names: dict[str, int] = {}
    parts = {
        name: _done(reader, name, table, names) for name, table in reader.tables.items()
    }
    now = time.time()
    for worker in status.workers:
        done = parts.get(worker.stage, NOTHING)
        if worker.block is not None and done.size:
            row = np.zeros(1, ROW)
            row["blocks"] = min(1.0, worker.seconds / max(done["seconds"].mean(), 1e-3))
            row["voxels"] = row["blocks"] * done["voxels"].mean()
            row["ended"], row["seconds"] = now, worker.seconds
            row["worker"] = names.setdefault(worker.worker, len(names))
            parts[worker.worker] = row
    rows = np.concatenate([NOTHING, *parts.values()])
    lock = LockHolder.read(reader.run_dir)
    rows = rows[in_its_time(rows["ended"], rows["seconds"], lock)]
    return History(rows, tuple(names))


def _done(
    reader: StatusReader, stage: str, table: LedgerTable, names: dict[str, int]
) -> np.ndarray:
    """The blocks of a stage that the latest start has done."""
    rows = table.rows
    is_ours = rows["is_done"] & (rows["epoch"] == reader.record.epoch)
    rows = rows[is_ours & (rows["ended"] > 0)]
    if not rows.size:
        return NOTHING
    workers = table.names.workers
    numbers = np.zeros(len(workers), np.int32)
    for number in np.unique(rows["worker"]):
        numbers[number] = names.setdefault(workers[number], len(names))
    voxels = np.zeros(rows.size)
    if stage == reader.run.denoising.name:
        voxels = _voxels(reader, rows)
        if NO_ENGINE in table.names.engines:
            voxels[rows["engine"] == table.names.engines.index(NO_ENGINE)] = 0
    return rows_of(rows["ended"], rows["seconds"], voxels, numbers[rows["worker"]])


def _voxels(reader: StatusReader, rows: np.ndarray) -> np.ndarray:
    """How many voxels each of these blocks has, of all channels."""
    grid, channels = reader.run.denoising.grid, reader.run.image.shape[1]
    voxels = np.full(rows.size, float(channels))
    for axis, lengths in enumerate(grid.write_lengths):
        # Of blocks of another shape, about as many.
        at = np.minimum(rows["block"][:, axis], len(lengths) - 1)
        voxels *= lengths[at]
    return voxels
