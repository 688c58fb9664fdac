"""The ledger never loses a block that is done, and never claims one that is not.

Ledgers here are real files, written by the real writer or by hand where a writer is
to have died.  A green run would mean nothing if the oracle were the ledger's own code:
what is done is worked out here from the lines themselves, one at a time.
"""

import json
import math
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from funlib.geometry import Roi
from hypothesis import given
from hypothesis import strategies as st

from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import LedgerWriter
from harness.ledgers import (
    BLOCKS,
    GRID,
    IMAGE,
    RUN,
    UNIT,
    done_crcs,
    done_in,
    entry,
    grid_of,
    ledger_of,
    line,
)
from harness.properties import examples


def test_an_empty_ledger_has_nothing_done(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    assert ledger.done_count == 0
    assert ledger.epoch == 0
    assert not ledger.last_failed()
    assert not done_crcs(ledger)


def test_a_line_says_what_was_done_by_whom_and_when(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path, RUN, "worker-3", durable=True)
    writer.append(entry(BLOCKS[5], worker="worker-3", crc=2**32 - 1, seconds=1.5))
    writer.close()
    text = (tmp_path / "worker-3.jsonl").read_text()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    values = json.loads(text)
    assert values["block"] == list(BLOCKS[5])
    assert values["shape"] == list(GRID.block_shape)
    assert values["status"] == "done"
    assert values["crc"] == 2**32 - 1
    assert values["seconds"] == 1.5
    assert values["worker"] == "worker-3"
    assert values["epoch"] == 1
    assert values["time"][4] + values["time"][-1] == "-Z"
    assert not {"reason", "error", "traceback"} & set(values)
    [(grid, block, crc)] = done_crcs(ledger_of(tmp_path))
    assert (grid, block, crc) == (GRID, BLOCKS[5], 2**32 - 1)


def test_a_torn_last_line_is_ignored_until_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    whole, torn = line(BLOCKS[0]), line(BLOCKS[1])
    for cut in range(1, len(torn)):
        file.write_bytes(whole + torn[:cut])
        ledger = ledger_of(tmp_path)
        assert done_in(ledger) == {BLOCKS[0]}
        assert ledger.unreadable == ["a.jsonl"]
        with file.open("ab") as stream:
            stream.write(torn[cut:])
        ledger.refresh()
        assert done_in(ledger) == {BLOCKS[0], BLOCKS[1]}


GARBAGE = [
    b"",
    b"\0" * 300,
    b"\xff\xfe{",
    b"{}",
    b"[]",
    b"null",
    b"7",
    b'"block"',
    b'{"block": [0, 0, 0, 0]}',
    *(
        json.dumps(json.loads(line(BLOCKS[1])) | wrong).encode()
        for wrong in (
            {"block": [0, 0, 0]},
            {"block": [0, 0, 0, 0, 0]},
            {"block": 3},
            {"block": ["a", 0, 0, 0]},
            {"block": [None, 0, 0, 0]},
            {"block": [[0], 0, 0, 0]},
            {"block": [3, 0, 0, 0]},
            {"block": [-1, 0, 0, 0]},
            {"block": [10**30, 0, 0, 0]},
            {"shape": [0, 2, 4, 8]},
            {"shape": [1, 2, 4]},
            {"shape": None},
            {"shape": [[1], 2, 4, 8]},
            {"shape": ["1", 2, 4, 8]},
            {"epoch": "x"},
            {"epoch": None},
            {"epoch": 10**30},
            {"epoch": 3_000_000_000},
            {"epoch": -5},
            {"crc": "x"},
            {"crc": 10**30},
        )
    ),
]
"""Lines that no writer of this program writes; a damaged file may hold them."""


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda text: repr(text[:80]))
def test_a_line_of_garbage_costs_no_other_line(garbage: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(line(BLOCKS[0]) + garbage + b"\n" + line(BLOCKS[2]))
    ledger = ledger_of(tmp_path)
    assert done_in(ledger) == {BLOCKS[0], BLOCKS[2]}
    assert ledger.unreadable == ["a.jsonl"]
    assert ledger.epoch == 1


@examples(300)
@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(BLOCKS))))
def test_good_lines_among_random_bytes_all_count(lines: list[bytes | Index]) -> None:
    with TemporaryDirectory() as folder:
        data = b"\n".join(
            text if isinstance(text, bytes) else line(text)[:-1] for text in lines
        )
        (Path(folder) / "a.jsonl").write_bytes(data + b"\n")
        expected = {text for text in lines if isinstance(text, tuple)}
        assert done_in(ledger_of(Path(folder))) == expected


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.partial").write_bytes(line(BLOCKS[0]))
    (tmp_path / "notes.txt").write_text("hello")
    ledger = ledger_of(tmp_path)
    assert ledger.done_count == 0
    assert not ledger.unreadable


