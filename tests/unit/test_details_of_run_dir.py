"""What is cleared away, and what an old run is told before."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from denoise_daisy.blockwise.block_shape import Blocks
from denoise_daisy.durable import delete, remove_partials
from denoise_daisy.errors import RefusedError
from denoise_daisy.notify import Notifier
from denoise_daisy.run_dir.connection import Connection, Hint, read_ready, write_ready
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import Entry
from denoise_daisy.run_dir.record import RunRecord, StageRecord
from denoise_daisy.run_dir.run_dir import RunDir, find
from denoise_daisy.run_dir.worker_states import WorkerState, read_states, write_state
from denoise_daisy.runs import clearing, start
from denoise_daisy.runs.summary import summary
from denoise_daisy.scheduling.ready_hint import ReadyHint
from denoise_daisy.scheduling.stage_state import StageState, Verdict
from harness.looking import status
from harness.one_start import forty_blocks


def test_a_partial_file_that_is_gone_in_between_keeps_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer may be alive, and have renamed it."""
    left = tmp_path / "b.partial"
    left.touch()

    def glob(folder: Path, _: str) -> Iterator[Path]:
        yield from (folder / "a.partial", left)

    monkeypatch.setattr(Path, "glob", glob)
    remove_partials(tmp_path, older_than=math.inf)
    assert not left.exists()


def test_of_a_link_to_a_folder_only_the_link_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    link = tmp_path / "link"
    link.symlink_to("elsewhere")
    delete(link)
    assert not link.is_symlink()
    assert (tmp_path / "elsewhere" / "file").exists()
    delete(tmp_path / "elsewhere")
    delete(tmp_path / "elsewhere")
    assert list(tmp_path.iterdir()) == []


def test_all_but_the_lock_and_the_record_is_cleared(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "out.zarr.run")
    run_dir.make(["denoise"])
    run_dir.work_folder("cells.pieces").mkdir(parents=True)
    for file in (
        run_dir.lock_file,
        run_dir.run_file,
        run_dir.connection_file,
        run_dir.ledger("denoise") / "w.jsonl",
        run_dir.workers / "w.json",
        run_dir.worker_log("w"),
    ):
        file.touch()
    run_dir.clear()
    assert sorted(path.name for path in run_dir.path.iterdir()) == ["lock", "run.json"]


def test_an_old_run_is_told_that_it_is_over_before_anything_of_it_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = RunDir(tmp_path / "out.zarr.run")
    run_dir.make(["denoise"])
    old = RunRecord(id="old", epoch=3, config={}, stages={}, versions={})
    old.write(run_dir)
    found: Any = SimpleNamespace(
        run=SimpleNamespace(id="new", run_dir=run_dir), record=None, longer=None
    )
    seen = []

    def clear(_: RunDir) -> None:
        record = RunRecord.read(run_dir)
        seen.append(record and (record.id, record.epoch))

    monkeypatch.setattr(RunDir, "clear", clear)
    monkeypatch.setattr(clearing, "remove_all", lambda *_: None)
    clearing.make_room(found, old, overwrite=True)
    assert seen == [("new", 3)]


def test_what_became_of_a_block_is_read_before_it_is_handed_out_again(
    tmp_path: Path,
) -> None:
    """Daisy hands out again what was lost on the way, though its line is there."""
    folder = tmp_path / "ledger"
    folder.mkdir()
    stage = forty_blocks(tmp_path / "denoise.zarr", folder, "denoise", ())
    ledger = Ledger(folder, "run", stage.grid, stage.file_shape)
    state = StageState(stage, ledger, retries=0, upstream=[])
    block = (0, 0, 0, 7)
    assert state.verdict(block) is Verdict.HAND_OUT
    writer = ledger.writer("w", durable=False)
    writer.append(
        Entry(block=block, shape=(1, 1, 1, 2), status="done", epoch=1, worker="w")
    )
    writer.close()
    assert state.verdict(block) is Verdict.FINISHED


def test_workers_are_told_what_is_ready_only_when_that_has_changed(
    tmp_path: Path,
) -> None:
    """Four times a second many hosts would have to read the file again."""
    run_dir = RunDir(tmp_path)
    ledger = SimpleNamespace(totals=SimpleNamespace(pace=SimpleNamespace(longest=6.2)))
    states: Any = {"soft": SimpleNamespace(ready=3, ledger=ledger, abandoned="")}
    hint, told = ReadyHint(run_dir, states), []
    for at_work in ([], [], ["soft"]):
        hint.say(at_work)
        told.append((read_ready(run_dir), run_dir.ready_file.stat().st_ino))
    (first, file), same, (third, _) = told
    assert first == {"soft": Hint(3, 7)}
    assert same == (first, file)
    assert third == {"soft": Hint(2, 7)}


@pytest.mark.parametrize("text", [None, b"", b'{"soft": 3', b"\xff", b"3", b'["soft"]'])
def test_workers_that_are_told_nothing_of_what_is_ready_know_that(
    text: bytes | None, tmp_path: Path
) -> None:
    """They ask for all of their stages then."""
    run_dir = RunDir(tmp_path)
    hints = {"soft": Hint(3, 6.5), "denoise": Hint(0, 0)}
    write_ready(run_dir, hints)
    assert list((read_ready(run_dir) or {}).items()) == list(hints.items())
    if text is None:
        run_dir.ready_file.unlink()
    else:
        run_dir.ready_file.write_bytes(text)
    assert read_ready(run_dir) is None


