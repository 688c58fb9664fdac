"""When a ledger is read again for its checksums, and what is waited for.

To be added to tests/unit/test_checksums.py, whose `level`, `voxels` and `line` it uses.
"""

import errno
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi
from unit.test_checksums import ALL, BEGIN, BLOCKS, CHUNKS, SHAPE, line, voxels
from unit.test_checksums import level as level  # noqa: PLC0414

from denoise_daisy.blockwise import patience
from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.patience import UnrecordedError, patiently
from denoise_daisy.blockwise.targets import Content
from denoise_daisy.geometry import BlockGrid, neighbourhood
from denoise_daisy.outputs.ome_zarr import DamagedError
from denoise_daisy.run_dir import checksums
from denoise_daisy.run_dir.checksums import Checksums, chunk_checksums
from denoise_daisy.waits import Waits
from harness.stand_ins import FakeTime

LAW = neighbourhood(Coordinate(0, 0, 0, 0))


def test_the_ledger_is_read_five_times_a_second_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = FakeTime()
    monkeypatch.setattr(checksums, "time", time)
    ledger = Checksums(tmp_path, "r", SHAPE, CHUNKS)
    assert not ledger.of(ALL)[1].any()
    (tmp_path / "a.jsonl").write_text(line(voxels(), BLOCKS[0]))
    time.now = 0.2
    assert not ledger.of(ALL)[1].any()
    time.now = 0.3
    assert ledger.of(ALL)[1].any()


def test_a_block_that_was_done_again_is_read_as_it_is_now(
    level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its earlier line was known, so that the ledger was not read for it."""
    monkeypatch.setattr(patience, "WAITS", Waits(file_away=60))
    roi = Roi((0, 0, 0, 0), (1, 4, 6, 8)) + BEGIN
    np.testing.assert_array_equal(level.read(roi), voxels()[:1, :, :4, :6, :8])
    again = voxels() + 1
    level.array[roi] = again[:1, :, :4, :6, :8]
    later = line(again, BLOCKS[0], epoch=2)
    (level.path.parent / "ledger" / "b.jsonl").write_text(later)
    np.testing.assert_array_equal(level.read(roi), again[:1, :, :4, :6, :8])


def test_a_file_that_is_not_what_was_written_may_be_so_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a file system of several hosts an old version shows for a while."""
    time = FakeTime()
    monkeypatch.setattr(patience, "time", time)

    def read() -> str:
        if time.now < 4.5:
            raise DamagedError
        return "what was written"

    assert patiently(read, 5.0) == "what was written"


@pytest.mark.parametrize(
    ("number", "late", "is_read"),
    [
        (errno.ESTALE, 4.5, True),
        (errno.EIO, 4.5, True),
        (errno.EIO, 6, False),
        (errno.EACCES, 0.1, False),
    ],
)
def test_a_file_server_that_is_away_for_a_moment_costs_a_block_no_attempt(
    number: int, late: float, is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = FakeTime()
    monkeypatch.setattr(patience, "time", time)

    def read() -> str:
        if time.now < late:
            raise OSError(number, "it said")
        return "what was written"

    with nullcontext() if is_read else pytest.raises(OSError, match="it said"):
        assert patiently(read, 5.0) == "what was written"


@pytest.mark.parametrize("error", [DamagedError, UnrecordedError, FileNotFoundError])
def test_who_was_held_up_in_the_first_try_has_a_second(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a machine that stood still, or a file server that answered late."""
    time = FakeTime()
    monkeypatch.setattr(patience, "time", time)
    monkeypatch.setattr(patience, "WAITS", Waits())

    def read() -> str:
        if not time.now:
            time.now += 600
            raise error
        return "what was written"

    assert patiently(read, 5.0) == "what was written"


@pytest.mark.parametrize(("late", "is_read"), [(119, True), (121, False)])
def test_a_line_of_a_ledger_may_show_two_minutes_late(
    late: float, is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other hosts see it once their file system looks again; a file they see sooner."""
    time = FakeTime()
    monkeypatch.setattr(patience, "time", time)
    monkeypatch.setattr(patience, "WAITS", Waits())

    def read() -> str:
        if time.now < late:
            raise UnrecordedError
        return "what was written"

    with nullcontext() if is_read else pytest.raises(UnrecordedError):
        assert patiently(read) == "what was written"


def test_an_array_that_is_away_for_half_a_minute_is_written_to_afterwards(
    level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than readers wait: what was computed would be lost."""
    time, block = FakeTime(), Coordinate(1, 4, 6, 8)
    monkeypatch.setattr(patience, "time", time)
    monkeypatch.setattr(patience, "WAITS", Waits())
    monkeypatch.setattr(Level, "is_there", property(lambda _: time.now > 29))
    grid = BlockGrid(level.roi, level.roi, block, Coordinate(0, 0, 0, 0), LAW)
    again = voxels()[:1, :, :4, :6, :8] + 1
    level.write(Content(again, 0, ""), grid, (0, 0, 0, 0), durable=False)
    np.testing.assert_array_equal(level.array[grid.write_roi((0, 0, 0, 0))], again)
    assert 29 < time.now < 30


def test_of_two_words_of_one_epoch_on_a_block_the_later_one_counts(
    tmp_path: Path,
) -> None:
    """As in the ledger: it was done twice, by threads that do not repeat themselves."""
    first, second = voxels(), voxels() + 1
    text = line(first, BLOCKS[0]) + line(second, BLOCKS[0])
    (tmp_path / "a.jsonl").write_text(text)
    part = (slice(0, 1), slice(None), slice(0, 2), slice(0, 2), slice(0, 2))
    sums, done = Checksums(tmp_path, "r", SHAPE, CHUNKS).of(part)
    assert done.all()
    np.testing.assert_array_equal(sums, chunk_checksums(second, CHUNKS)[part])


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
def test_a_shard_that_zarr_chokes_on_is_written_anew(
    error: type[Exception], level: Level
) -> None:
    """Of a torn one its index can't be read, or the codec gives up."""
    real, tries = level.array, [0]

    class Choking:
        def __setitem__(self, roi: Roi, block: np.ndarray) -> None:
            tries[0] += 1
            if any(file.exists() for file in level.files_in(roi)):
                raise error("error during blosc decompression: -1")
            real[roi] = block

    level.__dict__["array"] = Choking()
    roi = Roi((0, 0, 0, 0), (1, 4, 6, 8)) + BEGIN
    grid = BlockGrid(level.roi, level.roi, roi.shape, Coordinate(0, 0, 0, 0), LAW)
    again = voxels()[:1, :, :4, :6, :8] + 1
    level.write(Content(again, 0, ""), grid, (0, 0, 0, 0), durable=False)
    np.testing.assert_array_equal(real[roi], again)
    assert tries == [2]
