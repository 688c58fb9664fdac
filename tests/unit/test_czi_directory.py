"""The directory of a CZI, held against reading it number by number."""

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from demo_czi import write_czi
from hypothesis import given
from hypothesis import strategies as st

from denoise_daisy.errors import InputError
from denoise_daisy.images import czi_directory
from denoise_daisy.images.czi import open_czi
from denoise_daisy.images.czi_directory import read_directory, read_identity
from denoise_daisy.images.czi_entries import SubBlocks, parse
from harness.czi_files import (
    CELLS,
    LATTICE,
    MOSAIC,
    directory_at,
    entry,
    first_sub_block,
    noise,
    put,
    refusal,
    tiles_directory,
    with_directory,
)
from harness.plain_directory import HEADER, DamagedError, plain_sub_blocks, rows

NUMBERS = st.sampled_from([0, 1, 2, 7, -1, -7, 2**31 - 1, -(2**31)])
SIZES = st.sampled_from([1, 2, 64, 2**31 - 1])
OTHERS = (b"Z", b"C", b"T", b"M", b"S", b"B", b"H", b"Q", b"Zz", b"\0\0\0\xff", b" ")


@st.composite
def entries(draw: st.DrawFn) -> bytes:
    """A whole entry, its dimensions in any order."""
    names = draw(st.lists(st.sampled_from(OTHERS), unique=True, max_size=9))
    names = draw(st.permutations([b"X", b"Y", *names]))
    dimensions = [
        (
            name.ljust(4, draw(st.sampled_from([b"\0", b" "]))),
            draw(NUMBERS),
            draw(SIZES),
            draw(NUMBERS),
        )
        for name in names
    ]
    data = bytearray(entry(dimensions, draw(st.integers(-(2**63), 2**63 - 1))))
    struct.pack_into("<i", data, 2, draw(NUMBERS))
    return bytes(data)


@st.composite
def directories(draw: st.DrawFn) -> bytes:
    """Entries, as they were drawn or with a few bytes changed, missing or behind."""
    parts = draw(st.lists(entries(), min_size=1, max_size=6))
    parts = [draw(st.sampled_from(parts)) for _ in range(draw(st.integers(1, 12)))]
    count = len(parts) + draw(st.sampled_from([0, 0, 0, 1, -1]))
    data = bytearray(struct.pack("<i124x", count) + b"".join(parts))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(HEADER, len(data) - 1))
        data[at] = draw(st.sampled_from([0, 1, 2, 33, 88, 89, 255]))
    cut = draw(st.sampled_from([0, 0, 0, 1, 4, 33]))
    return bytes(data[: len(data) - cut] + draw(st.binary(max_size=9)))


def pieces_of(data: bytes, length: int) -> list[bytes]:
    return [data[i : i + length] for i in range(HEADER, len(data), length)]


def parsed(data: bytes, length: int) -> SubBlocks:
    (count,) = struct.unpack_from("<i", data)
    return parse(iter(pieces_of(data, length)), count)


@given(directories(), st.sampled_from([1, 7, 32, 100, 151, 4096]))
def test_columns_are_what_a_plain_reader_finds(data: bytes, length: int) -> None:
    try:
        expected = plain_sub_blocks(data)
    except DamagedError:
        with pytest.raises(ValueError, match="its sub-block directory"):
            parsed(data, length)
    else:
        assert rows(parsed(data, length)) == expected


@pytest.mark.parametrize("runs", [(3000,), (1, 1), (255, 1), (256, 257, 1), (700, 5)])
@pytest.mark.parametrize("length", [5000, 1 << 20])
def test_entries_of_many_lengths_are_what_a_plain_reader_finds(
    runs: tuple[int, ...], length: int
) -> None:
    """Runs of entries that are alike, of another number of dimensions each."""
    parts: list[bytes] = []
    while len(parts) < 3000:
        run = runs[len(parts) % len(runs)]
        more = [(b"D%d" % i, 0, 1, 1) for i in range(len(parts) % 7)]
        plane = [(b"X", len(parts), 8, 8), (b"Y", 0, 8, 8), *more]
        parts += [entry(plane, len(parts) + i) for i in range(run)]
    data = struct.pack("<i124x", len(parts)) + b"".join(parts)
    assert rows(parsed(data, length)) == plain_sub_blocks(data)


@pytest.mark.parametrize("name", [CELLS, LATTICE, MOSAIC])
def test_columns_of_a_real_file_are_what_a_plain_reader_finds(
    name: str, real_czi: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(czi_directory, "_PIECE", 1000)
    path = real_czi(name)
    data = path.read_bytes()
    begin = directory_at(data) + 32
    (used,) = struct.unpack_from("<q", data, begin - 8)
    expected = plain_sub_blocks(data[begin : begin + used])
    assert rows(read_directory(str(path)).sub_blocks) == expected
    assert len(expected) > 10


def test_a_directory_may_have_32_dimensions_and_no_more(tmp_path: Path) -> None:
    """In all entries together."""
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 8)))
    plane = [(b"X", 0, 8, 8), (b"Y", 0, 8, 8)]
    position = first_sub_block(path)
    for more in (30, 31):
        parts = [
            entry([*plane, (f"D{i}".encode(), 0, 1, 1)], position) for i in range(more)
        ]
        data = struct.pack("<i124x", len(parts)) + b"".join(parts)
        with_directory(path, data)
        if more == 30:
            assert len(read_directory(str(path)).sub_blocks.sizes) == 32
    assert "an entry of its sub-block directory is wrong" in refusal(path)


