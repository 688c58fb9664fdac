"""Disks that are full or read-only stop a run, which goes on later."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.trials import ALL, Trial
from harness.waiting import PATIENCE


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A file system of its own, whose options can be changed."""

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        subprocess.run(command, check=True, capture_output=True)

    try:
        mount(f"size={size}")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_the_run_which_goes_on_once_there_is_room(
    trial: Trial,
) -> None:
    with tmpfs(trial.output.parent, "120k") as remount:
        end = trial.run(sleep=0.2)
        assert end.returncode == 5, end.stderr
        assert "disk is full" in end.stderr
        assert "Traceback (most recent" not in end.stderr
        done = trial.done()
        assert 0 < len(done) < 12
        assert trial.processes() == []
        still = trial.run()
        assert still.returncode in (2, 5), still.stderr
        assert "Traceback (most recent" not in still.stderr
        done = trial.done()
        remount("size=8m")
        assert trial.finish() == sorted(ALL - set(done))
        assert trial.done() == sorted(ALL)


def test_a_full_disk_under_the_ledger_alone_stops_the_run(trial: Trial) -> None:
    (trial.folder / "ledger").mkdir()
    with tmpfs(trial.folder / "ledger", "4k") as remount:
        trial.run_dir.joinpath("ledger").mkdir(parents=True)
        trial.run_dir.joinpath("ledger/denoise").symlink_to(trial.folder / "ledger")
        end = trial.run(sleep=0.2)
        assert end.returncode == 5, end.stderr
        assert "No space left" in end.stderr
        assert "Traceback (most recent" not in end.stderr
        done = trial.done()
        assert 0 < len(done) < 12
        remount("size=1m")
        assert trial.finish() == sorted(ALL - set(done))
        assert trial.done() == sorted(ALL)


def test_a_disk_that_becomes_read_only_stops_the_run(trial: Trial) -> None:
    output = str(trial.output)
    with trial.held(free=4) as scheduler:
        trial.wait_for_begun(6)
        bind = subprocess.run(
            ["mount", "--bind", output, output], check=False, capture_output=True
        )
        if bind.returncode:
            pytest.skip("mounting needs root")
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", output], check=True)
            trial.hook.set()
            _, errors = scheduler.communicate(timeout=PATIENCE)
            assert scheduler.returncode == 5, errors
            assert "read-only" in errors.lower()
            assert "Traceback (most recent" not in errors
            again = trial.run()
            assert again.returncode == 2, again.stderr
            assert "can't be written" in again.stderr
            assert trial.processes() == []
        finally:
            subprocess.run(["umount", "-l", output], check=True)
    done = trial.done()
    assert len(done) == 4
    assert trial.finish() == sorted(ALL - set(done))
