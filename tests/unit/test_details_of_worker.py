"""Which states of workers make sense, and what a worker shows of itself."""

import json
from pathlib import Path

import pytest

from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import read_state
from denoise_daisy.worker.presence import Presence


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
