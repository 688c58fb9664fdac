"""What a CZI lacks, and what lies in it twice: told from its directory alone.

Areas of tiles add up to that of the plane in the cases here, and sizes that a writer
left at 0 are told elsewhere in the file; a reader that adds up, or that takes 0 for a
size, is green on all other files.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from demo_czi import write_czi
from pylibCZIrw import czi as pylibczi

from denoise_daisy.errors import InputError
from denoise_daisy.images.czi import open_czi
from denoise_daisy.images.czi_directory import read_directory
from harness.czi_files import directory_at

ALL = (slice(None),) * 5


def noise(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Random voxels, none of which is 0."""
    return np.random.default_rng(seed).integers(1, 60_000, shape, np.uint16)


def write_tiles(path: Path, image: np.ndarray, tiles: list[tuple[slice, slice]]) -> str:
    """A CZI of one plane, of which only these parts are in it."""
    with pylibczi.create_czi(str(path)) as writer:
        for y, x in tiles:
            pixels = np.ascontiguousarray(image[y, x])[..., np.newaxis]
            writer.write(pixels, location=(x.start, y.start))
        writer.write_metadata("tiles")
    return str(path)


# Rows, columns and what is missing of the plane of 20 x 20 pixels
COVERED_TWICE = {
    "side by side": ([(0, 20, 0, 10), (0, 10, 0, 20)], 0.25),
    "the same tile twice": ([(0, 20, 0, 10), (0, 20, 0, 10), (0, 2, 19, 20)], 0.495),
    "one within the other": ([(0, 20, 0, 15), (5, 15, 0, 10), (0, 2, 19, 20)], 0.245),
    "a hole in the middle": (
        [(0, 20, 0, 8), (0, 20, 12, 20), (0, 8, 0, 20), (12, 20, 0, 20)],
        0.04,
    ),
}
"""Begin and end of rows and columns of each tile, and the part of the plane that is in
none of them.  Together they have as many pixels as the plane, or nearly so."""


@pytest.mark.parametrize("name", COVERED_TWICE)
def test_a_gap_counts_though_other_places_are_covered_twice(
    name: str, tmp_path: Path
) -> None:
    tiles, missing = COVERED_TWICE[name]
    image = noise((20, 20))
    parts = [(slice(a, b), slice(c, d)) for a, b, c, d in tiles]
    opened = open_czi(write_tiles(tmp_path / "a.czi", image, parts))
    there = np.zeros((20, 20), bool)
    for part in parts:
        there[part] = True
    assert there.mean() == pytest.approx(1 - missing)
    np.testing.assert_array_equal(opened[ALL][0, 0, 0], image * there)
    [warning] = opened.warnings
    assert "1 of 1 planes have gaps between tiles" in warning
    assert f"up to {missing:.1%} of the plane" in warning


def test_a_plane_that_is_missing_is_named_as_the_image_counts(tmp_path: Path) -> None:
    """From 0, wherever the file's own numbers begin."""
    path, image = tmp_path / "a.czi", noise((2, 1, 2, 8, 8))
    with pylibczi.create_czi(str(path)) as writer:
        for t, z in ((0, 0), (0, 1), (1, 0)):
            pixels = np.ascontiguousarray(image[t, 0, z])[..., np.newaxis]
            writer.write(pixels, plane={"T": 30 + t, "C": 0, "Z": 50 + z})
        writer.write_metadata("planes")
    opened = open_czi(str(path))
    image[1, 0, 1] = 0
    np.testing.assert_array_equal(opened[ALL], image)
    [warning] = opened.warnings
    assert "1 of 4 planes are missing in the file" in warning
    assert "(the first: T 1, C 0, Z 1)" in warning


def dimensions_of(data: bytes | bytearray, at: int) -> dict[str, int]:
    """Where the dimensions of a directory's entry begin, by name."""
    (count,) = struct.unpack_from("<i", data, at + 28)
    begins = [at + 32 + 20 * i for i in range(count)]
    return {data[b : b + 4].rstrip(b"\0").decode(): b for b in begins}


