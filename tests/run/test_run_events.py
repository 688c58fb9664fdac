"""`run --json`: what a run tells other programs on the way."""

import json
import subprocess
from typing import Any

import pytest

from harness.trials import Trial


def events_of(end: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    """Each line of standard output is one."""
    return [json.loads(line) for line in end.stdout.splitlines()]


def test_a_run_that_fails_and_is_gone_on_with_tells_of_both(trial: Trial) -> None:
    end = trial.run("--json", fail={"5": "exception"})
    events = events_of(end)
    kinds = [event["event"] for event in events]
    assert end.returncode == 3
    assert set(kinds) == {"message", "progress", "block_given_up", "stopped"}
    assert kinds[-1] == "stopped"
    assert events[-1]["exit_code"] == 3
    assert events[-1]["blocks"] == {"done": 11, "total": 12}
    given_up = events[kinds.index("block_given_up")]
    assert "[0, 0, 1, 2]" in given_up["message"]
    progress = events[kinds.index("progress")]
    assert progress["blocks"] == {"denoise": 12}
    assert 0 <= progress["share"] < 1

    events = events_of(trial.run("--json"))
    progress = next(event for event in events if event["event"] == "progress")
    assert progress["done"] == {"denoise": 11}
    assert progress["share"] == pytest.approx(11 / 12, abs=0.01)
    assert events[-1]["event"] == "done"
    assert events[-1]["exit_code"] == 0
    assert events[-1]["blocks"] == {"done": 12, "total": 12}

    (said, last) = events_of(trial.run("--json"))
    assert "All 12 blocks were done before." in said["text"]
    assert (last["event"], last["exit_code"]) == ("done", 0)


def test_what_is_refused_is_told_there_and_to_people(trial: Trial) -> None:
    trial.change(blocks={"shape": {"y": 31, "x": 32}})
    end = trial.run("--json")
    (event,) = events_of(end)
    assert end.returncode == event["exit_code"] == 2
    assert event["event"] == "refused"
    assert event["message"] in end.stderr
