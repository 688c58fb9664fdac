"""What a run needs to know is found out once, and handed down.

A green run would mean nothing if nothing was counted: a first start counts, too.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy import run
from denoise_daisy.__main__ import main
from denoise_daisy.errors import BlocksFailed, RefusedError
from denoise_daisy.launchers.local import LocalWorkers
from denoise_daisy.monitoring import keeper
from denoise_daisy.resolved.resolve import resolve
from denoise_daisy.run_dir.ledger_lines import Entry, LedgerWriter
from denoise_daisy.run_dir.lock import Lock
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.scheduler import Scheduler
from harness import config_for, load, small_czi


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    source = small_czi(tmp_path / "in.czi", (1, 1, 2, 16, 16))
    values = config_for(source, tmp_path / "out.zarr")
    workers = {"kind": "local", "count": 1}
    soft = {"kind": "smooth", "name": "soft", "sigma": {"x": 1}, "workers": workers}
    own = {"kind": "function", "name": "own", "function": "operator:pos"}
    return values | {"tasks": [soft, own | {"dtype": "uint16", "channels": 1}]}


def count_calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Readings of run.json and makings of launchers from now on; no block is done."""
    calls: Counter[str] = Counter()
    read, launcher = RunRecord.read, LocalWorkers.launcher

    def counted_read(run_dir: RunDir) -> RunRecord | None:
        calls["run.json"] += 1
        return read(run_dir)

    def counted_launcher(self: LocalWorkers, *arguments: Any) -> Any:
        calls[f"launcher of {arguments[-1] or 'the run'}"] += 1
        return launcher(self, *arguments)

    monkeypatch.setattr(RunRecord, "read", counted_read)
    monkeypatch.setattr(LocalWorkers, "launcher", counted_launcher)
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    # The page of a run is made by those who look at it, in a thread of its own.
    monkeypatch.setattr(keeper, "are_kept", lambda: False)
    return calls


def test_a_start_reads_run_json_once_and_makes_each_launcher_once(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_calls(monkeypatch)
    once = {"launcher of the run": 1, "launcher of soft": 1}
    run(load(config), say=lambda _: None)
    # Once more where there was no run whose lock could be taken before.
    assert calls == once | {"run.json": 2}
    calls.clear()
    run(load(config), say=lambda _: None)
    assert calls == once | {"run.json": 1}


def test_a_run_that_another_has_just_begun_is_left_alone(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at a free place and taking its lock."""
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    file = tmp_path / "out.zarr.run" / "run.json"

    class LockTakenLate(Lock):
        def __init__(self, run_dir: RunDir) -> None:
            monkeypatch.undo()
            monkeypatch.setattr(Scheduler, "run", lambda _: None)
            run(load(config), say=lambda _: None)
            super().__init__(run_dir)

    monkeypatch.setattr("denoise_daisy.run_dir.lock.Lock", LockTakenLate)
    with pytest.raises(RefusedError, match="has just started a run"):
        run(load(config), say=lambda _: None)
    assert json.loads(file.read_text())["epoch"] == 1


def test_a_task_that_is_taken_out_of_the_config_stays_known(
    config: dict[str, Any],
) -> None:
    """Put back with other settings, its blocks must not count as done."""
    first = resolve(load(config), None, "a").record(1)
    without = load(config | {"tasks": config["tasks"][1:]})
    then = resolve(without, first, "b").record(2)
    assert [task["name"] for task in then.config["tasks"]] == ["own"]
    assert then.stages == first.stages
    assert "soft" in then.stages


def test_a_start_comes_after_all_that_was_noted_since_the_last(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify` may have marked blocks several times: what repairs them comes later."""
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    run_dir = RunDir(tmp_path / "out.zarr.run")
    run(load(config), say=lambda _: None)
    record = RunRecord.of(run_dir)
    shape = record.stages["soft"].block_shape
    mark = Entry((0, 0, 0, 0), shape, "failed", 5, "verify", reason="damaged")
    for ledger, epoch in (("soft", 5), ("denoise", 3)):
        writer = LedgerWriter(run_dir.ledger(ledger), record.id, "v", durable=False)
        writer.append(replace(mark, epoch=epoch))
    with pytest.raises(BlocksFailed, match="damaged"):
        run(load(config), say=lambda _: None)
    assert (record.epoch, RunRecord.of(run_dir).epoch) == (1, 6)


# What a run.json must have


def with_an_unknown_key(record: dict[str, Any]) -> None:
    record["config"]["blocks"]["size"] = 1


def without_denoise(record: dict[str, Any]) -> None:
    del record["stages"]["denoise"]


def without_soft(record: dict[str, Any]) -> None:
    del record["stages"]["soft"]


def without_own(record: dict[str, Any]) -> None:
    del record["stages"]["own"]


@pytest.mark.parametrize("verb", ["status", "verify"])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (with_an_unknown_key, "unknown key 'blocks.size'"),
        (without_denoise, "it tells nothing of 'denoise'."),
        (without_soft, "it tells nothing of 'soft'."),
        (without_own, "it tells nothing of 'own'."),
    ],
)
def test_a_record_of_another_version_is_refused(
    verb: str,
    change: Callable[[dict[str, Any]], None],
    why: str,
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    run(load(config), say=lambda _: None)
    file = tmp_path / "out.zarr.run" / "run.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))
    assert main([verb, str(tmp_path / "out.zarr")]) == 4
    assert f"{str(file)!r} can't be used: {why}" in capsys.readouterr().err
