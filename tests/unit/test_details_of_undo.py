"""Marking damaged blocks: on disk on return, and in an order that forgets nothing."""

import os
from pathlib import Path

import pytest

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import Entry
from denoise_daisy.runs.undo import Damage, undo
from harness.file_calls import Call, note_calls
from harness.one_start import forty_blocks

Chain = tuple[list[Stage], dict[str, Ledger]]


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    """Two stages of which all is done; the second reads the first."""
    return made(tmp_path, {"denoise": (), "soft": ("denoise",)})


def made(tmp_path: Path, stages_after: dict[str, tuple[str, ...]]) -> Chain:
    stages, ledgers = [], {}
    for name, after in stages_after.items():
        folder = tmp_path / "ledger" / name
        folder.mkdir(parents=True)
        stage = forty_blocks(tmp_path / f"{name}.zarr", folder, name, after)
        ledger = Ledger(folder, "run", stage.grid, stage.file_shape)
        writer = ledger.writer("w", durable=False)
        for block in stage.grid.indices():
            writer.append(
                Entry(
                    block=block, shape=(1, 1, 1, 2), status="done", epoch=1, worker="w"
                )
            )
        writer.close()
        ledger.refresh()
        assert ledger.done_count == 40
        stages.append(stage)
        ledgers[name] = ledger
    return stages, ledgers


def damage_in(chain: Chain) -> Damage:
    return Damage("denoise", chain[0][0].grid, (0, 0, 0, 3), "its voxels have changed")


def test_marks_are_on_disk_on_return(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Call] = []
    for name, stand_in in note_calls(calls.append).items():
        monkeypatch.setattr(os, name, stand_in)
    assert undo(*chain, [damage_in(chain)], 2) == 1
    synced = {(c.path, c.size) for c in calls if c.what == "sync"}
    for name in ("denoise", "soft"):
        file = tmp_path / "ledger" / name / "verify-2.jsonl"
        assert (str(file), file.stat().st_size) in synced


def test_readers_are_marked_before_what_they_read(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut short, it can be done again: what is damaged still counts as done."""
    _, ledgers = chain

    def fail(*_: object, **__: object) -> None:
        raise OSError("no power")

    monkeypatch.setattr(ledgers["denoise"], "writer", fail)
    with pytest.raises(OSError, match="no power"):
        undo(*chain, [damage_in(chain)], 2)
    for ledger in ledgers.values():
        ledger.refresh()
    assert ledgers["denoise"].is_done((0, 0, 0, 3))
    assert not ledgers["soft"].is_done((0, 0, 0, 3))


def test_what_reads_a_stage_that_is_deleted_is_marked(tmp_path: Path) -> None:
    """The deleted one was made from the damage."""
    after = {"denoise": (), "soft": ("denoise",), "bright": ("soft",)}
    stages, ledgers = made(tmp_path, after)
    deleted = ledgers.pop("soft")
    damage = Damage("denoise", stages[0].grid, (0, 0, 0, 3), "its voxels have changed")
    assert undo(stages, ledgers, [damage], 2) == 1
    for ledger in (*ledgers.values(), deleted):
        ledger.refresh()
    assert ledgers["bright"].done_count == 39
    assert not ledgers["bright"].is_done((0, 0, 0, 3))
    assert deleted.done_count == 40
