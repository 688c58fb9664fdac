"""What denoised is named wherever a person or a program looks, and holds no run up."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy import plan, run
from denoise_daisy.denoisers import engine_trial
from denoise_daisy.denoisers.native_engine import instruction_sets
from denoise_daisy.monitoring.text import engines_text
from denoise_daisy.run_dir.compaction import MANY_FILES
from denoise_daisy.run_dir.ledger import Ledger, Totals
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from harness import config_for, ledger_lines, load, small_czi
from harness.ledgers import BLOCKS, GRID, RUN, UNIT, entry, grid_of, ledger_of
from harness.looking import status
from harness.prepared import copied
from harness.shared import once

FASTEST = f"bitwise engine, {instruction_sets()[0]}"
OTHER = f"ndsafir {version('ndsafir')}"


def finish(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The config of a finished run of four blocks, and what it said."""
    config = config_for(
        small_czi(folder / "in.czi", (1, 1, 1, 64, 16)),
        folder / "here" / "out.zarr",
        output={"chunks": {"y": 16, "x": 16}},
        blocks={"shape": {"y": 16}},
        workers={"count": 1},
    )
    config["tasks"] = [{"kind": "smooth", "name": "soft", "sigma": {"y": 1}}]
    said: list[str] = []
    run(load(config), say=said.append)
    return config, said


@dataclass
class Finished:
    """A copy of that run."""

    config: dict[str, Any]
    said: list[str]
    """By its starts so far."""

    @property
    def output(self) -> Path:
        return Path(self.config["output"]["path"])

    @property
    def run_dir(self) -> RunDir:
        return RunDir.of_output(self.output)

    def lines(self) -> list[str]:
        """All that was said."""
        return "\n".join(self.said).splitlines()

    def goes_on(self) -> list[str]:
        """Start it again; what is said."""
        self.said.clear()
        run(load(self.config), say=self.said.append)
        return self.lines()


@pytest.fixture
def finished(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Finished:
    config, said = once(tmp_path_factory, "engines", finish)
    return Finished(copied(config, tmp_path), said)


def test_a_run_names_what_denoises_before_and_after_and_in_each_line(
    finished: Finished,
) -> None:
    denoised = list(ledger_lines(finished.output))
    assert [line["engine"] for line in denoised] == [FASTEST] * 4
    smoothed = list(ledger_lines(finished.output, "soft"))
    assert ["engine" in line for line in smoothed] == [False] * 4
    assert RunRecord.of(finished.run_dir).engine == FASTEST
    before = f"Denoising with {FASTEST}, 1 threads per worker."
    after = f"Denoised by {FASTEST} (4 blocks)."
    said = finished.lines()
    assert said.count(before) == said.count(after) == 1
    assert said.index(before) < said.index(after)
    log = (finished.run_dir.logs / "scheduler.log").read_text()
    assert log.count(before) == log.count(after) == 1
    assert f"engine: {FASTEST} (4 blocks)" in status(finished.run_dir).splitlines()
    assert f"engine   {FASTEST}" in str(plan(load(finished.config))).splitlines()


def test_a_run_goes_on_with_another_engine_than_it_was_begun_with(
    finished: Finished,
) -> None:
    """Two blocks are the other's, one is of before lines named any, one is left."""
    record = RunRecord.of(finished.run_dir)
    record.model_copy(update={"engine": OTHER}).write(finished.run_dir)
    (file,) = finished.run_dir.ledger("denoise").glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()[:3]]
    lines[0]["engine"] = lines[1]["engine"] = OTHER
    del lines[2]["engine"]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    said = finished.goes_on()
    assert any(line.startswith("1 blocks done, 7 skipped") for line in said)
    assert f"Denoised by {FASTEST} (1 blocks)." in said
    now = RunRecord.of(finished.run_dir)
    assert now.engine == FASTEST
    assert now.stages == record.stages
    told = status(finished.run_dir).splitlines()
    counted = "denoise: 4 done, 0 failed, 0 left of 4 blocks (100.0% done)"
    assert any(line.startswith(counted) for line in told)
    assert f"engine: {OTHER} (2 blocks) and {FASTEST} (1 blocks)" in told


