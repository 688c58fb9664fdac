"""One scheduler per output: who is refused, and who may take over from the dead.

> The kernel's lock on the file tells of schedulers on this host, and on others where
> the file system passes locks on; a heartbeat in the file tells of the rest.

Two schedulers at work would delete what the other one writes, and a lock that nobody
can get would leave a run undone for ever.  Hosts are only names here, and the file
server's clock is years away from this machine's: a lock that trusts its own clock is
wrong in each of these tests.
"""

import errno
import fcntl
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from denoise_daisy.errors import RefusedError
from denoise_daisy.run_dir.lock import Lock, LockHolder, scheduler_is_alive
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import state_shown
from denoise_daisy.waits import Waits
from harness import wait_until

SERVER_TIME = 2_000_000_000
"""What the file server's clock says, in seconds since 1970."""

ELSEWHERE = "another-host"


class Clock:
    """The file server's, which goes on only while somebody waits for a lock."""

    def __init__(self) -> None:
        self.now: float = SERVER_TIME
        self.on_sleep: Callable[[], object] = lambda: None

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("denoise_daisy.run_dir.lock.time", clock)
    return clock


@pytest.fixture
def run_dir(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """Where files get the file server's time."""
    touch = Path.touch

    def touch_at_server_time(self: Path, *arguments: Any, **options: Any) -> None:
        touch(self, *arguments, **options)
        os.utime(self, (clock.now, clock.now))

    monkeypatch.setattr(Path, "touch", touch_at_server_time)
    return RunDir(tmp_path)


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system knows no locks."""

    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)


def leave(run_dir: RunDir, age: float = 0, **values: Any) -> bytes:
    """The lock file of a scheduler whose last heartbeat is that old, in seconds."""
    holder = {
        "host": platform.node(),
        "pid": os.getpid(),
        "started": 1.0,
        "heartbeat": 2.0,
        "running": True,
    }
    path = run_dir.path / "lock"
    path.write_text(json.dumps(holder | values).ljust(200) + "\n")
    os.utime(path, (SERVER_TIME - age, SERVER_TIME - age))
    return path.read_bytes()


def a_dead_process() -> int:
    """The number of a process that was just waited for."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def check_refused(run_dir: RunDir, who: str) -> None:
    """Whose lock it is is said, and nothing is changed."""
    before = (run_dir.path / "lock").read_bytes()
    files = psutil.Process().num_fds()
    threads = threading.active_count()
    with pytest.raises(RefusedError) as refused:
        Lock(run_dir)
    assert who in str(refused.value)
    assert str(run_dir.path / "lock") in str(refused.value)
    assert (run_dir.path / "lock").read_bytes() == before
    assert [file.name for file in run_dir.path.iterdir()] == ["lock"]
    assert psutil.Process().num_fds() <= files
    assert threading.active_count() <= threads


def check_taken(run_dir: RunDir, taken_from: str | None) -> None:
    with Lock(run_dir) as lock:
        assert (lock.taken_from and str(lock.taken_from)) == taken_from
        holder = holder_of(run_dir)
        assert holder.host == platform.node()
        assert holder.pid == os.getpid()
        assert holder.running is True
        assert [file.name for file in run_dir.path.iterdir()] == ["lock"]


def beats_after(run_dir: RunDir, before: float) -> bool:
    return holder_of(run_dir).heartbeat > before


def holder_of(run_dir: RunDir) -> LockHolder:
    """As it is read between two beats."""
    holder = wait_until(lambda: LockHolder.read(run_dir), "the lock can be read")
    assert holder is not None
    return holder


def beat_every(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(heartbeat=seconds)
    monkeypatch.setattr("denoise_daisy.run_dir.lock.WAITS", waits)


# The kernel's lock


def test_a_second_scheduler_is_refused_while_the_first_holds_the_lock(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The heart would change the file while the test looks at it.
    beat_every(3600, monkeypatch)
    with Lock(run_dir):
        check_refused(run_dir, f"process {os.getpid()} on {platform.node()}")
    check_taken(run_dir, None)


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES])
def test_whoever_holds_the_kernels_lock_is_at_work_whatever_the_file_says(
    number: int, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    leave(run_dir, age=100_000, host=ELSEWHERE, pid=7, running=False)
    monkeypatch.setattr(fcntl, "flock", flock)
    check_refused(run_dir, f"process 7 on {ELSEWHERE}")
    (run_dir.path / "lock").write_bytes(b"")
    check_refused(run_dir, "another process")


def test_the_lock_of_a_dead_scheduler_of_this_host_is_taken_over_at_once(
    run_dir: RunDir,
) -> None:
    """With the kernel's lock gone, a process of its number is another one."""
    leave(run_dir, age=0)
    check_taken(run_dir, f"process {os.getpid()} on {platform.node()}")


def test_a_beat_is_synced_so_that_other_hosts_see_it(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system keeps what is written to an open file for half a minute."""
    seen: list[bytes] = []
    fsync = os.fsync

    def note(fd: int) -> None:
        fsync(fd)
        seen.append((run_dir.path / "lock").read_bytes())

    monkeypatch.setattr(os, "fsync", note)
    beat_every(0.05, monkeypatch)
    with Lock(run_dir):
        wait_until(lambda: len(set(seen)) >= 3, "three beats")
    assert json.loads(seen[-1])["running"] is False


# Taken, and not yet begun


@pytest.mark.parametrize("text", [b"", b"what was there"])
def test_who_takes_the_lock_writes_nothing_until_it_begins(
    text: bytes, run_dir: RunDir
) -> None:
    """A start that has nothing to do leaves all as it was."""
    path = run_dir.path / "lock"
    path.write_bytes(text)
    os.utime(path, (1.0, 1.0))
    threads, files = set(threading.enumerate()), psutil.Process().num_fds()
    Lock(run_dir).release()
    lock = Lock(run_dir)
    assert set(threading.enumerate()) <= threads
    with pytest.raises(RefusedError, match="another process"):
        Lock(run_dir)
    lock.release()
    assert (path.read_bytes(), path.stat().st_mtime) == (text, 1.0)
    assert psutil.Process().num_fds() <= files
    check_taken(run_dir, None)


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("is_running", [True, False])
def test_without_locks_the_second_of_two_that_took_the_lock_may_not_begin(
    is_running: bool, run_dir: RunDir
) -> None:
    """Though the first has ended meanwhile: what was read before is not so any more."""
    leave(run_dir, age=181, host=ELSEWHERE, pid=7)
    first, second = Lock(run_dir), Lock(run_dir)
    first.begin()
    if not is_running:
        first.release()
    threads = threading.active_count()
    who = f"process {os.getpid()} on {platform.node()}"
    with pytest.raises(RefusedError, match=who):
        second.begin()
    assert threading.active_count() <= threads
    second.release()
    assert holder_of(run_dir).running is is_running
    if is_running:
        first.release()


def test_the_lock_of_somebody_elses_run_is_refused(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(RefusedError, match="Expected a run of your own"):
        Lock(run_dir)


def test_who_starts_nothing_leaves_what_tells_of_the_latest_start(
    run_dir: RunDir,
) -> None:
    with Lock(run_dir, is_start=False):
        assert holder_of(run_dir).pid == os.getpid()
    assert holder_of(run_dir).running is False
    before = replace(holder_of(run_dir), started=1000.0, heartbeat=2000.0, pid=7)
    run_dir.lock_file.write_text(json.dumps(asdict(before)))
    with Lock(run_dir, is_start=False):
        assert holder_of(run_dir).running
        assert holder_of(run_dir).started > before.started
    assert holder_of(run_dir) == before
    with Lock(run_dir):
        pass
    assert holder_of(run_dir).started > before.started


def test_a_lock_that_can_not_be_written_is_not_held(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files, threads = psutil.Process().num_fds(), threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space"), Lock(run_dir):
            raise AssertionError("it was entered")
    assert psutil.Process().num_fds() <= files
    assert threading.active_count() <= threads
    check_taken(run_dir, None)


# Another host, by the age of its heartbeat


@pytest.mark.parametrize("locks", ["locks", "no locks"])
@pytest.mark.parametrize("heartbeat", [0.0, SERVER_TIME, 4e9])
def test_another_host_gets_three_minutes_for_a_sign_of_life(
    locks: str,
    heartbeat: float,
    run_dir: RunDir,
    clock: Clock,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By the file's time; what its own clock said does not matter."""
    if locks == "no locks":
        request.getfixturevalue("no_locks")
    holder: dict[str, Any] = {"host": ELSEWHERE, "pid": 7, "heartbeat": heartbeat}
    for age, said in ((0.5, 1), (90, 1), (179, 1), (181, 0)):
        leave(run_dir, age=age, **holder)
        clock.now, clock.on_sleep = SERVER_TIME, lambda: None
        caplog.clear()
        check_taken(run_dir, f"process 7 on {ELSEWHERE}")
        assert clock.now - SERVER_TIME == pytest.approx(max(0, 180 - age), abs=0.01)
        assert len(caplog.messages) == said
        leave(run_dir, age=age, **holder)
        clock.now = SERVER_TIME
        clock.on_sleep = lambda: leave(run_dir, **holder | {"heartbeat": heartbeat + 1})
        if said:
            with pytest.raises(RefusedError, match=f"process 7 on {ELSEWHERE}"):
                Lock(run_dir)


@pytest.mark.usefixtures("no_locks")
def test_a_process_of_the_same_number_here_is_not_that_of_another_host(
    run_dir: RunDir,
) -> None:
    leave(run_dir, age=181, host=ELSEWHERE, pid=os.getpid())
    check_taken(run_dir, f"process {os.getpid()} on {ELSEWHERE}")


def test_another_host_that_released_its_lock_is_not_waited_for(run_dir: RunDir) -> None:
    leave(run_dir, age=0, host=ELSEWHERE, running=False)
    check_taken(run_dir, None)


# A file system without locks


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_process_of_this_host_that_lives_is_at_work(
    run_dir: RunDir,
) -> None:
    """However old its heartbeat: it may be stopped, and go on."""
    leave(run_dir, age=100_000, pid=os.getpid())
    check_refused(run_dir, f"process {os.getpid()} on {platform.node()}")


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_process_of_this_host_that_is_dead_is_not_waited_for(
    run_dir: RunDir,
) -> None:
    pid = a_dead_process()
    leave(run_dir, age=0, pid=pid)
    check_taken(run_dir, f"process {pid} on {platform.node()}")


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("text", [b"", b"{", b"[1]"])
def test_without_locks_a_file_that_tells_of_nobody_is_nobodys(
    text: bytes, run_dir: RunDir
) -> None:
    (run_dir.path / "lock").write_bytes(text)
    check_taken(run_dir, None)


# Heartbeat and release


def test_who_slept_while_another_took_over_writes_nothing_more(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat_every(0.01, monkeypatch)
    threads = set(threading.enumerate())
    lock = Lock(run_dir)
    lock.begin()
    (heart,) = set(threading.enumerate()) - threads
    text = b""

    def heart_stops() -> bool:
        nonlocal text
        # One beat may be on its way already.
        text = leave(run_dir, host=ELSEWHERE, pid=7)
        return not heart.is_alive()

    wait_until(heart_stops, "the heart stops")
    lock.release()
    assert (run_dir.path / "lock").read_bytes() == text


def test_a_scheduler_shows_that_it_lives_though_the_disk_is_full_at_times(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat_every(0.01, monkeypatch)
    path, failed, pwrite = run_dir.path / "lock", [], os.pwrite

    def full(*_: Any) -> int:
        failed.append(1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Lock(run_dir):
        monkeypatch.setattr(os, "pwrite", full)
        wait_until(lambda: len(failed) > 2, "three beats fail")
        monkeypatch.setattr(os, "pwrite", pwrite)
        for _ in range(2):
            os.utime(path, (1.0, 1.0))
            before = holder_of(run_dir).heartbeat
            wait_until(lambda: path.stat().st_mtime > 1, "the file is written")
            wait_until(partial(beats_after, run_dir, before), "the heart beats")


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_a_lock_that_is_released_holds_nobody_up(
    error: type[BaseException] | None, run_dir: RunDir
) -> None:
    """And nobody takes its holder for dead."""
    threads = set(threading.enumerate())
    files = psutil.Process().num_fds()
    with pytest.raises(error) if error else nullcontext(), Lock(run_dir):
        assert set(threading.enumerate()) - threads
        if error:
            raise error
    assert set(threading.enumerate()) <= threads
    assert psutil.Process().num_fds() <= files
    assert holder_of(run_dir).running is False
    check_taken(run_dir, None)


def test_a_lock_is_given_up_though_its_file_can_not_be_written(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    lock = Lock(run_dir)
    lock.begin()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        lock.release()
    check_taken(run_dir, f"process {os.getpid()} on {platform.node()}")


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_lock_that_is_released_holds_nobody_up(run_dir: RunDir) -> None:
    """Such as the process that runs twice, or another one of its number."""
    with Lock(run_dir):
        pass
    check_taken(run_dir, None)


# What workers make of it


@pytest.mark.parametrize(
    ("silent", "lives"), [(-100_000, True), (0, True), (179, True), (181, False)]
)
def test_a_worker_tells_by_the_files_whether_its_scheduler_lives(
    silent: float, lives: bool, run_dir: RunDir
) -> None:
    """By the time of its own file, which the same server has given it."""
    run_dir.workers.mkdir()
    state = run_dir.workers / "w.json"
    state.touch()
    leave(run_dir, age=silent, host=ELSEWHERE)
    assert scheduler_is_alive(run_dir, "w") is lives
    leave(run_dir, age=silent, host=ELSEWHERE, running=False)
    assert scheduler_is_alive(run_dir, "w") is False


def test_a_worker_whose_own_file_is_gone_does_not_leave_a_scheduler_for_that(
    run_dir: RunDir,
) -> None:
    """A cleared folder of workers tells nothing about the scheduler."""
    leave(run_dir, age=1000)
    assert state_shown(run_dir, "w") == 0
    assert scheduler_is_alive(run_dir, "w") is True
    leave(run_dir, running=False)
    assert scheduler_is_alive(run_dir, "w") is False


HOLDER = '{"host": "a", "pid": %s, "started": 1, "heartbeat": %s, "running": true}'


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "{", "[]", "1", '{"host": "a"}'),
        *(HOLDER % values for values in (('"many"', 1), ("1e999", 1), (7, "{}"))),
    ],
)
def test_a_lock_that_tells_of_nobody_is_no_scheduler(
    text: str | None, run_dir: RunDir
) -> None:
    run_dir.lock_file.write_text(HOLDER % (7, 1))
    assert holder_of(run_dir).pid == 7
    if text is None:
        run_dir.lock_file.unlink()
    else:
        run_dir.lock_file.write_text(text)
    assert LockHolder.read(run_dir) is None
    assert scheduler_is_alive(run_dir, "w") is False
