"""What a worker shows while it does a block and after it, and the longest so far."""

import errno
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from denoise_daisy.blockwise import process_block as processing
from denoise_daisy.blockwise.process_block import process_block
from denoise_daisy.blockwise.targets import Content, FilePerBlock
from denoise_daisy.forecast import Pace
from denoise_daisy.run_dir.checksums import Checksums
from denoise_daisy.run_dir.connection import Connection
from denoise_daisy.run_dir.ledger import Totals
from denoise_daisy.run_dir.ledger_lines import LedgerReader
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import read_state
from denoise_daisy.worker import recording
from denoise_daisy.worker.presence import Presence
from denoise_daisy.worker.recording import BlockRecorder, Outcome
from harness import config_for, load, small_czi
from harness.one_pool import eight_blocks
from harness.prepared import resolved


@pytest.fixture
def recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., BlockRecorder]:
    """A worker w of a run of one stage, whose blocks are computed so."""
    run_dir = RunDir(tmp_path / "out.zarr.run")
    run_dir.make(["soft"])
    Connection("127.0.0.1", 1, "0", 3).write(run_dir)
    monkeypatch.setattr(BlockRecorder, "_is_wanted", lambda *_: True)
    output = SimpleNamespace(durability="none")
    run: Any = SimpleNamespace(
        id="run", run_dir=run_dir, config=SimpleNamespace(output=output)
    )
    folder = run_dir.work_folder("soft")
    target = FilePerBlock(folder, Checksums(run_dir.ledger("soft"), "run", [1], [1]))

    def make(compute: Callable[[Any], bytes], **values: Any) -> BlockRecorder:
        stage = replace(eight_blocks("soft"), target=target, compute=compute, **values)
        return BlockRecorder(run, {"soft": stage}, Presence(run_dir, "w", ""), 3)

    return make


def take(recorder: BlockRecorder, block: int) -> Outcome:
    grid = eight_blocks("soft").grid
    return recorder.take("soft", grid.write_roi((0, 0, 0, block)))


def test_a_worker_shows_its_block_until_that_is_done(
    recorder: Callable[..., BlockRecorder], tmp_path: Path
) -> None:
    shown = []

    def look() -> None:
        state = read_state(RunDir(tmp_path / "out.zarr.run"), "w")
        shown.append(state and (state.stage, state.block))

    def compute(_: object) -> bytes:
        look()
        return b"done"

    assert take(recorder(compute), 5) is Outcome.DONE
    look()
    assert shown == [("soft", (0, 0, 0, 5)), ("", None)]


def test_what_computes_a_block_is_shown_and_recorded_of_a_failure_as_well(
    recorder: Callable[..., BlockRecorder], tmp_path: Path
) -> None:
    """It is asked for when the block is begun: loading may have decided it."""
    run_dir, engine, shown = RunDir(tmp_path / "out.zarr.run"), ["unknown"], []

    def compute(block: Any) -> bytes:
        state = read_state(run_dir, "w")
        shown.append(state and state.engine)
        if block.index[3] == 6:
            raise ValueError("this block is bad")
        return b"done"

    one = recorder(compute, engine=lambda: engine[0])
    engine[0] = "float32, x86-64-v4"
    assert [take(one, block) for block in (5, 6)] == [Outcome.DONE, Outcome.FAILED]
    state = read_state(run_dir, "w")
    assert state is not None
    assert state.engine is None
    [file] = run_dir.ledger("soft").iterdir()
    recorded = [json.loads(line)["engine"] for line in file.read_text().splitlines()]
    assert recorded == shown == ["float32, x86-64-v4"] * 2


