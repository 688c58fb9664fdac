"""What is no CZI that can be denoised is refused, wherever it was cut."""

import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from demo_czi import write_czi
from pylibCZIrw import czi as pylibczi

from denoise_daisy.errors import InputError
from denoise_daisy.images.czi import open_czi
from harness.czi_files import (
    ALL,
    ATTACHMENTS_AT,
    CELLS,
    LATTICE,
    MOSAIC,
    Change,
    directory_at,
    noise,
    patch_entries,
    put,
    refusal,
    write_tiles,
)

# What is no image


def test_a_path_with_nothing_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.czi")
    assert "directory" in refusal(tmp_path)
    assert "Not a directory" in refusal(Path(__file__) / "a.czi")


LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    b"size 12345\n"
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (LFS_POINTER, "git lfs pull"),
        (b"II*\0" + bytes(1000), "is no CZI: it begins with b'II*"),
        (b"\x89PNG\r\n\x1a\n", "is no CZI"),
        (b"ZISRAWFILE", "cut short or damaged"),
        (b"ZISRAWFILE" + bytes(600), "cut short or damaged"),
        (b"Z", "is no CZI"),
        (np.random.default_rng(0).bytes(5000), "is no CZI"),
    ],
)
def test_a_file_that_is_no_czi_is_refused(
    content: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.czi"
    path.write_bytes(content)
    assert words in refusal(path)


def test_a_czi_without_planes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    with pylibczi.create_czi(str(path)) as writer:
        writer.write_metadata("empty")
    assert "without any image data" in refusal(path)


def test_a_part_of_a_split_file_is_refused(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 8)))
    data = bytearray(path.read_bytes())
    struct.pack_into("<i", data, 32 + 48, 2)
    path.write_bytes(data)
    assert "part 2" in refusal(path)


def test_a_file_that_is_still_being_written_is_refused(tmp_path: Path) -> None:
    """Its directory comes last and the header points nowhere yet."""
    path = tmp_path / "a.czi"
    with pylibczi.create_czi(str(path)) as writer:
        writer.write(noise((64, 64, 1)), plane={"T": 0, "Z": 0, "C": 0})
        copy = tmp_path / "half.czi"
        copy.write_bytes(path.read_bytes())
        assert "Expected a" in refusal(copy)
        writer.write_metadata("a")
    assert open_czi(str(path)).shape == (1, 1, 1, 64, 64)


def cuts(path: Path, count: int) -> Iterable[tuple[int, Path]]:
    data = path.read_bytes()
    for i in range(count):
        short = path.with_name("cut.czi")
        size = len(data) * i // count
        short.write_bytes(data[:size])
        yield size, short


def test_a_cut_file_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((2, 1, 3, 30, 40)))
    for size, short in cuts(path, 60):
        said = refusal(short)
        assert "cut short" in said or "empty" in said or "no CZI" in said, size


@pytest.mark.parametrize("name", [CELLS, LATTICE, MOSAIC])
def test_a_cut_real_file_is_refused_or_lacks_nothing(
    name: str, tmp_path: Path, real_czi: Callable[[str], Path]
) -> None:
    """ZEN puts the directory in front: such a file opens, and lacks its last planes."""
    path = tmp_path / name
    path.write_bytes(real_czi(name).read_bytes())
    refused = 0
    for _, short in cuts(path, 40):
        try:
            image = open_czi(str(short), 0 if name == MOSAIC else None)
        except InputError:
            refused += 1
        else:
            whole = open_czi(str(path), 0 if name == MOSAIC else None)
            np.testing.assert_array_equal(image[ALL], whole[ALL])
    assert refused >= 30


def test_the_identity_tells_a_changed_file(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 8)))
    before = open_czi(str(path)).identity
    written = int(before["mtime_ns"])
    assert open_czi(str(path)).identity == before
    moved = path.rename(tmp_path / "b.czi")
    assert open_czi(str(moved)).identity == before
    os.utime(moved, ns=(0, written + 1))
    assert open_czi(str(moved)).identity != before
    write_czi(path, noise((1, 1, 1, 8, 8)))
    os.utime(path, ns=(0, written))
    assert open_czi(str(path)).identity != before


# What is damaged within


