"""No start of workers is repeated for ever, and one bad host or pool stops no run.

Launcher and clock are stand-ins; ledgers, states and pools are real.
"""

import errno
from collections.abc import Callable
from dataclasses import replace

import pytest

from denoise_daisy.errors import RunStopped
from denoise_daisy.launchers.base import CannotStartError
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.worker_states import remove_state
from denoise_daisy.scheduling.bad_hosts import BadHosts
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.start_limits import NoWorkersError
from denoise_daisy.scheduling.workforce import Workforce
from harness.one_pool import OnePool, gaps
from harness.one_start import OneStart
from harness.stand_ins import FakeLauncher

LEFT, UNREACHABLE = 75, 68
"""Exit codes of workers."""

# Blocks whose workers are taken away.


def test_a_block_longer_than_its_job_has_failed(pool: OnePool) -> None:
    """Each time, so that it is given up in the end, and for what is said."""
    for _ in range(3):
        pool.lose(None, by="walltime", why="TIMEOUT")
    entries = pool.recorded()
    assert [entry.reason for entry in entries] == ["walltime"] * 3
    assert "ran into the time limit of its job (TIMEOUT)" in str(entries[0].error)


@pytest.mark.parametrize(
    "code", [pytest.param(None, id="preempted"), 0, pytest.param(LEFT, id="left")]
)
def test_a_block_that_is_taken_away_ten_times_has_failed_once(
    code: int | None, pool: OnePool
) -> None:
    """Of whatever cause, such as a heartbeat that does not reach its worker."""
    for _ in range(9):
        pool.lose(code, block=3, why="PREEMPTED")
    assert pool.recorded() == []
    pool.lose(code, block=4)
    assert pool.recorded() == []
    pool.lose(code, block=3, why="PREEMPTED")
    (entry,) = pool.recorded()
    assert (entry.reason, entry.block) == ("lost", (0, 0, 0, 3))
    assert "was taken away (PREEMPTED), 10 times now" in str(entry.error)
    for _ in range(9):
        pool.lose(code, block=3)
    assert len(pool.recorded()) == 1


def test_a_worker_of_another_pool_at_a_block_counts_for_none_of_ours(
    pool: OnePool,
) -> None:
    for _ in range(10):
        pool.maintain(1, after=120)
        (worker,) = pool.launcher.living()
        pool.show(worker, 3, stage="other")
        pool.launcher.end(worker, LEFT)
        pool.maintain()
    assert pool.recorded() == []


# Workers that end without a block.


@pytest.mark.parametrize(
    ("code", "by", "said"),
    [
        (0, None, "exit code 0"),
        (LEFT, None, "exit code 75"),
        (None, "system", "PREEMPTED"),
        (None, "walltime", "PREEMPTED"),
    ],
)
def test_twenty_starts_without_a_block_stop_the_run_whatever_the_reason(
    code: int | None, by: str | None, said: str, pool: OnePool
) -> None:
    def lose() -> None:
        pool.lose(code, block=None, by=by, why="PREEMPTED", log="No scheduler\n")  # type: ignore[arg-type]

    for _ in range(20):
        lose()
    with pytest.raises(NoWorkersError, match="started 20 times in a row") as stopped:
        lose()
    assert f"ended with {said}" in str(stopped.value)
    assert "No scheduler" in str(stopped.value)


def test_a_block_done_in_between_lets_that_count_begin_again(pool: OnePool) -> None:
    for _ in range(20):
        pool.lose(0, block=None)
    pool.say("done", 0)
    for _ in range(20):
        pool.lose(0, block=None)


def test_many_that_end_at_once_are_one_start(pool: OnePool) -> None:
    """Fifty are preempted in the moment that they begin."""
    pool.maintain(50)
    for worker in pool.launcher.living():
        pool.launcher.end(worker, None)
    pool.maintain(after=500)
    for _ in range(19):
        pool.lose(None, block=None)