def test_a_file_larger_than_one_read_is_read_whole(tmp_path: Path) -> None:
    """Lines that lie across the border of two reads included."""
    padding = "x" * 5000
    blocks = [BLOCKS[i % 20] for i in range(4000)]
    with (tmp_path / "a.jsonl").open("wb") as stream:
        stream.writelines(
            line(block, status="failed", error=padding) for block in blocks
        )
        stream.write(line(BLOCKS[30]))
    ledger = Ledger(tmp_path, RUN, GRID, UNIT)
    ledger.begin(1)
    ledger.refresh()
    assert done_in(ledger) == {BLOCKS[30]}
    assert sum(map(len, ledger.failures.values())) == 4000
    assert not ledger.unreadable


words = st.tuples(
    st.integers(0, 5), st.integers(1, 3), st.booleans(), st.sampled_from("abc")
)
"""Block, epoch, whether done, and file."""


@examples(400)
@given(st.lists(words, max_size=25), st.sets(st.integers(0, 24)))
def test_the_last_epoch_has_the_last_word_and_done_wins_within_it(
    said: list[tuple[int, int, bool, str]], refresh_after: set[int]
) -> None:
    """Whatever the order of lines and files, and whenever they are read.

    A block's checksum is one that belongs to a "done" of that epoch.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        ledger = Ledger(folder, RUN, GRID, UNIT)
        for i, (block, epoch, is_done, file) in enumerate(said):
            status = "done" if is_done else "failed"
            text = line(
                BLOCKS[block],
                epoch=epoch,
                status=status,
                crc=1000 + i if is_done else None,
            )
            with (folder / f"{file}.jsonl").open("ab") as stream:
                stream.write(text)
            if i in refresh_after:
                ledger.refresh()
        ledger.refresh()
        for each in (ledger, ledger_of(folder)):
            crcs = {block: crc for _, block, crc in done_crcs(each)}
            for block in range(6):
                mine = [(w[1], w[2], i) for i, w in enumerate(said) if w[0] == block]
                last = max((epoch for epoch, _, _ in mine), default=0)
                winners = {1000 + i for e, is_done, i in mine if is_done and e == last}
                assert each.is_done(BLOCKS[block]) == bool(winners)
                assert (BLOCKS[block] in each.last_failed()) == (
                    bool(mine) and not winners
                )
                assert (BLOCKS[block] in crcs) == bool(winners)
                assert not winners or crcs[BLOCKS[block]] in winners
            assert each.epoch == max((w[1] for w in said), default=0)
            assert not each.unreadable


def test_clocks_decide_nothing(tmp_path: Path) -> None:
    """The later epoch's host may have a clock that is years behind."""
    for name, epoch, status, when in (
        ("a", 1, "done", "2099-01-01T00:00:00Z"),
        ("b", 2, "failed", "1999-01-01T00:00:00Z"),
    ):
        writer = LedgerWriter(tmp_path, RUN, name, durable=False)
        writer.append(entry(BLOCKS[0], epoch=epoch, status=status, time=when))
        writer.close()
    os.utime(tmp_path / "b.jsonl", (0, 0))
    assert not ledger_of(tmp_path).is_done(BLOCKS[0])


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, ...]:
    """A legal block shape: whole files, or a whole axis."""
    shape = []
    for unit, extent in zip(UNIT, IMAGE.shape, strict=True):
        files = draw(st.integers(1, math.ceil(extent / unit)))
        shape.append(min(extent, files * unit))
    return tuple(shape)


