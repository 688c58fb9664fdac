"""One scheduler at a time, and strangers on the port are in nobody's way."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from harness import here, wait_until
from harness.trials import ALL, Trial
from harness.waiting import PATIENCE


def test_a_second_scheduler_is_refused(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    second: list[tuple[str | Path, ...]] = [
        ("run", trial.path),
        ("run", trial.path, "--overwrite"),
        ("verify", trial.output),
    ]
    with trial.held(sleep=600) as first:
        trial.wait_for_two_at_work()
        for words in second:
            end = here(*words)
            assert end.returncode == 4, end.stderr
            assert f"process {first.pid} on {socket.gethostname()}" in end.stderr
            assert "Traceback (most recent" not in end.stderr
        # Nor may who can only read it verify what is being written.
        monkeypatch.setattr(os, "access", lambda *_: False)
        end = here("verify", trial.output)
        assert end.returncode == 4, end.stderr
        assert f"process {first.pid} on {socket.gethostname()}" in end.stderr
        assert first.poll() is None
        trial.hook.set()
        _, errors = first.communicate(timeout=PATIENCE)
    assert first.returncode == 0, errors
    assert trial.executions() == Counter(ALL)
    assert trial.finish() == []


def test_of_two_schedulers_started_at_once_one_runs(trial: Trial) -> None:
    with trial.held(sleep=600) as one, trial.held(sleep=600) as other:
        both = one, other
        wait_until(lambda: any(p.poll() is not None for p in both), "one is refused")
        trial.hook.set()
        said = [process.communicate(timeout=PATIENCE)[1] for process in both]
    assert sorted(p.returncode for p in both) == [0, 4], said
    assert trial.executions() == Counter(ALL)
    assert trial.finish() == []


def test_another_hosts_lock_holds_until_it_was_silent_for_long(finished: Trial) -> None:
    for file in (finished.run_dir / "ledger" / "denoise").iterdir():
        file.unlink()
    lock = finished.run_dir / "lock"
    holder = {"host": "elsewhere", "pid": 1, "started": 0, "heartbeat": 1000}
    lock.write_text(json.dumps(holder | {"running": True}))
    with finished.running() as scheduler:
        while scheduler.poll() is None:
            holder["heartbeat"] = 1000 + time.monotonic_ns() % 9000
            with lock.open("r+") as shown:
                shown.write(json.dumps(holder | {"running": True}))
            time.sleep(0.1)
        _, errors = scheduler.communicate(timeout=PATIENCE)
    assert scheduler.returncode == 4, errors
    assert "process 1 on elsewhere" in errors
    assert finished.finish() == sorted(ALL)
    assert "Took over from process 1 on elsewhere" in finished.log()


def test_a_lock_held_by_a_process_in_the_way_is_respected(trial: Trial) -> None:
    trial.run_dir.mkdir()
    with (trial.run_dir / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = trial.run()
        assert end.returncode == 4, end.stderr
        assert "another process" in end.stderr
    assert trial.finish() == sorted(ALL)


def test_strangers_on_the_port_do_not_stop_the_run(trial: Trial) -> None:
    """A well-formed request for an unknown task makes Daisy's server panic."""
    stranger = (
        "import daisy, sys;"
        "daisy.Client(daisy.Context(hostname='127.0.0.1', port=int(sys.argv[1]),"
        " task_id='another', worker_id=-1, logdir='')).acquire_block().__enter__()"
    )
    noise = np.random.default_rng(1).bytes(2000)
    with trial.held(sleep=600) as scheduler:
        trial.wait_for_two_at_work()
        connection = json.loads((trial.run_dir / "connection.json").read_text())
        place = connection["host"], connection["port"]
        for data in (noise, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 8, b"\0" * 64):
            with socket.create_connection(place, timeout=5) as client:
                client.sendall(data)
        trial.hook.set(free=4)
        trial.wait_for_begun(6)
        assert "ended early" not in trial.log()
        subprocess.run(
            [sys.executable, "-c", stranger, str(place[1])],
            check=False,
            capture_output=True,
            timeout=240,
        )
        trial.hook.set()
        _, errors = scheduler.communicate(timeout=PATIENCE)
    assert scheduler.returncode == 0, errors
    assert "Daisy's server ended early" in trial.log()
    again = trial.executions() - Counter(ALL)
    assert trial.executions().keys() == ALL
    assert sum(again.values()) <= 2, "more than the blocks in flight were redone"
    assert trial.finish() == []


def test_status_names_no_worker_of_a_killed_run(trial: Trial) -> None:
    with trial.running(free=2) as scheduler:
        trial.wait_for_begun(4)
        trial.kill(scheduler)
    done = trial.done()
    assert len(done) == 2
    with trial.running(sleep=600):
        trial.wait_for_two_at_work()
        status = here("status", trial.output).stdout
    assert f"{len(done)} done, 0 failed, {12 - len(done)} left of 12" in status
    assert status.count(": block [") == 2, status
    assert trial.finish() == sorted(ALL - set(done))
