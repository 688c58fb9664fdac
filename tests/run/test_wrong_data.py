"""Nothing wrong is ever called done: what reviews found, each as it was found.

Every one of these ended, once, in wrong or lost voxels and a good exit code.  The
disturbance is real: processes, files and links; system calls fail by Python's audit
hook in the process in question.  A green run would mean nothing if the disturbance had
missed, so each test looks for its trace as well.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from denoise_daisy.runs.reading_back import _found_in
from harness import here, output_of, wait_until
from harness.chains import TASKS, Chain, record_of
from harness.waiting import PATIENCE

ONE_TRY = {"kind": "local", "count": 2, "max_retries": 0}

DENOISE = {"denoise": {"kind": "median", "size": {"y": 3, "x": 3}}, "tasks": []}


@pytest.fixture
def finished(finished_chain: Chain) -> Chain:
    """A chain that nothing has disturbed; not to be changed."""
    return finished_chain


@pytest.fixture
def chain(finished: Chain, tmp_path: Path) -> Chain:
    """A finished chain in a folder of its own."""
    chain = Chain(tmp_path / "chain")
    for name in ("out.zarr", "out.zarr.run", "out.soft.zarr"):
        shutil.copytree(finished.folder / name, chain.folder / name)
    shutil.copy(finished.folder / "out.cells.csv", chain.folder)
    # The copy of an input is another file; here it is the same one.
    record = record_of(finished)
    record["config"]["input"]["path"] = str(chain.folder / "in.czi")
    stat = (finished.folder / "in.czi").stat()
    shutil.copy2(finished.folder / "in.czi", chain.folder / "in.czi")
    os.utime(chain.folder / "in.czi", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (chain.run_dir / "run.json").write_text(json.dumps(record))
    return chain


# What another run has left


def test_a_ledger_that_another_run_has_left_is_not_believed(tmp_path: Path) -> None:
    chain = Chain(tmp_path / "chain", **DENOISE)
    chain.write(chain.config | {"denoise": {"kind": "median", "size": {"z": 3}}})
    assert chain.run().returncode == 0
    left = sorted(f.name for f in (chain.run_dir / "ledger").rglob("*.jsonl"))
    shutil.rmtree(chain.output)
    (chain.run_dir / "run.json").unlink()
    chain.write(chain.config)
    end = chain.run()
    assert end.returncode == 0, end.stderr
    assert "8 blocks done, 0 skipped" in end.stdout
    other = Chain(tmp_path / "other", **DENOISE)
    assert other.run().returncode == 0
    np.testing.assert_array_equal(output_of(chain.output), output_of(other.output))
    [aside] = chain.run_dir.glob("*.old")
    assert sorted(f.name for f in aside.rglob("*.jsonl")) == left
    assert str(aside) in end.stderr


def test_lines_of_another_run_count_for_nothing_wherever_they_lie(
    chain: Chain,
) -> None:
    """Such as those that a worker of a replaced run writes late."""
    folder = chain.run_dir / "ledger" / "denoise"
    for file in folder.glob("*.jsonl"):
        lines = map(json.loads, file.read_text().splitlines())
        foreign = [json.dumps(line | {"run": "another"}) for line in lines]
        file.write_text("\n".join(foreign) + "\n")
    said = chain.cli("status", chain.output).stdout
    assert "denoise: 0 done, 0 failed, 8 left" in said
    assert "ledger lines left out: " in said
    before = chain.contents()
    end = chain.run()
    assert end.returncode == 0, end.stderr
    assert "another run's" in (chain.run_dir / "logs" / "scheduler.log").read_text()
    assert chain.contents() == before


@contextmanager
def mounted_over(file: Path) -> Iterator[None]:
    """A file that can't be deleted, since something is mounted there."""
    command = ["mount", "--bind", str(file), str(file)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(file)], check=True)


def test_an_old_ledger_that_can_not_be_deleted_stops_an_overwrite(chain: Chain) -> None:
    before = output_of(chain.output)
    config = chain.config | {"denoise": {"kind": "median", "size": {"z": 3}}}
    chain.write(config)
    stuck = sorted((chain.run_dir / "ledger" / "denoise").glob("*.jsonl"))[0]
    with mounted_over(stuck):
        end = chain.run("--overwrite")
        assert end.returncode == 5
        assert f"(Device or resource busy: {stuck})" in end.stderr
    end = chain.run("--overwrite")
    assert end.returncode == 0, end.stderr
    assert "0 skipped" in end.stdout
    assert (output_of(chain.output) != before).any()
    assert chain.verify().returncode == 0