def test_a_record_that_goes_once_its_run_was_found_is_missed(tmp_path: Path) -> None:
    """Such as while a command waits for the disk."""
    run_dir = RunDir(tmp_path / "out.zarr.run")
    run_dir.path.mkdir()
    RunRecord(id="a", epoch=1, config={}, stages={}, versions={}).write(run_dir)
    found = find(tmp_path / "out.zarr")
    assert RunRecord.of(found).id == "a"
    run_dir.run_file.unlink()
    with pytest.raises(RefusedError) as refused:
        status(found)
    assert str(refused.value).startswith(f"{str(run_dir.run_file)!r} is gone.")


def test_where_a_scheduler_listens_only_its_owner_can_read(tmp_path: Path) -> None:
    """It holds the name by which a worker is let in."""
    run_dir = RunDir(tmp_path)
    Connection("127.0.0.1", 1, "secret", 1).write(run_dir)
    assert run_dir.connection_file.stat().st_mode & 0o777 == 0o600


def test_stages_of_a_record_are_replaced_and_the_others_kept() -> None:
    old, other = (
        StageRecord(
            fingerprint=name,
            parameters={},
            block_shape=(1, 1, 1, 1),
            probed=None,
            output=name,
        )
        for name in ("old", "other")
    )
    stages = {"soft": old, "cells": old}
    record = RunRecord(id="a", epoch=1, config={}, stages=stages, versions={})
    changed = record.with_stages({"soft": other, "dim": other})
    assert changed.stages == {"soft": other, "cells": old, "dim": other}
    assert record.stages == stages


def test_blocks_that_wait_for_failed_ones_are_not_left(tmp_path: Path) -> None:
    """Of twice 40 blocks 38 are done, one has failed, and one waits for that."""
    states: dict[str, StageState] = {}
    for name, after in (("denoise", ()), ("soft", ("denoise",))):
        folder = tmp_path / name
        folder.mkdir()
        stage = forty_blocks(tmp_path / f"{name}.zarr", folder, name, after)
        ledger = Ledger(folder, "run", stage.grid, stage.file_shape)
        ledger.begin(1)
        states[name] = StageState(
            stage, ledger, retries=0, upstream=[states[n] for n in after]
        )
    writer = states["denoise"].ledger.writer("w", durable=False)
    for x in range(39):
        status: Any = "done" if x else "failed"
        line = Entry((0, 0, 0, x), (1, 1, 1, 2), status, epoch=1, worker="w")
        writer.append(replace(line, engine="scipy" if x < 20 else "none"))
    writer.close()
    states["soft"].refresh()
    run: Any = SimpleNamespace(
        denoising=states["denoise"].stage,
        denoiser=SimpleNamespace(kind="median"),
        config=SimpleNamespace(blocks=Blocks()),
        image=SimpleNamespace(shape=(1, 3, 1, 1, 80)),
        output=tmp_path / "out.zarr",
        run_dir=RunDir(tmp_path / "out.zarr.run"),
    )
    before = dict.fromkeys(states, 0)
    said = summary(run, states, before, 9.0, 12.0, ()).splitlines()
    assert said[0] == (
        "38 blocks done, 0 skipped (done before), 1 failed, 1 waiting for those,"
        " 40 left, in 9 s."
    )
    assert "12 voxel/s denoised." in said
    assert "denoised." not in summary(run, states, before, 9.0, None, ())
    assert (
        "Denoised by scipy (19 blocks).\n"
        "19 blocks written as they are, not denoised: the file holds nothing of them.\n"
    ) in "\n".join(said)


def test_a_run_directory_is_found_by_who_stands_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = RunDir(tmp_path / "out.zarr.run")
    run_dir.make([])
    run_dir.run_file.write_text("{}")
    (tmp_path / "out.zarr").mkdir()
    for folder in (run_dir.path, tmp_path / "out.zarr"):
        monkeypatch.chdir(folder)
        assert find(Path()) == run_dir


def test_what_workers_of_an_earlier_start_showed_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would be taken for workers that were started by hand."""
    run_dir = RunDir(tmp_path / "out.zarr.run")
    run_dir.make([])
    write_state(run_dir, WorkerState("w", "node7", 1, "", "soft", (0, 0, 0, 0), 1.0, 9))
    shown = []

    class FakeScheduler:
        def __init__(self, *_: object, **__: object) -> None: ...

        def run(self) -> None:
            shown.append(read_states(run_dir))

    monkeypatch.setattr(start, "Scheduler", FakeScheduler)
    run = SimpleNamespace(
        run_dir=run_dir,
        output=tmp_path / "out.zarr",
        stages=(),
        pools=(),
        pools_for=lambda _: [],
        memory=0,
        denoising=SimpleNamespace(name="denoise", grid=None),
        config=SimpleNamespace(tasks=()),
    )
    found: Any = SimpleNamespace(
        run=run,
        asked_stages=[],
        asked=(),
        ledgers={},
        left_alone=(),
        unneeded=(),
        warnings=(),
    )
    assert len(read_states(run_dir)) == 1
    run_dir.run_file.touch()
    nobody = Notifier((), {}, lambda: (0, 0))
    start.Start(found, 1, 30.0, lambda _: None, nobody).run()
    assert shown == [[]]
