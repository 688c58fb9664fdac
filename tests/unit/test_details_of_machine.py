"""What a machine has to give, and how much of a list is told."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from denoise_daisy import __main__, machine, progress
from denoise_daisy.launchers.local import LocalWorkers
from denoise_daisy.launchers.slurm import Slurm, SlurmWorkers
from denoise_daisy.machine import free_disk, free_memory
from denoise_daisy.progress import Progress, listing
from denoise_daisy.run_dir.run_dir import RunDir
from harness import config_for, write_config
from harness.stand_ins import FakeTime


def test_a_file_system_that_does_not_count_its_files_has_no_limit_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Btrfs, for one: it has 0 files, of which 0 are free."""
    status = SimpleNamespace(
        f_files=0, f_favail=0, f_frsize=1, f_blocks=9, f_bfree=5, f_bavail=4
    )
    monkeypatch.setattr(os, "statvfs", lambda _: status)
    assert free_disk(tmp_path) == (4, None)


def test_workers_share_four_fifths_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("denoise_daisy.launchers.local.free_memory", lambda: 1000)
    workers = LocalWorkers(count=4, threads_per_worker=2)
    assert workers.memory("auto") == 200


def test_a_list_of_twenty_is_told_whole() -> None:
    assert listing(["a"] * 20) == ["  a"] * 20
    assert listing(["a"] * 21) == ["  a"] * 20 + ["  and 1 more"]


def test_the_rate_and_the_time_left_are_this_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the work was done before; a tenth of it has taken ten seconds."""
    time = FakeTime()
    monkeypatch.setattr(progress, "time", time)
    shown = Progress(
        blocks={"denoise": 10}, work=10e6, done={"denoise": 5}, work_done=5e6
    )
    time.now = 10.0
    shown.update({"denoise": 6}, 0, 6e6, 2, "")
    assert capsys.readouterr().err == (
        "denoise 60% after 10 s: 6/10 blocks, 2 in work, 0.10 Mvoxel/s,"
        " about 40 s left\n"
    )


def test_a_container_has_what_is_left_of_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, usage = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(machine, "CGROUP_LIMITS", ((str(limit), str(usage)),))
    limit.write_text("1000\n")
    for used, free in ((400, 600), (1000, 0), (1200, 0)):
        usage.write_text(f"{used}\n")
        assert free_memory() == free
    limit.write_text("max\n")
    assert free_memory() > 1000


def test_a_plan_is_of_the_tasks_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], bool]] = []

    def plan(_: object, *, tasks: list[str], unchecked_ndsafir: bool) -> str:
        asked.append((tasks, unchecked_ndsafir))
        return ""

    monkeypatch.setattr(__main__, "plan", plan)
    config = config_for(tmp_path / "in.czi", tmp_path / "out.zarr")
    path = str(write_config(tmp_path / "config.json", config))
    words = ["plan", path, "--task", "soft", "--task", "cells", "--unchecked-ndsafir"]
    assert __main__.main(words) == 0
    assert asked == [(["soft", "cells"], True)]


@pytest.mark.parametrize(("gib", "mib"), [(4, "4096M"), (2.5, "2560M"), (0.3, "308M")])
def test_a_job_asks_for_no_less_memory_than_was_said(
    gib: float, mib: str, tmp_path: Path
) -> None:
    """0.3 GiB are 307.2 MiB."""
    workers = SlurmWorkers(kind="slurm", count=1, memory_gib=gib)
    slurm = Slurm(workers, RunDir(tmp_path), "denoise-1")
    assert f"--mem={mib}" in slurm.submit_command(1)
