"""A pool has as many workers as it should, and stops a run in which none can begin.

The launcher and the clock are stand-ins that do what a test says; run directory, ledger
and stage are real.  A green run would mean nothing if time stood still or a limit were
far away, so each limit is held from both sides, as a number of seconds.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from denoise_daisy.errors import RunStopped
from denoise_daisy.launchers.local import LocalWorkers
from denoise_daisy.launchers.slurm import SlurmWorkers
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import read_states, remove_state
from denoise_daisy.scheduling.workforce import Workforce
from harness.one_pool import OnePool, gaps
from harness.stand_ins import FakeLauncher, FakeTime

LEFT, UNREACHABLE = 75, 68
"""Exit codes of workers."""


# How many, and when.


def test_workers_are_started_up_to_the_number_wanted(pool: OnePool) -> None:
    pool.maintain(3)
    assert [count for _, count in pool.launcher.starts] == [3]
    pool.maintain(3, after=100)
    pool.maintain(2, after=100)
    assert [count for _, count in pool.launcher.starts] == [3]
    pool.launcher.end("w2", None)
    pool.maintain(5, after=100)
    assert [count for _, count in pool.launcher.starts] == [3, 3]
    assert len(pool.launcher.living()) == 5


def test_workers_that_wait_in_a_queue_are_not_started_again(pool: OnePool) -> None:
    pool.launcher.in_queue = True
    pool.maintain(3)
    pool.maintain(3, after=3600)
    assert [count for _, count in pool.launcher.starts] == [3]


def test_none_is_started_where_none_is_wanted(pool: OnePool) -> None:
    pool.maintain(0)
    pool.maintain(0, after=100)
    assert pool.launcher.starts == []


def maintain_while_workers_are_taken_away(pool: OnePool, seconds: float) -> list[float]:
    """All are taken away as soon as they run; when others were started."""
    before = len(pool.launcher.starts)
    for _ in range(round(seconds / 0.25)):
        pool.maintain(1, after=0.25)
        for worker in pool.launcher.living():
            pool.launcher.end(worker, None)
    return [time for time, _ in pool.launcher.starts[before:]]


def test_the_pause_between_starts_doubles_from_half_a_second_to_a_minute(
    pool: OnePool,
) -> None:
    starts = maintain_while_workers_are_taken_away(pool, 250)
    assert gaps(starts) == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("status", ["done", "failed"])
def test_a_block_done_or_failed_makes_the_pause_short_again(
    status: str, pool: OnePool
) -> None:
    maintain_while_workers_are_taken_away(pool, 130)
    pool.say(status, 0)
    now = pool.time.now
    starts = maintain_while_workers_are_taken_away(pool, 10)
    # The next look is a quarter of a second later, and half a second more passes.
    assert starts[0] - now == 0.75
    assert gaps(starts) == [0.5, 1, 2, 4]


def test_a_block_that_was_told_of_before_does_not_shorten_the_pause(
    pool: OnePool,
) -> None:
    pool.say("done", 0)
    starts = maintain_while_workers_are_taken_away(pool, 10)
    assert gaps(starts) == [0.5, 1, 2, 4]


# Workers that can't begin.


def test_a_worker_that_shows_itself_and_dies_without_a_block_never_began(
    pool: OnePool,
) -> None:
    """It may have been at the imports of a function, say."""
    for number in range(6):
        pool.maintain(1, after=120)
        (worker,) = pool.launcher.living()
        pool.show(worker, None)
        pool.launcher.end(worker, 1)
        if number < 5:
            pool.maintain()
    with pytest.raises(RunStopped, match="before they take a block"):
        pool.maintain()
    assert pool.recorded() == []


def test_six_workers_in_a_row_that_never_begin_stop_the_run(pool: OnePool) -> None:
    for _ in range(5):
        pool.lose_one_that_never_began()
    with pytest.raises(RunStopped, match="before they take a block") as stopped:
        pool.lose_one_that_never_began()
    assert stopped.value.exit_code == 5
    said = str(stopped.value)
    assert "the last with exit code 1." in said
    assert "logs/w6.log" in said
    assert said.endswith("ImportError: no engine here")
    assert pool.recorded() == []


@pytest.mark.parametrize("status", ["done", "failed"])
def test_a_block_in_between_lets_the_counting_begin_again(
    status: str, pool: OnePool
) -> None:
    for _ in range(5):
        pool.lose_one_that_never_began()
    pool.say(status, 0)
    for _ in range(5):
        pool.lose_one_that_never_began()
    with pytest.raises(RunStopped, match="before they take a block"):
        pool.lose_one_that_never_began()


def test_a_worker_that_dies_at_its_block_lets_the_counting_begin_again(
    pool: OnePool,
) -> None:
    for _ in range(5):
        pool.lose_one_that_never_began()
    pool.lose(-11)
    for _ in range(5):
        pool.lose_one_that_never_began()
    with pytest.raises(RunStopped):
        pool.lose_one_that_never_began()


def test_three_workers_in_a_row_that_reach_no_scheduler_stop_the_run(
    pool: OnePool,
) -> None:
    """Each has tried for long and knows the cause, so each counts as two."""
    for _ in range(2):
        pool.lose(UNREACHABLE, block=0, log="can't reach the scheduler\n")
    with pytest.raises(RunStopped, match="can't reach the scheduler"):
        pool.lose(UNREACHABLE, block=0, log="can't reach the scheduler\n")
    assert pool.recorded() == []


def test_a_worker_at_a_block_of_another_pool_counts_as_one_that_never_began(
    pool: OnePool,
) -> None:
    def lose() -> None:
        pool.maintain(1, after=120)
        (worker,) = pool.launcher.living()
        pool.show(worker, 0, stage="other")
        pool.launcher.end(worker, 1)
        pool.maintain()

    for _ in range(5):
        lose()
    with pytest.raises(RunStopped):
        lose()


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(0, id="nothing left to do"),
        pytest.param(LEFT, id="left early"),
        pytest.param(None, id="taken away"),
    ],
)
@pytest.mark.parametrize("block", [None, 0], ids=["idle", "at a block"])
def test_workers_that_leave_or_are_taken_away_are_no_failures(
    code: int | None, block: int | None, pool: OnePool, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(7):
        pool.lose(code, block=block)
    assert pool.recorded() == []
    assert caplog.records == []
    # Nor did they make the limit come nearer.
    for _ in range(5):
        pool.lose_one_that_never_began()
    with pytest.raises(RunStopped):
        pool.lose_one_that_never_began()


# What a pool tells of its workers.


@pytest.fixture
def busy_pool(pool: OnePool) -> OnePool:
    """Three of ours, two manually started ones; one of each has a block."""
    pool.maintain(3)
    pool.show("w1", 0)
    pool.show("w2", None)
    pool.show("mine", 1)
    pool.show("idle", None)
    pool.show("theirs", 2, pool="cells")
    pool.maintain(3, after=10)
    return pool


def test_workers_with_a_block_are_counted(busy_pool: OnePool) -> None:
    assert busy_pool.pool.in_flight() == 1
    assert busy_pool.pool.at_work() == ["soft", "soft"]


def test_a_pool_is_present_until_the_last_of_its_workers_is_gone(
    busy_pool: OnePool,
) -> None:
    assert busy_pool.pool.is_present()
    remove_state(busy_pool.run_dir, "w1")
    assert busy_pool.pool.is_present()
    remove_state(busy_pool.run_dir, "w2")
    assert not busy_pool.pool.is_present()


def test_the_end_of_all_leaves_what_others_started(busy_pool: OnePool) -> None:
    busy_pool.pool.end_all()
    assert busy_pool.launcher.ends == 1
    left = {state.worker for state in read_states(busy_pool.run_dir)}
    assert left == {"mine", "idle", "theirs"}


def test_the_end_of_all_forgets_those_that_were_taken_for_waiting(
    pool: OnePool,
) -> None:
    """A batch system is asked only now and then."""
    pool.launcher.in_queue = True
    pool.maintain(1)
    pool.show("w1", 0)
    pool.pool.end_all()
    assert not pool.is_shown("w1")


def test_a_worker_that_has_shown_itself_is_not_taken_for_one_that_waits(
    busy_pool: OnePool,
) -> None:
    busy_pool.pool.cancel_waiting()
    assert busy_pool.launcher.taken_back == [{"w1", "w2", "mine", "idle"}]


def test_the_launcher_says_what_workers_wait_for(pool: OnePool) -> None:
    assert pool.pool.waits_for() == "2 waiting in Somewhere (Priority)"


def test_workers_are_looked_at_more_seldom_the_more_there_are(
    pool: OnePool,
) -> None:
    """A hundredth of a second for each, and two at most."""

    def seconds_until(condition: Callable[[], bool], wanted: int) -> float:
        began = pool.time.now
        while not condition():
            pool.maintain(wanted, after=0.25)
        return pool.time.now - began

    for wanted, seconds in ((100, 1.0), (1000, 2.0)):
        pool.maintain(wanted, after=60)
        pool.maintain(wanted, after=60)
        pool.show("mine", wanted % 8, since=wanted)
        assert seconds_until(lambda: pool.pool.at_work() == ["soft"], wanted) == seconds
        remove_state(pool.run_dir, "mine")


def test_a_worker_of_a_run_that_was_overwritten_has_no_block_of_this_one(
    pool: OnePool,
) -> None:
    """Others would wait for it to do what it never will."""
    pool.show("old", 0, run_id="overwritten")
    pool.show("new", 1)
    pool.maintain()
    assert pool.pool.at_work() == ["soft"]
    pool.show("new", None)
    pool.maintain(after=10)
    assert pool.pool.at_work() == []


def test_a_block_whose_time_is_up_is_taken_by_nobody(pool: OnePool) -> None:
    """Its worker may hang for ever, where this process can't end it: 100 s and 15."""
    told = []
    for now in (0, 30, 60, 90, 115, 116):
        pool.show("mine", 0, at=now)
        pool.maintain(after=now - pool.time.now)
        told.append(pool.pool.at_work())
    assert told == [["soft"]] * 5 + [[]]


@pytest.mark.parametrize(
    ("hosts", "address"),
    [
        ([None], "127.0.0.1"),
        (["node7"], "node7"),
        ([None, "node7"], "node7"),
        (["node7", None], "node7"),
    ],
)
def test_the_scheduler_is_where_workers_on_other_machines_find_it(
    hosts: list[str | None], address: str, tmp_path: Path
) -> None:
    """`None` are local workers, who find it there as well."""
    pools = []
    for host in hosts:
        local = LocalWorkers(count=1)
        workers = SlurmWorkers(kind="slurm", count=1, host=host) if host else local
        pools.append(Pool("", workers, FakeLauncher(FakeTime()), {}))
    assert Workforce(pools, RunDir(tmp_path), {}).address == address
