"""A file system that answers with an error for a moment stops nothing.

`scripts/torture --io` plays all of this at random, on whole runs.
"""

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from denoise_daisy.durable import (
    is_there,
    make_folders,
    persistently,
    remove_partials,
)
from denoise_daisy.errors import RefusedError
from denoise_daisy.outputs.layout import Layout
from denoise_daisy.outputs.ome_groups import (
    create_group,
    is_damaged_group,
    own_attributes,
)
from denoise_daisy.outputs.ome_zarr import create_array
from denoise_daisy.run_dir import lock
from denoise_daisy.run_dir.checksums import Checksums, encoded
from denoise_daisy.run_dir.connection import Hint, read_ready
from denoise_daisy.run_dir.ledger_lines import Entry, LedgerWriter
from denoise_daisy.run_dir.lock import Lock, LockHolder, scheduler_is_alive
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import (
    WorkerState,
    read_state,
    read_states,
    state_shown,
    write_state,
)
from denoise_daisy.runs import start
from denoise_daisy.runs.log_file import log_file
from denoise_daisy.scheduling.ready_hint import ReadyHint
from denoise_daisy.scheduling.run_state import RunState
from denoise_daisy.scheduling.stage_state import Verdict
from denoise_daisy.waits import Waits
from harness.hiccups import Hiccup
from harness.stand_ins import FakeTime

LAYOUT = Layout((1, 1, 2, 4, 4), "uint16", (1, 1, 2, 4, 4), None, 1)

STATE = WorkerState("w", "host", 7, "", "soft", (0, 0, 1, 2), 5.0, 100)


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """With a worker that has a block; no heartbeat comes in between."""
    monkeypatch.setattr(lock, "WAITS", Waits(heartbeat=3600))
    run_dir = RunDir(tmp_path / "out.zarr.run")
    run_dir.workers.mkdir(parents=True)
    write_state(run_dir, STATE)
    return run_dir


