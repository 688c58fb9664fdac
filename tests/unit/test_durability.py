"""A block outlives a power cut before its line says that it is done.

> fsync: a block counts as done once it would outlive a power cut
> Every file appears whole: it is written under a temporary name and then renamed.

No test can cut the power.  Instead every call is noted by which a file reaches the
disk, with the file's number and its size at that moment, and the order of the calls is
held to what POSIX promises: a file is safe once it was synced with all that is in it,
and so is its name once the folder was synced after the renaming.  A green run would
mean nothing if the calls were not seen, so each test says how many files it looked at.
"""

import json
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.process_block import process_block
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import FilePerBlock, SingleFile
from denoise_daisy.durable import make_folders, remove_partials, sync, write_atomic
from denoise_daisy.geometry import FULL_RESOLUTION, BlockGrid, neighbourhood
from denoise_daisy.outputs.layout import Layout
from denoise_daisy.outputs.ome_groups import create_group, create_labels
from denoise_daisy.outputs.ome_zarr import create_array
from denoise_daisy.run_dir.checksums import Checksums
from denoise_daisy.run_dir.ledger_lines import Entry, LedgerWriter
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from harness import cli, config_for, ledger_lines, small_czi, write_config
from harness.file_calls import Call, note_calls

SHAPE, CHUNKS, SHARDS = (1, 2, 4, 8, 8), (1, 1, 2, 4, 4), (1, 2, 2, 4, 8)
"""Of (t, c, z, y, x); a block writes two shards, one behind the other along y."""

BEGIN = Coordinate(0, 10, 20, 30)

EVERYWHERE = Roi(BEGIN, (1, 4, 8, 8))

NO_CONTEXT = Coordinate(0, 0, 0, 0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """All calls of this process from here on, in their order."""
    found: list[Call] = []
    for name, stand_in in note_calls(found.append).items():
        monkeypatch.setattr(os, name, stand_in)
    return found


def check_safe(calls: list[Call], file: Path, top: Path) -> None:
    """Hold the calls to this: the file appears whole, and then outlives a power cut.

    So do the names of all folders that it lies in, up to `top`.
    """
    in_place = [c for c in calls if c.what == "open" and c.path == str(file)]
    assert not in_place, f"{file} was written in place"
    stat = file.stat()
    [renamed] = [
        i for i, c in enumerate(calls) if c.what == "rename" and c.path == str(file)
    ]
    synced = [
        i
        for i, c in enumerate(calls)
        if c.what == "sync" and (c.number, c.size) == (stat.st_ino, stat.st_size)
    ]
    assert synced, file
    after = {c.path for c in calls[renamed:] if c.what == "sync"}
    folders = [p for p in file.parents if top in (p, *p.parents)]
    assert top in folders
    assert {str(folder) for folder in folders} <= after
    check_names(calls)


def check_names(calls: list[Call]) -> list[str]:
    """Hold the calls to this: each folder that was made keeps its name; which ones."""
    made = [(i, c.path) for i, c in enumerate(calls) if c.what == "mkdir"]
    for i, folder in made:
        after = {c.path for c in calls[i:] if c.what == "sync"}
        assert str(Path(folder).parent) in after, folder
    return [folder for _, folder in made]


BLOCK = Coordinate(1, 2, 8, 8)

GRID = BlockGrid(EVERYWHERE, EVERYWHERE, BLOCK, NO_CONTEXT, neighbourhood(NO_CONTEXT))


def array_in(base: Path) -> Level:
    layout = Layout(SHAPE, "uint16", CHUNKS, SHARDS, 1)
    create_array(base / "out.zarr" / "0", layout)
    return Level(
        path=base / "out.zarr" / "0",
        layout=layout,
        transform=FULL_RESOLUTION,
        begin=BEGIN,
        channels=(),
        checksums=Checksums(base / "ledger", "r", SHAPE, CHUNKS),
    )


FILES: dict[str, tuple[type[FilePerBlock] | type[SingleFile], str, str]] = {
    "pieces": (FilePerBlock, "tasks/cells.pieces", "tasks/cells.pieces/0-0-0-0.npz"),
    "union": (FilePerBlock, "tasks/cells.union", "tasks/cells.union/0-0-0-0.npz"),
    "table": (SingleFile, "out.cells.csv", "out.cells.csv"),
    "values": (SingleFile, "tasks/sums/values.npy", "tasks/sums/values.npy"),
}
"""What stages write that write no array: how, where, and the file of a block."""


def files_in(base: Path, kind: str) -> FilePerBlock | SingleFile:
    target, place, _ = FILES[kind]
    one = (1, *BLOCK)
    return target(base / place, Checksums(base / "ledger", "r", (1, *SHAPE[1:]), one))


def stage_of(target: Level | FilePerBlock | SingleFile) -> Stage:
    """Two blocks that write random voxels, as they are or as files."""
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 1000, (1, 2, *BLOCK[1:]), np.uint16)
    is_array = isinstance(target, Level)
    return Stage(
        name="a",
        task="a",
        grid=GRID,
        sources=(),
        after=(),
        compute=lambda _: voxels if is_array else voxels.tobytes(),
        parameters={},
        target=target,
    )


