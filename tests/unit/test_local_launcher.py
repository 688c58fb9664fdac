"""Workers as child processes: out of reach of the terminal, and ended for certain.

Real processes, of a stand-in for Python that notes how it was called.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from denoise_daisy.launchers import local
from denoise_daisy.launchers.base import Exit
from denoise_daisy.launchers.local import LocalLauncher
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import Waits
from harness.waiting import wait_until

PYTHON = """#!/bin/bash
# Says how it was called, and does what is left in the file `then`.
here=${0%/*}
echo "called with $*"
echo "and to stderr" >&2
read -r line && echo "read $line"
begin() { echo $$ >"$here/${4#--name=}.part" && mv "$here/${4#--name=}."{part,pid}; }
source "$here/then" "$@"
"""


class Machine:
    """A launcher of workers that do what a test wants."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "python").write_text(PYTHON)
        (folder / "python").chmod(0o755)
        self.then('begin "$@"; exec sleep 600')
        self.python = str(folder / "python")
        self.run_dir = RunDir(folder / "out.zarr.run")
        self.run_dir.make([])
        self.launcher = LocalLauncher(self.run_dir, "cells")

    def then(self, script: str) -> None:
        """What workers do from now on, in words of bash."""
        (self._folder / "then").write_text(script)

    def start(self, count: int) -> list[psutil.Process]:
        """Start the first workers, and wait until they have begun."""
        self.launcher.start(count)
        files = [self._folder / f"{name(i + 1)}.pid" for i in range(count)]
        wait_until(lambda: all(file.exists() for file in files), "workers begin")
        return [psutil.Process(int(file.read_text())) for file in files]

    def wait_for_ends(self, count: int) -> list[Exit]:
        ends: list[Exit] = []

        def all_ended() -> bool:
            ends.extend(self.launcher.ended())
            return len(ends) >= count

        wait_until(all_ended, f"{count} workers end")
        return ends


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    monkeypatch.setattr(sys, "executable", machine.python)
    monkeypatch.setattr(local, "WAITS", Waits(leave=60))
    yield machine
    machine.launcher.end_all()
    machine.wait_for_ends(0)


def name(number: int) -> str:
    return f"local-{os.getpid()}-cells-{number}"


def test_a_worker_is_told_its_run_its_name_and_its_task(machine: Machine) -> None:
    machine.start(1)
    log = machine.run_dir.worker_log(name(1)).read_text().splitlines()
    assert log == [
        f"called with -m denoise_daisy.worker {machine.run_dir.path}"
        f" --name={name(1)} --task=cells",
        "and to stderr",
    ]


def test_a_worker_reads_nothing_that_is_typed(machine: Machine) -> None:
    """Else it would be stopped in the background of a terminal."""
    reading, writing = os.pipe()
    os.write(writing, b"for somebody else\n")
    mine = os.dup(0)
    try:
        os.dup2(reading, 0)
        machine.start(1)
    finally:
        os.dup2(mine, 0)
        for descriptor in (reading, writing, mine):
            os.close(descriptor)
    assert "somebody" not in machine.run_dir.worker_log(name(1)).read_text()


def test_a_log_that_is_there_is_added_to(machine: Machine) -> None:
    machine.run_dir.worker_log(name(1)).write_text("of before\n")
    machine.start(1)
    assert machine.run_dir.worker_log(name(1)).read_text().startswith("of before\nca")


def test_the_terminals_signals_do_not_reach_workers(machine: Machine) -> None:
    """They go to a process group; each worker has one of its own."""
    groups = {os.getpgid(worker.pid) for worker in machine.start(2)}
    assert len(groups) == 2
    assert os.getpgid(0) not in groups


def test_those_that_live_are_known(machine: Machine) -> None:
    machine.start(2)
    assert machine.launcher.living() == machine.launcher.running() == {name(1), name(2)}
    assert machine.launcher.ended() == []
    assert machine.launcher.waits_for() == machine.launcher.describe() == ""


@pytest.mark.parametrize(
    ("then", "code"),
    [("exit 0", 0), ("exit 75", 75), ("kill -SEGV $$", -11), ("kill -TERM $$", -15)],
)
def test_how_a_worker_ended_is_told_once(
    then: str, code: int, machine: Machine
) -> None:
    machine.then(then)
    machine.launcher.start(1)
    assert machine.wait_for_ends(1) == [Exit(name(1), code)]
    assert machine.launcher.ended() == []
    assert machine.launcher.living() == set()


def test_names_are_not_used_again(machine: Machine) -> None:
    machine.then("exit 0")
    machine.launcher.start(2)
    machine.launcher.start(1)
    names = {exit_.worker for exit_ in machine.wait_for_ends(3)}
    machine.launcher.start(1)
    names |= {exit_.worker for exit_ in machine.wait_for_ends(1)}
    assert names == {name(1), name(2), name(3), name(4)}


@pytest.mark.parametrize("state", ["at work", "stopped", "deaf to SIGTERM"])
def test_a_kill_ends_just_that_worker_at_once(state: str, machine: Machine) -> None:
    if state == "deaf to SIGTERM":
        machine.then("trap '' TERM; begin \"$@\"; exec sleep 600")
    workers = machine.start(2)
    if state == "stopped":
        workers[0].send_signal(signal.SIGSTOP)
    machine.launcher.kill(name(1))
    assert machine.launcher.living() == {name(2)}
    assert machine.launcher.ended() == [Exit(name(1), -9)]
    assert [worker.is_running() for worker in workers] == [False, True]


def test_the_end_of_all_leaves_no_process(machine: Machine) -> None:
    workers = machine.start(3)
    workers[1].send_signal(signal.SIGSTOP)
    machine.launcher.end_all()
    assert machine.launcher.living() == set()
    assert not any(worker.is_running() for worker in workers)


def test_nothing_waits_that_could_be_taken_back(machine: Machine) -> None:
    machine.start(1)
    machine.launcher.cancel_waiting(set())
    assert machine.launcher.living() == {name(1)}


def test_a_worker_that_can_not_end_yet_holds_nobody_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a file server that is away, where no signal reaches it."""

    def wait(_: object, timeout: float | None = None) -> NoReturn:
        assert timeout is not None
        raise subprocess.TimeoutExpired("worker", timeout)

    machine.start(1)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess.Popen, "wait", wait)
        machine.launcher.kill(name(1))
    (end,) = machine.wait_for_ends(1)
    assert end.code == -signal.SIGKILL