@pytest.mark.parametrize("code", [1, UNREACHABLE, 0])
def test_as_long_as_somebody_works_starts_are_only_spaced_out(
    code: int, pool: OnePool
) -> None:
    lose_beside(pool, code, 30)
    assert min(gaps([time for time, _ in pool.launcher.starts])[7:]) >= 60
    remove_state(pool.run_dir, "mine")
    with pytest.raises(NoWorkersError):
        lose_often(pool, code, 30)


def lose_often(pool: OnePool, code: int, count: int) -> None:
    for _ in range(count):
        pool.lose(code, block=None)


def lose_beside(pool: OnePool, code: int, count: int) -> None:
    """A manually started worker is at a block all the while."""
    for _ in range(count):
        pool.show("mine", 5, at=pool.time.now)
        pool.lose(code, block=None)


def test_blocks_done_elsewhere_do_not_hurry_what_dies_here(pool: OnePool) -> None:
    """Else forty-nine busy workers would send the fiftieth into its black hole."""
    lose_beside(pool, 1, 8)
    started = pool.launcher.starts[-1][0]
    pool.say("done", 0)
    while len(pool.launcher.starts) == 8:
        pool.maintain(1, after=0.25)
    assert pool.launcher.starts[-1][0] - started >= 60


# Hosts.