def do(stage: Stage, writer: LedgerWriter, z: int, *, durable: bool) -> None:
    """A block and its line, as a worker does them."""
    block = (0, z, 0, 0)
    result = process_block(stage, block, durable=durable, is_wanted=lambda: True)
    shape = tuple(stage.grid.block_shape)
    writer.append(Entry(block, shape, "done", 1, "w", crc=result.crc))


def before_lines(calls: list[Call], ledger: Path) -> list[list[Call]]:
    """The calls that came before each line of a ledger."""
    lines = [
        i for i, c in enumerate(calls) if c.what == "write" and c.path == str(ledger)
    ]
    return [calls[:i] for i in lines]


def test_voxels_are_safe_before_their_line_is_written(
    tmp_path: Path, calls: list[Call]
) -> None:
    """Files, and all folders that they lie in, up to that of the array."""
    stage, ledger = stage_of(array_in(tmp_path)), tmp_path / "ledger"
    ledger.mkdir()
    calls.clear()
    writer = LedgerWriter(ledger, "r", "w", durable=True)
    do(stage, writer, 0, durable=True)
    do(stage, writer, 1, durable=True)
    array = tmp_path / "out.zarr" / "0"
    parts = before_lines(calls, ledger / "w.jsonl")
    assert len(parts) == 2
    files = [array / f"c/0/0/{z}/{y}/0" for z in (0, 1) for y in (0, 1)]
    for i, file in enumerate(files):
        check_safe(parts[i // 2], file, array)
    assert sorted(f for f in (array / "c").rglob("*") if f.is_file()) == files


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_a_stage_is_safe_before_its_line_is_written(
    kind: str, tmp_path: Path, calls: list[Call]
) -> None:
    """Of a stage that writes a file for each block, or just one."""
    stage, ledger = stage_of(files_in(tmp_path, kind)), tmp_path / "ledger"
    make_folders(ledger)
    do(stage, LedgerWriter(ledger, "r", "w", durable=True), 0, durable=True)
    [part] = before_lines(calls, ledger / "w.jsonl")
    file = tmp_path / FILES[kind][2]
    assert [f for f in tmp_path.rglob("*") if f.is_file() and f.parent != ledger] == [
        file
    ]
    check_safe(part, file, file.parent)
    made = {str(p) for p in file.parents if tmp_path in p.parents}
    assert set(check_names(part)) == {str(ledger), *made}


@pytest.mark.parametrize("kind", ["pieces", "union", "values"])
def test_a_folder_that_another_worker_has_just_made_keeps_its_name(
    kind: str, tmp_path: Path, calls: list[Call]
) -> None:
    """It may have come no further, or be dead."""
    stage, ledger = stage_of(files_in(tmp_path, kind)), tmp_path / "ledger"
    make_folders(ledger)
    file = tmp_path / FILES[kind][2]
    file.parent.mkdir(parents=True)
    calls.clear()
    do(stage, LedgerWriter(ledger, "r", "w", durable=True), 0, durable=True)
    [part] = before_lines(calls, ledger / "w.jsonl")
    check_safe(part, file, file.parent)
    assert str(file.parent.parent) in {c.path for c in part if c.what == "sync"}


def test_a_line_is_safe_when_it_counts_as_written(
    tmp_path: Path, calls: list[Call]
) -> None:
    """And so is the name of its file, once there is a line in it."""
    writer = LedgerWriter(tmp_path, "r", "w", durable=True)
    file = tmp_path / "w.jsonl"
    sizes = []
    for z in range(3):
        writer.append(Entry((0, z, 0, 0), (1, 1, 1, 1), "done", 1, "w", crc=1))
        sizes.append(file.stat().st_size)
        assert calls[-1] == Call("sync", str(file), file.stat().st_ino, sizes[-1])
    assert len(set(sizes)) == 3
    said = [(c.what, c.path) for c in calls]
    opened = said.index(("open", str(file)))
    folder = said.index(("sync", str(tmp_path)))
    assert opened < folder < said.index(("write", str(file)))


def test_without_durability_nothing_is_synced_and_all_is_renamed(
    tmp_path: Path, calls: list[Call]
) -> None:
    stage, ledger = stage_of(array_in(tmp_path)), tmp_path / "ledger"
    ledger.mkdir()
    calls.clear()
    do(stage, LedgerWriter(ledger, "r", "w", durable=False), 0, durable=False)
    assert [c.path for c in calls if c.what == "sync"] == []
    files = {str(tmp_path / f"out.zarr/0/c/0/0/0/{y}/0") for y in (0, 1)}
    assert {c.path for c in calls if c.what == "rename"} == files
    assert not files & {c.path for c in calls if c.what == "open"}


@pytest.mark.parametrize("kind", FILES)
def test_without_durability_files_are_not_synced_either(
    kind: str, tmp_path: Path, calls: list[Call]
) -> None:
    """Nor the folders that they lie in, nor those where these are made."""
    stage, ledger = stage_of(files_in(tmp_path, kind)), tmp_path / "ledger"
    ledger.mkdir()
    do(stage, LedgerWriter(ledger, "r", "w", durable=False), 0, durable=False)
    file = tmp_path / FILES[kind][2]
    assert [c.path for c in calls if c.what == "sync"] == []
    assert [c.path for c in calls if c.what == "rename"] == [str(file)]
    assert str(file) not in {c.path for c in calls if c.what == "open"}
    assert len(before_lines(calls, ledger / "w.jsonl")) == 1


def test_folders_that_are_made_keep_their_names(
    tmp_path: Path, calls: list[Call]
) -> None:
    """All that were missing, and no others are touched."""
    make_folders(tmp_path / "a")
    assert [(c.what, c.path) for c in calls if c.what != "open"] == [
        ("mkdir", str(tmp_path / "a")),
        ("sync", str(tmp_path)),
    ]
    calls.clear()
    make_folders(tmp_path / "a" / "b" / "c")
    made = [str(tmp_path / "a" / "b"), str(tmp_path / "a" / "b" / "c")]
    assert check_names(calls) == made
    calls.clear()
    make_folders(tmp_path / "a" / "b" / "c")
    make_folders(tmp_path / "d" / "e", durable=False)
    assert [c.path for c in calls if c.what == "sync"] == []
    assert (tmp_path / "d" / "e").is_dir()


# Files that appear whole


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_file_that_is_replaced_is_whole_at_every_moment(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether what is written fits into a buffer or not."""
    file, seen = tmp_path / "a", []
    file.write_bytes(b"old")
    for name, stand_in in note_calls(lambda _: seen.append(file.read_bytes())).items():
        monkeypatch.setattr(os, name, stand_in)
    write_atomic(file, b"n" * size)
    changes = [a != b for a, b in pairwise(seen)]
    assert seen[0] == b"old"
    assert seen[-1] == b"n" * size
    assert sum(changes) == 1
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    file = tmp_path / "a"
    file.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_atomic(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_may_be_written_but_not_read_takes_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its names are left to the system; a file that can't be synced is not."""
    really_open = os.open

    def open_to_write(path: Path, flags: int, mode: int = 0o777) -> int:
        if not flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(13, "Permission denied", str(path))
        return really_open(path, flags, mode)

    monkeypatch.setattr(os, "open", open_to_write)
    write_atomic(tmp_path / "deep", b"all of it")
    assert [file.name for file in tmp_path.iterdir()] == ["deep"]
    with pytest.raises(PermissionError, match="deep"):
        sync(tmp_path / "deep")


def test_partial_files_of_those_who_may_be_at_work_are_kept(tmp_path: Path) -> None:
    """What a writer has touched since the start, or as it began."""
    (tmp_path / "c").mkdir()
    for name, time in (("a", 99), ("b", 100), ("c/a", 101), ("c/b", 99)):
        file = tmp_path / f"{name}.partial"
        file.touch()
        os.utime(file, (time, time))
    remove_partials(tmp_path, older_than=100)
    left = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.partial")}
    assert left == {"b.partial", "c/a.partial"}


def test_the_record_of_a_run_is_safe_once_it_is_written(
    tmp_path: Path, calls: list[Call]
) -> None:
    run_dir = RunDir(tmp_path / "out.zarr.run")
    run_dir.make(["denoise", "cells.pieces"])
    record = RunRecord(
        id="x" * 10_000, epoch=1, config={}, stages={}, versions={"a": "1"}
    )
    record.write(run_dir)
    check_safe(calls, run_dir.run_file, run_dir.path)
    folders = ["ledger", "ledger/denoise", "ledger/cells.pieces", "logs", "workers"]
    made = {str(run_dir.path), *(str(run_dir.path / name) for name in folders)}
    assert set(check_names(calls)) == made


def test_metadata_of_groups_and_arrays_are_safe_once_they_are_made(
    tmp_path: Path, calls: list[Call]
) -> None:
    """They, and all folders that they lie in."""
    output = tmp_path / "out.zarr"
    layout = Layout(SHAPE, "uint16", CHUNKS, SHARDS, 1)
    create_group(output, {"version": "0.5"}, {})
    create_array(output / "0", layout)
    create_group(output / "labels" / "cells", {"version": "0.5"}, {})
    create_array(output / "labels" / "cells" / "0", layout)
    create_labels(output, ["cells"])
    places = [".", "0", "labels", "labels/cells", "labels/cells/0"]
    files = [output / place / "zarr.json" for place in places]
    assert sorted(output.rglob("zarr.json")) == sorted(files)
    syncs = [(i, c) for i, c in enumerate(calls) if c.what == "sync"]
    for file in files:
        stat = file.stat()
        of_file = [
            i for i, c in syncs if (c.number, c.size) == (stat.st_ino, stat.st_size)
        ]
        assert of_file, file
        assert str(file.parent) in {c.path for i, c in syncs if i > of_file[0]}
    made = {str(file.parent) for file in files}
    assert set(check_names(calls)) == made


# A whole run

HOOK = """
import sys

KINDS = ("denoise_daisy", "denoise_daisy.worker")
for kind in KINDS:
    if kind in sys.orig_argv:
        sys.path.insert(0, {harness!r})
        import file_calls

        sys.path.remove({harness!r})
        file_calls.log_calls({log!r} + kind + "-")
"""

TASKS: list[dict[str, Any]] = [
    {"kind": "smooth", "name": "soft", "sigma": {"y": 1}},
    {"kind": "threshold", "name": "found", "input": "soft", "method": "otsu"},
    {"kind": "label", "name": "cells", "input": "found", "table": "csv"},
    {"kind": "pyramid", "name": "levels", "levels": 1},
    {"kind": "function", "name": "sum", "function": "own:total", "span": "tzyx"}
    | {"output": "values"},
]

LINES = {
    "denoise": 2,
    "soft": 2,
    "found.value": 1,
    "found": 2,
    "cells.pieces": 2,
    "cells.union": 1,
    "cells": 2,
    "cells.table": 1,
    "levels.1": 2,
    "sum": 1,
}
"""Blocks of each stage of the run."""

ARRAYS = {
    "denoise": "out.zarr/0",
    "soft": "out.soft.zarr/0",
    "found": "out.zarr/labels/found/0",
    "cells": "out.zarr/labels/cells/0",
    "levels.1": "out.zarr/1",
}


def calls_in(folder: Path, kind: str) -> list[list[Call]]:
    """The calls of each process of that kind."""
    logs = [log.read_text().splitlines() for log in folder.glob(f"calls-{kind}-*")]
    return [[Call(*json.loads(line)) for line in log] for log in logs]


@pytest.mark.parametrize("durability", ["fsync", "none"])
def test_workers_do_as_the_config_says(durability: str, tmp_path: Path) -> None:
    """Whatever a stage writes; a worker does one block after the other."""
    hook, output = tmp_path / "hook", tmp_path / "out.zarr"
    hook.mkdir()
    harness = Path(__file__).parent.parent / "harness"
    places = {"harness": str(harness), "log": str(tmp_path / "calls-")}
    (hook / "sitecustomize.py").write_text(HOOK.format(**places))
    (tmp_path / "own.py").write_text("total = lambda block, context: block.sum()\n")
    config = config_for(
        small_czi(tmp_path / "in.czi", (1, 1, 4, 32, 32)),
        output,
        output={"durability": durability, "chunks": {"z": 2, "y": 16, "x": 16}},
        blocks={"shape": {"z": 2, "y": 32, "x": 32}},
    )
    path = os.pathsep.join([str(hook), *filter(None, [os.environ.get("PYTHONPATH")])])
    file = write_config(tmp_path / "config.json", config | {"tasks": TASKS})
    end = cli("run", file, env={"PYTHONPATH": path})
    assert end.returncode == 0, end.stderr
    lines = {stage: len(list(ledger_lines(output, stage))) for stage in LINES}
    assert lines == LINES
    found: Counter[str] = Counter()
    syncs, files = 0, set()
    for every in calls_in(tmp_path, "denoise_daisy.worker"):
        begin = 0
        # A thread of its own shows what the worker is doing.
        calls = [call for call in every if "/workers/" not in call.path]
        for i, call in enumerate(calls):
            if call.what != "write" or not call.path.endswith(".jsonl"):
                continue
            stage = Path(call.path).parent.name
            found[stage] += 1
            renamed = [Path(c.path) for c in calls[begin:i] if c.what == "rename"]
            begin = i
            assert renamed, call
            files.update(renamed)
            if durability == "fsync":
                for file in renamed:
                    top = tmp_path / ARRAYS[stage] if stage in ARRAYS else file.parent
                    check_safe(calls[:i], file, top)
                assert calls[i + 1] == Call("sync", call.path, call.number, call.size)
        syncs += sum(c.what == "sync" for c in calls)
    assert found == LINES
    outputs = [tmp_path / place for place in ("out.zarr", "out.soft.zarr")]
    outputs += [tmp_path / "out.cells.csv", tmp_path / "out.zarr.run" / "tasks"]
    written = {f for p in outputs for f in (p.rglob("*") if p.is_dir() else [p])}
    metadata = ("zarr.json", "METADATA.ome.xml")
    assert files == {f for f in written if f.is_file() and f.name not in metadata}
    assert (syncs == 0) == (durability == "none")
    [calls] = calls_in(tmp_path, "denoise_daisy")
    made = {Path(folder) for folder in check_names(calls)}
    assert made >= {
        *(output, tmp_path / "out.soft.zarr", tmp_path / "out.zarr.run"),
        *(tmp_path / place for place in ARRAYS.values()),
        *(tmp_path / "out.zarr.run" / "ledger" / stage for stage in LINES),
    }
