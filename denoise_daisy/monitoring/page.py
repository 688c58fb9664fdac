"""How far a run is, as one HTML file that needs no other: of values, without I/O."""

import base64
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from denoise_daisy.amounts import duration
from denoise_daisy.monitoring.history import NO_HISTORY, History
from denoise_daisy.monitoring.page_plots import plots_of
from denoise_daisy.monitoring.page_words import (
    clock,
    headline,
    link,
    name_of,
    place,
    sentences,
    tiles,
)
from denoise_daisy.monitoring.planes import counts_by_plane
from denoise_daisy.monitoring.slices import Slices
from denoise_daisy.monitoring.values import (
    DONE,
    FAILED,
    LEFT,
    ORPHANED,
    RUNNING,
    FailedBlock,
    RunStatus,
    StageStatus,
)
from denoise_daisy.reports.block_map import block_map
from denoise_daisy.reports.page import render, source_of

FILE = "status.html"
"""Its name in the run directory."""

WIDE, NARROW = 820, 296
"""Pixels across a map, on a desktop and on a phone."""

LEAST_LABEL = 15
"""Pixels of height that the name of a map's row needs."""

MOST_FAILURES, MOST_WORKERS, MOST_WARNINGS = 50, 100, 50
"""That are told one by one."""

STATES = (
    (DONE, "done"),
    (RUNNING, "running"),
    (LEFT, "left"),
    (FAILED, "failed"),
    (ORPHANED, "orphaned"),
)
"""In the order in which they are told."""


def page_of(
    status: RunStatus,
    *,
    history: History = NO_HISTORY,
    slices: Sequence[Slices] = (),
    refresh: float | None = None,
    written: float | None = None,
    report: Mapping[str, Any] | None = None,
) -> str:
    """The page of a run; `written` is now, in seconds since 1970.

    `refresh` is after how many seconds a browser should look for a newer one; None:
    there will be none.  `report` are the values of `report.html.j2`.
    """
    now = time.time() if written is None else written
    state, share = headline(status)
    text = render(
        "status.html.j2",
        status=status,
        name=name_of(status.output),
        state=state,
        share=share,
        sentences=sentences(status, now),
        tiles=tiles(status),
        stages=[_stage(status, stage) for stage in status.stages],
        failures=[_failure(status, f) for f in status.failures[:MOST_FAILURES]],
        more_failures=max(0, len(status.failures) - MOST_FAILURES),
        workers=[_worker(w) for w in status.workers[:MOST_WORKERS]],
        more_workers=max(0, len(status.workers) - MOST_WORKERS),
        slowest=[
            {"place": place(s.block), "time": duration(s.seconds), "of": s}
            for s in status.slowest
        ],
        plots=plots_of(history, None if status.is_over else now),
        slices=slices,
        facts=[*_facts(status)],
        warnings=status.warnings[:MOST_WARNINGS],
        more_warnings=max(0, len(status.warnings) - MOST_WARNINGS),
        links={"output": link(status, status.output), "logs": "logs/"},
        written=clock(now),
        written_at=int(now),
        written_iso=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        refresh=int(refresh) if refresh else None,
        report=report,
        **scripted("refresh.js"),
    )
    # A name of bytes that are no text can't be written as text.
    return text.encode("utf-8", "backslashreplace").decode()


@cache
def scripted(name: str) -> dict[str, str]:
    """A script of the templates, and the policy that lets a page run no other."""
    script = source_of(name)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline';"
        f" script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return {"script": script, "policy": policy}


