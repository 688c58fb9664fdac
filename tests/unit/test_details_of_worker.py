"""How long a worker goes on without a block; which states of others make sense."""

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from denoise_daisy.run_dir.connection import Connection
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import read_state
from denoise_daisy.worker import loop
from denoise_daisy.worker.loop import WorkerLoop
from denoise_daisy.worker.presence import Presence
from denoise_daisy.worker.recording import Outcome
from harness.stand_ins import FakeTime

CONNECTION = Connection("127.0.0.1", 1, "0", 1)


def test_the_minute_without_work_is_counted_from_the_last_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three blocks come, each after 40 s, and then none."""
    time = FakeTime()
    monkeypatch.setattr(loop, "time", time)
    run_dir = RunDir(tmp_path)
    CONNECTION.write(run_dir)
    idle = threading.Event()
    idle.set()
    block: Any = SimpleNamespace(
        requester=SimpleNamespace(stage="soft", idle=idle), write_roi=None
    )
    recorder: Any = SimpleNamespace(longest_seconds=0.0, take=lambda *_: Outcome.DONE)
    assignments: Any = SimpleNamespace(end=lambda *_, **__: None)
    connector: Any = None
    worker = WorkerLoop(
        run_dir, ["soft"], recorder, connector, assignments, ends_at=0.0
    )
    came: list[float] = []

    def next_block(*_: Any) -> Any:
        time.sleep(40.0 if len(came) < 3 else 10.0)
        if len(came) == 3:
            return None
        came.append(time.now)
        return block

    monkeypatch.setattr(worker, "_next_block", next_block)
    worker.serve(CONNECTION)
    assert (came, time.now) == ([40.0, 80.0, 120.0], 180.0)


@pytest.mark.parametrize(
    "values", [[], {"block": None}, {"block": 3}, {"block": None, "colour": "red"}]
)
def test_a_state_that_makes_no_sense_is_none(tmp_path: Path, values: object) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.workers.mkdir()
    (run_dir.workers / "w1.json").write_text(json.dumps(values))
    assert read_state(run_dir, "w1") is None


def test_a_worker_that_is_gone_shows_itself_no_more(tmp_path: Path) -> None:
    """Though another of its threads was about to."""
    run_dir = RunDir(tmp_path)
    run_dir.workers.mkdir()
    presence = Presence(run_dir, "w1", "")
    assert read_state(run_dir, "w1") is not None
    presence.remove()
    presence.show()
    presence.begin("", None)
    assert list(run_dir.workers.iterdir()) == []


def test_a_worker_shows_its_memory_in_mib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denoise_daisy.worker.presence.peak_memory", lambda: 7 << 20)
    run_dir = RunDir(tmp_path)
    run_dir.workers.mkdir()
    Presence(run_dir, "w1", "")
    state = read_state(run_dir, "w1")
    assert state is not None
    assert state.peak_mib == 7