def test_a_plan_names_what_is_left_where_engines_fail_their_test(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_trial, "_distrusted", set())
    monkeypatch.setattr(engine_trial, "stands_test", lambda *_: False)
    engine_trial.trusted.cache_clear()
    said = str(plan(load(finished.config)))
    engine_trial.trusted.cache_clear()
    assert f"engine   {OTHER}" in said.splitlines()
    assert "ndsafir itself denoises, and takes several times as long" in said
    assert "it failed its test" in said


def test_a_start_that_has_nothing_to_denoise_names_no_engine(
    finished: Finished,
) -> None:
    for file in finished.run_dir.ledger("soft").glob("*.jsonl"):
        file.unlink()
    said = finished.goes_on()
    assert any(line.startswith("4 blocks done, 4 skipped") for line in said)
    assert not [line for line in said if line.startswith("Denois")]


def test_a_record_of_before_engines_were_named_is_read(finished: Finished) -> None:
    values = json.loads(finished.run_dir.run_file.read_text())
    del values["engine"]
    finished.run_dir.run_file.write_text(json.dumps(values))
    assert RunRecord.of(finished.run_dir).engine is None
    assert "4 done" in status(finished.run_dir)


def test_engines_are_listed_by_how_many_blocks_they_did() -> None:
    totals = Totals()
    for engine, blocks in (("b", 2), ("a", 1), (OTHER, 40), (None, 5)):
        for _ in range(blocks):
            totals.add({} if engine is None else {"engine": engine})
    assert totals.blocks == 48
    assert engines_text(totals.engines) == (
        f"{OTHER} (40 blocks), b (2 blocks) and a (1 blocks)"
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    """Writes a line about a block into a ledger, in a file of its own."""
    count = iter(range(1000))

    def write_one(block: tuple[int, ...], **values: Any) -> None:
        ledger = Ledger(tmp_path, RUN, GRID, UNIT)
        writer = ledger.writer(f"w{next(count)}", durable=False)
        writer.append(entry(block, **values))
        writer.close()

    return write_one


def test_a_block_counts_for_the_engine_of_its_last_word(
    write: Callable[..., None], tmp_path: Path
) -> None:
    for block in BLOCKS[:4]:
        write(block, engine="old")
    write(BLOCKS[0], engine="old")
    write(BLOCKS[1], epoch=2, engine="new")
    write(BLOCKS[2], epoch=2, engine="new", status="failed")
    write(BLOCKS[3], epoch=2)
    write(BLOCKS[4], epoch=2, engine="newer")
    write(BLOCKS[4], epoch=2, engine="new", status="failed")
    ledger = ledger_of(tmp_path)
    assert ledger.done_count == 4
    assert ledger.engines() == {"old": 1, "new": 1, "newer": 1}
    lines = [file.read_bytes() for file in tmp_path.iterdir()]
    for order, one_file in (("as listed", lines), ("reversed", lines[::-1])):
        folder = tmp_path / order
        folder.mkdir()
        (folder / "all.jsonl").write_bytes(b"".join(one_file))
        assert ledger_of(folder).engines() == {"old": 1, "new": 1, "newer": 1}


def test_blocks_of_another_shape_count_until_they_are_replaced(
    write: Callable[..., None], tmp_path: Path
) -> None:
    """A block of twice the width, and then one half of it again."""
    wide = grid_of((1, 2, 4, 16))
    for block in ((0, 0, 0, 0), (0, 0, 1, 0)):
        write(block, shape=tuple(wide.block_shape), engine="wide")
    assert ledger_of(tmp_path).engines() == {"wide": 2}
    write((0, 0, 0, 1), epoch=2, engine="narrow", status="failed", reason="damaged")
    assert ledger_of(tmp_path).engines() == {"wide": 1}
    write((0, 0, 0, 1), epoch=3, engine="narrow")
    assert ledger_of(tmp_path).engines()["narrow"] == 1


def test_files_that_are_put_together_still_tell_engines(
    write: Callable[..., None], tmp_path: Path
) -> None:
    for number in range(MANY_FILES):
        write(BLOCKS[number], epoch=2, engine="a" if number % 5 else "b")
    ledger = Ledger(tmp_path, RUN, GRID, UNIT)
    ledger.begin(2)
    ledger.compact()
    assert len(list(tmp_path.iterdir())) == 1
    assert ledger.engines() == ledger.totals.engines == {"a": 40, "b": 10}