@pytest.mark.parametrize(
    ("call", "words"), [("io.open", "w.partial"), ("replace", "w.partial")]
)
def test_what_a_worker_does_is_written_again(
    call: str, words: str, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    hiccup = Hiccup(monkeypatch, call, words)
    state = WorkerState("w", "host", 7, "", "", None, 6.0, 100)
    write_state(run_dir, state)
    assert hiccup.hits == 1
    assert read_states(run_dir) == [state]


def test_what_a_worker_does_is_read_again(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a scheduler that would not know which block a dead worker had."""
    hiccup = Hiccup(monkeypatch, "io.open", "w.json")
    assert read_state(run_dir, "w") == STATE
    assert hiccup.hits == 1


def test_when_a_worker_was_seen_is_asked_again(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = run_dir.workers / "w.json"
    os.utime(file, (1000, 1000))
    hiccup = Hiccup(monkeypatch, "stat", "w.json")
    assert state_shown(run_dir, "w") == 1000
    assert hiccup.hits == 1


@pytest.mark.parametrize("call", ["io.open", "stat"])
def test_a_scheduler_is_not_dead_because_its_lock_could_not_be_looked_at(
    call: str, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lock(run_dir):
        hiccup = Hiccup(monkeypatch, call, "lock")
        assert scheduler_is_alive(run_dir, "w")
    assert hiccup.hits == 1


def test_a_lock_is_not_somebody_elses_because_it_could_not_be_read(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lock(run_dir):
        pass
    hiccup = Hiccup(monkeypatch, "io.open", "lock")
    with Lock(run_dir):
        holder = LockHolder.read(run_dir)
        assert holder is not None
        assert holder.pid == os.getpid()
    assert hiccup.hits == 1


def test_what_is_there_is_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hiccup = Hiccup(monkeypatch, "stat", "a file", times=2)
    (tmp_path / "a file").touch()
    assert is_there(tmp_path / "a file")
    assert hiccup.hits == 2
    assert not is_there(tmp_path / "another file")


def test_a_file_server_gets_a_whole_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though pauses double: the last try is just at its end."""
    clock = FakeTime()
    monkeypatch.setattr("denoise_daisy.durable.time", clock)

    def act() -> float:
        if clock.now < until:
            raise OSError(errno.EIO, "Input/output error")
        return clock.now

    until = 60.0
    assert persistently(act) == 60.0
    until = 200.0
    with pytest.raises(OSError, match="Input/output"):
        persistently(act)
    assert clock.now == 120.0


def test_what_can_not_be_looked_for_at_all_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once that has gone on for a while; what is forbidden is so at once."""
    clock = FakeTime()
    monkeypatch.setattr("denoise_daisy.durable.time", clock)
    hiccup = Hiccup(monkeypatch, "stat", "a file", times=1000)
    assert not is_there(tmp_path / "a file")
    assert hiccup.hits > 5
    denied = Hiccup(monkeypatch, "stat", "a file", times=1000, error=errno.EACCES)
    assert not is_there(tmp_path / "a file")
    assert denied.hits == 1


# Folders and what is left in them


@pytest.mark.parametrize("call", ["mkdir", "stat", "fsync"])
def test_folders_are_made_again(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be made durable as well, rather than just synced again."""
    hiccup = Hiccup(monkeypatch, call, str(tmp_path))
    made: list[str] = []
    mkdir = os.mkdir

    def noted(path: Any, *arguments: Any) -> None:
        mkdir(path, *arguments)
        made.append(Path(path).name)

    monkeypatch.setattr(os, "mkdir", noted)
    make_folders(tmp_path / "a" / "b")
    assert hiccup.hits == 1
    assert (tmp_path / "a" / "b").is_dir()
    assert made == (["a", "b"] * 2 if call == "fsync" else ["a", "b"])


@pytest.mark.parametrize("call", ["stat", "unlink"])
def test_what_dead_writers_left_is_removed_all_the_same(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "c" / "0.partial"
    left.parent.mkdir()
    left.touch()
    hiccup = Hiccup(monkeypatch, call, str(tmp_path / "c"))
    remove_partials(tmp_path, older_than=time.time() + 60)
    assert hiccup.hits == 1
    assert list(tmp_path.rglob("*.partial")) == []


def test_what_dead_writers_left_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0.partial").touch()
    errors, glob = [OSError(errno.ESTALE, "Stale file handle")], Path.glob

    def find(folder: Path, pattern: str) -> Iterator[Path]:
        if errors:
            raise errors.pop()
        yield from glob(folder, pattern)

    monkeypatch.setattr(Path, "glob", find)
    remove_partials(tmp_path, older_than=time.time() + 60)
    assert errors == []
    assert list(tmp_path.iterdir()) == []


def test_a_start_goes_on_where_leftovers_can_not_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "here")

    monkeypatch.setattr(start, "remove_partials", fail)
    output = tmp_path / "out.zarr"
    output.mkdir()
    run: Any = SimpleNamespace(output=output, run_dir=RunDir(tmp_path), stages=[])
    start._sweep(run, 0.0)
    assert "Read-only file system: 'here'" in caplog.text


# Arrays and groups


def make_group(path: Path) -> None:
    create_group(path, {"version": "0.5"}, {"version": "1"})


@pytest.mark.parametrize(
    ("look", "found"),
    [(own_attributes, {"version": "1"}), (is_damaged_group, False)],
)
def test_a_group_is_looked_at_again(
    look: Callable[[Path], object],
    found: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_group(tmp_path / "out.zarr")
    hiccup = Hiccup(monkeypatch, "io.open", "zarr.json")
    assert look(tmp_path / "out.zarr") == found
    assert hiccup.hits == 1


def test_an_array_that_is_there_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_array(tmp_path / "0", LAYOUT)
    hiccup = Hiccup(monkeypatch, "io.open", "zarr.json")
    create_array(tmp_path / "0", LAYOUT)
    assert hiccup.hits == 1
    with pytest.raises(RefusedError, match="of shape"):
        create_array(tmp_path / "0", replace(LAYOUT, shape=(1, 1, 3, 4, 4)))


def test_metadata_that_could_not_be_made_durable_are_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be taken for good by the next who looks."""
    hiccup = Hiccup(monkeypatch, "fsync", "zarr.json")
    with pytest.raises(OSError, match="Stale"):
        create_array(tmp_path / "0", LAYOUT)
    assert hiccup.hits == 1
    assert not (tmp_path / "0" / "zarr.json").exists()
    create_array(tmp_path / "0", LAYOUT)
    assert (tmp_path / "0" / "zarr.json").exists()


@pytest.mark.parametrize(
    ("call", "times"), [("scandir", 1), ("io.open", 1), ("io.open", 2)]
)
def test_what_was_written_is_looked_up_again(
    call: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a block that reads it, and is not to fail for that."""
    sums = np.array([7, 8], np.uint32).reshape(1, 1, 1, 1, 2)
    (tmp_path / "ledger").mkdir()
    writer = LedgerWriter(tmp_path / "ledger", "r", "w", durable=False)
    line = Entry((0, 0, 0, 0), (1, 2, 4, 8), "done", 1, "w", chunks=encoded(sums))
    writer.append(line)
    words = "w.jsonl" if call == "io.open" else "ledger"
    hiccup = Hiccup(monkeypatch, call, words, times=times)
    checksums = Checksums(tmp_path / "ledger", "r", (1, 1, 2, 4, 8), (1, 1, 2, 4, 4))
    checksums.refresh()
    found, known = checksums.of((slice(None),) * 5)
    assert hiccup.hits == times
    assert known.all()
    assert found.ravel().tolist() == [7, 8]


# The scheduler


def test_what_is_ready_is_told_once_it_can_be(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that have heard of nothing to do would never ask."""
    ledger = SimpleNamespace(totals=SimpleNamespace(pace=SimpleNamespace(longest=1.0)))
    states: Any = {"soft": SimpleNamespace(ready=0, ledger=ledger, abandoned="")}
    hint = ReadyHint(run_dir, states)
    hint.say([])
    hiccup = Hiccup(monkeypatch, "replace", "ready.json")
    states["soft"].ready = 3
    hint.say([])
    assert read_ready(run_dir) == {"soft": Hint(0, 1)}
    hint.say([])
    assert hiccup.hits == 1
    assert read_ready(run_dir) == {"soft": Hint(3, 1)}


def test_daisy_hears_of_a_block_once_its_ledger_can_be_read() -> None:
    errors = [OSError(errno.EIO, "Input/output error")]

    def verdict(_: object) -> Verdict:
        if errors:
            raise errors.pop()
        return Verdict.FINISHED

    states: Any = {"soft": SimpleNamespace(verdict=verdict)}
    assert RunState(states).verdict("soft", (0, 0, 0, 0)) is Verdict.FINISHED
    assert errors == []


# Logs


def test_a_log_that_can_not_be_made_is_no_reason_for_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = []
    with log_file(tmp_path / "gone" / "scheduler.log"):
        done.append(1)
    assert done == [1]
    assert "There is no log of this start" in caplog.text


def test_a_log_that_can_not_be_written_is_no_reason_for_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it hide what has happened."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    full = tmp_path / "scheduler.log"
    full.symlink_to("/dev/full")
    with log_file(full):
        logging.getLogger("denoise_daisy").info("a line")

    def fail() -> None:
        with log_file(full):
            logging.getLogger("denoise_daisy").info("a line")
            raise OSError("the run's own")

    with pytest.raises(OSError, match="the run's own"):
        fail()


def test_a_log_is_written_once_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "scheduler.log"
    hiccup = Hiccup(monkeypatch, "io.open", "scheduler.log")
    with log_file(file):
        logging.getLogger("denoise_daisy").info("a line")
    assert hiccup.hits == 1
    assert "a line" in file.read_text()
