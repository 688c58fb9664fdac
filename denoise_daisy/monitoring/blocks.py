"""Blocks that are told of one by one: those that failed, and the slowest."""

from collections.abc import Iterator

import numpy as np

from denoise_daisy.monitoring.stages import Failures
from denoise_daisy.monitoring.values import FailedBlock, SlowBlock
from denoise_daisy.run_dir.ledger_table import LedgerTable
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.tracebacks import traceback_file

MOST_FAILURES = 1000
"""Failed blocks that are told of one by one, of each stage; all are counted."""

SLOWEST = 5
"""Blocks of each stage that took longest."""


def failed_blocks(
    run_dir: RunDir, stage: str, table: LedgerTable, failures: Failures
) -> Iterator[FailedBlock]:
    """The failed blocks of a stage, in C order, with their words."""
    names = table.names
    for row, attempts, given_up in zip(
        failures.last[:MOST_FAILURES],
        failures.attempts.tolist(),
        failures.given_up.tolist(),
        strict=False,
    ):
        line = table.line(row)
        file = traceback_file(run_dir, line.get("traceback_file"))
        yield FailedBlock(
            stage=stage,
            block=tuple(row["block"].tolist()),
            attempts=attempts,
            is_given_up=given_up,
            reason=names.reasons[row["reason"]],
            error=str(line.get("error", "")),
            where=line.get("where"),
            traceback=line.get("traceback"),
            traceback_file=str(file) if file else None,
            worker=names.workers[row["worker"]],
            host=names.hosts[row["host"]],
            time=str(line.get("time", "")),
        )


def slowest_blocks(
    stage: str, table: LedgerTable, standing: np.ndarray
) -> Iterator[SlowBlock]:
    """Those of a stage that took longest, the slowest first, of rows that stand."""
    rows, names = table.rows, table.names
    order = np.argsort(rows["seconds"][standing], kind="stable")[::-1][:SLOWEST]
    for row in rows[standing[order]]:
        yield SlowBlock(
            stage=stage,
            block=tuple(row["block"].tolist()),
            seconds=round(float(row["seconds"]), 3),
            worker=names.workers[row["worker"]],
            host=names.hosts[row["host"]],
        )


def clipped_in(table: LedgerTable, standing: np.ndarray) -> int:
    """How many voxels were clipped, of rows that stand."""
    return int(table.rows["clipped"][standing].sum())