def files_in(roi: Roi) -> set[Index]:
    """The output files that a block writes, voxel by voxel."""
    position = np.indices(tuple(roi.shape)).reshape(4, -1).T + list(roi.begin)
    return {tuple(file) for file in np.unique(position // list(UNIT), axis=0).tolist()}


def some_blocks(draw: st.DrawFn, grid: BlockGrid) -> list[Index]:
    share = draw(st.sampled_from([0.2, 0.6, 1.0]))
    random = draw(st.randoms(use_true_random=False))
    return [index for index in grid.indices() if random.random() < share]


@examples(150)
@given(st.data())
def test_a_block_is_done_exactly_when_all_its_files_were_written(
    data: st.DataObject,
) -> None:
    """By done blocks of whatever shape, in whatever epoch."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        written: set[Index] = set()
        for epoch in range(1, data.draw(st.integers(1, 3)) + 1):
            grid = grid_of(data.draw(shapes()))
            blocks = data.draw(st.composite(some_blocks)(grid))
            shape = tuple(grid.block_shape)
            (folder / f"{epoch}.jsonl").write_bytes(
                b"".join(line(b, shape=shape, epoch=epoch) for b in blocks)
            )
            for block in blocks:
                written |= files_in(grid.write_roi(block))
        now = grid_of(data.draw(shapes()))
        ledger = ledger_of(folder, now)
        expected = {b for b in now.indices() if files_in(now.write_roi(b)) <= written}
        assert done_in(ledger, now) == expected
        assert ledger.done_count == len(expected)
        listed = set()
        for grid, block, _ in done_crcs(ledger):
            listed |= files_in(grid.write_roi(block))
        assert listed == written


@examples(100)
@given(st.data())
def test_damage_found_in_one_shape_undoes_it_in_every_other(
    data: st.DataObject,
) -> None:
    """And nothing else; a later run in any shape does it again."""
    first, second = grid_of(data.draw(shapes())), grid_of(data.draw(shapes()))
    damaged = data.draw(st.sampled_from(list(first.indices())))
    with TemporaryDirectory() as name:
        folder = Path(name)
        shape = tuple(first.block_shape)
        done = b"".join(line(block, shape=shape) for block in first.indices())
        (folder / "a.jsonl").write_bytes(done)
        assert ledger_of(folder, second).done_count == second.size
        (folder / "verify.jsonl").write_bytes(
            line(damaged, shape=shape, epoch=2, status="failed", reason="damaged")
        )
        lost = files_in(first.write_roi(damaged))
        undone = {
            block
            for block in second.indices()
            if files_in(second.write_roi(block)) & lost
        }
        assert done_in(ledger_of(folder, second), second) == (
            set(second.indices()) - undone
        )
        shape = tuple(second.block_shape)
        (folder / "b.jsonl").write_bytes(
            b"".join(line(block, shape=shape, epoch=3) for block in undone)
        )
        for grid in (first, second):
            assert ledger_of(folder, grid).done_count == grid.size


def test_attempts_and_totals_count_from_the_begin_of_an_epoch(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path, RUN, "w", durable=False)
    writer.append(entry(BLOCKS[0], status="failed", epoch=1))
    writer.append(entry(BLOCKS[1], epoch=1, seconds=10))
    ledger = ledger_of(tmp_path)
    assert ledger.epoch == 1
    ledger.begin(2)
    writer.append(entry(BLOCKS[0], status="failed", epoch=2))
    writer.append(entry(BLOCKS[0], status="failed", epoch=2, reason="crash"))
    writer.append(entry(BLOCKS[2], epoch=2, seconds=2, clipped=3, peak_mib=50))
    writer.append(entry(BLOCKS[3], epoch=2, seconds=5, clipped=4, peak_mib=40))
    writer.append(entry(BLOCKS[4], epoch=1, seconds=100))
    ledger.refresh()
    writer.close()
    reasons = [failed.reason for failed in ledger.failures[BLOCKS[0]]]
    assert reasons == ["exception", "crash"]
    assert list(ledger.failures) == [BLOCKS[0]]
    totals = ledger.totals
    assert (totals.blocks, totals.pace.seconds, totals.clipped) == (2, 7, 7)
    assert totals.peak_mib == 50
    assert done_in(ledger) == {BLOCKS[i] for i in (1, 2, 3, 4)}


def test_a_failure_of_another_block_shape_is_no_attempt_at_a_block_of_this_one(
    tmp_path: Path,
) -> None:
    """Else another block would be given up for it."""
    ledger = Ledger(tmp_path, RUN, GRID, UNIT)
    ledger.begin(2)
    other, own = (3, 6, 14, 8), tuple(GRID.block_shape)
    (tmp_path / "a.jsonl").write_bytes(
        line((0, 0, 0, 1), shape=other, epoch=2, status="failed")
        + line((0, 0, 0, 0), shape=own, epoch=2, status="failed")
    )
    ledger.refresh()
    assert list(ledger.failures) == [(0, 0, 0, 0)]
    assert not ledger.unreadable


def test_a_line_that_is_taken_back_is_believed_no_longer(tmp_path: Path) -> None:
    """A writer takes one back that it can't make durable; it may have been read."""
    file = tmp_path / "a.jsonl"
    first, second = line(BLOCKS[0], epoch=2), line(BLOCKS[1], epoch=2)
    file.write_bytes(first + second)
    (tmp_path / "b.jsonl").write_bytes(line(BLOCKS[2], epoch=2, status="failed"))
    ledger = Ledger(tmp_path, RUN, GRID, UNIT)
    ledger.begin(2)
    ledger.refresh()
    assert done_in(ledger) == {BLOCKS[0], BLOCKS[1]}
    os.truncate(file, len(first))
    ledger.refresh()
    assert done_in(ledger) == {BLOCKS[0]}
    assert ledger.totals.blocks == 1
    assert [len(failed) for failed in ledger.failures.values()] == [1]


def test_reading_again_believes_what_is_there_now(tmp_path: Path) -> None:
    """Even where a file has another line of the same length, or is gone."""
    (tmp_path / "a.jsonl").write_bytes(line(BLOCKS[0]))
    (tmp_path / "b.jsonl").write_bytes(line(BLOCKS[1]))
    ledger = ledger_of(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(line(BLOCKS[2]))
    (tmp_path / "b.jsonl").unlink()
    ledger.refresh()
    assert done_in(ledger) == {BLOCKS[0], BLOCKS[1]}
    ledger.reread()
    assert done_in(ledger) == {BLOCKS[2]}


def test_lines_of_another_run_count_for_nothing(tmp_path: Path) -> None:
    foreign = line(BLOCKS[0]).replace(RUN.encode(), b"another")
    nobodys = line(BLOCKS[1]).replace(b'"run"', b'"ran"')
    (tmp_path / "a.jsonl").write_bytes(foreign + nobodys + line(BLOCKS[2]))
    ledger = ledger_of(tmp_path)
    assert done_in(ledger) == {BLOCKS[2]}
    assert ledger.unreadable == ["a.jsonl"]
    writer = ledger.writer("w")
    writer.append(entry(BLOCKS[3]))
    writer.close()
    assert json.loads((tmp_path / "w.jsonl").read_text())["run"] == RUN
    ledger.refresh()
    assert done_in(ledger) == {BLOCKS[2], BLOCKS[3]}


def test_the_files_of_done_blocks_are_those_that_should_be_there(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.jsonl").write_bytes(line((0, 1, 2, 1)))
    files = ledger_of(tmp_path).done_files()
    # Blocks of 1, 2, 4 and 8 voxels are two files of 1, 2, 4 and 4 along x.
    assert np.argwhere(files).tolist() == [[0, 1, 2, 2], [0, 1, 2, 3]]
    assert files.shape == (3, 3, 4, 4)


def test_earlier_starts_tell_how_long_a_block_takes_whatever_their_shape(
    tmp_path: Path,
) -> None:
    """Two blocks of 2 s, and one of half as many voxels of 4 s: 5 of them are 8 s."""
    writer = ledger_of(tmp_path).writer("w")
    writer.append(entry(BLOCKS[0], seconds=2))
    writer.append(entry(BLOCKS[1], seconds=2))
    writer.append(entry((0, 0, 0, 1), seconds=4, shape=(1, 2, 4, 4)))
    writer.append(entry(BLOCKS[2], status="failed", seconds=50))
    writer.append(entry(BLOCKS[3], seconds=float("inf")))
    writer.close()
    ledger = ledger_of(tmp_path)
    ledger.begin(2)
    assert ledger.earlier.of(GRID.block_shape) == pytest.approx(8 / 5 * 2)
    ledger.reread()
    assert ledger.earlier.of(GRID.block_shape) == pytest.approx(8 / 5 * 2)
    writer = ledger.writer("v")
    writer.append(entry(BLOCKS[4], epoch=2, seconds=70))
    writer.close()
    ledger.refresh()
    assert ledger.earlier.of(GRID.block_shape) == pytest.approx(8 / 5 * 2)
    assert ledger_of(tmp_path / "none").earlier.of(GRID.block_shape) is None
