"""What ends a start before its first block: a batch system that is away, or a disk.

Starts that come to their first block end well there.
"""

import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from denoise_daisy import plan, run, status
from denoise_daisy.errors import InputError, RefusedError, RunStopped
from denoise_daisy.monitoring.collect import run_status
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.connection import Hint, write_ready
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import WorkerState, write_state
from denoise_daisy.runs import start
from denoise_daisy.scheduling.scheduler import Scheduler
from harness import config_for, load, small_czi
from harness.hiccups import Hiccup
from harness.stand_ins import FakeTime
from harness.waiting import PATIENCE

LSF = {"kind": "lsf", "count": 1}


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A word for each start that has come to its first block."""
    starts: list[str] = []
    monkeypatch.setattr(Scheduler, "run", lambda _: starts.append("began"))
    return starts


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Of a run with a task."""
    source = small_czi(tmp_path / "in.czi", (1, 1, 1, 16, 16))
    values = config_for(source, tmp_path / "out.zarr", workers={"count": 1})
    del values["noise"]
    soft = {"kind": "smooth", "name": "soft", "sigma": {"y": 1}}
    filtered = {"kind": "median", "size": {"y": 3}}
    return values | {"denoise": filtered, "tasks": [soft]}


# A batch system


@pytest.fixture
def no_lsf(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none here, whatever machine this is."""
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.fixture
def workers_of_soft(config: dict[str, Any]) -> dict[str, Any]:
    """A config whose task has LSF workers of its own."""
    [soft] = config["tasks"]
    return config | {"tasks": [soft | {"workers": LSF}]}


@pytest.mark.usefixtures("no_lsf")
def test_a_batch_system_that_no_task_asked_for_needs_may_be_away(
    workers_of_soft: dict[str, Any], began: list[str]
) -> None:
    """Elsewhere jobs of an earlier start may be left in it, but here nobody knows."""
    run(load(workers_of_soft), tasks=["denoise"], say=lambda _: None)
    assert began == ["began"]


@pytest.mark.usefixtures("no_lsf")
def test_a_batch_system_that_is_needed_may_not(
    workers_of_soft: dict[str, Any], began: list[str]
) -> None:
    """Else jobs of an earlier start would write along; nothing is written."""
    with pytest.raises(InputError, match="'bsub' is not on this machine"):
        run(load(workers_of_soft), say=lambda _: None)
    assert not began
    assert not RunDir.of_output(Path(workers_of_soft["output"]["path"])).path.exists()


@pytest.mark.usefixtures("no_lsf")
def test_a_plan_is_made_without_the_batch_system_and_says_so(
    workers_of_soft: dict[str, Any],
) -> None:
    said = str(plan(load(workers_of_soft)))
    assert "Warning: 'bsub' is not on this machine" in said
    assert "\nbsub -J 'denoise-out-RUN-soft[1-1]'" in said


def test_of_a_config_that_was_never_run_that_is_said(config: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"no run of this config: .*out.zarr"):
        status(config)


# What an earlier start has said


def test_what_an_earlier_start_gave_up_is_not_said_of_the_next(
    config: dict[str, Any], began: list[str]
) -> None:
    run(load(config), say=lambda _: None)
    run_dir = RunDir.of_output(Path(config["output"]["path"]))
    write_ready(run_dir, {"soft": Hint(0, 0, "no use")})
    assert dict(given_up_of(run_dir)) == {"soft": "no use"}
    run(load(config), say=lambda _: None)
    assert began == ["began", "began"]
    assert dict(given_up_of(run_dir)) == {}


def given_up_of(run_dir: RunDir) -> Iterator[tuple[str, str]]:
    for stage in run_status(run_dir).stages:
        if stage.given_up:
            yield stage.name, stage.given_up


@pytest.mark.parametrize(("blocks", "looks"), [(0, []), (3, [7])])
def test_a_speed_that_can_not_be_told_ends_no_run_and_is_sought_only_of_new_work(
    blocks: int, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def unreadable(_: object, epoch: int) -> float:
        asked.append(epoch)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(start, "denoised_per_second", unreadable)
    totals = SimpleNamespace(blocks=blocks)
    state: Any = SimpleNamespace(ledger=SimpleNamespace(totals=totals))
    run_: Any = None
    assert start.rate_of(run_, 7, state) is None
    assert start.rate_of(run_, 7, None) is None
    assert asked == looks


# A disk


def mount(*words: str | Path) -> None:
    if subprocess.run(["mount", *words], check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=16k", "none", folder)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_start_on_a_full_disk_is_gone_on_with_once_there_is_room(
    config: dict[str, Any], began: list[str], tiny_disk: Path
) -> None:
    """Its image would fit; what is written around that does not."""
    output = tiny_disk / "out.zarr"
    config["output"]["path"] = str(output)
    with pytest.raises(RunStopped) as stopped:
        run(load(config), say=lambda _: None)
    said = str(stopped.value)
    assert said.startswith(f"The run can't write (No space left on device: {output})")
    assert not began
    mount("-o", "remount,size=1m", tiny_disk)
    run(load(config), say=lambda _: None)
    assert began == ["began"]


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Makes a folder a mount of its own that can't be written."""
    folders = []

    def make(folder: Path) -> None:
        mount("--bind", folder, folder)
        folders.append(folder)
        mount("-o", "remount,bind,ro", folder)

    yield make
    for folder in folders:
        subprocess.run(["umount", folder], check=True)


def test_an_overwrite_on_a_read_only_disk_stops(
    config: dict[str, Any],
    began: list[str],
    tmp_path: Path,
    read_only: Callable[[Path], None],
) -> None:
    """As any start on such a disk, whatever could not be done there."""
    run(load(config), say=lambda _: None)
    file = tmp_path / "out.zarr.run" / "ledger" / "denoise" / "w.jsonl"
    file.touch()
    read_only(file.parent)
    with pytest.raises(RunStopped) as stopped:
        run(load(config), overwrite=True, say=lambda _: None)
    assert f"(Read-only file system: {file})" in str(stopped.value)
    assert began == ["began"]


def test_an_overwrite_says_which_folder_can_not_be_deleted(
    config: dict[str, Any],
    began: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(load(config), say=lambda _: None)
    folder = tmp_path / "out.zarr.run" / "ledger"
    Hiccup(monkeypatch, "rmdir", str(folder), times=9, error=errno.EPERM)
    with pytest.raises(RefusedError) as refused:
        run(load(config), overwrite=True, say=lambda _: None)
    said = f"{str(folder)!r} of an earlier run can't be deleted (Operation not"
    assert str(refused.value).startswith(said)
    assert began == ["began"]


def test_another_error_of_a_disk_is_not_taken_for_a_full_one(
    config: dict[str, Any], began: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room would not help."""

    def fsync(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr("denoise_daisy.durable.time", FakeTime())
    with pytest.raises(RunStopped, match=r"can't use its files .Input/output"):
        run(load(config), say=lambda _: None)
    assert not began


# A file system that answers with an error once

FIRST_START = [
    ("stat", "out.zarr"),
    ("stat", "out.zarr.run/ledger"),
    ("mkdir", "out.zarr.run"),
    ("mkdir", "out.zarr.run/ledger/soft"),
    ("fsync", "out.zarr/zarr.json"),
    ("fsync", "out.zarr/0/zarr.json"),
    ("fsync", "out.zarr/labels/zarr.json"),
]

SECOND_START = [
    ("stat", "out.zarr.run/lock"),
    ("listdir|scandir", "out.zarr"),
    ("scandir", "ledger/soft"),
    ("unlink", "workers/w.json"),
]
"""What a start looks at that another one has left."""


@pytest.mark.parametrize(
    ("call", "words", "starts"),
    [(*case, 1) for case in FIRST_START] + [(*case, 2) for case in SECOND_START],
)
def test_a_start_comes_to_its_first_block_though_the_file_system_hiccups(
    call: str,
    words: str,
    starts: int,
    config: dict[str, Any],
    began: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config["tasks"].append({"kind": "threshold", "name": "bright", "value": 500})
    if starts == 2:
        run(load(config), say=lambda _: None)
        run_dir = RunDir(tmp_path / "out.zarr.run")
        write_state(run_dir, WorkerState("w", "", 1, "", "soft", None, 0.0, 1))
    hiccup = Hiccup(monkeypatch, call, words)
    run(load(config), say=lambda _: None)
    assert hiccup.hits == 1
    assert len(began) == starts


def test_a_start_says_how_it_went_though_the_file_system_hiccups(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hiccups: list[Hiccup] = []

    def do(_: Scheduler) -> None:
        hiccups.append(Hiccup(monkeypatch, "scandir", "ledger/soft"))

    monkeypatch.setattr(Scheduler, "run", do)
    said: list[str] = []
    run(load(config), say=said.append)
    assert [hiccup.hits for hiccup in hiccups] == [1]
    assert said[-1].startswith("0 blocks done")


def test_what_is_written_at_a_start_is_not_swept_away_by_another_clock(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file server's may be behind this machine's."""
    now, sweep = time.time, start._sweep
    is_written, is_swept = threading.Event(), threading.Event()
    seen: list[bool] = []

    def late(run: ResolvedRun, older_than: float) -> None:
        assert is_written.wait(PATIENCE)
        sweep(run, older_than)
        is_swept.set()

    def run_blocks(_: Scheduler) -> None:
        partial = Path(config["output"]["path"]) / "shard.partial"
        partial.touch()
        is_written.set()
        assert is_swept.wait(PATIENCE)
        seen.append(partial.exists())

    monkeypatch.setattr(start, "_sweep", late)
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    monkeypatch.setattr(Scheduler, "run", run_blocks)
    run(load(config), say=lambda _: None)
    assert seen == [True]
