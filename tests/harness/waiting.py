"""Waiting for a state to come, and how long the program waits meanwhile."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from denoise_daisy.waits import VARIABLE

Value = TypeVar("Value")

SHORT_WAITS = {
    VARIABLE: json.dumps(
        {
            "output_gone": 6,
            "overdue": 4,
            "first_start_pause": 0.25,
            "longest_start_pause": 2,
            "poll": 2,
            "shared_job": 0.5,
            "heartbeat": 0.5,
            "heartbeat_check": 1.5,
            "scheduler_silent": 15,
            "scheduler_gone": 6,
            "last_block": 8,
            "connect": 15,
            "network_away": 30,
            "answer": 5,
            "idle": 10,
            "ledger_lag": 20,
            "hiccup": 20,
            "file_away": 2.5,
            "array_away": 10,
            "report": 0.1,
            "page": 0.1,
        }
    )
}
"""An environment in which runs wait for less: for what never comes.

Time within which something has to happen is as long as ever, and a heart may miss some
seconds, for the machine may be loaded.
"""


def short_waits(**others: float) -> dict[str, str]:
    """The same, but for some."""
    return {VARIABLE: json.dumps(json.loads(SHORT_WAITS[VARIABLE]) | others)}


REAL_WAITS = {VARIABLE: json.dumps({"report": 0.1})}
"""An environment in which runs wait as they do for people."""

AS_FOR_PEOPLE = {VARIABLE: ""}
"""The same, with the report at a run's end."""

PATIENCE = 120
"""Seconds that a test waits for what it says will come."""


def wait_until(
    condition: Callable[[], Value], what: str, seconds: float = PATIENCE
) -> Value:
    """Wait for a state; what it is."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"Not within {seconds:g} s: {what}."
        time.sleep(0.05)
    return value


def wait_for_next_server(run_dir: Path) -> None:
    """Wait until another server of a run serves its blocks than the first."""

    def server() -> str:
        try:
            return str(json.loads((run_dir / "connection.json").read_text())["run_id"])
        except FileNotFoundError:
            return ""

    first = wait_until(server, "a server is there")
    wait_until(lambda: server() not in ("", first), "another server is there")
