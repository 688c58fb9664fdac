"""Each chunk of an array has a checksum, and each line of a ledger tells its block's.

The oracle is zlib on the bytes of each chunk, cut by hand.  A green run would mean
nothing if blocks were chunks: blocks of several chunks, of other shapes and at the far
border are among them.
"""

import json
import zlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.patience import UnrecordedError
from denoise_daisy.blockwise.read_back import find_damage
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import Block
from denoise_daisy.geometry import FULL_RESOLUTION, BlockGrid, neighbourhood
from denoise_daisy.outputs.layout import Layout
from denoise_daisy.outputs.ome_zarr import DamagedError, create_array
from denoise_daisy.run_dir.checksums import (
    Checksums,
    checksum,
    chunk_checksums,
    encoded,
)
from denoise_daisy.waits import Waits

SHAPE = (2, 2, 5, 7, 9)
CHUNKS = (1, 1, 2, 3, 4)
COUNTS = (2, 2, 3, 3, 3)


def voxels() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 60_000, SHAPE).astype(np.uint16)


def chunk_of(array: np.ndarray, *index: int) -> np.ndarray:
    t, c, z, y, x = index
    return array[
        t : t + 1,
        c : c + 1,
        2 * z : 2 * z + 2,
        3 * y : 3 * y + 3,
        4 * x : 4 * x + 4,
    ]


def test_every_chunk_has_the_checksum_of_its_voxels() -> None:
    array = voxels()
    sums = chunk_checksums(array, CHUNKS)
    assert sums.shape == COUNTS
    for index in np.ndindex(*COUNTS):
        assert sums[index] == zlib.crc32(chunk_of(array, *index).tobytes())


def test_a_checksum_goes_on_where_another_ended() -> None:
    array = voxels()
    first, rest = array[:, :, :2].copy(), array[:, :, 2:].copy()
    together = zlib.crc32(first.tobytes() + rest.tobytes())
    assert checksum(rest, checksum(first)) == together
    assert checksum(rest.tobytes(), checksum(first.tobytes())) == together


