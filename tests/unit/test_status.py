"""What `status` says of runs in every state: as values, in words and as JSON.

The runs are begun by the program itself, and workers' lines are written by hand, so
that what is expected of each is known.
"""

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denoise_daisy import __main__ as command_line
from denoise_daisy import run
from denoise_daisy.errors import RunStopped
from denoise_daisy.geometry import Index
from denoise_daisy.launchers import own_job
from denoise_daisy.monitoring import collect
from denoise_daisy.monitoring.as_json import status_json
from denoise_daisy.monitoring.collect import StatusReader, run_status
from denoise_daisy.monitoring.many import ImageStatus, ManyReader, ManyStatus, many_text
from denoise_daisy.monitoring.pace import in_its_time, seconds_at_work
from denoise_daisy.monitoring.run_page import history_of, pages_of
from denoise_daisy.monitoring.text import status_text
from denoise_daisy.monitoring.values import (
    DONE,
    FAILED,
    LEFT,
    ORPHANED,
    RUNNING,
    RunStatus,
)
from denoise_daisy.monitoring.watch import Found, Watching, on_screen
from denoise_daisy.run_dir.connection import Hint, write_ready
from denoise_daisy.run_dir.ledger_lines import Entry, LedgerWriter
from denoise_daisy.run_dir.lock import Lock, LockHolder
from denoise_daisy.run_dir.many_record import FILE as IMAGES
from denoise_daisy.run_dir.many_record import ManyRecord
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.tracebacks import MOST_FILES, keep_traceback
from denoise_daisy.run_dir.worker_states import WorkerState, write_state
from denoise_daisy.scheduling.scheduler import Scheduler
from harness import config_for, load, small_czi

SOFT = {"kind": "smooth", "name": "soft", "sigma": {"y": 1}}
BLOCKS = 4
"""Of each stage, in a row along y."""


