"""A worker that is stuck is killed, once; a manual one that is silent is forgotten.

The launcher and the clock are stand-ins that do what a test says; run directory, ledger
and stage are real.  A green run would mean nothing if time stood still or a limit were
far away, so each limit is held from both sides, as a number of seconds.
"""

import pytest

from harness.one_pool import OnePool

# Workers that do the same thing for too long.


def test_a_worker_without_a_block_is_killed_after_five_minutes(pool: OnePool) -> None:
    pool.maintain(1)
    pool.maintain(1)
    pool.maintain(1, after=299)
    assert pool.launcher.killed == []
    pool.maintain(1, after=2)
    assert pool.launcher.killed == ["w1"]


def test_a_worker_that_waits_in_the_queue_is_never_stuck(pool: OnePool) -> None:
    pool.launcher.in_queue = True
    pool.maintain(1)
    for _ in range(10):
        pool.maintain(1, after=3600)
    assert pool.launcher.killed == []
    pool.launcher.begin("w1")
    pool.maintain(1, after=10)
    pool.maintain(1, after=299)
    assert pool.launcher.killed == []
    pool.maintain(1, after=2)
    assert pool.launcher.killed == ["w1"]


def test_a_worker_at_a_block_gets_fifteen_seconds_beyond_the_timeout(
    pool: OnePool,
) -> None:
    pool.maintain(1)
    pool.show("w1", 0)
    pool.maintain(1, after=10)
    pool.maintain(1, after=114)
    assert pool.launcher.killed == []
    pool.maintain(1, after=2)
    assert pool.launcher.killed == ["w1"]


def test_each_block_has_its_own_time(pool: OnePool) -> None:
    """A block, the next one, the same one again, and none: 440 s in all."""
    pool.maintain(1)
    for block, since in ((0, 1.0), (1, 1.0), (1, 2.0)):
        pool.show("w1", block, since=since)
        pool.maintain(1, after=10)
        pool.maintain(1, after=100)
    pool.show("w1", None, since=3.0)
    pool.maintain(1, after=10)
    pool.maintain(1, after=299)
    assert pool.launcher.killed == []
    pool.maintain(1, after=2)
    assert pool.launcher.killed == ["w1"]


def test_a_sign_of_life_at_the_same_block_gives_no_more_time(pool: OnePool) -> None:
    pool.maintain(1)
    for at in range(0, 110, 10):
        pool.show("w1", 0, since=1.0, at=at)
        pool.maintain(1, after=10)
    assert pool.launcher.killed == []
    pool.show("w1", 0, since=1.0, at=200)
    pool.maintain(1, after=17)
    assert pool.launcher.killed == ["w1"]


def test_a_worker_is_killed_once_however_long_its_end_takes(pool: OnePool) -> None:
    """Each kill of a batch system's job is two commands, and the next poll is far."""
    pool.maintain(1)
    pool.maintain(1)
    for _ in range(40):
        pool.maintain(1, after=10)
    assert pool.launcher.killed == ["w1"]


@pytest.mark.parametrize("code", [-9, None], ids=["killed", "cancelled"])
def test_a_worker_that_was_killed_for_its_time_has_failed_by_timeout(
    code: int | None, pool: OnePool
) -> None:
    """A batch system tells only that the job was cancelled."""
    pool.maintain(1)
    pool.show("w1", 5)
    pool.maintain(1, after=10)
    pool.maintain(1, after=116)
    assert pool.launcher.killed == ["w1"]
    pool.launcher.end("w1", code)
    pool.maintain(1)
    (entry,) = pool.recorded()
    assert (entry.block, entry.reason) == ((0, 0, 0, 5), "timeout")


def test_a_worker_that_was_killed_without_a_block_took_too_long_for_none(
    pool: OnePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool.maintain(1)
    pool.maintain(1)
    pool.maintain(1, after=301)
    pool.launcher.end("w1", -9)
    pool.maintain(1)
    assert pool.recorded() == []
    assert "block_timeout_minutes" not in caplog.text


# Manually started workers.


def test_a_manually_started_worker_is_forgotten_after_forty_seconds_of_silence(
    pool: OnePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool.show("mine", 0, at=50)
    pool.maintain(after=10)
    assert pool.pool.at_work() == ["soft"]
    pool.maintain(after=40)
    assert pool.is_shown("mine")
    pool.maintain(after=1)
    assert not pool.is_shown("mine")
    pool.maintain(after=10)
    assert pool.pool.at_work() == []
    assert pool.launcher.killed == []
    assert pool.recorded() == []
    assert caplog.messages == ["The manually started worker mine is gone."]


def test_a_block_at_which_ten_of_them_fell_silent_has_failed_once(
    pool: OnePool,
) -> None:
    """Nobody tells whether it has killed them; it must not go round for ever."""
    for number in range(10):
        assert pool.recorded() == []
        pool.show(f"mine{number}", 3, at=50 + number)
        pool.maintain(after=10)
        pool.maintain(after=41)
    (entry,) = pool.recorded()
    assert (entry.block, entry.reason) == ((0, 0, 0, 3), "lost")
    assert entry.error is not None
    assert "it shows no more life" in entry.error


def test_a_manually_started_worker_may_take_as_long_as_it_shows_itself(
    pool: OnePool,
) -> None:
    """Even a clock that goes backwards shows that it lives."""
    for at in (100.0, 104.0, 90.0, 94.0, 98.0, 102.0):
        pool.show("mine", 0, at=at)
        pool.maintain(after=35)
    assert pool.is_shown("mine")
    assert pool.launcher.killed == []


@pytest.mark.parametrize("in_queue", [False, True], ids=["runs", "not yet polled"])
def test_the_silence_of_our_own_workers_is_not_held_against_them(
    in_queue: bool, pool: OnePool
) -> None:
    pool.launcher.in_queue = in_queue
    pool.maintain(1)
    pool.show("w1", None, at=50)
    pool.maintain(1, after=10)
    pool.maintain(1, after=200)
    assert pool.is_shown("w1")


def test_workers_of_another_pool_are_left_alone(pool: OnePool) -> None:
    pool.show("theirs", 0, pool="cells", at=50)
    pool.maintain(after=10)
    pool.maintain(after=100)
    pool.maintain(after=1000)
    assert pool.is_shown("theirs")
    assert pool.pool.at_work() == []
    assert not pool.pool.is_present()