def test_an_overwrite_that_stopped_half_way_can_be_gone_on_with(chain: Chain) -> None:
    """Without --overwrite as well: nothing of the old run counts any more."""
    before = chain.contents()
    ledger = chain.run_dir / "ledger" / "soft"
    stuck = sorted(ledger.glob("*.jsonl"))[0]
    with mounted_over(stuck):
        assert chain.run("--overwrite").returncode == 5
    shutil.rmtree(chain.soft)
    end = chain.run()
    assert end.returncode == 0, end.stderr
    assert "0 skipped" in end.stdout
    assert chain.contents() == before


# Files that are gone


@pytest.mark.parametrize(
    "name",
    ["out.zarr/0/c/0/0/1/0/1", "out.soft.zarr/0/c/0/0/0/1/0", "out.cells.csv"]
    + [
        f"out.zarr.run/tasks/{n}"
        for n in ("cells.pieces/0-1-0-1.npz", "bright/value.json")
    ],
)
def test_what_is_gone_is_not_called_done(chain: Chain, name: str) -> None:
    before = chain.contents()
    (chain.folder / name).unlink()
    end = here("run", chain.path)
    assert end.returncode == 4
    assert "1 files of blocks that are recorded as done are gone" in end.stderr
    assert "`verify`" in end.stderr
    checked = chain.verify()
    assert checked.returncode == 3
    assert "is missing" in checked.stderr
    end = chain.run()
    assert end.returncode == 0, end.stderr
    assert chain.contents() == before


def test_a_file_that_goes_during_the_run_is_not_called_done(tmp_path: Path) -> None:
    chain = Chain(tmp_path / "chain", **DENOISE)
    chain.hold(free=2)
    with chain.running(held=True) as process:
        wait_until(lambda: len(chain.done("denoise")) == 2, "two blocks are done")
        first = chain.done("denoise")[0]
        chain.output.joinpath("0/c/0/0", *map(str, first[1:])).unlink()
        chain.hold()
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 5, said
    assert "are gone" in said
    assert chain.verify().returncode == 3
    assert chain.run().returncode == 0


@pytest.mark.parametrize("verb", ["run", "--overwrite"])
def test_an_output_that_is_deleted_during_the_run_stops_it(
    tmp_path: Path, verb: str
) -> None:
    """And what is left, where a worker wrote on, is known as this program's."""
    chain = Chain(tmp_path / "chain", **DENOISE)
    chain.hold(free=1)
    with chain.running(held=True) as process:
        wait_until(lambda: chain.done("denoise"), "a block is done")
        shutil.rmtree(chain.output)
        chain.hold()
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 5, said
    assert "moved or deleted during the run" in said
    assert not chain.output.exists()
    (chain.output / "0" / "c" / "0").mkdir(parents=True)
    assert chain.verify().returncode == 4
    end = here("run", chain.path)
    assert end.returncode == 4
    assert "--overwrite" in end.stderr
    if verb == "--overwrite":
        end = chain.run("--overwrite")
        assert end.returncode == 0, end.stderr
        assert chain.verify().returncode == 0


def test_a_folder_of_somebodys_is_not_deleted_for_a_record_beside_it(
    chain: Chain,
) -> None:
    shutil.rmtree(chain.output)
    chain.output.mkdir()
    (chain.output / "thesis.tex").write_text("keep")
    end = here("run", chain.path, "--overwrite")
    assert end.returncode == 4
    assert (chain.output / "thesis.tex").read_text() == "keep"


def test_an_array_that_is_laid_out_otherwise_is_not_written_to(chain: Chain) -> None:
    """Such as an old one that was left where a task has another type now."""
    soft = TASKS[0] | {"dtype": "input"}
    tasks = [soft, *TASKS[1:]]
    (chain.soft / "zarr.json").unlink()
    chain.write(chain.config | {"tasks": tasks})
    end = here("run", chain.path)
    assert end.returncode == 4
    assert str(chain.soft) in end.stderr
    shutil.rmtree(chain.soft)
    assert chain.run().returncode == 0
    assert zarr.open_array(chain.soft / "0", mode="r").dtype == np.uint16
    assert chain.verify().returncode == 0
    metadata = chain.soft / "0" / "zarr.json"
    text = metadata.read_text()
    metadata.write_text(text.replace("uint16", "uint8"))
    for end in (here("run", chain.path), here("verify", chain.path)):
        assert end.returncode == 4
        assert "uint8" in end.stderr
    metadata.write_text(text)
    assert here("run", chain.path).returncode == 0


def test_files_behind_links_are_there(chain: Chain) -> None:
    """And links that lead in a circle are not followed for ever."""
    plane = chain.output / "0" / "c" / "0" / "0" / "1"
    elsewhere = chain.folder / "other disk"
    plane.rename(elsewhere)
    plane.symlink_to(elsewhere)
    (chain.output / "0" / "c" / "0" / "circle").symlink_to(chain.output / "0" / "c")
    end = here("run", chain.path)
    assert end.returncode == 0, end.stderr
    assert "done before" in end.stdout
    (elsewhere / "0" / "1").unlink()
    assert here("run", chain.path).returncode == 4


