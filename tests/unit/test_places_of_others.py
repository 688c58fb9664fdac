"""What another run has written is not overwritten for a task of the same name.

> To overwrite, what any run of this program has made will do.

But not where that run is still there: its record would speak of voxels that are gone.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import zarr

from denoise_daisy import run
from denoise_daisy.errors import RefusedError
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.scheduler import Scheduler
from harness import config_for, load, small_czi


@pytest.fixture(autouse=True)
def _without_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs make and delete what they would, and then end."""
    monkeypatch.setattr(Scheduler, "run", lambda _: None)


SOFT = {"kind": "smooth", "name": "soft", "sigma": {"y": 1.0}}


def config(folder: Path, output: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    source = folder / "in.czi"
    if not source.exists():
        small_czi(source, (1, 1, 1, 16, 16))
    values = config_for(source, folder / output, workers={"count": 1})
    del values["noise"]
    filtered = {"kind": "median", "size": {"y": 3}}
    return values | {"denoise": filtered, "tasks": list(tasks)}


def start(values: dict[str, Any], *, overwrite: bool = False) -> None:
    run(load(values), overwrite=overwrite, say=lambda _: None)


def contents(folder: Path) -> dict[Path, bytes]:
    return {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def check_refused(values: dict[str, Any], kept: Path, *, overwrite: bool) -> None:
    before = contents(kept)
    assert before
    with pytest.raises(RefusedError) as refused:
        start(values, overwrite=overwrite)
    assert repr(str(kept)) in str(refused.value)
    assert "free place for task 'soft'" in str(refused.value)
    assert contents(kept) == before


@pytest.mark.parametrize("began", ["a new run", "a run that was there before"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_of_another_run_is_kept(
    began: str, overwrite: bool, tmp_path: Path
) -> None:
    start(config(tmp_path, "out.soft.zarr"))
    if began != "a new run":
        start(config(tmp_path, "out.zarr"))
    values = config(tmp_path, "out.zarr", SOFT)
    check_refused(values, tmp_path / "out.soft.zarr", overwrite=overwrite)
    # The other run goes on as if nothing had been.
    start(config(tmp_path, "out.soft.zarr"))


def test_a_folder_of_somebodys_is_kept(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "out.soft.zarr")
    group.create_array("0", shape=(1,), dtype="uint8")
    check_refused(
        config(tmp_path, "out.zarr", SOFT), tmp_path / "out.soft.zarr", overwrite=True
    )


def test_what_a_lost_run_has_left_is_overwritten_when_asked_for(
    tmp_path: Path,
) -> None:
    values = config(tmp_path, "out.zarr", SOFT)
    soft = tmp_path / "out.soft.zarr"
    start(values)
    made = contents(soft).keys()
    shutil.rmtree(tmp_path / "out.zarr.run")
    shutil.rmtree(tmp_path / "out.zarr")
    file = soft / "0/c/0/0/0/0/0"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"old")
    check_refused(values, soft, overwrite=False)
    start(values, overwrite=True)
    assert contents(soft).keys() == made


# A run's own places


OTHER_SOFT = SOFT | {"sigma": {"y": 2.0}}


def record_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out.zarr.run" / "run.json").read_text())


def lines_in(folder: Path, stage: str, text: bytes = b"") -> Path:
    """The ledger file of some worker."""
    file = folder / "out.zarr.run" / "ledger" / stage / "w.jsonl"
    if text:
        file.write_bytes(text)
    return file


def test_of_a_task_that_is_done_again_nothing_is_left_and_of_others_all(
    tmp_path: Path,
) -> None:
    start(config(tmp_path, "out.zarr", SOFT))
    lines_in(tmp_path, "soft", b"{}\n")
    lines_in(tmp_path, "denoise", b"{}\n")
    for output in ("out.zarr", "out.soft.zarr"):
        (tmp_path / output / "0" / "c").mkdir()
        (tmp_path / output / "0" / "c" / "voxels").write_bytes(b"old")
    start(config(tmp_path, "out.zarr", OTHER_SOFT))
    assert not lines_in(tmp_path, "soft").exists()
    assert not (tmp_path / "out.soft.zarr" / "0" / "c").exists()
    assert (tmp_path / "out.soft.zarr" / "0" / "zarr.json").exists()
    assert lines_in(tmp_path, "denoise").read_bytes() == b"{}\n"
    assert (tmp_path / "out.zarr" / "0" / "c" / "voxels").read_bytes() == b"old"
    sigma = record_in(tmp_path)["stages"]["soft"]["parameters"]["sigma"]
    assert sigma == {"y": 2.0}


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_somebody_has_put_in_the_place_of_a_task_is_kept(
    overwrite: bool, tmp_path: Path
) -> None:
    """Whether the task is done again, or the whole run."""
    soft = tmp_path / "out.soft.zarr"
    start(config(tmp_path, "out.zarr", SOFT))
    shutil.rmtree(soft)
    group = zarr.create_group(soft)
    group.create_array("0", shape=(1,), dtype="uint8")
    before = contents(soft)
    with pytest.raises(RefusedError) as refused:
        start(config(tmp_path, "out.zarr", OTHER_SOFT), overwrite=overwrite)
    assert repr(str(soft)) in str(refused.value)
    assert contents(soft) == before


def test_what_somebody_has_put_beside_the_array_of_a_task_is_kept(
    tmp_path: Path,
) -> None:
    """In the group, which is the task's: of that only the array is made again."""
    start(config(tmp_path, "out.zarr", SOFT))
    mine = tmp_path / "out.soft.zarr" / "mine"
    mine.mkdir()
    (mine / "notes").write_bytes(b"mine")
    old = tmp_path / "out.soft.zarr" / "0" / "c"
    old.mkdir()
    start(config(tmp_path, "out.zarr", OTHER_SOFT))
    assert contents(mine) == {mine / "notes": b"mine"}
    assert not old.exists()


def test_what_comes_to_an_outputs_place_as_it_is_deleted_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have moved the old output away just then."""
    output, clear = tmp_path / "out.zarr", RunDir.clear

    def clear_late(run_dir: RunDir) -> None:
        clear(run_dir)
        output.rename(tmp_path / "old")
        output.mkdir()
        (output / "notes").write_bytes(b"mine")

    start(config(tmp_path, "out.zarr"))
    monkeypatch.setattr(RunDir, "clear", clear_late)
    with pytest.raises(RefusedError, match="is not an output of this program"):
        start(config(tmp_path, "out.zarr"), overwrite=True)
    assert contents(output) == {output / "notes": b"mine"}


PLACES = [
    "precious",
    "../precious",
    "out.soft.zarr/0/../../precious",
    "out.soft.zarr/0\n",
    "precious/out.soft.zarr/0",
    "out.zarr/0",
    "out.zarr.run/run.json",
    "out.soft.csv",
    "",
]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_a_record_that_names_another_place_deletes_nothing(
    place: str, overwrite: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    for precious in (tmp_path / "precious", folder / "precious"):
        (precious / "out.soft.zarr" / "0").mkdir(parents=True)
        (precious / "out.soft.zarr" / "0" / "voxels").write_bytes(b"mine")
    (folder / "out.soft.csv").write_bytes(b"mine")
    start(config(folder, "out.zarr", SOFT))
    record = record_in(folder)
    assert record["stages"]["soft"]["output"] == "out.soft.zarr/0"
    record["stages"]["soft"]["output"] = place
    (folder / "out.zarr.run" / "run.json").write_text(json.dumps(record))
    before = contents(tmp_path)
    with pytest.raises(RefusedError, match="this program never writes that"):
        start(config(folder, "out.zarr", OTHER_SOFT), overwrite=overwrite)
    after = contents(tmp_path)
    lock = folder / "out.zarr.run" / "lock"
    assert after.pop(lock)
    assert before.pop(lock)
    assert after == before


class Killed(BaseException):
    """The end of a start in the middle of its work."""


def test_an_old_run_is_over_before_anything_of_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the new one's id its workers know, and its ledgers count for nothing."""

    def killed(_: RunDir) -> None:
        raise Killed

    values = config(tmp_path, "out.zarr", SOFT)
    start(values)
    old, made = record_in(tmp_path), contents(tmp_path / "out.zarr")
    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "clear", killed)
        with pytest.raises(Killed):
            start(values, overwrite=True)
    assert record_in(tmp_path)["id"] != old["id"]
    assert contents(tmp_path / "out.zarr") == made
    start(values)


def test_a_task_is_another_before_anything_of_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record first, then the ledger, then what that tells of."""
    start(config(tmp_path, "out.zarr", SOFT))
    lines_in(tmp_path, "soft", b"{}\n")
    made = contents(tmp_path / "out.soft.zarr")
    seen: list[tuple[bool, bool, bool]] = []

    def look() -> None:
        is_known = bool(record_in(tmp_path)["stages"]["soft"]["parameters"])
        has_lines = lines_in(tmp_path, "soft").exists()
        now = (is_known, has_lines, contents(tmp_path / "out.soft.zarr") == made)
        if not seen or seen[-1] != now:
            seen.append(now)

    def rmtree(path: Path, **options: Any) -> None:
        look()
        removed(path, **options)
        look()

    removed = shutil.rmtree
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", rmtree)
        start(config(tmp_path, "out.zarr", OTHER_SOFT))
    assert seen[:3] == [
        (False, True, True),
        (False, False, True),
        (False, False, False),
    ]
