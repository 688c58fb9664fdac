"""The pool writes down why a worker ended, for the block that it had.

The launcher is a stand-in whose workers end when a test says so; run directory, ledger
and stage are real.
"""

from pathlib import Path

import pytest

from denoise_daisy.errors import RunStopped
from denoise_daisy.run_dir.worker_states import read_states
from denoise_daisy.scheduling import worker_ends
from harness.one_pool import OnePool

LEFT, DISK_FULL, OUTPUT_GONE, TIMED_OUT = 75, 74, 72, 87
"""Exit codes of workers."""


@pytest.mark.parametrize(
    ("code", "log", "reason", "said"),
    [
        (TIMED_OUT, "", "timeout", "took longer than 1.66667 minutes"),
        (-9, "", "lost", "was killed (SIGKILL)"),
        (-11, "", "crash", "crashed with signal 11 (SIGSEGV)"),
        (-6, "", "crash", "crashed with signal 6 (SIGABRT)"),
        (-40, "", "crash", "crashed with signal 40 (unknown)"),
        (9, "", "crash", "ended with exit code 9"),
        (1, "Killed\n", "crash", "ended with exit code 1"),
        (-6, "terminate: std::bad_alloc\nAborted\n", "memory", "ran out of memory"),
    ],
)
def test_the_end_of_a_worker_is_the_reason_of_its_blocks_failure(
    code: int, log: str, reason: str, said: str, pool: OnePool
) -> None:
    pool.lose(code, log=log)
    (entry,) = pool.recorded()
    assert entry.reason == reason
    assert entry.error is not None
    assert entry.error.startswith(f"the worker {said}")


def test_a_log_that_is_no_text_is_recorded_as_well_as_it_can_be(pool: OnePool) -> None:
    pool.run_dir.worker_log("w1").write_bytes(b"h\xffre\n")
    pool.lose(-11)
    (entry,) = pool.recorded()
    assert entry.traceback == "h\ufffdre"


def test_a_batch_systems_word_of_memory_is_believed(pool: OnePool) -> None:
    pool.lose(None, by="memory")
    (entry,) = pool.recorded()
    assert entry.reason == "memory"


def test_one_kill_for_want_of_memory_explains_one_sigkill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's counter tells; what it counted before the run tells nothing."""
    kills = [7]
    monkeypatch.setattr(worker_ends, "out_of_memory_kills", lambda: kills[0])
    pool = OnePool(tmp_path, monkeypatch)
    pool.lose(-9, block=0)
    kills[0] = 8
    pool.lose(-9, block=1)
    pool.lose(-9, block=2)
    kills[0] = 9
    pool.lose(-11, block=3)
    pool.lose(-9, block=4)
    reasons = {entry.block[3]: entry.reason for entry in pool.recorded()}
    assert reasons == {0: "lost", 1: "memory", 2: "lost", 3: "crash", 4: "lost"}


def test_what_is_recorded_tells_who_had_the_block_and_what_its_log_said_last(
    pool: OnePool,
) -> None:
    pool.lose(-11, block=5, log="".join(f"line {i}\n" for i in range(20)))
    (entry,) = pool.recorded()
    assert entry.block == (0, 0, 0, 5)
    assert entry.shape == (1, 1, 1, 2)
    assert entry.status == "failed"
    assert entry.epoch == 3
    assert entry.worker == "w1"
    assert entry.peak_mib == 321
    assert entry.engine == "bitwise, x86-64-v3"
    assert entry.error is not None
    assert entry.error.endswith("(peak memory 321 MiB)")
    assert entry.traceback == "\n".join(f"line {i}" for i in range(8, 20))


def test_a_block_that_is_done_by_then_has_not_failed(pool: OnePool) -> None:
    """Its line is in the file, but was not read yet."""
    pool.maintain(1)
    pool.show("w1", 0)
    pool.maintain(1, after=10)
    pool.say("done", 0)
    pool.launcher.end("w1", -9)
    pool.pool.maintain(1)
    assert pool.recorded() == []
    assert pool.ledger.is_done((0, 0, 0, 0))


def test_a_worker_that_has_ended_shows_nothing_any_more(pool: OnePool) -> None:
    for code in (0, LEFT, None, -11):
        pool.lose(code)
    assert read_states(pool.run_dir) == []


def test_a_full_disk_stops_the_run_at_once(pool: OnePool) -> None:
    said = r"\(No room at /data/out\.zarr\)\. The disk is full, over quota or read-only"
    with pytest.raises(RunStopped, match=said) as stopped:
        pool.lose(DISK_FULL, log="Begin\nNo room at /data/out.zarr\n")
    assert "Begin" not in str(stopped.value)
    assert pool.recorded() == []


def test_an_output_that_is_gone_stops_the_run_at_once(pool: OnePool) -> None:
    pool.run_dir.lock_file.touch()
    with pytest.raises(RunStopped, match="The output was moved or deleted") as stopped:
        pool.lose(OUTPUT_GONE)
    assert f"{str(pool.run_dir.run_file)!r} is not there" in str(stopped.value)
    assert pool.recorded() == []


def test_an_output_that_only_a_workers_host_has_lost_is_that_hosts_fault(
    pool: OnePool,
) -> None:
    pool.run_dir.lock_file.touch()
    pool.run_dir.run_file.touch()
    pool.lose(OUTPUT_GONE)
    (entry,) = pool.recorded()
    assert entry.reason == "lost"
    assert entry.error is not None
    assert "its host has lost it" in entry.error


def test_a_log_of_any_size_is_read_at_its_end_only(
    pool: OnePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_ends, "LOG_BYTES", 20)
    pool.lose(-11, log="a line of many\n" * 9 + "the last one\n")
    (entry,) = pool.recorded()
    assert entry.traceback == "f many\nthe last one"
