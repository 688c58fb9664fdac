"""What `plan`, `status` and `verify` tell of the stages and workers of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy import plan, run
from denoise_daisy.errors import BlocksFailed
from denoise_daisy.run_dir.lock import Lock
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import WorkerState, write_state
from denoise_daisy.runs.verify import verify
from denoise_daisy.scheduling.scheduler import Scheduler
from harness import config_for, ledger_lines, load, small_czi
from harness.looking import status

SOFT = {"kind": "smooth", "name": "soft", "sigma": {"y": 1}}
FOUND = {"kind": "threshold", "name": "found", "input": "soft", "method": "otsu"}
CELLS = {"kind": "label", "name": "cells", "input": "found", "table": "csv"}


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Makes the config of a run of two blocks, with these tasks."""
    source = small_czi(tmp_path / "in.czi", (1, 1, 1, 32, 16))

    def make(*tasks: dict[str, Any]) -> dict[str, Any]:
        values = config_for(
            source,
            tmp_path / "out.zarr",
            output={"chunks": {"y": 16, "x": 16}},
            blocks={"shape": {"y": 16}},
            workers={"count": 1},
        )
        del values["noise"]
        filtered = {"kind": "median", "size": {"y": 3}}
        return values | {"denoise": filtered, "tasks": list(tasks)}

    return make


def test_a_plan_says_of_each_stage_what_it_makes_and_where(
    config: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Of an array its shape and type; values, pieces and tables have none."""
    said = str(plan(load(config(SOFT, FOUND, CELLS)))).replace(f"{tmp_path}/", "")
    _, stages = said.split("Then, each block as soon as what it reads is done:\n")
    two, one = "2 blocks of 1 x 1 x 16 x 16", "1 blocks of 1 x 1 x 32 x 16"
    pixels, work = "1 x 1 x 1 x 32 x 16", "out.zarr.run/tasks"
    # What each takes is another test's subject.
    assert [line.partition("; ")[0] for line in stages.splitlines()] == [
        f"soft: {two} (0 done), reads denoise, {pixels} float32 to out.soft.zarr/0",
        f"found.value: {one} (0 done), reads soft, to {work}/found/value.json",
        f"found: {two} (0 done), reads soft, found.value, {pixels} uint8 to"
        " out.zarr/labels/found/0",
        f"cells.pieces: {two} (0 done), reads found, denoise, to {work}/cells.pieces",
        f"cells.union: {one} (0 done), reads cells.pieces, to {work}/cells.union",
        f"cells: {two} (0 done), reads found, cells.union, {pixels} uint32 to"
        " out.zarr/labels/cells/0",
        f"cells.table: {one} (0 done), reads cells.union, to out.cells.csv",
    ]


def test_a_plan_counts_the_jobs_of_several_workers(
    config: Callable[..., dict[str, Any]],
) -> None:
    """Those of the run are no more than its two blocks."""
    workers = {"kind": "lsf", "count": 12, "per_job": 3, "memory_gib": 1}
    own = {**SOFT, "workers": {**workers, "per_job": 6}}
    said = str(plan(load(config(own) | {"workers": workers})))
    assert "workers  2 lsf in 1 job of 3, 1 threads each\n" in said
    assert ", by 12 lsf workers of its own in 2 jobs of 6; " in said
    assert " -n 3 " in said
    assert " -n 6 " in said


def test_a_start_deletes_what_earlier_ones_have_told_their_jobs(
    config: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    run(load(config()), say=lambda _: None)
    told = tmp_path / "out.zarr.run" / "workers" / "slurm-41-0.wanted"
    told.touch()
    run(load(config()), say=lambda _: None)
    assert not told.exists()


def test_a_worker_that_has_no_block_is_said_to_be_idle(
    config: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    run(load(config()), say=lambda _: None)
    run_dir = RunDir(tmp_path / "out.zarr.run")
    with Lock(run_dir):
        for name, block in (("w1", None), ("w2", (0, 0, 1, 0))):
            state = WorkerState(name, "node7", 1, "", "denoise", block, 1e12, 9)
            write_state(run_dir, state)
        said = status(run_dir).splitlines()
    where = "on node7 as process 1, 0 blocks done, peak 9 MiB"
    assert f"  w1: idle for 0.1 s, {where}" in said
    assert f"  w2: block [0, 0, 1, 0] of denoise for 0.1 s, {where}" in said


def test_a_task_that_awaits_being_done_again_is_not_verified(
    config: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """What it has is not what the config asks for; all others are, as ever."""
    output, dim = tmp_path / "out.zarr", SOFT | {"name": "dim"}
    run_dir = RunDir.of_output(output)
    run(load(config(SOFT)), say=lambda _: None)
    other = SOFT | {"sigma": {"y": 2}}
    run(load(config(other, dim)), tasks=["dim"], say=lambda _: None)
    (tmp_path / "out.soft.zarr/0/c/0/0/0/0/0").write_bytes(b"damaged")
    lines = list(ledger_lines(output, "soft"))
    assert len(lines) == 2
    assert verify(run_dir) == (
        f"All 4 blocks are as they were written. Output: {output}"
        "\nNot read back, as the config has other settings of them than they were done"
        " with: soft."
    )
    assert list(ledger_lines(output, "soft")) == lines
    (tmp_path / "out.dim.zarr/0/c/0/0/0/0/0").write_bytes(b"damaged")
    with pytest.raises(BlocksFailed, match=r"1 of 4 blocks are not what was written"):
        verify(run_dir)
