"""Whom a config names is told how a run ends, and a run never ends by that."""

import errno
import json
import logging
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest

from denoise_daisy import notify, plan, run
from denoise_daisy.config import Config
from denoise_daisy.errors import BlocksFailed, InputError, Interrupted, RunStopped
from denoise_daisy.notify import Notifier
from denoise_daisy.scheduling.scheduler import Scheduler
from denoise_daisy.waits import Waits
from harness import cli, config_for, load, small_czi, write_config
from harness.refused import listing

Told = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """What is run to tell somebody: it appends to the file that is its argument.

    By one write, for two may run at once.
    """
    path = tmp_path / "tell"
    path.write_text('#!/bin/sh\nprintf "%s\\\\n" "$(cat)" >> "$1"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """What was told."""
    file = tmp_path / "told"

    def read() -> list[dict[str, Any]]:
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    return read


@pytest.fixture
def config(tmp_path: Path, program: Path) -> dict[str, Any]:
    """Of a run of one block that tells."""
    source = small_czi(tmp_path / "in.czi", (1, 1, 1, 16, 16))
    values = config_for(source, tmp_path / "out.zarr", workers={"count": 1})
    del values["noise"]
    filtered = {"kind": "median", "size": {"y": 3}}
    command = {"command": [str(program), str(tmp_path / "told")]}
    return values | {"denoise": filtered, "notify": command}


def test_the_end_of_a_run_is_told(
    config: dict[str, Any], tmp_path: Path, told: Told
) -> None:
    """By the real program; a program beside the config is named by its path."""
    config["notify"]["command"][0] = "./tell"
    before = datetime.now(UTC).replace(microsecond=0)
    end = cli(write_config(tmp_path / "config.json", config))
    assert end.returncode == 0, end.stderr
    (values,) = told()
    assert before <= datetime.fromisoformat(values.pop("time")) <= datetime.now(UTC)
    message = values.pop("message")
    assert message.startswith("1 blocks done, 0 skipped")
    assert message in end.stdout
    assert values == {
        "event": "done",
        "output": str(tmp_path / "out.zarr"),
        "run_dir": str(tmp_path / "out.zarr.run"),
        "exit_code": 0,
        "blocks": {"done": 1, "total": 1},
        "host": socket.gethostname(),
    }
    assert "tell" not in (tmp_path / "out.zarr.run" / "run.json").read_text()


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (Interrupted("Stopped by SIGHUP.", 1), 129, "Stopped by SIGHUP."),
        (RunStopped("No worker lives."), 5, "No worker lives."),
        (BlocksFailed("One failed."), 3, "One failed."),
        (OSError(errno.ENOSPC, "No space", "/x"), 5, "can't write (No space: /x)"),
        (OSError(errno.EMFILE, "Too many"), 5, "too few open files"),
        (KeyboardInterrupt(), 130, "KeyboardInterrupt"),
        (ZeroDivisionError("a bug"), 1, "a bug"),
    ],
)
def test_a_run_that_stops_is_told_with_its_exit_code(
    error: BaseException,
    code: int,
    message: str,
    config: dict[str, Any],
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(_: Scheduler) -> NoReturn:
        raise error

    monkeypatch.setattr(Scheduler, "run", stopped)
    with pytest.raises(BaseException, match=r".*") as raised:
        run(load(config), say=lambda _: None)
    assert getattr(raised.value, "exit_code", code) == code
    (values,) = told()
    assert (values["event"], values["exit_code"]) == ("stopped", code)
    assert message in values["message"]
    assert values["blocks"] == {"done": 0, "total": 1}


def test_the_first_block_given_up_is_told_and_no_other(
    program: Path, tmp_path: Path, told: Told
) -> None:
    command = [str(program), str(tmp_path / "told")]
    notifier = Notifier(command, {"output": "/out.zarr"}, lambda: (3, 9))
    with notifier.telling_of_the_end(lambda: "All went well."):
        notifier.block_given_up("denoise", (0, 1, 2, 3), "crash: it is bad")
        notifier.block_given_up("denoise", (0, 1, 2, 4), "crash: it is bad")
    first, last = sorted(told(), key=lambda values: str(values["event"]))
    assert first["event"] == "block_given_up"
    assert first["message"] == (
        "Block [0, 1, 2, 3] (t z y x) of denoise was given up: crash: it is bad"
    )
    assert first["exit_code"] is None
    assert first["blocks"] == {"done": 3, "total": 9}
    assert first["output"] == "/out.zarr"
    assert (last["event"], last["message"]) == ("done", "All went well.")


@pytest.mark.parametrize(
    ("script", "why", "seconds"),
    [
        ("#!/bin/sh\nexit 3\n", "it ended with 3", 60),
        ("#!/nowhere/sh\n", "No such file", 60),
        ("#!/bin/sh\nsleep 1000\n", "it took longer than 0.5 s", 0.5),
    ],
)
def test_who_can_not_be_told_is_one_line_in_the_log(
    script: str,
    why: str,
    seconds: float,
    program: Path,
    config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its children, that may hold a pipe or a terminal, are gone as well."""
    program.write_text(script)
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    monkeypatch.setattr(notify, "WAITS", Waits(notify=seconds))
    with caplog.at_level(logging.WARNING):
        run(load(config), say=lambda _: None)
    (line,) = [r.getMessage() for r in caplog.records if r.name == notify.__name__]
    assert str(program) in line
    assert why in line


@pytest.mark.parametrize("command", ["nobody-has-this", "/nowhere/tell", "in.czi"])
@pytest.mark.parametrize("verb", [plan, run])
def test_a_program_that_is_not_there_is_refused_before_anything_is_written(
    verb: Callable[[Config], object],
    command: str,
    config: dict[str, Any],
    tmp_path: Path,
) -> None:
    config["notify"]["command"] = [command]
    before = listing(tmp_path)
    with pytest.raises(InputError, match=rf"notify.command.*{command}") as refusal:
        verb(load(config))
    assert refusal.value.exit_code == 2
    assert listing(tmp_path) == before


def test_a_program_on_path_is_found(
    config: dict[str, Any],
    program: Path,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    monkeypatch.setenv("PATH", path)
    config["notify"]["command"][0] = program.name
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    run(load(config), say=lambda _: None)
    assert [values["event"] for values in told()] == ["done"]