def _stage(status: RunStatus, stage: StageStatus) -> dict[str, Any]:
    """What is shown of a stage; the first that is at work is opened."""
    counts = np.bincount(stage.states, minlength=len(STATES))
    maps, merged = [], 1
    if stage.blocks and not stage.is_deleted:
        for width in (WIDE, NARROW):
            drawn = block_map(stage.states, stage.grid, width)
            merged = max(merged, drawn.merged)
            maps.append({"map": drawn, "labels": _labels(drawn.rows, drawn.height)})
    return {
        "of": stage,
        "share": percent(stage.done, stage.blocks),
        "said": _said(stage),
        "parts": [
            (name, 100 * int(counts[state]) / max(stage.blocks, 1))
            for state, name in STATES
            if counts[state] and state != LEFT
        ],
        "maps": maps,
        "grid": _grid(stage, merged),
        "tables": counts_by_plane(stage.states, stage.grid),
        "is_open": stage.name == _opened(status),
        "seconds": None if stage.seconds is None else duration(stage.seconds),
    }


def _opened(status: RunStatus) -> str:
    """The stage whose map is seen at first."""
    stages = [stage for stage in status.stages if not stage.is_deleted]
    for wanted in ("failed", "running", "left"):
        for stage in stages:
            if getattr(stage, wanted):
                return stage.name
    return stages[0].name if stages else ""


def percent(part: float, whole: float) -> str:
    """A share in words: never 100 % before all is done, nor 0 % after the first."""
    if not whole or part <= 0:
        return "0 %"
    share = 100 * part / whole
    if part < whole:
        share = min(share, 99.9)
    if share in (0, 100) or 10 <= share <= 99:
        return f"{int(share)} %"
    return f"{max(int(10 * share) / 10, 0.1):.1f} %"


def _said(stage: StageStatus) -> str:
    """How far a stage is, in words."""
    if stage.is_deleted:
        return "deleted, for all that reads it is done"
    told = [(name, getattr(stage, name)) for name in ("running", "failed", "orphaned")]
    parts = [f"{stage.done} of {stage.blocks} blocks done"]
    parts += [f"{number} {name}" for name, number in told if number]
    if stage.as_is:
        parts.append(f"{stage.as_is} written as they are")
    return ", ".join(parts)


def _grid(stage: StageStatus, merged: int) -> str:
    """What is seen on a map, in words."""
    shape = " x ".join(map(str, stage.grid))
    voxels = " x ".join(map(str, stage.block_shape))
    tiles = stage.grid[0] * stage.grid[1]
    each = "Each tile is a position along t and z. " if tiles > 1 else ""
    many = "Some squares stand for several blocks. " if merged > 1 else ""
    return f"{each}{many}{shape} blocks (t z y x) of {voxels} voxels."


def _labels(rows: Sequence[str], height: int) -> list[tuple[str, int]]:
    """Names beside a map, each with how many rows it spans."""
    each = max(1, -(-LEAST_LABEL * len(rows) // max(height, 1)))
    starts = range(0, len(rows), each)
    return [(rows[i], min(each, len(rows) - i)) for i in starts]


def _failure(status: RunStatus, failed: FailedBlock) -> dict[str, Any]:
    file = failed.traceback_file
    return {
        "of": failed,
        "place": place(failed.block),
        "link": link(status, file) if file else None,
        "file": name_of(file) if file else None,
    }


def _worker(worker: Any) -> dict[str, Any]:
    return {
        "of": worker,
        "at": place(worker.block) if worker.block is not None else None,
        "since": duration(worker.seconds),
    }


def _facts(status: RunStatus) -> Iterator[tuple[str, str]]:
    """What else is known, in words."""
    for engine, blocks in status.engines.items():
        yield "Engine", f"{engine} ({blocks} blocks)"
    if status.noise:
        yield "Noise", status.noise
    if status.clipped:
        yield "Clipped", f"{status.clipped} voxels, to the range of the output's type"
    yield "Start", f"number {status.start}"
    if scheduler := status.scheduler:
        beat = duration(scheduler.heartbeat_seconds)
        yield (
            "Scheduler",
            f"process {scheduler.pid} on {scheduler.host}, since {scheduler.started};"
            f" last sign of life {beat} ago",
        )
    for name in status.unreadable:
        yield "Ledger lines left out", name
