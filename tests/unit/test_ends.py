"""How the program ends where nothing was wrong with what it was asked for."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import pytest

from denoise_daisy import __main__, run
from denoise_daisy.commands import plan as plan_command
from denoise_daisy.scheduling.scheduler import Scheduler
from harness import config_for, environment, load, small_czi, write_config

HIT_AT_IMPORT = """
import os, signal, sys
from importlib.machinery import PathFinder

class Hit:
    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        if name == module:
            load = spec.loader.exec_module
            def hit(found):
                os.kill(os.getpid(), signal.SIGINT)
                load(found)
            spec.loader.exec_module = hit
        return spec

from denoise_daisy.__main__ import entry
module = sys.argv[1]
signal.signal(signal.SIGINT, getattr(signal, sys.argv[2]))
del sys.argv[1:3]
sys.meta_path.insert(0, Hit())
entry()
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    values = config_for(tmp_path / "in.czi", tmp_path / "out.zarr")
    return str(write_config(tmp_path / "config.json", values))


def test_ctrl_c_before_the_run_began_ends_it_with_130(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> NoReturn:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError

    monkeypatch.setattr(plan_command, "plan", stopped)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert __main__.main(["plan", config]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr() == ("", "denoise_daisy: stopped by SIGINT.\n")


def hit_at_import(module: str, handler: str) -> "subprocess.CompletedProcess[str]":
    """The program, which Ctrl-C hits as soon as a module begins to run."""
    return subprocess.run(
        [sys.executable, "-c", HIT_AT_IMPORT, module, handler, "plan", "none.json"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )


@pytest.mark.parametrize("module", ["_pylibCZIrw", "denoise_daisy.commands.plan"])
def test_ctrl_c_while_the_program_loads_ends_it_at_once(module: str) -> None:
    """Of an exception in the first one, which is native, an ImportError may be made."""
    end = hit_at_import(module, "default_int_handler")
    assert (end.returncode, end.stdout) == (130, "")
    assert end.stderr == "denoise_daisy: stopped by SIGINT.\n"


def test_where_ctrl_c_is_ignored_it_is_while_the_program_loads() -> None:
    end = hit_at_import("_pylibCZIrw", "SIG_IGN")
    assert end.returncode == 2
    assert "none.json" in end.stderr


def test_a_bug_of_ours_leaves_a_report(
    config: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(plan_command, "plan", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["denoise_daisy", "plan", "my.json"])
    assert __main__.main(["plan", config]) == 1
    (report,) = tmp_path.glob("denoise_daisy-*.log")
    said = capsys.readouterr().err
    assert said.endswith(f"internal error. Please report it with {report}.\n")
    for text in (said, report.read_text()):
        assert "ZeroDivisionError: a bug" in text
    assert report.read_text().startswith("denoise_daisy plan my.json\nTraceback")


@pytest.mark.parametrize("verb", ["schema", "status"])
def test_a_reader_that_leaves_early_is_no_bug(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`schema` says more than Python keeps back for a pipe, `status` does not."""
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    source = small_czi(tmp_path / "in.czi", (1, 1, 2, 16, 16))
    run(load(config_for(source, tmp_path / "out.zarr")), say=lambda _: None)
    words = [verb, str(tmp_path / "out.zarr")] if verb == "status" else [verb]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        end = subprocess.run(
            [sys.executable, "-m", "denoise_daisy", *words],
            stdout=pipe,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
        )
    assert (end.returncode, end.stderr) == (1, b"")


def test_a_clock_that_jumps_back_changes_no_duration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Scheduler, "run", lambda _: monkeypatch.setattr(time, "time", lambda: 0.0)
    )
    said: list[str] = []
    source = small_czi(tmp_path / "in.czi", (1, 1, 2, 16, 16))
    run(load(config_for(source, tmp_path / "out.zarr")), say=said.append)
    assert re.search(r", in [\d.]+ s\.$", said[-1].splitlines()[0])
