"""A scheduler that is killed, frozen or told to stop loses nothing that is done."""

import os
import signal
import time
from collections import Counter

import pytest

from harness import here, wait_until
from harness.trials import ALL, Trial
from harness.waiting import PATIENCE, short_waits


def test_blocks_in_flight_are_recorded_when_the_scheduler_is_killed(
    trial: Trial,
) -> None:
    with trial.running(sleep=4) as scheduler:
        in_flight = trial.wait_for_two_at_work()
        scheduler.kill()
        scheduler.wait()
        assert len(trial.workers()) == 2
        trial.wait_until_workers_left()
    done = trial.done()
    assert set(in_flight.values()) <= set(done)
    assert done == sorted(trial.executions())
    assert trial.finish() == sorted(ALL - set(done))
    assert f"Took over from process {scheduler.pid}" in trial.log()


def test_workers_in_a_long_block_leave_when_their_scheduler_is_dead(
    trial: Trial,
) -> None:
    with trial.running(sleep=600) as scheduler:
        trial.wait_for_two_at_work()
        scheduler.kill()
        scheduler.wait()
        trial.wait_until_workers_left()
    assert trial.done() == []
    assert trial.finish() == sorted(ALL)


def test_workers_leave_even_if_their_part_of_the_run_directory_is_gone(
    trial: Trial,
) -> None:
    with trial.running(sleep=600) as scheduler:
        trial.wait_for_two_at_work()
        (trial.run_dir / "workers").rename(trial.folder / "away")
        time.sleep(3)  # so that they look for the heartbeat, and show themselves
        scheduler.kill()
        scheduler.wait()
        trial.wait_until_workers_left()
    assert trial.finish() == sorted(ALL)


def test_workers_leave_a_frozen_scheduler_which_then_goes_on(trial: Trial) -> None:
    with trial.held(free=4) as scheduler:
        trial.wait_for_begun(6)
        scheduler.send_signal(signal.SIGSTOP)
        trial.hook.set()
        trial.wait_until_workers_left()
        second = here("run", trial.path)
        assert second.returncode == 4
        assert f"process {scheduler.pid} on " in second.stderr
        scheduler.send_signal(signal.SIGCONT)
        _, said = scheduler.communicate(timeout=PATIENCE)
    assert scheduler.returncode == 0, said
    assert trial.executions() == Counter(ALL)
    assert trial.finish() == []


def test_workers_of_a_killed_scheduler_do_no_block_of_the_next(trial: Trial) -> None:
    """They would come on top of the next one's, more than there is memory for."""
    waits = short_waits(scheduler_gone=300)
    with trial.held(sleep=600, env=waits) as scheduler:
        trial.wait_for_two_at_work()
        scheduler.kill()
        scheduler.wait()
        assert len(trial.workers()) == 2
        before = trial.begun()
        with trial.running(sleep=1) as following:
            trial.wait_for_begun(3)
            trial.hook.set()
            _, errors = following.communicate(timeout=PATIENCE)
            trial.wait_until_workers_left()
        assert following.returncode == 0, errors
        old = {process for _, process in before}
        assert [x for x in trial.begun() if x[1] in old] == before
    assert trial.finish() == []


@pytest.mark.parametrize(
    ("name", "whom"),
    [("SIGINT", "group"), ("SIGTERM", "process"), ("SIGHUP", "process")],
)
def test_a_first_signal_lets_the_blocks_in_flight_finish(
    trial: Trial, name: str, whom: str
) -> None:
    """To the group: as Ctrl-C in a terminal and a batch system's end do it."""
    number = signal.Signals[name]
    with trial.running(sleep=3) as scheduler:
        in_flight = trial.wait_for_two_at_work()
        (os.killpg if whom == "group" else os.kill)(scheduler.pid, number)
        said, errors = scheduler.communicate(timeout=PATIENCE)
        assert trial.processes() == []
    assert scheduler.returncode == 128 + number, errors
    assert f"Stopped by {name}" in errors
    assert "Traceback (most recent" not in errors
    done = trial.done()
    count = f"{len(done)} blocks done, 0 skipped (done before), 0 failed"
    assert f"{count}, {12 - len(done)} left" in said
    assert set(in_flight.values()) <= set(done)
    assert done == sorted(trial.executions())
    assert trial.finish() == sorted(ALL - set(done))


def test_a_run_under_nohup_outlives_its_terminal(trial: Trial) -> None:
    """`nohup` lets the program ignore SIGHUP, which has to stay so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with trial.held(sleep=600) as scheduler:
            trial.wait_for_two_at_work()
            scheduler.send_signal(signal.SIGHUP)
            trial.hook.set()
            _, errors = scheduler.communicate(timeout=PATIENCE)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert scheduler.returncode == 0, errors
    assert trial.executions() == Counter(ALL)


def test_a_second_signal_ends_the_run_at_once(trial: Trial) -> None:
    with trial.running("--grace", "600", sleep=600) as scheduler:
        trial.wait_for_two_at_work()
        scheduler.send_signal(signal.SIGINT)
        assert scheduler.stderr is not None
        assert any("Stopping" in line for line in scheduler.stderr)
        time.sleep(2)
        assert scheduler.poll() is None
        scheduler.send_signal(signal.SIGINT)
        _, errors = scheduler.communicate(timeout=PATIENCE)
        assert trial.processes() == []
    assert scheduler.returncode == 130, errors
    assert "Traceback (most recent" not in errors
    assert trial.finish() == sorted(ALL)


def test_blocks_in_flight_get_no_longer_than_the_grace(trial: Trial) -> None:
    with trial.running("--grace", "2", sleep=600) as scheduler:
        trial.wait_for_two_at_work()
        scheduler.send_signal(signal.SIGTERM)
        _, errors = scheduler.communicate(timeout=PATIENCE)
        assert trial.processes() == []
    assert scheduler.returncode == 143, errors
    assert trial.finish() == sorted(ALL)


def test_only_blocks_in_flight_are_redone_after_the_machine_died(trial: Trial) -> None:
    """As far as that can be simulated: every process is killed in the same moment."""
    with trial.running(free=6) as scheduler:
        trial.wait_for_begun(8)
        trial.kill(scheduler)
        wait_until(lambda: not trial.processes(), "all are gone")
    done = trial.done()
    assert (len(done), len(trial.begun())) == (6, 8)
    (trial.output / "0" / "c" / "torn.partial").write_bytes(b"torn")
    assert trial.finish() == sorted(ALL - set(done))
    assert trial.done() == sorted(ALL)
