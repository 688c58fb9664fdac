"""A file that is gone is an error to whoever reads it, whatever it reads it for.

> What a stage wrote is held against the checksums in the ledger by all who read it; a
> file that is away is an error, never zeros.

For Zarr a shard that is not there is one of zeros, which would move a threshold or cut
an object in two, and nobody would notice.  Each stage of a finished run is made again
with one file less of those that it reads; with all of them it gives the same bytes, or
the error would prove nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy import run
from denoise_daisy.blockwise.patience import UnrecordedError
from denoise_daisy.blockwise.process_block import process_block
from denoise_daisy.blockwise.read_back import find_damage
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import OutputGoneError
from denoise_daisy.resolved.resolve import resolve
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import Waits
from harness import config_for, ledger_lines, load, small_czi
from harness.prepared import copied
from harness.shared import once

FIRST = (0, 0, 0, 0)

READS = {
    "soft": ["out.zarr/0/c/0/0/0/0/0", "out.zarr/0/c/0/0/0/1/0"],
    "found.value": [f"out.soft.zarr/0/c/0/0/0/{y}/0" for y in range(4)],
    "found": ["out.soft.zarr/0/c/0/0/0/0/0", "out.zarr.run/tasks/found/value.json"],
    "cells.pieces": [
        "out.zarr/labels/found/0/c/0/0/0/0",
        "out.zarr/0/c/0/0/0/0/0",
    ],
    "cells.union": [f"out.zarr.run/tasks/cells.pieces/0-0-{y}-0.npz" for y in range(4)],
    "cells": [
        "out.zarr/labels/found/0/c/0/0/0/0",
        "out.zarr.run/tasks/cells.union/0-0-0-0.npz",
    ],
    "cells.table": ["out.zarr.run/tasks/cells.union/0-0-0-0.npz"],
    "levels.1": ["out.zarr/0/c/0/0/0/0/0", "out.zarr/0/c/0/0/0/1/0"],
}
"""Files that the first block of each stage reads, as context, sample or all of it."""

CASES = [(stage, file) for stage, files in READS.items() for file in files]


def finish(folder: Path) -> dict[str, Any]:
    """The config of a finished run, of four blocks along y."""
    config = config_for(
        small_czi(folder / "in.czi", (1, 1, 4, 64, 32)),
        folder / "out.zarr",
        output={"chunks": {"z": 4, "y": 16, "x": 32}},
        blocks={"shape": {"y": 16}},
        workers={"count": 1},
    )
    del config["noise"]
    config["denoise"] = {"kind": "median", "size": {"y": 3}}
    config["tasks"] = [
        {"kind": "smooth", "name": "soft", "sigma": {"y": 1}},
        {"kind": "threshold", "name": "found", "input": "soft", "method": "otsu"},
        {"kind": "label", "name": "cells", "input": "found", "table": "csv"},
        {"kind": "pyramid", "name": "levels", "levels": 1},
    ]
    run(load(config), say=lambda _: None)
    return config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The config of a copy of that run, whose files are away for a while."""
    finished = once(tmp_path_factory, "missing_files", finish)
    return copied(finished, tmp_path_factory.mktemp("copy"))


@pytest.fixture
def stages(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Stage]:
    """The stages of that run, which wait for no file to come back."""
    waits = Waits(file_away=1e-9, ledger_lag=1e-9, retry=1e-9)
    monkeypatch.setattr("denoise_daisy.blockwise.patience.WAITS", waits)
    record = RunRecord.read(RunDir.of_output(Path(config["output"]["path"])))
    assert record is not None
    return {
        stage.name: stage for stage in resolve(load(config), record, "another").stages
    }


@contextmanager
def without(file: Path) -> Iterator[None]:
    """A file is away for a while."""
    aside = file.with_name("aside")
    file.rename(aside)
    try:
        yield
    finally:
        aside.rename(file)


def crc_of(stage: Stage) -> int:
    """Do the first block again."""
    return process_block(stage, FIRST, durable=False, is_wanted=lambda: True).crc


def test_every_stage_that_reads_what_another_wrote_is_here(
    stages: dict[str, Stage],
) -> None:
    assert stages.keys() - {"denoise"} == READS.keys()


@pytest.mark.parametrize(("stage", "file"), CASES)
def test_a_file_that_is_gone_is_an_error_to_who_reads_it(
    stage: str, file: str, stages: dict[str, Stage], config: dict[str, Any]
) -> None:
    output = Path(config["output"]["path"])
    with (
        without(output.parent / file),
        pytest.raises(FileNotFoundError) as missed,
    ):
        crc_of(stages[stage])
    assert str(output.parent / file) in str(missed.value)
    [was] = {x["crc"] for x in ledger_lines(output, stage) if x["block"] == [*FIRST]}
    assert crc_of(stages[stage]) == was


LEDGERS = {
    "soft": ["denoise"],
    "found.value": ["soft"],
    "found": ["soft", "found.value"],
    "cells.pieces": ["denoise", "found"],
    "cells.union": ["cells.pieces"],
    "cells": ["found", "cells.union"],
    "cells.table": ["cells.union"],
    "levels.1": ["denoise"],
}
"""Stages whose word each stage takes on what it reads."""


@pytest.mark.parametrize(
    ("stage", "ledger"),
    [(stage, name) for stage, names in LEDGERS.items() for name in names],
)
def test_what_nobody_has_recorded_is_an_error_to_who_reads_it(
    stage: str, ledger: str, stages: dict[str, Stage], config: dict[str, Any]
) -> None:
    """Though the files are there: nobody can tell what was written to them."""
    assert LEDGERS.keys() == READS.keys()
    folder = Path(config["output"]["path"]).with_name("out.zarr.run") / "ledger"
    with without(folder / ledger), pytest.raises(UnrecordedError):
        crc_of(stages[stage])


def test_an_array_that_is_gone_stops_its_writers_and_is_not_made_again(
    stages: dict[str, Stage], config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = Waits(array_away=1e-9, retry=1e-9)
    monkeypatch.setattr("denoise_daisy.blockwise.level.WAITS", waits)
    array = Path(config["output"]["path"]).with_name("out.soft.zarr") / "0"
    with without(array):
        with pytest.raises(OutputGoneError, match="moved or deleted during the run"):
            crc_of(stages["soft"])
        assert not array.exists()
    crc_of(stages["soft"])


def test_a_file_that_is_gone_is_damage_and_a_whole_array_is_not(
    stages: dict[str, Stage], config: dict[str, Any]
) -> None:
    """It was there a moment ago: a file system that is away marks nothing damaged."""
    array = Path(config["output"]["path"]).with_name("out.soft.zarr") / "0"
    soft = stages["soft"]
    crc = crc_of(soft)
    assert find_damage(soft, soft.grid, FIRST, crc) is None
    with without(array / "c/0/0/0/0/0"):
        found = find_damage(soft, soft.grid, FIRST, crc)
    assert found == "0/c/0/0/0/0/0 is missing"
    fresh = replace(soft, target=replace(soft.target))  # type: ignore[type-var]
    with without(array), pytest.raises(FileNotFoundError):
        find_damage(fresh, soft.grid, FIRST, crc)


def test_an_array_is_not_read_as_a_file(stages: dict[str, Stage]) -> None:
    with pytest.raises(TypeError, match="'soft' writes an array"):
        stages["soft"].read_file(FIRST)
