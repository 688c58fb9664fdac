"""When a start stops before all is done: for a signal, or where it has no hope.

A test that plans something says when the start has to end, so that nothing is green
because it never came to pass.
"""

import json
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from denoise_daisy.errors import Interrupted, RunStopped
from denoise_daisy.run_dir.connection import Connection, read_ready
from denoise_daisy.run_dir.lock import LockHolder
from denoise_daisy.scheduling.signals import Signals
from harness.one_start import OneStart

# Signals.


@pytest.fixture
def busy(start: Callable[..., OneStart]) -> OneStart:
    """At 10 s a worker is in the middle of a block."""
    it = start()
    it.time.at(10, lambda: it.show("w1", 0))
    return it


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_first_signal_stops_gently_and_is_named(name: str, busy: OneStart) -> None:
    """No more blocks, no more workers; what is in flight may finish."""
    number = signal.Signals[name]
    busy.time.at(20, lambda: busy.take(number))
    hands_out = [True]
    busy.time.at(22, lambda: hands_out.append(not busy.server.is_stopped))
    busy.time.at(25, lambda: busy.show("w1", None))
    with pytest.raises(Interrupted, match=f"Stopped by {name}") as stopped:
        busy.run()
    assert stopped.value.exit_code == 128 + number
    assert 25 <= busy.time.now < 26
    assert hands_out == [True, False]
    assert busy.connection is None
    assert busy.launcher.taken_back
    assert busy.launcher.ends >= 1


def test_blocks_in_flight_get_just_the_grace(busy: OneStart) -> None:
    busy.time.at(20, lambda: busy.take(signal.SIGTERM))
    with pytest.raises(Interrupted):
        busy.run(grace=30)
    assert 50 <= busy.time.now < 51


@pytest.mark.parametrize("after", [0.0, 0.1, 0.25])
def test_two_signals_at_almost_the_same_time_are_one(
    after: float, busy: OneStart
) -> None:
    """A terminal or a batch system may send one, and a script in between another."""
    busy.time.at(20, lambda: busy.take(signal.SIGTERM))
    busy.time.at(20, lambda: busy.take(signal.SIGINT, after=after))
    with pytest.raises(Interrupted, match="SIGTERM"):
        busy.run(grace=30)
    assert 50 <= busy.time.now < 51


@pytest.mark.parametrize("after", [0.35, 0.5, 5.0])
def test_a_second_signal_ends_workers_in_the_middle_of_their_blocks(
    after: float, busy: OneStart
) -> None:
    busy.time.at(20, lambda: busy.take(signal.SIGTERM))
    busy.time.at(20, lambda: busy.take(signal.SIGINT, after=after))
    with pytest.raises(Interrupted, match="SIGTERM") as stopped:
        busy.run(grace=30)
    assert stopped.value.exit_code == 143
    assert 20 + after <= busy.time.now < 21 + after
    assert busy.launcher.ends >= 1


def test_a_volley_of_signals_is_one(busy: OneStart) -> None:
    busy.time.at(20, lambda: busy.take(signal.SIGTERM))
    for _ in range(5):
        busy.time.at(20, lambda: busy.take(signal.SIGTERM, after=0.2))
    with pytest.raises(Interrupted):
        busy.run(grace=30)
    # The grace counts from when the scheduler notices, after the volley.
    assert 51 <= busy.time.now < 52