def set_dimension(name: bytes, at: int, number: int) -> Change:
    """Writes a number of a dimension: 4 is its first index, 8 its size."""

    def change(data: bytearray, _: int, dimensions: list[int]) -> None:
        [begin] = [d for d in dimensions if data[d : d + 4].rstrip(b"\0") == name]
        struct.pack_into("<i", data, begin + at, number)

    return change


def rename_dimension(name: bytes) -> Change:
    def change(data: bytearray, _: int, dimensions: list[int]) -> None:
        [begin] = [d for d in dimensions if data[d : d + 4].rstrip(b"\0") == name]
        data[begin : begin + 4] = b"Q".ljust(4, b"\0")

    return change


def set_in_entry(at: int, layout: str, value: object) -> Change:
    return lambda data, entry, _: struct.pack_into(layout, data, entry + at, value)


WRONG_ENTRIES: dict[str, Change] = {
    "of another schema": set_in_entry(0, "<2s", b"DE"),
    "in another file": set_in_entry(14, "<i", 1),
    "without dimensions": set_in_entry(28, "<i", 0),
    "of 33 dimensions": set_in_entry(28, "<i", 33),
    "of no depth": set_dimension(b"Z", 8, 0),
    "of less than no width": set_dimension(b"X", 8, -8),
    "without X": rename_dimension(b"X"),
    "without Y": rename_dimension(b"Y"),
}
"""By the CZI specification an entry is "DV", of file part 0, and has X and Y."""


@pytest.mark.parametrize("name", WRONG_ENTRIES)
def test_a_wrong_entry_of_the_directory_is_refused(name: str, tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 2, 8, 8)))
    patch_entries(path, lambda *_: None)
    assert open_czi(str(path)).shape == (1, 1, 2, 8, 8)
    said = refusal(patch_entries(path, WRONG_ENTRIES[name]))
    assert "cut short or damaged" in said
    assert "an entry of its sub-block directory is wrong" in said


@pytest.mark.parametrize("used", [431, 128 + 32 + 19, 128, 3])
def test_a_directory_that_ends_before_its_last_entry_is_refused(
    used: int, tmp_path: Path
) -> None:
    """Two entries of six dimensions of 20 bytes each, behind a header of 128."""
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 2, 8, 8)))
    size = directory_at(path.read_bytes()) + 24
    assert struct.unpack_from("<q", path.read_bytes(), size) == (432,)
    said = refusal(put(path, size, "<q", used))
    assert "its sub-block directory ends too early" in said


def test_a_directory_that_names_one_plane_more_than_it_has_is_refused(
    tmp_path: Path,
) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 2, 8, 8)))
    count = directory_at(path.read_bytes()) + 32
    said = refusal(put(path, count, "<i", 3))
    assert "its sub-block directory ends too early" in said


def test_planes_that_lie_too_far_apart_are_a_damaged_directory(tmp_path: Path) -> None:
    """Two planes of 64 pixels may span 128,000, and so 2000 planes, but no more."""
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 8)))
    assert open_czi(str(path)).shape == (1, 1, 1, 8, 8)
    for last in (1999, 2000):
        path.unlink()
        planes = [(f"T0 C0 Z{z}", noise((8, 8)), (0, 0)) for z in (0, last)]
        write_tiles(path, planes)
        if last == 1999:
            [warning] = open_czi(str(path)).warnings
            assert "1998 of 2000 planes are missing" in warning
    said = refusal(path)
    assert "The directory of" in said
    assert "spans T 1 C 1 Z 2001 Y 8 X 8, and holds 128 pixels" in said


def test_what_pylibczirw_can_not_open_is_refused(tmp_path: Path) -> None:
    """Its header points to a list of attachments where the file has ended.

    Where no plane needs pylibCZIrw, that is no harm.
    """
    path = write_czi(tmp_path / "a.czi", image := noise((1, 1, 1, 8, 8)))
    opened = open_czi(str(put(path, ATTACHMENTS_AT, "<q", 1 << 40)))
    np.testing.assert_array_equal(opened[ALL], image)
    path = write_czi(tmp_path / "b.czi", image, compression="zstd0:ExplicitLevel=1")
    said = refusal(put(path, ATTACHMENTS_AT, "<q", 1 << 40))
    assert "can't be opened as CZI: " in said
    assert ".. " not in said
    assert "copy it again" in said