def test_a_host_where_three_in_a_row_die_gets_no_more_of_them(
    pool: OnePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool.say("done", 0)
    for host in ("node7", "node8.site", "node7", "node8", "node9"):
        pool.lose(1, block=None, host=host)
        pool.say("failed", 1)
    assert pool.launcher.excluded == []
    pool.lose(-11, block=2, host="node8.site.org")
    assert pool.launcher.excluded == ["node8.site.org"]
    assert "dies on node8.site.org" in caplog.text
    pool.lose(1, block=None, host="node8")
    assert len(pool.launcher.excluded) == 1


def test_a_worker_tells_of_its_host_where_the_system_does_not(pool: OnePool) -> None:
    pool.say("done", 0)
    for _ in range(3):
        pool.lose(-11, block=2)
    assert pool.launcher.excluded == ["node7"]


@pytest.mark.parametrize("code", [0, LEFT, None])
def test_who_leaves_or_is_taken_away_says_nothing_of_its_host(
    code: int | None, pool: OnePool
) -> None:
    pool.say("done", 0)
    for _ in range(5):
        pool.lose(code, host="node7")
    assert pool.launcher.excluded == []


def test_a_host_is_not_to_blame_for_what_happens_on_all() -> None:
    hosts = BadHosts()
    assert not any(hosts.note_death("node7", {}) for _ in range(9))
    assert not any(hosts.note_death("", {"node8": 1}) for _ in range(9))


def test_a_host_that_killed_before_anything_was_done_is_found_out_later() -> None:
    """Blocks may take longer than it does to kill."""
    hosts = BadHosts()
    assert not any(hosts.note_death("node7", {}) for _ in range(9))
    assert hosts.note_death("node7", {"node8": 1})
    assert not hosts.note_death("node7", {"node8": 2}), "it was told"


def test_a_block_done_on_a_host_clears_its_name() -> None:
    hosts = BadHosts()
    deaths = [hosts.note_death("node7", {"node8": 9, "node7": n}) for n in (0, 0, 1, 1)]
    assert deaths == [False] * 4
    assert hosts.note_death("node7.site", {"node8": 9, "node7.site": 1})


# Pools.


class RefusingLauncher(FakeLauncher):
    """Of a system that takes no workers."""

    def start(self, count: int) -> None:
        raise CannotStartError(f"no GPU for {count}.")


def two_pools(it: OneStart, launcher: FakeLauncher) -> Workforce:
    """The run's own, and that of `soft`; all blocks of `denoise` are done but one."""
    it.say("denoise", "done", *range(39))
    it.read_ledgers()
    own = it.pool
    first = replace(own, retries={"denoise": 0})
    second: Pool = replace(own, name="soft", launcher=launcher, retries={"soft": 0})
    return Workforce([first, second], it.run_dir, it.states)


def test_a_task_whose_own_workers_are_refused_is_given_up(
    start: Callable[..., OneStart], caplog: pytest.LogCaptureFixture
) -> None:
    it = start("denoise", "soft")
    workforce = two_pools(it, RefusingLauncher(it.time))
    workforce.maintain()
    assert it.states["soft"].abandoned
    assert not it.states["denoise"].abandoned
    assert it.launcher.living()
    assert it.states["soft"].abandoned == "no GPU for 2."
    assert "no GPU for 2. The run goes on without soft." in caplog.text


def test_a_task_whose_own_workers_die_is_given_up(
    start: Callable[..., OneStart], caplog: pytest.LogCaptureFixture
) -> None:
    it = start("denoise", "soft")
    launcher = FakeLauncher(it.time)
    workforce = two_pools(it, launcher)
    for _ in range(6):
        it.time.now += 100
        workforce.maintain()
        for worker in launcher.living():
            launcher.end(worker, 1)
    for _ in range(3):
        workforce.maintain()
    assert it.states["soft"].abandoned
    assert caplog.text.count("The run goes on without soft.") == 1
    assert caplog.text.count("Worker w6: ended with exit code 1") == 1


def test_without_the_runs_own_workers_the_run_stops(
    start: Callable[..., OneStart],
) -> None:
    it = start()
    it.pool = replace(it.pool, launcher=RefusingLauncher(it.time))
    with pytest.raises(RunStopped, match="no GPU"):
        it.run()


def test_twenty_starts_that_fail_stop_the_run(
    pool: OnePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of the logs is gone, say."""

    def fail(_: int) -> None:
        raise FileNotFoundError("logs/w1.log")

    monkeypatch.setattr(pool.launcher, "start", fail)
    for _ in range(19):
        with pytest.raises(FileNotFoundError):
            pool.maintain(1, after=120)
    with pytest.raises(FileNotFoundError):
        pool.maintain(1, after=120)
    with pytest.raises(NoWorkersError, match=r"20 times in a row.*logs/w1\.log"):
        pool.maintain(1, after=120)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN, errno.EACCES])
def test_what_no_file_system_says_is_not_tried_again(
    number: int, start: Callable[..., OneStart]
) -> None:
    """Such as that there are too many open files: it would never be told."""
    it = start()

    class FullLauncher(FakeLauncher):
        def start(self, count: int) -> None:
            raise OSError(number, "no more")

    it.pool = replace(it.pool, launcher=FullLauncher(it.time))
    with pytest.raises(OSError, match="no more"):
        it.run()
    assert it.time.now < 1


# Files of its own that the scheduler can't use.


def test_an_end_that_can_not_be_written_down_now_is_written_down_later(
    pool: OnePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    pool.maintain(1)
    pool.show("w1", 3)
    pool.launcher.end("w1", -11)
    with monkeypatch.context() as patch:
        patch.setattr(StageState, "record", fail)
        with pytest.raises(OSError, match="Input/output"):
            pool.maintain()
    assert pool.recorded() == []
    pool.maintain()
    (entry,) = pool.recorded()
    assert (entry.block, entry.reason) == ((0, 0, 0, 3), "crash")
    assert not pool.is_shown("w1")


@pytest.mark.parametrize(("seconds", "stops"), [(50, False), (70, True)])
def test_files_that_can_not_be_used_for_a_minute_stop_the_run(
    seconds: float,
    stops: bool,
    start: Callable[..., OneStart],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = start()
    refresh = type(it.states["denoise"].ledger).refresh

    def fail(ledger: object) -> None:
        if 10 <= it.time.now < 10 + seconds:
            raise OSError(116, "Stale file handle", str(it.run_dir.ledger("denoise")))
        refresh(ledger)  # type: ignore[arg-type]

    monkeypatch.setattr(type(it.states["denoise"].ledger), "refresh", fail)
    it.time.at(100, it.finish)
    if stops:
        with pytest.raises(RunStopped, match=r"Stale file handle.*ledger/denoise"):
            it.run()
        assert 70 <= it.time.now < 72
    else:
        it.run()
        assert it.time.now >= 100
    said = [r for r in caplog.records if "tried again" in r.getMessage()]
    assert len(said) == 1
