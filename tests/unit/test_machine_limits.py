"""Limits of the machine are told early, or in one paragraph."""

import errno
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import pytest

from denoise_daisy import __main__, plan
from denoise_daisy.commands import verify as verify_command
from denoise_daisy.errors import InputError
from denoise_daisy.scheduling.scheduler import Scheduler
from harness import config_for, environment, load, small_czi, write_config
from harness.hiccups import Hiccup
from harness.refused import assert_one_paragraph
from harness.stand_ins import FakeTime


def config_in(folder: Path, stem: str = "out") -> dict[str, Any]:
    """Of a chain that writes a table, `STEM.cells.csv`, beside the output."""
    source = folder / "in.czi"
    if not source.exists():
        small_czi(source, (1, 1, 1, 16, 16))
    values = config_for(source, folder / f"{stem}.zarr", workers={"count": 1})
    del values["noise"]
    tasks = [
        {"kind": "threshold", "name": "found", "value": 1},
        {"kind": "label", "name": "cells", "input": "found", "table": "csv"},
    ]
    filtered = {"kind": "median", "size": {"y": 3}}
    return values | {"denoise": filtered, "tasks": tasks}


def test_the_longest_name_that_a_table_can_have_is_taken(tmp_path: Path) -> None:
    """255 bytes: of the stem, of ".cells.csv" and of what it has until it is whole."""
    left = 255 - len(".cells.csv") - len(".0123456789abcdef.partial")
    stem = "ä" * (left // 2)
    assert "cells.table" in str(plan(load(config_in(tmp_path, stem))))
    with pytest.raises(InputError, match=r"'cells' would .* has 256 bytes. .* 255"):
        plan(load(config_in(tmp_path, stem + "a")))


@pytest.mark.parametrize("most", [12, 20])
def test_too_few_open_files_stop_a_run_with_one_paragraph(
    most: int, tmp_path: Path
) -> None:
    path = write_config(tmp_path / "config.json", config_in(tmp_path))
    command = f'ulimit -n {most}; exec "{sys.executable}" -m denoise_daisy "{path}"'
    end = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert_one_paragraph(end.stderr, ("Too many open files",))
    assert end.returncode == 5


def test_a_thread_that_can_not_be_started_stops_a_run_with_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `ulimit -u` has it, from which root is free."""
    path = write_config(tmp_path / "config.json", config_in(tmp_path))

    def refused(*_: object) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert __main__.main(["run", str(path)]) == 5
    assert_one_paragraph(capsys.readouterr().err, ("new thread", "ulimit -u"))


@pytest.mark.parametrize("verb", ["run", "plan", "status", "verify"])
@pytest.mark.parametrize("times", [1, 1000])
def test_a_ledger_that_can_not_be_read_for_long_stops_every_verb(
    times: int,
    verb: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_config(tmp_path / "config.json", config_in(tmp_path))
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    assert __main__.main(["run", str(path)]) == 0
    capsys.readouterr()
    monkeypatch.setattr("denoise_daisy.durable.time", FakeTime())
    folder = tmp_path / "out.zarr.run" / "ledger" / "denoise"
    hiccup = Hiccup(monkeypatch, "scandir", str(folder), times=times)
    code = __main__.main([verb, str(path)])
    said = capsys.readouterr().err
    if times == 1:
        assert hiccup.hits == 1
        assert "Stale" not in said
    else:
        assert_one_paragraph(said, (f"use its files (Stale file handle: {folder})",))
        assert code == 5


def test_a_disk_that_is_full_stops_a_verify_with_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path / "config.json", config_in(tmp_path))

    def full(_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(verify_command, "find_run", full)
    assert __main__.main(["verify", str(path)]) == 5
    words = ("The run can't write (No space left on device).",)
    assert_one_paragraph(capsys.readouterr().err, words)