def test_signals_are_left_alone_in_another_thread_than_the_main_one() -> None:
    """Python lets only the main one take them."""
    before = signal.getsignal(signal.SIGTERM)
    taken = []

    def use() -> None:
        signals = Signals()
        with signals.handled():
            signals.handle()
            taken.append((signals.count, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert taken == [(0, before)]


# Blocks that all fail.


def fail_at(it: OneStart, seconds: float, *blocks: int, stage: str = "denoise") -> None:
    it.time.at(seconds, lambda: it.say(stage, "failed", *blocks))


SPREAD = [10, 14, 18, 22, 26, 30, 34, 39]
"""Eight of the thirty blocks after the first ten, from the first to the last."""


def test_five_failed_blocks_for_each_worker_and_none_done_are_put_to_the_test(
    start: Callable[..., OneStart],
) -> None:
    """Others all over the image are tried, and only if these fail the run stops."""
    it = start(count=2)
    fail_at(it, 10, *range(9))
    fail_at(it, 50, 9)
    fail_at(it, 60, *SPREAD[:7])
    fail_at(it, 80, SPREAD[7])
    with pytest.raises(RunStopped, match="18 blocks of denoise have failed") as stopped:
        it.run()
    assert [server.left["denoise"] for server in it.servers] == [[*range(40)], SPREAD]
    assert 80 <= it.time.now < 82
    assert "Block [0, 0, 0, 0]: bad voxels." in str(stopped.value)


def test_good_blocks_behind_bad_ones_are_done(start: Callable[..., OneStart]) -> None:
    it = start(count=2)
    fail_at(it, 10, *range(10))
    it.time.at(30, lambda: it.say("denoise", "done", 22))
    left: list[object] = []
    it.time.at(35, lambda: left.append(it.server.left["denoise"]))
    it.time.at(50, lambda: it.say("denoise", "done", *range(10, 40)))
    it.run()
    assert left == [[*range(10, 22), *range(23, 40)]]
    assert it.time.now >= 50
    assert len(it.servers) == 3


def test_a_run_without_workers_of_its_own_counts_as_one_with_one(
    start: Callable[..., OneStart],
) -> None:
    it = start(count=0)
    fail_at(it, 10, *range(4))
    fail_at(it, 50, 4)
    it.time.at(51, lambda: it.say("denoise", "done", 39))
    it.time.at(90, it.finish)
    it.run()
    assert len(it.servers) == 3


def test_one_block_that_is_done_gives_hope(start: Callable[..., OneStart]) -> None:
    """Whatever start has done it."""
    it = start(count=2)
    it.say("denoise", "done", 39)
    it.read_ledgers()
    fail_at(it, 10, *range(30))
    it.time.at(50, lambda: it.say("denoise", "done", *range(40)))
    it.run()
    assert it.time.now >= 50
    assert len(it.servers) == 1


def test_where_only_failed_blocks_are_left_there_is_nothing_to_try(
    start: Callable[..., OneStart],
) -> None:
    """They are given up by their retries, and the run ends with all it could do."""
    it = start(count=2, retries=1)
    fail_at(it, 10, *range(40))
    fail_at(it, 50, *range(40))
    it.run()
    assert it.time.now >= 50
    assert len(it.servers) == 1
    assert len(it.states["denoise"].given_up) == 40
    assert it.given_up[0] == ("denoise", (0, 0, 0, 0), "bad voxels")


def test_a_trial_that_ends_as_its_server_does_is_not_waited_for(
    start: Callable[..., OneStart],
) -> None:
    """Daisy ends by itself once it has heard of the last of the blocks on trial."""
    it = start(count=2)

    def fail_the_last() -> None:
        it.say("denoise", "failed", *SPREAD)
        it.server.is_alive, it.server.is_through = False, True

    fail_at(it, 10, *range(10))
    it.time.at(30, fail_the_last)
    with pytest.raises(RunStopped, match="something is wrong with all of them"):
        it.run()
    assert 30 <= it.time.now < 32


def test_what_reads_a_stage_on_trial_waits(start: Callable[..., OneStart]) -> None:
    it = start("denoise", "soft", "hard", count=2)
    fail_at(it, 10, *range(10))
    it.time.at(30, lambda: it.say("denoise", "done", 22))
    it.time.at(60, it.finish)
    it.run()
    stages = [server.stages for server in it.servers]
    assert stages == [["denoise", "soft", "hard"], ["denoise"], stages[0]]


def test_a_block_that_fails_often_counts_once(start: Callable[..., OneStart]) -> None:
    it = start(count=1, retries=100)
    it.time.at(10, lambda: it.say("denoise", "failed", *[0] * 20, 1, 2, 3))
    it.time.at(50, it.finish)
    it.run()
    assert it.time.now >= 50


def test_a_task_without_hope_ends_alone(
    start: Callable[..., OneStart], caplog: pytest.LogCaptureFixture
) -> None:
    it = start("denoise", "soft", count=2)
    fail_at(it, 10, *range(10), stage="soft")
    fail_at(it, 30, *SPREAD, stage="soft")
    it.time.at(50, lambda: it.say("denoise", "done", *range(40)))
    it.run()
    assert 50 <= it.time.now < 52
    assert it.states["soft"].abandoned
    said = [r.getMessage() for r in caplog.records if "goes on without" in r.message]
    assert len(said) == 1
    assert said[0].startswith("18 blocks of soft have failed")
    hints = read_ready(it.run_dir) or {}
    assert said[0] == f"{hints['soft'].given_up} The run goes on without soft."
    assert hints["denoise"].given_up == ""


# Another scheduler.


def test_a_scheduler_that_slept_leaves_the_run_to_the_one_that_took_over(
    start: Callable[..., OneStart],
) -> None:
    it = start()
    theirs = Connection("node8", 7, "secret", epoch=2)

    def take_over() -> None:
        holder = LockHolder("node8", 7, started=1.0, heartbeat=2.0, running=True)
        it.run_dir.lock_file.write_text(json.dumps(asdict(holder)))
        theirs.write(it.run_dir)

    it.time.at(10, take_over)
    with pytest.raises(RunStopped, match="process 7 on node8 has taken over this run"):
        it.run()
    assert 10 <= it.time.now < 11
    assert it.connection == theirs


# Places that are gone.


def record(it: OneStart) -> Path:
    return it.run_dir.run_file


def lock(it: OneStart) -> Path:
    return it.run_dir.lock_file


def output(it: OneStart) -> Path:
    return it.run_dir.path.with_name("soft.zarr") / "zarr.json"


@pytest.mark.parametrize("place", [record, lock, output])
def test_an_output_that_is_away_for_twenty_seconds_stops_the_run(
    place: Callable[[OneStart], Path], start: Callable[..., OneStart]
) -> None:
    it = start("denoise", "soft")
    it.time.at(10, place(it).unlink)
    with pytest.raises(RunStopped, match="moved or deleted") as stopped:
        it.run()
    assert 29.5 <= it.time.now <= 31
    assert f"{str(place(it))!r} is not there" in str(stopped.value)
    assert it.launcher.ends >= 1


@pytest.mark.parametrize("place", [record, lock, output])
def test_an_output_that_comes_back_in_time_stops_nothing(
    place: Callable[[OneStart], Path], start: Callable[..., OneStart]
) -> None:
    it = start("denoise", "soft")
    for begin in (10, 40):
        it.time.at(begin, place(it).unlink)
        it.time.at(begin + 19, place(it).touch)
    it.time.at(70, it.finish)
    it.run()
    assert it.time.now >= 70
