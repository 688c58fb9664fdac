"""Files of a finished run that are damaged cost what was in them, no more."""

import json
import os
import shutil
from typing import Any

import numpy as np
import pytest

from harness import here
from harness.trials import ALL, Trial, flat, index
from harness.waiting import PATIENCE


def test_verify_finds_every_damage_and_the_next_run_repairs_just_that(
    finished: Trial,
) -> None:
    finished.shard(1).unlink()
    size = finished.shard(3).stat().st_size
    for block, position in ((3, size // 2), (4, -1), (5, 0)):
        data = bytearray(finished.shard(block).read_bytes())
        data[position] ^= 0x10
        finished.shard(block).write_bytes(data)
    finished.shard(6).write_bytes(finished.shard(6).read_bytes()[: size // 2])
    finished.shard(7).write_bytes(b"")
    shutil.copy(finished.shard(10), finished.shard(8))
    damaged = [1, 3, 4, 5, 6, 7, 8]
    lock = json.loads((finished.run_dir / "lock").read_text())
    checked = here("verify", finished.path)
    assert checked.returncode == 3, checked.stderr
    assert "7 of 12 blocks are not what was written" in checked.stderr
    assert "Traceback (most recent" not in checked.stderr
    named = [b for b in sorted(ALL) if f"block {index(b)}: " in checked.stderr]
    assert named == damaged
    assert "0/c/0/0/0/0/1 is missing" in checked.stderr
    # It was no start.
    assert json.loads((finished.run_dir / "lock").read_text()) == lock
    status = here("status", finished.run_dir).stdout
    assert "5 done, 7 failed, 0 left of 12" in status
    assert all(f"failed: denoise block {index(block)}" in status for block in damaged)
    assert finished.finish() == damaged


def test_a_run_that_can_not_be_written_is_read_back_and_left_as_it_is(
    finished: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's, or one that was put away."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    files = [*finished.run_dir.rglob("*")]
    before = {file: file.read_bytes() for file in files if file.is_file()}
    checked = here("verify", finished.output)
    assert checked.returncode == 0, checked.stderr
    assert "All 12 blocks are as they were written" in checked.stdout
    finished.shard(1).unlink()
    checked = here("verify", finished.output)
    assert checked.returncode == 3
    assert "1 of 12 blocks are not what was written" in checked.stderr
    assert "They still count as done, for the run directory can't be" in checked.stderr
    assert "start the run again" not in checked.stderr
    assert sorted(finished.run_dir.rglob("*")) == sorted(files)
    assert before == {file: file.read_bytes() for file in before}


def test_torn_and_truncated_ledger_files_cost_their_lost_lines_only(
    trial: Trial,
) -> None:
    trial.change(workers={"count": 1})
    assert trial.run().returncode == 0
    (file,) = trial.run_dir.glob("ledger/denoise/local-*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 12
    file.write_bytes(b"".join(lines[:9]) + lines[9][:-20])
    status = here("status", trial.output).stdout
    assert "9 done, 0 failed, 3 left" in status
    assert f"ledger lines left out: {file.name}" in status
    assert trial.finish() == [9, 10, 11]
    assert f"{file.name} has lines that are torn" in trial.log()


def test_a_lost_ledger_file_costs_its_blocks_only(trial: Trial) -> None:
    with trial.held(sleep=600) as scheduler:
        trial.wait_for_two_at_work()
        trial.hook.set()
        _, errors = scheduler.communicate(timeout=PATIENCE)
    assert scheduler.returncode == 0, errors
    file, *others = sorted(trial.run_dir.glob("ledger/denoise/local-*.jsonl"))
    assert others
    lost = sorted(flat(json.loads(x)["block"]) for x in file.read_text().splitlines())
    assert 0 < len(lost) < 12
    file.unlink()
    assert trial.finish() == lost
    shutil.rmtree(trial.run_dir / "ledger")
    assert trial.finish() == sorted(ALL)


def test_garbage_in_the_ledgers_folder_is_left_out(finished: Trial) -> None:
    folder = finished.run_dir / "ledger" / "denoise"
    good = finished.lines("done")[0]
    (folder / "noise.jsonl").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "lines.jsonl").write_bytes(b"\n\n\n")
    (folder / "old.jsonl.bak").write_bytes(b"{}\n")
    (folder / "a folder.jsonl").mkdir()
    odd: list[Any] = [
        3,
        None,
        [],
        {},
        good | {"block": [9, 9, 9, 9]},
        good | {"block": [0, 0, -1, 0]},
        good | {"block": [0, 0]},
        good | {"block": "0000"},
        good | {"shape": [0, 0, 0, 0]},
        good | {"shape": [1, 2]},
        good | {"epoch": "1"},
        good | {"status": None, "block": None},
    ]
    text = "".join(json.dumps(value) + "\n" for value in odd)
    (folder / "odd.jsonl").write_text(text)
    (lost,) = {flat(good["block"])}
    for file in folder.glob("local-*.jsonl"):
        lines = file.read_text().splitlines(keepends=True)
        kept = [x for x in lines if json.loads(x)["block"] != good["block"]]
        file.write_text("".join(kept))
    status = here("status", finished.output)
    assert status.returncode == 0, status.stderr
    assert "11 done, 0 failed, 1 left" in status.stdout
    assert "ledger lines left out: noise.jsonl" in status.stdout
    assert "ledger lines left out: odd.jsonl" in status.stdout
    assert finished.finish() == [lost]


@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json"])
def test_damaged_metadata_is_refused_or_repaired(finished: Trial, name: str) -> None:
    file = finished.output / name
    good = file.read_bytes()
    for bad in (good[: len(good) // 2], b""):
        file.write_bytes(bad)
        for words in (("verify", finished.output), ("run", finished.path)):
            end = here(*words)
            assert end.returncode != 1, end.stderr
            assert "Traceback (most recent" not in end.stderr
    file.write_bytes(good)
    assert finished.finish() == []


def test_an_output_or_a_record_that_is_gone_is_refused(finished: Trial) -> None:
    finished.output.rename(finished.folder / "elsewhere")
    end = here("run", finished.path)
    assert end.returncode == 4, end.stderr
    assert "recorded as done" in end.stderr
    (finished.folder / "elsewhere").rename(finished.output)
    record = finished.run_dir / "run.json"
    text = record.read_text()
    record.unlink()
    assert here("run", finished.path).returncode == 4
    record.write_text(text[:100])
    end = here("run", finished.path)
    assert end.returncode == 4, end.stderr
    assert "Traceback (most recent" not in end.stderr
    record.write_text(text)
    assert finished.finish() == []
