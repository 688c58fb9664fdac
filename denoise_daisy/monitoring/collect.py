"""How far a run is, from its files alone, while it goes on or long after."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.durable import persistently
from denoise_daisy.forecast import Ahead, share_done
from denoise_daisy.monitoring.blocks import clipped_in, failed_blocks, slowest_blocks
from denoise_daisy.monitoring.pace import (
    ahead_of,
    done_by,
    elapsed,
    expected_end,
    seconds_at_work,
    voxels_per_second,
)
from denoise_daisy.monitoring.stages import (
    Failures,
    deleted_stage,
    failures_of,
    stage_status,
    unreachable_of,
)
from denoise_daisy.monitoring.values import (
    RunStatus,
    StageStatus,
    State,
    WorkerNow,
)
from denoise_daisy.monitoring.workers import scheduler_of, states_at, workers_of
from denoise_daisy.resolved.recorded import is_unneeded, recorded_run
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.connection import Hint, read_ready
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE
from denoise_daisy.run_dir.ledger_table import LedgerTable
from denoise_daisy.run_dir.lock import LockHolder, holder_at_work
from denoise_daisy.run_dir.many_record import hub_of
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import WorkerState, read_states


def run_status(run_dir: RunDir) -> RunStatus:
    """How far a run is; nothing is written.

    Raises
    ------
    RefusedError
        The output is gone or another's, or run.json can't be read.
    """
    return StatusReader(run_dir).read()


class StatusReader:
    """Reads how far a run is, again and again, and only what is new."""

    def __init__(self, run_dir: RunDir, hub: RunDir | None = None) -> None:
        """Find out what is run; `hub` is the run directory of many images together.

        Raises
        ------
        RefusedError
            The output is gone or another's, or run.json can't be read.
        """
        self.run_dir = run_dir
        self._hub = hub
        self._restore(RunRecord.of(run_dir))

    record: RunRecord
    """That of the latest start, as of the last look."""
    run: ResolvedRun
    """What it computes."""
    input_problem: str
    """What is wrong with its input; empty where nothing is."""
    tables: Mapping[str, LedgerTable]
    """The ledgers of its stages by name, without those that were deleted for good."""

    def _restore(self, record: RunRecord) -> None:
        self.run, self.input_problem = recorded_run(record, self.run_dir)
        self.record = record
        self._others = self._hub
        self._was_sought = self._hub is not None
        self.tables = {
            stage.name: LedgerTable(
                self.run_dir.ledger(stage.name),
                self.run.id,
                stage.grid,
                stage.file_shape,
            )
            for stage in self.run.stages
            if not is_unneeded(stage, self.run, record)
        }

    def read(self) -> RunStatus:
        """How far it is now.

        Raises
        ------
        RefusedError
            As at the beginning.
        """
        record = RunRecord.of(self.run_dir)
        if record != self.record:
            self._restore(record)
        for table in self.tables.values():
            persistently(table.refresh)
        holder = holder_at_work(self.run_dir)
        states = self._states() if holder else []
        return _status(self, holder, states)

    def _states(self) -> list[WorkerState]:
        """What workers say, but for those of a run that this one has overwritten."""
        known = ("", self.run.id)
        return [s for s in self._states_here() if s.run_id in known]

    def _states_here(self) -> list[WorkerState]:
        """What workers say; other images of the same start are looked for once."""
        if self._hub is None and (own := read_states(self.run_dir)):
            return own
        if not self._was_sought:
            self._others, self._was_sought = hub_of(self.run_dir), True
        return states_at(self._others, self.run_dir) if self._others else []

    def done_by(self) -> Counter[str]:
        """Blocks done since the latest start, by worker, as of the last look."""
        return done_by(self.tables, self.record.epoch)


def _status(
    reader: StatusReader, holder: LockHolder | None, states: list[WorkerState]
) -> RunStatus:
    """What its tables, the lock and its workers say."""
    run, record, tables = reader.run, reader.record, reader.tables
    start = record.epoch
    hints = read_ready(reader.run_dir) or {}
    failures = dict(_failures(reader, start if holder else None, hints))
    stages = tuple(_stages(reader, failures, states, hints))
    standing = {name: table.standing() for name, table in tables.items()}
    engines = sum((t.engines_of_done() for t in tables.values()), Counter[str]())
    engines.pop(NO_ENGINE, None)
    lock = LockHolder.read(reader.run_dir)
    spent = seconds_at_work(states, lock)
    ahead = list(ahead_of(run, tables, stages, failures, start, spent))
    ahead = _asked(ahead, hints) if holder else ahead
    workers = tuple(workers_of(states, reader.done_by()))
    return RunStatus(
        output=str(reader.run_dir.output),
        run_dir=str(reader.run_dir.path),
        state=_state(holder, stages),
        start=start,
        scheduler=scheduler_of(holder) if holder else None,
        share=share_done(ahead),
        time_left=expected_end(run, ahead, states) if holder else None,
        elapsed_seconds=elapsed(tables, start, lock, is_at_work=holder is not None),
        voxels_per_second=voxels_per_second(
            run, tables[run.denoising.name], start, lock
        ),
        stages=stages,
        workers=workers,
        waits_for=_waits_for(holder, workers),
        failures=tuple(
            block
            for name, found in failures.items()
            for block in failed_blocks(reader.run_dir, name, tables[name], found)
        ),
        slowest=tuple(
            block
            for name, each in standing.items()
            for block in slowest_blocks(name, tables[name], each)
        ),
        engines=dict(engines.most_common()),
        clipped=sum(clipped_in(tables[name], each) for name, each in standing.items()),
        as_is_because=run.config.blocks.as_is_because,
        noise=run.denoiser.noise_text if run.denoiser.probed else "",
        warnings=record.warnings,
        input_problem=reader.input_problem,
        unreadable=tuple(f for t in tables.values() for f in t.unreadable),
    )


def _asked(ahead: list[Ahead], hints: Mapping[str, Hint]) -> list[Ahead]:
    """What is ahead of a start that may have been asked for some of its stages only.

    It tells its workers which; before that all are.
    """
    return [stage for stage in ahead if stage.name in hints] or ahead


def _failures(
    reader: StatusReader, start: int | None, hints: Mapping[str, Hint]
) -> Iterator[tuple[str, Failures]]:
    for stage in reader.run.stages:
        if table := reader.tables.get(stage.name):
            retries = reader.run.pool_of(stage).retries[stage.name]
            given_up = _given_up(hints, stage.name)
            yield stage.name, failures_of(table, retries, start, given_up=given_up)


def _stages(
    reader: StatusReader,
    failures: Mapping[str, Failures],
    states: Sequence[WorkerState],
    hints: Mapping[str, Hint],
) -> Iterator[StageStatus]:
    unreachable: dict[str, tuple[Stage, np.ndarray]] = {}
    for stage in reader.run.stages:
        name = stage.name
        if name not in reader.tables:
            yield deleted_stage(stage)
            continue
        running = {s.block for s in states if s.stage == name and s.block}
        told = stage_status(
            stage,
            reader.tables[name],
            failures[name],
            running,
            unreachable,
            reader.record.epoch,
            _given_up(hints, name),
        )
        unreachable[name] = stage, unreachable_of(told, failures[name])
        yield told


def _given_up(hints: Mapping[str, Hint], stage: str) -> str:
    """Why the latest start does no more of a stage."""
    return hints[stage].given_up if stage in hints else ""


def _state(holder: LockHolder | None, stages: tuple[StageStatus, ...]) -> State:
    if holder:
        return "running"
    if all(stage.done == stage.blocks for stage in stages):
        return "done"
    return "stopped" if any(stage.left for stage in stages) else "failed"


def _waits_for(holder: LockHolder | None, workers: tuple[WorkerNow, ...]) -> str:
    if holder is None or any(worker.block for worker in workers):
        return ""
    return "blocks that are ready" if workers else "workers that have not begun"