# verify


@pytest.mark.parametrize("error", ["EIO", "ESTALE", "EACCES", "MemoryError"])
def test_what_can_not_be_read_is_not_taken_for_damage(chain: Chain, error: str) -> None:
    lines = {stage: chain.done(stage) for stage in ("denoise", "soft", "cells")}
    fault = {"who": "verify", "at": "open", "path": "/c/", "error": error, "after": 3}
    end = chain.verify(fault=fault)
    assert chain.struck()
    assert end.returncode == 5, end.stderr
    assert "No block was marked" in end.stderr
    assert lines == {stage: chain.done(stage) for stage in lines}
    assert not list(chain.run_dir.glob("ledger/*/verify-*"))
    assert chain.verify().returncode == 0


def test_a_file_that_can_not_be_found_once_is_not_taken_for_damage(
    chain: Chain,
) -> None:
    fault = {"who": "verify", "at": "open", "path": "/c/", "error": "ENOENT"}
    end = chain.verify(fault=fault)
    assert chain.struck()
    assert end.returncode == 0, end.stderr


def test_an_array_that_goes_while_it_is_verified_is_no_damage(chain: Chain) -> None:
    """Its metadata, which are read before a voxel is."""
    path = "out.soft.zarr/0/zarr.json"
    fault = {"who": "verify", "at": "open", "path": path, "error": "ENOENT"}
    end = chain.verify(fault=fault | {"after": 1, "always": True})
    assert chain.struck()
    assert end.returncode == 4, end.stderr
    assert "can't be opened" in end.stderr
    assert not list(chain.run_dir.glob("ledger/*/verify-*"))


def test_verify_keeps_few_blocks_waiting() -> None:
    taken = 0

    def blocks() -> Iterator[Any]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield None

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr("denoise_daisy.runs.reading_back._look_at", lambda _: None)
        for given, _ in enumerate(_found_in(pool, blocks(), 8), 1):
            assert taken <= given + 8
    assert given == taken == 1000


def test_a_block_that_is_undone_takes_its_readers_along(chain: Chain) -> None:
    """Those that read it with their context, and theirs; no others."""
    before = chain.contents()
    (chain.output / "0/c/0/0/0/0/0").unlink()
    end = chain.verify()
    assert end.returncode == 3
    assert "1 of 43 blocks are not what was written" in end.stderr
    said = chain.cli("status", chain.output).stdout
    # A context of 2, 4 and 4 voxels reaches into all eight blocks of smooth.
    assert "denoise: 7 done, 1 failed, 0 left" in said
    assert "soft: 0 done, 8 failed, 0 left" in said
    for stage in ("bright.value", "bright", "cells.pieces", "cells.union", "cells"):
        assert f"{stage}: 0 done" in said
    assert chain.run().returncode == 0
    assert chain.contents() == before


def test_the_readers_of_a_mask_are_not_those_of_the_image(chain: Chain) -> None:
    (chain.output / "labels/bright/0/c/0/1/1/1").unlink()
    assert chain.verify().returncode == 3
    said = chain.cli("status", chain.output).stdout
    assert "denoise: 8 done" in said
    assert "soft: 8 done" in said
    assert "bright.value: 1 done" in said
    assert "bright: 7 done, 1 failed" in said
    assert "cells.pieces: 7 done, 1 failed" in said
    assert "cells.union: 0 done, 1 failed" in said
    assert chain.run().returncode == 0


# What a stage reads


@pytest.mark.parametrize("task", ["soft", "bright"])
def test_a_file_that_is_away_for_a_moment_is_waited_for(
    tmp_path: Path, finished: Chain, task: str
) -> None:
    """Zarr takes a chunk that it does not find for one of zeros."""
    chain = Chain(tmp_path / "chain")
    before = ["--task", "denoise"] + (["--task", "soft"] if task == "bright" else [])
    assert chain.run(*before).returncode == 0
    read = "out.zarr/0/c/" if task == "soft" else "out.soft.zarr/0/c/"
    fault = {"who": "worker", "at": "open", "path": read, "error": "ENOENT"}
    end = chain.run(fault=fault)
    assert chain.struck()
    assert end.returncode == 0, end.stderr
    assert chain.contents() == finished.contents()