def line(array: np.ndarray, block: tuple[int, ...], **values: Any) -> str:
    """Of a block of 1, 4, 6 and 8 voxels, cut and summed up by hand."""
    t, z, y, x = block
    part = array[t : t + 1, :, 4 * z : 4 * z + 4, 6 * y : 6 * y + 6, 8 * x : 8 * x + 8]
    counts = [-(-n // c) for n, c in zip(part.shape, CHUNKS, strict=True)]
    sums = [zlib.crc32(chunk_of(part, *i).tobytes()) for i in np.ndindex(*counts)]
    known = {
        "run": "r",
        "block": block,
        "shape": [1, 4, 6, 8],
        "status": "done",
        "epoch": 1,
        "crc": 0,
        "chunks": b64encode(np.array(sums, "<u4").tobytes()).decode(),
    }
    return json.dumps(known | values) + "\n"


BLOCKS = [(t, z, y, x) for t in (0, 1) for z in (0, 1) for y in (0, 1) for x in (0, 1)]

ALL = (slice(None),) * 5


def test_lines_tell_the_checksums_of_their_chunks(tmp_path: Path) -> None:
    array = voxels()
    ledger = Checksums(tmp_path, "r", SHAPE, CHUNKS)
    assert not ledger.of(ALL)[1].any()
    (tmp_path / "a.jsonl").write_text("".join(line(array, b) for b in BLOCKS[:-1]))
    sums, done = ledger.of(ALL)
    expected = np.ones(COUNTS, bool)
    expected[1, :, 2:, 2:, 2:] = False
    np.testing.assert_array_equal(done, expected)
    np.testing.assert_array_equal(sums[done], chunk_checksums(array, CHUNKS)[done])


def test_a_later_word_replaces_an_earlier_one(tmp_path: Path) -> None:
    """In whatever order the lines are read; of another run none counts."""
    old, new = voxels(), voxels() + 1
    block = BLOCKS[0]
    texts = {
        "a": line(new, block, epoch=3),
        "b": line(old, block) + line(old, block, epoch=2, status="failed"),
        "c": line(old, block, epoch=9, run="another"),
    }
    part = (slice(0, 1), slice(None), slice(0, 2), slice(0, 2), slice(0, 2))
    for order in ("abc", "cba", "bac"):
        folder = tmp_path / order
        folder.mkdir()
        ledger = Checksums(folder, "r", SHAPE, CHUNKS)
        for name in order:
            (folder / f"{name}.jsonl").write_text(texts[name])
            ledger.refresh()
        sums, done = ledger.of(part)
        assert done.all()
        np.testing.assert_array_equal(sums, chunk_checksums(new, CHUNKS)[part])
    (folder / "a.jsonl").write_text("")
    ledger.refresh()
    assert not ledger.of(part)[1].any()


WRONG: list[dict[str, Any]] = [
    {"block": 3},
    {"block": []},
    {"block": [0, 0, 0]},
    {"block": ["a", 0, 0, 0]},
    {"block": [0, 0, 0, -2]},
    {"block": [2, 0, 0, 0]},
    {"block": [10**30, 0, 0, 0]},
    {"shape": None},
    {"shape": [1, 4]},
    {"shape": [1, 0, 6, 8]},
    {"epoch": "x"},
    {"epoch": None},
    {"epoch": 2.5},
    {"epoch": 3_000_000_000},
    {"epoch": 10**30},
    {"epoch": -5},
]
"""What no writer of this program writes; a damaged file may hold it."""

WRONG_SUMS: list[dict[str, Any]] = [
    {"chunks": chunks} for chunks in (None, "AAAA", "AAAAAAAAAAA=", "?", 7)
]


@pytest.mark.parametrize(
    "wrong",
    [*WRONG, *WRONG_SUMS, *({"status": "failed"} | wrong for wrong in WRONG)],
    ids=repr,
)
def test_a_line_of_garbage_changes_no_checksum(
    wrong: dict[str, Any], tmp_path: Path
) -> None:
    """Though its epoch would have the last word on the block before and after."""
    array, (first, *_, last) = voxels(), BLOCKS
    garbage = json.dumps(json.loads(line(array + 1, first, epoch=9)) | wrong)
    text = line(array, first) + garbage + "\n" + line(array, last)
    (tmp_path / "a.jsonl").write_text(text)
    sums, done = Checksums(tmp_path, "r", SHAPE, CHUNKS).of(ALL)
    expected = np.zeros(COUNTS, bool)
    expected[0, :, :2, :2, :2] = expected[1, :, 2:, 2:, 2:] = True
    np.testing.assert_array_equal(done, expected)
    np.testing.assert_array_equal(sums[done], chunk_checksums(array, CHUNKS)[done])


def test_a_line_without_checksums_says_nothing(tmp_path: Path) -> None:
    array = voxels()
    values = json.loads(line(array, BLOCKS[0]))
    del values["chunks"]
    text = json.dumps(values) + "\n" + line(array, BLOCKS[-1])
    (tmp_path / "a.jsonl").write_text(text)
    _, done = Checksums(tmp_path, "r", SHAPE, CHUNKS).of(ALL)
    assert np.argwhere(done).tolist() == [[1, 0, 2, 2, 2], [1, 1, 2, 2, 2]]


BEGIN = Coordinate(1, 2, 3, 4)


@pytest.fixture
def level(tmp_path: Path) -> Level:
    """An array that is written, and whose every block but the last is recorded."""
    array = voxels()
    layout = Layout(SHAPE, "uint16", CHUNKS, (1, 2, 4, 6, 8), 1)
    create_array(tmp_path / "0", layout)
    (tmp_path / "ledger").mkdir()
    text = "".join(line(array, b) for b in BLOCKS[:-1])
    (tmp_path / "ledger" / "a.jsonl").write_text(text)
    level = Level(
        path=tmp_path / "0",
        layout=layout,
        transform=FULL_RESOLUTION,
        begin=BEGIN,
        channels=(),
        checksums=Checksums(tmp_path / "ledger", "r", SHAPE, CHUNKS),
    )
    level.array[level.roi] = array
    return level


@pytest.fixture(autouse=True)
def _without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    none = Waits(file_away=1e-9, ledger_lag=1e-9, retry=1e-9)
    monkeypatch.setattr("denoise_daisy.blockwise.patience.WAITS", none)
    monkeypatch.setattr("denoise_daisy.run_dir.checksums.REFRESH_SECONDS", -1.0)


@pytest.mark.parametrize("seed", range(30))
def test_any_part_is_read_as_it_was_written(level: Level, seed: int) -> None:
    rng = np.random.default_rng(seed)
    extent = np.array((2, 5, 7, 9))
    begin = rng.integers(0, extent)
    end = rng.integers(begin + 1, extent + 1)
    roi = Roi(begin.tolist(), (end - begin).tolist()) + BEGIN
    t, z, y, x = (slice(b, e) for b, e in zip(begin, end, strict=True))
    reaches_last = all(e > n for e, n in zip(end, (1, 4, 6, 8), strict=True))
    if reaches_last:
        with pytest.raises(UnrecordedError):
            level.read(roi)
    else:
        np.testing.assert_array_equal(level.read(roi), voxels()[t, :, z, y, x])
    np.testing.assert_array_equal(level.read_so_far(roi), voxels()[t, :, z, y, x])


def test_a_channel_too_few_is_an_error_of_who_computed_it(level: Level) -> None:
    """Zarr would write one channel into all of them."""
    block = Block((0, 0, 0, 0), level.roi, level.roi, (), lambda *_: voxels())
    assert level.content(block, voxels()).crc == checksum(voxels())
    with pytest.raises(ValueError, match="1 channels came out, where 2 were expected"):
        level.content(block, voxels()[:, :1])


def test_a_file_of_another_place_is_found_out(level: Level) -> None:
    """Where it is read, and there only; with what is written so far as well."""
    files = sorted(f for f in (level.path / "c").rglob("*") if f.is_file())
    good = files[1].read_bytes()
    files[1].write_bytes(files[0].read_bytes())
    far = Roi((0, 4, 0, 0), (2, 1, 6, 8)) + BEGIN
    near = Roi((0, 0, 0, 0), (1, 4, 6, 9)) + BEGIN
    np.testing.assert_array_equal(level.read(far), voxels()[:, :, 4:5, :6, :8])
    for read in (level.read, level.read_so_far):
        with pytest.raises(DamagedError, match="is not what was written"):
            read(near)
    files[1].unlink()
    with pytest.raises(FileNotFoundError, match="0/c/0/0"):
        level.read(near)
    with pytest.raises(DamagedError):
        level.read_so_far(near)
    files[1].write_bytes(good)
    np.testing.assert_array_equal(level.read(near), voxels()[:1, :, :4, :6])


@pytest.mark.parametrize("most", [1, 150, 1 << 24])
def test_a_block_is_read_back_whole_in_slabs_of_any_size(
    level: Level, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denoise_daisy.blockwise.read_back.SLAB_VOXELS", most)
    one = Coordinate(1, 1, 1, 1)
    grid = BlockGrid(
        level.roi, level.roi, Coordinate(2, 5, 6, 9), one, neighbourhood(one)
    )
    stage = Stage(
        name="a",
        task="a",
        grid=grid,
        sources=(),
        after=(),
        compute=lambda _: b"",
        parameters={},
        target=level,
    )
    for y, index in ((slice(0, 6), (0, 0, 0, 0)), (slice(6, 7), (0, 0, 1, 0))):
        crc = zlib.crc32(np.ascontiguousarray(voxels()[:, :, :, y]).tobytes())
        assert find_damage(stage, grid, index, crc) is None
        assert find_damage(stage, grid, index, crc ^ 1) == "its voxels have changed"


def test_checksums_stand_in_a_line_as_little_endian_base64() -> None:
    assert encoded(np.array([[1, 0x01020304]], np.uint32)) == "AQAAAAQDAgE="
