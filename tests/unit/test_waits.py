"""Waiting times are set by name, and what is no waiting time is refused at once.

A name that is not known, left out in silence, would let a test wait as long as ever, or
a run on a cluster hope for what it does not get.
"""

import subprocess
import sys
from dataclasses import fields

import pytest

from denoise_daisy.waits import VARIABLE, WAITS, Waits, read_waits


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_without_a_word_they_are_as_always(text: str | None) -> None:
    assert read_waits(text) == Waits()


def test_those_that_are_named_are_set_and_no_others() -> None:
    assert read_waits('{"poll": 1.5, "idle": 7}') == Waits(poll=1.5, idle=7)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"pol": 1}', "'pol'"),
        ('{"poll": 0}', "poll is 0"),
        ('{"idle": -1}', "idle is -1"),
        ('{"idle": "5"}', "idle is '5'"),
        ('{"idle": true}', "idle is True"),
        ('{"idle": null}', "idle is None"),
        ('{"idle": NaN}', "idle is nan"),
        ('{"idle": Infinity}', "idle is inf"),
        ("[1]", "JSON object"),
        ("{idle}", "no JSON"),
    ],
)
def test_what_is_no_waiting_time_is_refused_by_its_name(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named) as refusal:
        read_waits(text)
    assert VARIABLE in str(refusal.value)


def test_a_process_takes_them_from_its_environment() -> None:
    code = "from denoise_daisy.waits import WAITS; print(WAITS.poll, WAITS.tick)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={VARIABLE: '{"poll": 3}'},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["3", str(Waits().tick)]


def test_a_worker_leaves_within_a_minute_of_its_schedulers_death() -> None:
    """On the same host; one look late, and with what its block still gets."""
    waits = Waits()
    looks = waits.scheduler_gone + waits.heartbeat_check
    assert looks + waits.last_block <= 60
    assert waits.heartbeat_check >= 2 * waits.heartbeat


def test_what_shows_late_on_other_hosts_is_waited_for_longer_than_they_cache() -> None:
    """NFS keeps a folder's attributes for up to a minute (acdirmax)."""
    waits = Waits()
    assert waits.ledger_lag > 60
    assert waits.scheduler_silent > 60 + waits.heartbeat_check + waits.heartbeat


def test_a_network_may_be_away_for_two_minutes() -> None:
    """Longer than Daisy waits for a worker that is silent, too."""
    assert Waits().network_away > 2 * 60 + Waits().answer


def test_they_can_not_be_changed_while_the_program_runs() -> None:
    for field in fields(Waits):
        with pytest.raises(AttributeError):
            setattr(WAITS, field.name, 1.0)