@pytest.mark.parametrize("stage", ["soft", "bright"])
def test_what_is_not_what_was_written_is_not_computed_with(
    chain: Chain, stage: str
) -> None:
    """A shard that is whole, and another's: no codec can tell."""
    array = chain.output if stage == "soft" else chain.soft
    contents = chain.contents()
    files = sorted(f for f in (array / "0" / "c").rglob("*") if f.is_file())
    shutil.copy(files[5], files[2])
    names = {"soft": "soft", "bright": "bright.value"}
    shutil.rmtree(chain.run_dir / "ledger" / names[stage])
    chain.write(chain.config | {"workers": ONE_TRY})
    end = chain.run()
    assert end.returncode == 3, end.stderr
    assert "is not what was written" in end.stderr
    assert chain.verify().returncode == 3
    assert chain.run().returncode == 0
    assert chain.contents() == contents


def test_values_and_tables_that_were_changed_are_not_computed_with(
    chain: Chain,
) -> None:
    contents = chain.contents()
    value = chain.run_dir / "tasks" / "bright" / "value.json"
    found = json.loads(value.read_text())
    value.write_text(json.dumps(found | {"values": [1.0]}))
    shutil.rmtree(chain.run_dir / "ledger" / "bright")
    chain.write(chain.config | {"workers": ONE_TRY})
    end = chain.run()
    assert end.returncode == 3, end.stderr
    assert "is not what was written" in end.stderr
    assert chain.verify().returncode == 3
    assert chain.run().returncode == 0
    assert chain.contents() == contents


# The ledger


def test_a_line_that_was_read_and_taken_back_is_not_believed(tmp_path: Path) -> None:
    """Its block was read as done before its fsync failed."""
    chain = Chain(tmp_path / "chain", **DENOISE)
    path = "ledger/denoise/"
    fault = {"who": "worker", "at": "fsync", "path": path, "after": 2}
    end = chain.run(fault=fault)
    assert chain.struck()
    assert end.returncode == 0, end.stderr
    assert len(set(chain.done("denoise"))) == 8
    assert chain.verify().returncode == 0


def test_tasks_go_on_once_the_last_block_that_they_wait_for_is_done(
    chain: Chain,
) -> None:
    """Daisy does not see by itself that those behind it were done before."""
    contents = chain.contents()
    for file in (chain.run_dir / "ledger" / "denoise").glob("*.jsonl"):
        lines = file.read_text().splitlines(keepends=True)
        kept = [x for x in lines if json.loads(x)["block"] != [0, 1, 0, 1]]
        file.write_text("".join(kept))
    for stage in ("soft", "bright.value", "bright"):
        shutil.rmtree(chain.run_dir / "ledger" / stage)
    end = chain.run()
    assert end.returncode == 0, end.stderr
    assert "18 blocks done, 25 skipped" in end.stdout
    assert chain.contents() == contents


# --overwrite and what it deletes


@pytest.mark.parametrize(
    "place",
    [
        "../elsewhere/0",
        "elsewhere",
        "/elsewhere",
        "out.zarr",
        "out.zarr.run",
        "out.notes.csv",
        "out.zarr/../elsewhere/0",
    ],
)
@pytest.mark.parametrize("how", ["--overwrite", "a changed task"])
def test_only_what_a_run_makes_is_deleted_whatever_its_record_says(
    chain: Chain, place: str, how: str
) -> None:
    target = Path(os.path.normpath(chain.folder / place.lstrip("/")))
    if not target.exists():
        target.mkdir(parents=True)
        zarr.open_group(target, mode="a").attrs["denoise_daisy"] = {}
        (target / "keep").write_text("this")
    record = record_of(chain)
    record["stages"]["soft"]["output"] = place
    (chain.run_dir / "run.json").write_text(json.dumps(record))
    before = chain.contents()
    if how == "a changed task":
        soft = TASKS[0] | {"sigma": {"y": 2}}
        chain.write(chain.config | {"tasks": [soft, *TASKS[1:]]})
    end = here("run", chain.path, *(["--overwrite"] if how == "--overwrite" else []))
    assert end.returncode == 4
    assert repr(place) in end.stderr
    assert target.exists()
    assert chain.contents() == before


@pytest.mark.parametrize("name", ["out.zarr", "out.soft.zarr"])
def test_a_link_to_an_output_is_kept_and_its_target_emptied(
    chain: Chain, name: str
) -> None:
    before = chain.contents()
    elsewhere = chain.folder / "other disk"
    (chain.folder / name).rename(elsewhere)
    (chain.folder / name).symlink_to(elsewhere)
    end = chain.run("--overwrite")
    assert end.returncode == 0, end.stderr
    assert "0 skipped" in end.stdout
    assert (chain.folder / name).is_symlink()
    assert (elsewhere / "0" / "zarr.json").is_file()
    assert chain.contents() == before
    assert chain.verify().returncode == 0
