"""What a machine has to give, and how progress, lists and times are told."""

import os
import resource
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from denoise_daisy import __main__, machine
from denoise_daisy.commands import plan as plan_command
from denoise_daisy.launchers.local import LocalWorkers
from denoise_daisy.launchers.slurm import Slurm, SlurmWorkers
from denoise_daisy.machine import (
    cores,
    free_disk,
    own_address,
    peak_memory,
)
from denoise_daisy.progress import listing
from denoise_daisy.run_dir.run_dir import RunDir
from harness import config_for, write_config


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


def test_a_plan_is_of_the_tasks_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], bool]] = []

    def plan(
        _: object, *, tasks: list[str], unchecked_ndsafir: bool, **options: object
    ) -> str:
        asked.append((tasks, unchecked_ndsafir))
        assert options["probe"] is False
        return ""

    monkeypatch.setattr(plan_command, "plan", plan)
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


@pytest.mark.parametrize(("known", "said"), [(6, 6), (None, 1)])
def test_where_a_process_is_bound_to_no_cores_it_has_those_of_the_machine(
    known: int | None, said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS, for one; a machine that does not know them has one at least."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: known)
    assert cores() == said


@pytest.mark.parametrize(
    ("platform", "peak"),
    [("linux", 5_120_000), ("freebsd14", 5_120_000), ("darwin", 5000)],
)
def test_without_proc_the_peak_is_what_getrusage_tells_in_the_systems_unit(
    platform: str, peak: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """> ru_maxrss: in kilobytes (Linux, FreeBSD), in bytes (macOS)."""
    usage = SimpleNamespace(ru_maxrss=5000)
    monkeypatch.setattr(machine, "lines_of", lambda _: [])
    monkeypatch.setattr(resource, "getrusage", lambda _: usage)
    monkeypatch.setattr(sys, "platform", platform)
    assert peak_memory() == peak


class Routed(socket.socket):
    """A socket that leads outside by an interface of the address 127.0.0.2."""

    def connect(self, _: Any) -> None:
        self.bind(("127.0.0.2", 0))


class Unrouted(socket.socket):
    """A socket of a machine without a network."""

    def connect(self, _: Any) -> None:
        raise OSError(101, "Network is unreachable")


@pytest.mark.parametrize(
    ("resolved", "route", "address"),
    [
        ("10.1.2.3", Unrouted, "node7.cluster"),
        ("127.0.1.1", Routed, "127.0.0.2"),
        (None, Routed, "127.0.0.2"),
        ("127.0.1.1", Unrouted, "127.0.0.1"),
        (None, Unrouted, "127.0.0.1"),
    ],
)
def test_others_are_told_a_name_that_leads_here_else_an_address(
    resolved: str | None,
    route: type[socket.socket],
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`resolved` is what the name server says of this machine's name."""

    def answer(name: str) -> str:
        assert name == "node7.cluster"
        if resolved is None:
            raise socket.gaierror(-2, "Name or service not known")
        return resolved

    monkeypatch.setattr(socket, "getfqdn", lambda: "node7.cluster")
    monkeypatch.setattr(socket, "gethostbyname", answer)
    monkeypatch.setattr(socket, "socket", route)
    assert own_address() == address
