"""Workers that are killed, frozen or have a wrong clock are replaced."""

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.trials import ALL, Trial, flat
from harness.waiting import PATIENCE, wait_until


@pytest.mark.parametrize(
    ("whom", "name", "reason"),
    [
        ("one", "SIGKILL", "lost"),
        ("one", "SIGTERM", None),
        ("all", "SIGKILL", "lost"),
        ("all", "SIGINT", None),
    ],
)
def test_workers_that_are_killed_are_replaced(
    trial: Trial, whom: str, name: str, reason: str | None
) -> None:
    with trial.held(sleep=600) as scheduler:
        at_work = list(trial.wait_for_two_at_work())
        victims = at_work[: 1 if whom == "one" else 2]
        for victim in victims:
            os.kill(victim, signal.Signals[name])
        hit = trial.unfinished(victims)
        if reason:
            wait_until(lambda: len(trial.lines("failed")) == len(hit), "it is missed")
        trial.hook.set()
        _, errors = scheduler.communicate(timeout=PATIENCE)
    assert scheduler.returncode == 0, errors
    failed = trial.lines("failed")
    if reason is None:
        assert (failed, trial.executions()) == ([], Counter(ALL))
    else:
        assert sorted(flat(line["block"]) for line in failed) == sorted(hit)
        assert {line["reason"] for line in failed} == {reason}
        assert all(name in line["error"] for line in failed)
        assert trial.executions() == Counter(ALL) + Counter(hit)
    assert trial.done() == sorted(ALL)
    assert trial.finish() == []


@pytest.mark.parametrize(
    ("whom", "then"), [("one", "continued"), ("one", "frozen"), ("all", "frozen")]
)
def test_workers_frozen_beyond_the_blocks_timeout_are_replaced(
    trial: Trial, whom: str, then: str
) -> None:
    """The keeper ends them some time after it; one that wakes up ends itself."""
    trial.change(workers={"block_timeout_minutes": 0.4})
    with trial.held(sleep=600) as scheduler:
        at_work = list(trial.wait_for_two_at_work())
        victims = at_work[: 1 if whom == "one" else 2]
        for victim in victims:
            os.kill(victim, signal.SIGSTOP)
        hit = trial.unfinished(victims)
        trial.hook.set(sleep=0.2)
        if then == "continued":
            time.sleep(27)
            for victim in victims:
                # It may have been replaced by now.
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGCONT)
        _, errors = scheduler.communicate(timeout=PATIENCE)
        assert trial.processes() == []
    assert scheduler.returncode == 0, errors
    assert set(trial.done()) == ALL
    again = trial.executions() - Counter(ALL)
    assert set(trial.executions()) == ALL
    assert set(again) <= set(hit)
    if then == "frozen":
        assert again == Counter(hit)
        # One frozen worker's block is soon another's; it may be done before the keeper
        # is sure that the first will not come back.
        reasons = [line["reason"] for line in trial.lines("failed")]
        assert reasons in ([["timeout"] * 2] if whom == "all" else [[], ["timeout"]])
    assert trial.finish() == []


def test_a_wrong_clock_changes_nothing(trial: Trial) -> None:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed")
    faults: dict[str, Any] = {
        "clocks": ["-3650d", "+3650d"],
        "libfaketime": str(found[0]),
    }
    with trial.running(free=4, **faults) as scheduler:
        trial.wait_for_begun(6)
        trial.kill(scheduler)
    end = trial.run(**faults)
    assert end.returncode == 0, end.stderr
    years = {int(line["time"][:4]) for line in trial.lines("done")}
    now = datetime.now(UTC)
    assert years <= {(now + timedelta(days=days)).year for days in (-3650, 3650)}
    assert len(trial.begun()) <= 12 + 2
    assert trial.finish() == []