def test_a_block_that_is_written_as_it_is_has_no_engine(
    recorder: Callable[..., BlockRecorder], tmp_path: Path
) -> None:
    """The others have, whatever came before; and nothing is computed of it."""
    run_dir, written = RunDir(tmp_path / "out.zarr.run"), []

    def left(block: Any) -> bytes | None:
        return b"as it is" if block.index[3] == 5 else None

    def compute(block: Any) -> bytes:
        written.append(block.index[3])
        return b"computed"

    one = recorder(compute, left=left, engine=lambda: "float32, x86-64-v4")
    assert [take(one, block) for block in (4, 5, 6)] == [Outcome.DONE] * 3
    assert written == [4, 6]
    [file] = run_dir.ledger("soft").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["engine"] for line in lines] == [
        "float32, x86-64-v4",
        "none",
        "float32, x86-64-v4",
    ]
    sums = [line["crc"] for line in lines]
    assert sums == [zlib.crc32(b"computed"), zlib.crc32(b"as it is"), sums[0]]
    assert "is_left" not in lines[1]


def test_a_worker_reads_no_ledger_for_a_block(
    recorder: Callable[..., BlockRecorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be thousands of files, each an answer of the file server."""
    one = recorder(lambda _: b"done")

    def read(_: object) -> NoReturn:
        raise AssertionError("it looks for lines")

    monkeypatch.setattr(LedgerReader, "new", read)
    assert [take(one, block) for block in (5, 6)] == [Outcome.DONE, Outcome.DONE]


def test_a_failure_that_names_a_file_of_another_encoding_is_recorded(
    recorder: Callable[..., BlockRecorder], tmp_path: Path
) -> None:
    r"""In Python, a byte of a name that is not UTF-8 is a character like \udcff."""

    def compute(_: object) -> NoReturn:
        raise FileNotFoundError("caf\udcff.tif")

    assert take(recorder(compute), 5) is Outcome.FAILED
    [file] = RunDir(tmp_path / "out.zarr.run").ledger("soft").iterdir()
    assert "caf\\udcff.tif" in json.loads(file.read_text())["error"]


def test_a_block_that_failed_here_is_left_to_another_process(
    recorder: Callable[..., BlockRecorder],
) -> None:
    """The same block of another stage, or another block, is not meant."""

    def compute(block: Any) -> bytes:
        if block.index[3] == 5:
            raise ValueError("this block is bad")
        return b"done"

    one = recorder(compute)
    outcomes = [take(one, block) for block in (5, 6, 5)]
    assert outcomes == [Outcome.FAILED, Outcome.DONE, Outcome.NOT_OURS]


def test_a_block_that_had_too_little_memory_tells_how_much_it_took(
    recorder: Callable[..., BlockRecorder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "peak_memory", lambda: 7 << 20)

    def compute(_: object) -> bytes:
        raise MemoryError("no room for an array")

    assert take(recorder(compute), 5) is Outcome.FAILED
    [file] = RunDir(tmp_path / "out.zarr.run").ledger("soft").iterdir()
    line = json.loads(file.read_text())
    assert (line["reason"], line["peak_mib"]) == ("memory", 7)
    assert (
        "no room for an array at a peak of 7 MiB; make blocks smaller" in line["error"]
    )


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt()])
def test_a_block_whose_code_ends_its_process_has_failed(
    error: BaseException, recorder: Callable[..., BlockRecorder], tmp_path: Path
) -> None:
    def compute(_: object) -> NoReturn:
        raise error

    assert take(recorder(compute), 5) is Outcome.FAILED
    [file] = RunDir(tmp_path / "out.zarr.run").ledger("soft").iterdir()
    line = json.loads(file.read_text())
    assert (line["status"], line["reason"]) == ("failed", "exception")
    assert line["error"].startswith(type(error).__name__)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_a_blocks_own_where_its_code_writes_and_the_runs_elsewhere(
    number: int,
    recorder: Callable[..., BlockRecorder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A function may write to a /tmp of one host."""

    def write(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number), "/there/file")

    assert take(recorder(write), 5) is Outcome.FAILED
    [file] = RunDir(tmp_path / "out.zarr.run").ledger("soft").iterdir()
    assert json.loads(file.read_text())["reason"] == "exception"
    monkeypatch.setattr(FilePerBlock, "write", write)
    with pytest.raises(OSError, match="/there/file") as stopped:
        take(recorder(lambda _: b"done"), 6)
    assert stopped.value.errno == number
    assert len(file.read_text().splitlines()) == 1


def test_an_error_of_the_output_that_is_no_full_disk_is_the_blocks(
    recorder: Callable[..., BlockRecorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(FilePerBlock, "write", write)
    assert take(recorder(lambda _: b"done"), 5) is Outcome.FAILED


def test_the_longest_block_is_remembered_after_shorter_ones(
    recorder: Callable[..., BlockRecorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: Any = SimpleNamespace(now=0.0)
    clock.perf_counter = lambda: clock.now
    monkeypatch.setattr(recording, "time", clock)

    def compute(block: Any) -> bytes:
        clock.now += 50.0 if block.index[3] == 0 else 2.0
        return b"done"

    one = recorder(compute)
    for block in (0, 1, 2):
        assert take(one, block) is Outcome.DONE
    assert one.longest_seconds == 50.0


def test_reading_computing_and_writing_are_timed_each_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([0.0, 1.0, 3.0, 7.0])
    clock = SimpleNamespace(perf_counter=lambda: next(times))
    monkeypatch.setattr(processing, "time", clock)
    stage: Any = SimpleNamespace(
        grid=None,
        read_block=lambda _: None,
        left=lambda _: None,
        compute=lambda _: b"",
        target=SimpleNamespace(
            content=lambda *_: Content(b"", 0, ""), write=lambda *_, **__: None
        ),
    )
    done = process_block(stage, (0, 0, 0, 0), durable=False, is_wanted=lambda: True)
    assert (done.read_seconds, done.compute_seconds, done.write_seconds) == (1, 2, 4)


def test_every_time_of_a_line_is_added_to_its_own_sum() -> None:
    totals = Totals()
    for scale in (1, 10):
        totals.add(
            {
                "seconds": 7.0 * scale,
                "read_seconds": 1.0 * scale,
                "compute_seconds": 2.0 * scale,
                "write_seconds": 4.0 * scale,
                "clipped": 5 * scale,
                "peak_mib": 300 - scale,
                "host": "node7",
            }
        )
    hosts = Counter({"node7": 2})
    pace = Pace(2, 77.0, 70.0, 1, [7.0, 70.0])
    assert totals == Totals(pace, 11.0, 22.0, 44.0, 55, 299, hosts)


def test_a_block_is_written_for_the_run_and_the_settings_that_it_was_begun_for(
    tmp_path: Path,
) -> None:
    """A worker may have missed that its scheduler died and another began."""
    source = small_czi(tmp_path / "in.czi", (1, 1, 2, 16, 16))
    soft = {"kind": "smooth", "name": "soft", "sigma": {"x": 1}}
    config = config_for(source, tmp_path / "out.zarr") | {"tasks": [soft]}
    run = resolved(load(config))
    run.run_dir.make(["denoise", "soft"])
    record, (stage,) = run.record(1), run.tasks
    one = BlockRecorder(run, {"soft": stage}, Presence(run.run_dir, "w", ""), 1)
    changed = record.stages["soft"].model_copy(update={"parameters": {"sigma": 2}})
    others = {k: v for k, v in record.stages.items() if k != "soft"}
    for now, is_wanted in (
        (record, True),
        (record.with_stages({"soft": changed}), False),
        (record.model_copy(update={"stages": others}), False),
        (record.model_copy(update={"id": "another"}), False),
        (record.model_copy(update={"epoch": 2}), True),
    ):
        now.write(run.run_dir)
        assert one._is_wanted(stage) is is_wanted
    run.run_dir.run_file.unlink()
    assert not one._is_wanted(stage)
