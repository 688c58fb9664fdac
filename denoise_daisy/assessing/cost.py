"""What a run has cost, by the times in its ledgers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from denoise_daisy.amounts import duration
from denoise_daisy.assessing.values import Cost, StageCost
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger_table import LedgerTable
from denoise_daisy.run_dir.many_record import hub_of

MUCH = 0.5
"""Share of the time of which a part is the bottleneck."""

IDLE = 0.25
"""Share of the workers' time without blocks, beyond which it is told."""


@dataclass(frozen=True, eq=False, slots=True)
class Work:
    """Blocks that one start has done; columns are as long."""

    ended: np.ndarray
    """In seconds since 1970."""
    seconds: np.ndarray
    worker: np.ndarray
    """By number in `workers`."""
    workers: tuple[str, ...]

    @property
    def begin(self) -> float:
        """When the first block was begun."""
        return float((self.ended - self.seconds).min())

    @property
    def end(self) -> float:
        """When the last one was done."""
        return float(self.ended.max())


def cost(run: ResolvedRun, tables: Mapping[str, LedgerTable]) -> Cost | None:
    """That of all starts; None before the first block is done."""
    stages = [
        _of_stage(stage, tables[stage.name])
        for stage in run.stages
        if stage.name in tables
    ]
    stages = [stage for stage in stages if stage.blocks]
    every = starts_of(tables)
    if not stages or not every:
        return None
    busy = float(sum(h.seconds.sum() for h in every.values()))
    waiting = sum(_waiting(h) for h in every.values())
    hosts = {host for t in tables.values() for host in t.names.hosts if host}
    return Cost(
        stages=tuple(stages),
        workers=len({worker for h in every.values() for worker in h.workers}),
        hosts=len(hosts),
        busy_seconds=busy,
        waiting_seconds=waiting,
        elapsed_seconds=sum(h.end - h.begin for h in every.values()),
        bottleneck=bottleneck(
            stages, busy, waiting, is_of_many=hub_of(run.run_dir) is not None
        ),
    )


def _of_stage(stage: Stage, table: LedgerTable) -> StageCost:
    rows = table.rows[table.rows["is_done"]]
    parts = [
        float(rows[f"{part}_seconds"].sum(dtype=np.float64))
        for part in ("read", "compute", "write")
    ]
    whole = float(rows["seconds"].sum(dtype=np.float64))
    return StageCost(
        name=stage.name,
        blocks=len(rows),
        reading=parts[0],
        computing=parts[1],
        writing=parts[2],
        other=max(0.0, whole - sum(parts)),
        longest=float(rows["seconds"].max(initial=0)),
        overhead=stage.grid.voxels_read / stage.grid.voxels_written,
        peak_mib=int(rows["peak_mib"].max(initial=0)),
    )


def starts_of(tables: Mapping[str, LedgerTable]) -> dict[int, Work]:
    """Blocks of all stages that are done, by the number of the start that did them.

    Lines that tell no time are left out.
    """
    names: dict[str, int] = {}
    parts, numbers = [], []
    for table in tables.values():
        rows = table.rows
        rows = rows[rows["is_done"] & (rows["ended"] > 0)]
        every = [names.setdefault(worker, len(names)) for worker in table.names.workers]
        parts.append(rows)
        numbers.append(np.array(every, np.int64)[rows["worker"]])
    rows, worker = np.concatenate(parts), np.concatenate(numbers)
    found = {}
    for start in np.unique(rows["epoch"]).tolist():
        mine = rows["epoch"] == start
        used, which = np.unique(worker[mine], return_inverse=True)
        found[start] = Work(
            ended=rows["ended"][mine].astype(np.float64),
            seconds=rows["seconds"][mine].astype(np.float64),
            worker=which,
            workers=tuple(list(names)[i] for i in used),
        )
    return found


def _waiting(work: Work) -> float:
    """Seconds of its workers without a block, from their first to their last."""
    count = len(work.workers)
    first, last = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(first, work.worker, work.ended - work.seconds)
    np.maximum.at(last, work.worker, work.ended)
    return max(0.0, float((last - first).sum() - work.seconds.sum()))


def bottleneck(
    stages: Sequence[StageCost],
    busy: float,
    waiting: float,
    *,
    is_of_many: bool = False,
) -> str:
    """What the time went to, and what would help, in words.

    `is_of_many` is a run of one image among many.
    """
    parts = {
        "reading": sum(s.reading for s in stages),
        "computing": sum(s.computing for s in stages),
        "writing": sum(s.writing for s in stages),
    }
    said = _where_time_went(parts, sum(s.other for s in stages))
    if waiting > IDLE * (busy + waiting):
        whys = [
            "there were too few blocks ready for so many",
            "they had to be started again",
            *(["they were at blocks of other images"] if is_of_many else []),
        ]
        said += (
            f" Workers were without a block for {waiting / (busy + waiting):.0%} of"
            " their time, from their first block to their last:"
            f" {', '.join(whys[:-1])}, or {whys[-1]}."
        )
    return said


def _where_time_went(parts: Mapping[str, float], other: float) -> str:
    whole = max(sum(parts.values()) + other, 1e-9)
    name, seconds = max(parts.items(), key=lambda item: item[1])
    rest = " and ".join(
        f"{n} {parts[n] / whole:.0%}" for n in ("reading", "writing") if n != name
    )
    advice = {
        "computing": "more workers or threads would help, and reading and writing are"
        " not the limit",
        "reading": "more workers would wait for the same disk: a faster disk, or larger"
        " blocks, which read less context twice, would help",
        "writing": "more workers would wait for the same disk: a faster disk, or fewer"
        " and larger files (output.shards), would help",
        "": "no part of it is the limit by itself",
    }
    return (
        f"{name.capitalize()} takes {seconds / whole:.0%} of the workers' time with"
        f" blocks ({duration(seconds)} of {duration(whole)}); {rest}:"
        f" {advice[name if seconds >= MUCH * whole else '']}."
    )