@pytest.mark.parametrize("axis", ["X", "Y"])
def test_a_sub_block_that_is_reduced_along_one_axis_is_no_part_of_the_image(
    axis: str, tmp_path: Path
) -> None:
    """It claims twice the pixels that it holds, along that axis."""
    image, path = noise((30, 30)), tmp_path / "a.czi"
    write_tiles(
        path, image, [(slice(0, 10), slice(0, 10)), (slice(0, 20), slice(0, 20))]
    )
    data = bytearray(path.read_bytes())
    entry, reduced = directory_at(data) + 32 + 128, 0
    for _ in range(2):
        [position] = struct.unpack_from("<q", data, entry + 6)
        dimensions = dimensions_of(data, entry)
        for at in (entry, position + 32 + 16):
            begin = dimensions_of(data, at)[axis]
            [size] = struct.unpack_from("<i", data, begin + 8)
            if size == 20:
                struct.pack_into("<i", data, begin + 8, 40)
                struct.pack_into("<i", data, begin + 16, 20)
                reduced += 1
        entry += 32 + 20 * len(dimensions)
    assert reduced == 2
    path.write_bytes(data)
    kinds = read_directory(str(path)).sub_blocks.is_pyramid
    assert sorted(kinds) == [False, True]
    opened = open_czi(str(path))
    assert opened.shape == (1, 1, 1, 10, 10)
    assert opened.warnings == ()


def segments(data: bytes | bytearray) -> list[tuple[str, int]]:
    """All segments of a file, which lie one behind the other: name and position."""
    found, at = [], 0
    while at < len(data):
        name, allocated, _ = struct.unpack_from("<16sqq", data, at)
        found.append((name.rstrip(b"\0").decode(), at))
        at += 32 + allocated
    return found


def without_used_sizes(path: Path, image: np.ndarray) -> bytes:
    """A CZI in which no segment says how much of it is used."""
    write_czi(path, image)
    data = bytearray(path.read_bytes())
    names = [name for name, _ in segments(data)]
    assert {"ZISRAWDIRECTORY", "ZISRAWSUBBLOCK", "ZISRAWFILE"} < set(names)
    for _, at in segments(data):
        struct.pack_into("<q", data, at + 24, 0)
    path.write_bytes(data)
    return bytes(data)


def test_a_segment_that_tells_no_used_size_is_used_whole(tmp_path: Path) -> None:
    """As the format has it: 0 stands for the size that was allocated."""
    image, path = noise((2, 1, 2, 8, 8)), tmp_path / "a.czi"
    without_used_sizes(path, image)
    opened = open_czi(str(path))
    assert opened.shape == image.shape
    assert len(read_directory(str(path)).sub_blocks) == 4
    np.testing.assert_array_equal(opened[ALL], image)


def test_a_segment_that_tells_no_used_size_is_missed_where_the_file_is_cut(
    tmp_path: Path,
) -> None:
    """By the last sub-block, which lies at the end once the directory lies before."""
    path = tmp_path / "a.czi"
    data = without_used_sizes(path, noise((1, 1, 1, 8, 8)))
    places = dict(segments(data))
    first, end = places["ZISRAWDIRECTORY"], len(data)
    # The directory and all behind it come before the sub-block, which is moved back.
    [allocated] = struct.unpack_from("<q", data, places["ZISRAWSUBBLOCK"] + 16)
    begin = places["ZISRAWSUBBLOCK"]
    sub_block = data[begin : begin + 32 + allocated]
    moved = bytearray(data + sub_block)
    struct.pack_into("<q", moved, first + 32 + 128 + 6, end)
    path.write_bytes(moved)
    assert read_directory(str(path)).sub_blocks.positions.tolist() == [end]
    path.write_bytes(moved[:-1])
    with pytest.raises(InputError, match="cut short or damaged"):
        read_directory(str(path))