def begin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run of two stages that nobody has worked for yet."""
    source = small_czi(folder / "in.czi", (1, 1, 1, 64, 16))
    values = config_for(
        source,
        folder / "out.zarr",
        output={"chunks": {"y": 16, "x": 16}},
        blocks={"shape": {"y": 16}},
        workers={"count": 1, "max_retries": 1},
    )
    del values["noise"]
    values |= {"denoise": {"kind": "median", "size": {"y": 3}}, "tasks": [SOFT]}
    (folder / "config.json").write_text(json.dumps(values))
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    run(load(values), say=lambda _: None)
    return RunDir(folder / "out.zarr.run")


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    return begin(tmp_path, monkeypatch)


def block(y: int) -> Index:
    return (0, 0, y, 0)


def say(run_dir: RunDir, stage: str, *lines: Entry) -> None:
    record = RunRecord.of(run_dir)
    writer = LedgerWriter(run_dir.ledger(stage), record.id, "w", durable=False)
    for line in lines:
        writer.append(replace(line, epoch=record.epoch + line.epoch))
    writer.close()


def done(y: int, **more: Any) -> Entry:
    values: dict[str, Any] = {
        "seconds": 2.0,
        "worker": "w",
        "host": "node1",
        "crc": 0,
    } | more
    return Entry(block(y), (1, 1, 16, 16), "done", epoch=0, **values)


def failed(y: int, **more: Any) -> Entry:
    values: dict[str, Any] = {
        "reason": "exception",
        "error": "ValueError: no",
        "worker": "w",
    } | more
    return Entry(block(y), (1, 1, 16, 16), "failed", epoch=0, **values)


def worker(run_dir: RunDir, name: str, y: int | None, **more: Any) -> None:
    values: dict[str, Any] = {"host": "node2", "pid": 9, "pool": ""} | more
    values = {"stage": "denoise"} | values
    at = None if y is None else block(y)
    since = time.time() - 30
    state = WorkerState(worker=name, block=at, since=since, peak_mib=7, **values)
    write_state(run_dir, state)


def counts(run_dir: RunDir) -> dict[str, tuple[int, ...]]:
    """Of each stage: done, running, failed, orphaned, left."""
    return {
        s.name: (s.done, s.running, s.failed, s.orphaned, s.left)
        for s in run_status(run_dir).stages
    }


def states(run_dir: RunDir, stage: str) -> list[int]:
    found = {s.name: s.states.tolist() for s in run_status(run_dir).stages}
    return found[stage]


def test_a_run_that_goes_on_tells_of_its_workers(run_dir: RunDir) -> None:
    say(run_dir, "denoise", done(0), done(1, seconds=4.0, host="node3"))
    with Lock(run_dir):
        worker(run_dir, "w", 2, job="88_2")
        worker(run_dir, "v", None)
        found = run_status(run_dir)
    assert found.state == "running"
    assert not found.is_over
    assert found.scheduler
    assert (found.scheduler.host, found.scheduler.pid) == (platform.node(), os.getpid())
    denoise, soft = found.stages
    assert (denoise.done, denoise.running, denoise.left) == (2, 1, 2)
    assert denoise.states.tolist() == [DONE, DONE, RUNNING, LEFT]
    assert denoise.seconds == 3.0
    assert (soft.done, soft.left, soft.reads) == (0, 4, ("denoise",))
    told = {w.worker: (w.job, w.block, w.done) for w in found.workers}
    assert told == {"w": ("88_2", block(2), 2), "v": (None, None, 0)}
    assert all(29 < w.seconds < 300 for w in found.workers)
    assert [(s.block, s.seconds) for s in found.slowest] == [
        (block(1), 4.0),
        (block(0), 2.0),
    ]
    words = status_text(found).splitlines()
    assert words[0].startswith("running: ")
    assert (
        "denoise: 2 done, 0 failed, 2 left of 4 blocks (50.0% done), 1 at work"
        in (words[1])
    )
    (line,) = (w for w in words if w.startswith("  w: "))
    assert line.startswith("  w: block [0, 0, 2, 0] of denoise for ")
    assert line.endswith(", on node2 in job 88_2, 2 blocks done, peak 7 MiB")


def test_workers_of_a_run_that_was_overwritten_are_not_told_of(run_dir: RunDir) -> None:
    record = RunRecord.read(run_dir)
    assert record
    with Lock(run_dir):
        worker(run_dir, "old", 1, run_id="overwritten")
        worker(run_dir, "new", 2, run_id=record.id)
        found = run_status(run_dir)
    assert [w.worker for w in found.workers] == ["new"]
    assert found.stages[0].states.tolist() == [LEFT, LEFT, RUNNING, LEFT]


def test_a_scheduler_that_was_killed_is_not_at_work(run_dir: RunDir) -> None:
    """On this host its process is away; on another it shows no heartbeat any more."""
    say(run_dir, "denoise", done(0))
    worker(run_dir, "w", 1)
    lock = {"started": time.time() - 900, "running": True}
    beat, silent = time.time() - 1, time.time() - 800
    holders: tuple[tuple[dict[str, Any], bool], ...] = (
        ({"host": platform.node(), "pid": 2**22 + 1, "heartbeat": beat}, False),
        ({"host": "elsewhere", "pid": 1, "heartbeat": silent}, False),
        ({"host": "elsewhere", "pid": 1, "heartbeat": beat}, True),
    )
    for holder, is_at_work in holders:
        run_dir.lock_file.write_text(json.dumps(lock | holder))
        os.utime(run_dir.lock_file, (holder["heartbeat"],) * 2)
        found = run_status(run_dir)
        assert found.state == ("running" if is_at_work else "stopped")
        assert [w.worker for w in found.workers] == (["w"] if is_at_work else [])
    assert "start the run again" in status_text(replace(found, state="stopped"))


def test_orphaned_blocks_are_told_from_those_left(run_dir: RunDir) -> None:
    """A block is given up after its last retry, which is the second attempt here."""
    say(run_dir, "denoise", done(0), done(1), failed(3))
    assert states(run_dir, "soft") == [LEFT] * 4
    say(
        run_dir,
        "denoise",
        failed(3, error="ValueError: again", time="2099-01-01T00:00:00Z"),
    )
    # A Gaussian of sigma 1 sees four voxels of the neighbours.
    assert states(run_dir, "soft") == [LEFT, LEFT, ORPHANED, ORPHANED]
    assert states(run_dir, "denoise") == [DONE, DONE, LEFT, FAILED]
    assert run_status(run_dir).state == "stopped"
    say(run_dir, "denoise", done(2))
    say(run_dir, "soft", done(0), done(1))
    found = run_status(run_dir)
    assert found.state == "failed"
    assert counts(run_dir) == {"denoise": (3, 0, 1, 0, 0), "soft": (2, 0, 0, 2, 0)}
    (lost,) = found.failures
    assert (lost.block, lost.attempts, lost.is_given_up) == (block(3), 2, True)
    assert lost.error == "ValueError: again"
    words = status_text(found)
    assert words.startswith("failed: all blocks are done but 1 that failed and 2 that")
    assert "2 orphaned: what they read has failed" in words
    assert "failed: denoise block [0, 0, 3, 0] 2 times, given up" in words


def test_a_start_that_is_at_work_tries_again_what_earlier_ones_gave_up(
    run_dir: RunDir,
) -> None:
    say(run_dir, "denoise", failed(3), failed(3))
    RunRecord.of(run_dir).model_copy(update={"epoch": 2}).write(run_dir)
    with Lock(run_dir):
        found = run_status(run_dir)
        assert not found.failures[0].is_given_up
        assert states(run_dir, "soft") == [LEFT] * 4
        worker(run_dir, "w", 3)
        assert states(run_dir, "denoise")[3] == RUNNING
    assert run_status(run_dir).failures[0].is_given_up


def test_what_a_start_gave_up_is_not_left(run_dir: RunDir) -> None:
    """Of one stage: a block is done, one has failed once, and two wait."""
    say(run_dir, "denoise", done(0), done(1), done(2), done(3))
    say(run_dir, "soft", done(0), failed(1))
    assert counts(run_dir)["soft"] == (1, 0, 1, 0, 2)
    assert run_status(run_dir).state == "stopped"
    why = "everything fails"
    write_ready(run_dir, {"soft": Hint(0, 0, why), "denoise": Hint(0, 2)})
    found = run_status(run_dir)
    assert counts(run_dir)["soft"] == (1, 0, 1, 2, 0)
    assert states(run_dir, "soft") == [DONE, FAILED, ORPHANED, ORPHANED]
    assert found.state == "failed"
    assert [stage.given_up for stage in found.stages] == ["", why]
    assert found.failures[0].is_given_up
    words = status_text(found)
    assert words.startswith("failed: all blocks are done but 1 that failed and 2 that")
    assert "0 left of 4 blocks (25.0% done), 2 not tried" in words
    assert f"given up: soft: {why}" in words
    with Lock(run_dir):
        assert run_status(run_dir).share == 1


def test_a_run_is_done_when_every_block_is(run_dir: RunDir) -> None:
    for stage in ("denoise", "soft"):
        lines = [done(y, clipped=1, engine="in C") for y in range(BLOCKS)]
        # What was found damaged and done again counts once.
        say(run_dir, stage, *lines, failed(0), done(0, clipped=1, engine="in C"))
    found = run_status(run_dir)
    assert (found.state, found.share, found.clipped) == ("done", 1.0, 8)
    assert found.engines == {"in C": 8}
    assert not found.failures
    assert status_text(found).splitlines()[0] == "done: all 8 blocks"


def test_nothing_but_the_run_directory_and_the_output_need_be_there(
    run_dir: RunDir, tmp_path: Path
) -> None:
    """And nothing is written, as on a share that can only be read."""
    say(run_dir, "denoise", done(0))
    for name in ("in.czi", "config.json"):
        (tmp_path / name).unlink()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    found = run_status(run_dir)
    assert "in.czi" in found.input_problem
    assert found.stages[0].done == 1
    assert f"input: {found.input_problem}" in status_text(found)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_a_reader_reads_what_is_new_and_sees_another_start(
    run_dir: RunDir, tmp_path: Path
) -> None:
    reader = StatusReader(run_dir)
    assert reader.read().stages[0].done == 0
    say(run_dir, "denoise", done(0))
    table = reader.tables["denoise"]
    assert reader.read().stages[0].done == 1
    assert reader.tables["denoise"] is table
    config = json.loads((tmp_path / "config.json").read_text())
    with pytest.raises(RunStopped, match="are gone"):  # the line's file never was there
        run(load(config), say=lambda _: None)
    found = reader.read()
    assert (found.start, found.stages[0].done) == (2, 1)
    assert found.stages[0].seconds is None


def test_other_images_of_the_same_start_are_looked_for_once(
    run_dir: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sought: list[RunDir] = []
    monkeypatch.setattr(collect, "hub_of", sought.append)
    pages = [pages_of(run_dir), pages_of(run_dir, RunDir(tmp_path / "all.zarr.run"))]
    with Lock(run_dir):
        for page in 2 * pages:
            assert "running" in page(None, None, has_pictures=False)
    assert sought == [run_dir]


def test_its_json_is_all_of_it_but_the_arrays(
    run_dir: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    say(run_dir, "denoise", done(0), failed(1, where="mine.py:3, in f"))
    assert command_line.main(["status", str(run_dir.output), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["state"] == "stopped"
    assert told["stages"][0]["done"] == 1
    assert told["stages"][0]["grid"] == [1, 1, 4, 1]
    assert "states" not in told["stages"][0]
    assert told["failures"][0]["where"] == "mine.py:3, in f"
    assert told["scheduler"] is None


def watched(run_dir: RunDir, *, is_screen: bool = False) -> tuple[list[str], Watching]:
    said: list[str] = []
    reader = StatusReader(run_dir)

    def words(found: Found) -> str:
        assert isinstance(found, RunStatus)
        return status_text(found)

    return said, Watching(reader.read, words, said.append, pause=1, is_screen=is_screen)


def test_watching_ends_with_the_run_and_says_so_last(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Lock(run_dir)
    lock.begin()
    steps: Iterator[Callable[[], None]] = iter(
        (lambda: say(run_dir, "denoise", done(0)), lock.release)
    )
    monkeypatch.setattr(time, "sleep", lambda _: next(steps)())
    said, watching = watched(run_dir)
    watching.watch()
    assert [words.partition(":")[0] for words in said] == [
        "running",
        "running",
        "stopped",
    ]
    assert ["\ndenoise: 1 done" in words for words in said] == [False, True, True]


def test_whoever_has_seen_enough_may_go(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enough(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", enough)
    with Lock(run_dir):
        assert command_line.main(["status", str(run_dir.path), "--watch"]) == 0
    said, watching = watched(run_dir)
    watching.watch()
    assert len(said) == 1


def test_a_screen_is_not_rolled() -> None:
    text = "\n".join(f"line {i} " + "x" * 100 for i in range(50))
    shown = on_screen(text, os.terminal_size((20, 10))).splitlines()
    assert len(shown) == 9
    assert max(map(len, shown)) == 19
    assert shown[0].startswith("line 0")
    assert shown[-1] == "(42 more lines)"
    assert on_screen("two\nlines", os.terminal_size((20, 10))) == "two\nlines"


def test_many_images_are_told_of_a_line_each(
    run_dir: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = RunDir(tmp_path / "all.zarr.run")
    hub.make([])
    images = {"one": "out.zarr", "two": "two.zarr", "three": "three.zarr"}
    (hub.path / IMAGES).write_text(ManyRecord(id="x", images=images).model_dump_json())
    broken = RunDir(tmp_path / "three.zarr.run")
    broken.make([])
    broken.run_file.write_text("{")
    say(run_dir, "denoise", done(0), failed(1), failed(1))
    with Lock(hub), Lock(run_dir):
        worker(hub, "w", 2, run=str(run_dir.path), job="7_1")
        found = ManyReader(hub).read()
        assert command_line.main(["status", str(hub.path), "--json"]) == 0
        # Of one image alone: its workers show themselves to all together.
        assert [w.job for w in run_status(run_dir).workers] == ["7_1"]
    one, two, three = found.images
    assert one.status
    assert one.status.stages[0].states.tolist() == [DONE, FAILED, RUNNING, LEFT]
    assert (two.status, two.problem) == (None, "")
    assert three.status is None
    assert "run.json" in three.problem
    assert [(w.worker, w.job, w.done) for w in found.workers] == [("w", "7_1", 1)]
    words = many_text(found).splitlines()
    assert words[0] == "one    1/8 blocks (12.5% done), 1 failed, 3 orphaned"
    assert words[1] == "two    not begun"
    assert words[-1] == "0 of 3 images are done"
    assert any(w.startswith("one: failed: denoise block [0, 0, 1, 0]") for w in words)
    told = json.loads(capsys.readouterr().out)
    assert [image["name"] for image in told["images"]] == list(images)
    assert told["images"][0]["status"]["stages"][0]["failed"] == 1
    assert told["images"][1]["status"] is None
    assert told["workers"][0]["job"] == "7_1"


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({"SLURM_JOB_ID": "90"}, "90"),
        (
            {
                "SLURM_JOB_ID": "91",
                "SLURM_ARRAY_JOB_ID": "88",
                "SLURM_ARRAY_TASK_ID": "0",
            },
            "88_0",
        ),
        ({"LSB_JOBID": "41", "LSB_JOBINDEX": "0"}, "41"),
        ({"LSB_JOBID": "41", "LSB_JOBINDEX": "12"}, "41[12]"),
        ({"HOME": "/home/anna"}, ""),
    ],
)
def test_a_worker_knows_the_job_that_it_is_in(
    environment: dict[str, str], job: str
) -> None:
    """By the name that squeue and bjobs have for it."""
    assert own_job(environment) == job


def test_a_traceback_is_a_file_and_there_are_not_too_many(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "out.zarr.run")
    assert keep_traceback(run_dir, "half", block(1), "first") is None
    run_dir.make([])
    name = keep_traceback(run_dir, "half", block(1), "first")
    assert name == "tracebacks/half-0-0-1-0.txt"
    assert keep_traceback(run_dir, "half", block(1), "last \udcff") == name
    assert (run_dir.logs / name).read_text() == "last \\udcff"
    for y in range(2, 2 * MOST_FILES):
        keep_traceback(run_dir, "half", block(y), "")
    files = list((run_dir.logs / "tracebacks").iterdir())
    assert len(files) == MOST_FILES
    assert keep_traceback(run_dir, "half", block(1), "again") == name


def test_a_traceback_that_can_not_be_kept_harms_nothing(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        assert keep_traceback(run_dir, "half", block(0), "x") is None
    assert not list((run_dir.logs / "tracebacks").iterdir())
    name = keep_traceback(run_dir, "half", block(0), "x")
    line = failed(0, traceback="x", traceback_file=name)
    say(run_dir, "denoise", line)
    (lost,) = run_status(run_dir).failures
    assert lost.traceback_file == str(run_dir.logs / str(name))
    assert f"traceback: {lost.traceback_file}" in status_text(run_status(run_dir))
    shutil.rmtree(run_dir.logs)
    (lost,) = run_status(run_dir).failures
    assert (lost.traceback, lost.traceback_file) == ("x", None)


def test_a_line_with_odd_numbers_spoils_none_of_what_is_told(run_dir: RunDir) -> None:
    """A line may have anything for what does not tell of its block."""
    say(run_dir, "denoise", done(0))
    file = next(run_dir.ledger("denoise").iterdir())
    odd = json.loads(file.read_text()) | {"block": list(block(1)), "seconds": "long"}
    file.write_text(file.read_text() + json.dumps(odd) + "\n")
    found = run_status(run_dir)
    assert found.stages[0].done == 2
    assert found.stages[0].seconds == 1.0
    assert json.loads(status_json(found))["stages"][0]["seconds"] == 1.0


def test_what_will_be_tried_again_is_left(run_dir: RunDir) -> None:
    """Failed in an earlier start, or once in this one of the twice that may be."""
    say(run_dir, "denoise", failed(2), failed(2), failed(3), failed(3))
    RunRecord.of(run_dir).model_copy(update={"epoch": 2}).write(run_dir)
    say(run_dir, "denoise", done(0), failed(1))
    with Lock(run_dir):
        found = run_status(run_dir)
        assert found.time_left
        assert found.time_left.least > 0
        # Blocks of the other stage take no time to speak of.
        assert found.share == pytest.approx(1 / 4, rel=1e-3)
        say(run_dir, "denoise", failed(1))
        say(run_dir, "denoise", done(2), done(3))
        # It was given up, and two of the other stage read it; one is at the edge.
        assert counts(run_dir)["soft"] == (0, 0, 0, 3, 1)
        assert run_status(run_dir).share == pytest.approx(1, rel=1e-3)


def test_what_earlier_starts_took_is_a_guess(run_dir: RunDir) -> None:
    """Denoising took 2 s a block."""
    say(run_dir, "denoise", done(0), done(1))
    RunRecord.of(run_dir).model_copy(update={"epoch": 2}).write(run_dir)
    with Lock(run_dir):
        found = run_status(run_dir)
        assert found.time_left is not None
        # Two blocks of 2 s to one worker, and others of no time to speak of.
        assert found.time_left.most is not None
        assert 4 / 3 <= found.time_left.least < 2
        assert 3 * 4 < found.time_left.most < 30
        assert found.share == pytest.approx(1 / 2, rel=0.01)


def test_blocks_at_work_tell_how_long_they_take_by_clocks_that_can_be_right() -> None:
    now = time.time()
    lock = LockHolder("h", 1, now - 60, now, running=True)
    begun = {"a": 50.0, "b": 10.0, "idle": 10.0, "slow": 90.0, "fast": -90.0}
    workers = [
        WorkerState(
            worker=name,
            host="h",
            pid=1,
            pool="",
            stage="soft" if name == "b" else "denoise",
            block=None if name == "idle" else block(1),
            since=now - ago,
            peak_mib=7,
        )
        for name, ago in begun.items()
    ]
    found = seconds_at_work(workers, lock)
    assert found == {
        "denoise": [pytest.approx(50, abs=5)],
        "soft": [pytest.approx(10, abs=5)],
    }
    assert not seconds_at_work(workers, None)


def test_what_a_start_was_not_asked_for_is_not_ahead_of_it(run_dir: RunDir) -> None:
    say(run_dir, "denoise", done(0), done(1))
    say(run_dir, "soft", done(0))
    write_ready(run_dir, {"denoise": Hint(2, 2)})
    with Lock(run_dir):
        found = run_status(run_dir)
        assert found.share == 0.5
    assert run_status(run_dir).share == 3 / 8


def test_a_run_says_at_its_end_the_speed_that_is_told_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """256 voxels in each of 4 blocks, two at a time, in 4 s; its start took longer."""
    said: list[str] = []

    def work(_: object) -> None:
        now = np.datetime64(int(time.time()), "s")
        for y in range(BLOCKS):
            at = f"{now - 2 * (y // 2)}Z"
            say(begun, "denoise", done(y, time=at, engine="in C"))

    begun = begin(tmp_path, monkeypatch)
    monkeypatch.setattr(Scheduler, "run", work)
    with pytest.raises(RunStopped, match=r"4 files of blocks .* are gone"):
        run(tmp_path / "config.json", say=said.append)
    assert run_status(begun).voxels_per_second == pytest.approx(256)
    assert any("\n256 voxel/s denoised.\n" in each for each in said)


def test_a_clock_that_is_wrong_makes_no_run_of_years(run_dir: RunDir) -> None:
    """Of a host that thinks it is 1970, and one of the next century."""
    now = np.datetime64(int(time.time()), "s")
    times = [f"{at}Z" for at in (now, now, "1970-01-01T00:10:00", "2099-01-01T00:00")]
    with Lock(run_dir):
        lines = [
            done(y, time=at, worker=f"w{y}", engine="in C")
            for y, at in enumerate(times)
        ]
        say(run_dir, "denoise", *lines)
        worker(run_dir, "w9", 1)
        reader = StatusReader(run_dir)
        found = reader.read()
        # 64 x 16 voxels, in the two seconds of a block.
        assert found.voxels_per_second == pytest.approx(512)
        history = history_of(reader, found)
        assert history.end - history.begin < 120
    found = run_status(run_dir)
    assert found.elapsed_seconds is not None
    assert found.elapsed_seconds < 60
    for holder in (None, LockHolder("h", 1, 5e9, 5e9, running=False)):
        # What is off is the lock's own clock, or there is none.
        rows = reader.tables["denoise"].rows
        assert in_its_time(rows["ended"], rows["seconds"], holder).all()


def test_a_state_that_makes_no_sense_spoils_none_of_what_is_told(
    run_dir: RunDir,
) -> None:
    """As of a worker of an earlier start, whose blocks had another shape."""
    with Lock(run_dir):
        worker(run_dir, "w", 1)
        worker(run_dir, "of-smaller-blocks", 7)
        file = run_dir.workers / "w.json"
        sound = json.loads(file.read_text())
        values: dict[str, tuple[Any, ...]] = {
            "since": ("now", None, 10**400, float("nan")),
            "peak_mib": ("7", None, [7]),
            "block": (7, ["0", "0", "1", "0"], [[]]),
            "worker": ({},),
            "host": (None,),
        }
        odd = [{name: value} for name, some in values.items() for value in some]
        for number, harm in enumerate(odd):
            text = json.dumps(sound | harm)
            (run_dir.workers / f"odd{number}.json").write_text(text)
        for number, short in enumerate(([0, 0, 1], [0, 0, -1, 0])):
            state = sound | {"block": short, "worker": f"short{number}"}
            (run_dir.workers / f"short{number}.json").write_text(json.dumps(state))
        found = run_status(run_dir)
    assert found.stages[0].states.tolist() == [LEFT, RUNNING, LEFT, LEFT]
    names = ["of-smaller-blocks", "short0", "short1", "w"]
    assert [w.worker for w in found.workers] == names


def test_what_files_say_does_nothing_to_a_terminal(run_dir: RunDir) -> None:
    evil = "\x1b[2J\x9b1A\r\n\x7fall \u00e9"
    say(run_dir, "denoise", failed(0, error=evil, host=evil), failed(0, error=evil))
    with Lock(run_dir):
        worker(run_dir, "w", 1, host=evil)
        found = run_status(run_dir)
    plain = "\\x1b[2J\\x9b1A\\x0d\\x0a\\x7fall \u00e9"
    assert status_text(found).count(plain) == 2
    many = ManyStatus(
        run_dir=evil,
        images=(ImageStatus(name=evil, output="", status=None, problem=evil),),
        scheduler=None,
        workers=(),
    )
    assert f"{plain}  {plain}" in many_text(many)
    for words in (status_text(found), many_text(many)):
        assert all(sign == "\n" or sign.isprintable() for sign in words)