def test_a_dimension_that_an_entry_has_twice_is_refused(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 8)))
    plane = [(b"X", 0, 8, 8), (b"Y", 0, 8, 8), (b"X", 0, 8, 8)]
    data = struct.pack("<i124x", 1) + entry(plane, first_sub_block(path))
    assert "an entry of its sub-block" in refusal(with_directory(path, data))


# A directory that asks for more than a file can have


@pytest.mark.parametrize("count", [2**31 - 1, 2**24, 4])
def test_a_count_beyond_the_directory_is_refused_before_it_takes_memory(
    count: int, tmp_path: Path
) -> None:
    """432 bytes less a header of 128 are 4 entries of 72, and a bit; 2 are there."""
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 2, 8, 8)))
    put(path, directory_at(path.read_bytes()) + 32, "<i", count)
    tracemalloc.start()
    try:
        said = refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert "its sub-block directory ends too early" in said


def test_a_negative_count_is_a_file_without_planes(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 2, 8, 8)))
    put(path, directory_at(path.read_bytes()) + 32, "<i", -(2**31))
    assert "without any image data" in refusal(path)


def test_a_directory_of_more_than_a_gibibyte_is_refused(tmp_path: Path) -> None:
    """What is asked for is there: the file is sparse."""
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 2, 8, 8)))
    begin = directory_at(path.read_bytes())
    put(path, begin + 24, "<q", 2**30 + 1)
    with path.open("r+b") as file:
        file.truncate(begin + 32 + 2**31)
    said = refusal(path)
    assert "its sub-block directory has 1073741825 bytes" in said
    with pytest.raises(InputError, match="has 1073741825 bytes"):
        read_identity(str(path))


def test_a_header_that_is_cut_is_refused(tmp_path: Path) -> None:
    """Of a segment that says of itself that it has no bytes."""
    path = tmp_path / "a.czi"
    path.write_bytes(b"ZISRAWFILE".ljust(32, b"\0") + bytes(71))
    assert "its header ends too early" in refusal(path)


def test_many_entries_take_memory_for_their_numbers_and_not_for_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six dimensions of two numbers of 4 bytes, and 13 bytes more: 61 per entry.

    A plain reader has 152 of the entry itself, and a thousand of its objects.
    """
    monkeypatch.setattr(czi_directory, "_PIECE", 1 << 14)
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 8)))
    count = 20_000
    tiles = [(i, 0, 0, 8, 8) for i in range(count)]
    with_directory(path, tiles_directory(tiles, first_sub_block(path)))
    read_directory(str(path))
    tracemalloc.start()
    try:
        blocks = read_directory(str(path)).sub_blocks
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(blocks) == count
    assert 61 * count < peak < 80 * count


def test_scenes_beyond_twenty_are_counted(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 8)))
    plane = [(b"X", 0, 8, 8), (b"Y", 0, 8, 8)]
    position = first_sub_block(path)
    parts = [entry([*plane, (b"S", i, 1, 1)], position) for i in range(23)]
    with_directory(path, struct.pack("<i124x", 23) + b"".join(parts))
    said = refusal(path)
    assert "0 (Y 8 X 8), 1 (Y 8 X 8)" in said
    assert "19 (Y 8 X 8) and 3 more. Expected" in said
    assert open_czi(str(path), 22).scene == 22


# Identity


def test_the_identity_is_that_of_the_opened_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 3, 8, 8)))
    opened = open_czi(str(path))
    monkeypatch.setattr(czi_directory, "parse", None)
    assert opened.current_identity() == opened.identity
    data = path.read_bytes()
    begin = directory_at(data) + 32
    put(path, begin + 128 + 2 * (32 + 20 * 6) - 1, "<b", 77)
    changed = opened.current_identity()
    assert changed.keys() == opened.identity.keys()
    assert changed["guid"] == opened.identity["guid"]
    assert changed["directory_sha256"] != opened.identity["directory_sha256"]


def test_sub_blocks_that_lack_a_dimension_are_at_its_0(tmp_path: Path) -> None:
    """Where it has a 0; else they would be no part of the image that it spans."""
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 8)))
    plane = [(b"X", 0, 8, 8), (b"Y", 0, 8, 8)]
    position = first_sub_block(path)
    for first, shape in ((-1, (2, 1, 1, 8, 8)), (5, None)):
        parts = [
            entry([*plane, (b"T", first, 1, 1)], position),
            entry([*plane, (b"T", max(first, 0), 1, 1)], position),
            entry(plane, position),
        ]
        data = struct.pack("<i124x", len(parts)) + b"".join(parts)
        with_directory(path, data)
        if shape:
            assert open_czi(str(path)).shape == shape
    said = refusal(path)
    assert "1 of 3 sub-blocks have no position along T" in said
    assert "the others have some of 5 to 5" in said


def test_the_plain_reader_reads_what_was_written() -> None:
    """Else both readers may be wrong alike."""
    data = tiles_directory([(3, 5, -7, 8, 9)], 1234)
    [block] = plain_sub_blocks(data)
    assert block.position == 1234
    assert block.start == {"X": -7, "Y": 5, "C": 0, "Z": 3, "T": 0, "M": 0}
    assert (block.size["X"], block.size["Y"]) == (9, 8)
    assert not block.is_pyramid
    assert np.all(parsed(data, 50).positions == [1234])
