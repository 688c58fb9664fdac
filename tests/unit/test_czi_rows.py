"""Rows of uncompressed tiles are read where they lie, as pylibCZIrw would show them.

pylibCZIrw reads whole sub-blocks, and so does a reader that always asks it: nothing but
the bytes that were read tells it from this one.
"""

import math
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import czifile
import numpy as np
import pytest
from demo_czi import write_czi
from hypothesis import given, settings
from hypothesis import strategies as st
from pylibCZIrw import czi as pylibczi

from denoise_daisy.errors import InputError
from denoise_daisy.images.czi import CziImage, open_czi
from harness.czi_files import (
    ALL,
    CELLS,
    LATTICE,
    MOSAIC,
    noise,
    patch_entries,
    put,
    write_tiles,
)
from harness.reader_contract import some_keys

NO_NUMBER = -(2**31)
"""Of a tile that pylibCZIrw writes without M."""

TileAt = tuple[int, int, int, int, int, int | None]
"""z, y, x, height, width and M."""


def write_numbered(path: Path, tiles: Sequence[TileAt], dtype: str = "uint16") -> Path:
    """A CZI of random tiles; several of a plane may have the same M."""
    with pylibczi.create_czi(str(path)) as writer:
        for i, (z, y, x, height, width, m) in enumerate(tiles):
            pixels = noise((height, width, 1), dtype, seed=i)
            number = NO_NUMBER if m is None else i
            data = writer._format_data(pixels)
            writer._czi_writer.AddTile(f"T0 C0 Z{z}", data, x, y, number, "")
        writer.write_metadata("tiles")

    def renumber(data: bytearray, _: int, dimensions: list[int]) -> None:
        for at in dimensions:
            if data[at : at + 4] == b"M\0\0\0":
                [i] = struct.unpack_from("<i", data, at + 4)
                # The copy of an entry without M has one, too, which means nothing.
                if i != NO_NUMBER:
                    struct.pack_into("<i", data, at + 4, tiles[i][5])

    return patch_entries(path, renumber)


def as_pylibczirw_has_it(path: Path, image: CziImage) -> np.ndarray:
    t0, z0, y0, x0 = image.origin
    t, c, z, y, x = image.shape
    found = np.empty(image.shape, image.dtype)
    with pylibczi.open_czi(str(path)) as reader:
        for i, j, k in np.ndindex(t, c, z):
            plane = {"T": t0 + i, "C": image.first_channel + j, "Z": z0 + k}
            pixels = reader.read(
                roi=(x0, y0, x, y), plane=plane, scene=image.scene, pixel_type=None
            )
            found[i, j, k] = pixels[..., 0]
    return found


@contextmanager
def no_composing() -> Iterator[None]:
    """In here, pylibCZIrw is not asked."""
    with mock.patch.object(CziImage, "_composed", side_effect=AssertionError):
        yield


PLACES = st.integers(-6, 6)
EDGES = st.integers(1, 9)


@st.composite
def any_tiles(draw: st.DrawFn) -> list[TileAt]:
    numbers: st.SearchStrategy[int | None] = draw(
        st.sampled_from(
            [st.none(), st.integers(-3, 40), st.one_of(st.none(), st.integers(0, 2))]
        )
    )
    tile = st.tuples(st.integers(0, 1), PLACES, PLACES, EDGES, EDGES, numbers)
    # Two without M at the same place, pylibCZIrw does not write.
    return draw(
        st.lists(tile, min_size=1, max_size=24, unique_by=lambda each: each[:3])
    )


def are_always_shown_alike(tiles: list[TileAt]) -> bool:
    """Whether pylibCZIrw shows them alike, whatever part of them it is asked for.

    It sorts the tiles in that part by `std::sort`, which leaves those of equal M as
    they stand in the directory where they are no more than sixteen.
    """
    for plane in (0, 1):
        numbers = [number for at, *_, number in tiles if at == plane]
        told = None not in numbers and len(set(numbers)) == len(numbers)
        if len(numbers) > 16 and not told:
            return False
    return True


@settings(max_examples=60)
@given(
    any_tiles().filter(are_always_shown_alike),
    st.sampled_from(["uint8", "uint16", "float32"]),
    st.integers(0),
)
def test_tiles_that_overlap_are_shown_as_pylibczirw_shows_them(
    tmp_path_factory: pytest.TempPathFactory,
    tiles: list[TileAt],
    dtype: str,
    seed: int,
) -> None:
    path = write_numbered(tmp_path_factory.mktemp("a") / "a.czi", tiles, dtype)
    image = open_czi(str(path))
    expected = as_pylibczirw_has_it(path, image)
    for key in [ALL, *some_keys(image.shape, 6, seed)]:
        np.testing.assert_array_equal(image[key], expected[key], err_msg=str(key))


@settings(max_examples=60)
@given(any_tiles(), st.integers(0))
def test_any_part_of_tiles_that_overlap_is_that_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, tiles: list[TileAt], seed: int
) -> None:
    """Which pylibCZIrw does not hold of more than sixteen."""
    path = write_numbered(tmp_path_factory.mktemp("a") / "a.czi", tiles)
    image = open_czi(str(path))
    expected = np.zeros(image.shape, np.uint16)
    _, z0, y0, x0 = image.origin
    for i in lowest_first(path, tiles):
        z, y, x, height, width, _ = tiles[i]
        part = expected[0, 0, z - z0, y - y0 : y - y0 + height]
        part[:, x - x0 : x - x0 + width] = noise((height, width), seed=i)
    for key in [ALL, *some_keys(image.shape, 6, seed)]:
        with no_composing():
            np.testing.assert_array_equal(image[key], expected[key], err_msg=str(key))


def lowest_first(path: Path, tiles: Sequence[TileAt]) -> list[int]:
    """Tiles by number, the lowest without; alike ones as they stand in the directory.

    That is read by another reader.
    """
    with czifile.CziFile(path) as file:
        entries = [
            {d.dimension: d.start for d in entry.dimension_entries}
            for entry in file.subblock_directory
        ]
    places = [tile[:3] for tile in tiles]
    order = [places.index((at["Z"], at["Y"], at["X"])) for at in entries]
    numbers = [-math.inf if n is None else n for *_, n in tiles]
    return sorted(order, key=lambda i: numbers[i])


def test_the_highest_number_lies_on_top(tmp_path: Path) -> None:
    """Whatever the order in the directory."""
    tiles = [(0, 0, 0, 8, 8, 5), (0, 2, 2, 8, 8, 3), (0, 4, 0, 3, 12, 4)]
    path = write_numbered(tmp_path / "a.czi", tiles)
    expected = np.zeros((10, 12), np.uint16)
    for i in (1, 2, 0):
        _, y, x, height, width, _ = tiles[i]
        expected[y : y + height, x : x + width] = noise((height, width), seed=i)
    with no_composing():
        found = open_czi(str(path))[ALL][0, 0, 0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("numbers", [(None, None), (None, -1), (-1, None), (7, 7)])
def test_of_tiles_without_or_with_the_same_number_the_later_lies_on_top(
    numbers: tuple[int | None, int | None], tmp_path: Path
) -> None:
    """But one without lies below all that have one."""
    a, b = numbers
    tiles = [(0, 0, 0, 8, 8, a), (0, 0, 6, 8, 8, b)]
    path = write_numbered(tmp_path / "a.czi", tiles)
    assert composed(path) == 0
    between = open_czi(str(path))[*ALL[:4], slice(6, 8)][0, 0, 0]
    first, second = (noise((8, 8), seed=i) for i in (0, 1))
    expected = first[:, 6:] if numbers == (-1, None) else second[:, :2]
    np.testing.assert_array_equal(between, expected)


def test_the_largest_number_is_none_to_pylibczirw(tmp_path: Path) -> None:
    """It lies below all others."""
    tiles = [(0, 0, 0, 8, 8, 5), (0, 2, 2, 8, 8, 2**31 - 1)]
    path = write_numbered(tmp_path / "a.czi", tiles)
    assert composed(path) == 0


def test_scenes_that_overlap_are_kept_apart(tmp_path: Path) -> None:
    tiles = [(f"S{s} T0 C0 Z0", noise((8, 9), seed=s), (3 * s, 0)) for s in range(3)]
    path = write_tiles(tmp_path / "a.czi", tiles)
    for scene in range(3):
        with no_composing():
            found = open_czi(str(path), scene)[ALL][0, 0, 0]
        np.testing.assert_array_equal(found, noise((8, 9), seed=scene))


def test_where_some_sub_blocks_lack_a_dimension_pylibczirw_is_asked(
    tmp_path: Path,
) -> None:
    """What has no Z, it shows at all of them."""
    a, b, c = (noise((8, 9), seed=i) for i in range(3))
    path = write_tiles(
        tmp_path / "a.czi",
        [("T0 C0 Z0", a, (0, 0)), ("T0 C0 Z1", b, (0, 0)), ("T0 C0 Z0", c, (9, 0))],
    )

    def forget_z(data: bytearray, _: int, dimensions: list[int]) -> None:
        if b"\x09\0\0\0" in [data[at + 4 : at + 8] for at in dimensions]:
            [at] = [at for at in dimensions if data[at : at + 4] == b"Z\0\0\0"]
            data[at : at + 4] = b"R\0\0\0"

    assert composed(path) == 0
    assert composed(patch_entries(path, forget_z)) == 2


@pytest.mark.parametrize(
    ("name", "scene"),
    [(CELLS, None), (LATTICE, None), (MOSAIC, 0), (MOSAIC, 1), (MOSAIC, 2)],
)
def test_any_part_of_a_real_file_is_read_without_pylibczirw(
    name: str, scene: int | None, real_czi: Callable[[str], Path]
) -> None:
    path = real_czi(name)
    image = open_czi(str(path), scene)
    expected = as_pylibczirw_has_it(path, image)
    with no_composing():
        for key in [ALL, *some_keys(image.shape, 30, seed=1)]:
            np.testing.assert_array_equal(image[key], expected[key])


# What is read


def bytes_read() -> int:
    """By this process so far, from any file."""
    [line] = [
        line
        for line in Path("/proc/self/io").read_text().splitlines()
        if line.startswith("rchar")
    ]
    return int(line.split()[1])


@pytest.mark.parametrize(
    "part",
    [(slice(100, 164), slice(None)), (slice(7, 500), slice(300, 480)), ALL[:2]],
    ids=["rows", "columns", "all"],
)
def test_little_more_is_read_than_what_is_wanted(
    part: tuple[slice, slice], tmp_path: Path
) -> None:
    """Of planes of 500 x 600: 64 rows, and columns that are no third of them."""
    voxels = noise((1, 1, 4, 500, 600))
    image = open_czi(str(write_czi(tmp_path / "a.czi", voxels)))
    assert image[:1, :1, :1, :1, :1].size  # opened
    key = (*ALL[:2], slice(1, 4), *part)
    before = bytes_read()
    found = image[key]
    assert bytes_read() - before < 1.05 * found.nbytes + 8192
    np.testing.assert_array_equal(found, voxels[key])


# What takes pylibCZIrw


def composed(path: Path) -> int:
    """How many planes pylibCZIrw is asked for, all of which are as it has them."""
    image = open_czi(str(path))
    ask = CziImage._composed
    with mock.patch.object(CziImage, "_composed", autospec=True, side_effect=ask) as it:
        found = image[ALL]
    np.testing.assert_array_equal(found, as_pylibczirw_has_it(path, image))
    return int(it.call_count)


def own_entries(path: Path) -> list[int]:
    """Bytes where the sub-blocks' own entries begin."""
    data = path.read_bytes()
    begins, at = [], data.find(b"ZISRAWSUBBLOCK")
    while at >= 0:
        begins.append(at + 32 + 16)
        at = data.find(b"ZISRAWSUBBLOCK", at + 1)
    return begins


def test_compressed_planes_are_left_to_pylibczirw(tmp_path: Path) -> None:
    voxels = noise((1, 1, 2, 30, 40)) & 7
    plain = write_czi(tmp_path / "a.czi", voxels)
    assert composed(plain) == 0
    packed = write_czi(tmp_path / "b.czi", voxels, compression="zstd0:ExplicitLevel=3")
    assert composed(packed) == 2


def test_a_sub_block_of_too_few_bytes_is_filled_up_by_pylibczirw(
    tmp_path: Path,
) -> None:
    """A number in front of the second plane's own entry says how many there are."""
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 2, 30, 40)))
    entry = own_entries(path)[1]
    assert composed(put(path, entry - 8, "<q", 2400)) == 0
    assert composed(put(path, entry - 8, "<q", 2399)) == 1


@pytest.mark.parametrize(
    ("at", "value"),
    [(2, 0), (18, 5), (32 + 8, 39), (32 + 16, 30), (32 + 20 + 16, 29)],
    ids=["type", "compression", "width", "stored width", "stored height"],
)
def test_a_sub_block_that_is_not_what_the_directory_says_is_refused(
    at: int, value: int, tmp_path: Path
) -> None:
    """By pylibCZIrw, whose words these are; the other plane can be read."""
    path = write_czi(tmp_path / "a.czi", voxels := noise((1, 1, 2, 30, 40)))
    begin = own_entries(path)[1]
    assert path.read_bytes()[begin : begin + 2] == b"DV"
    image = open_czi(str(put(path, begin + at, "<i", value)))
    np.testing.assert_array_equal(
        image[*ALL[:2], slice(0, 1), *ALL[3:]], voxels[:, :, :1]
    )
    with pytest.raises(InputError, match=r"T 0 C 0 Z 1 of .* do not match"):
        image[ALL]


def test_pixels_lie_behind_the_metadata_of_their_sub_block(tmp_path: Path) -> None:
    path, pixels = tmp_path / "a.czi", noise((8, 9))
    with pylibczi.create_czi(str(path)) as writer:
        for i, text in enumerate(("", "<METADATA/>", "<METADATA>abc</METADATA>")):
            data = writer._format_data(pixels[..., np.newaxis] // (i + 1))
            writer._czi_writer.AddTile(f"T0 C0 Z{i}", data, 0, 0, 0, text)
        writer.write_metadata("a")
    assert composed(path) == 0


def test_an_entry_of_many_dimensions_moves_the_pixels(tmp_path: Path) -> None:
    """Beyond ten of them, the segment in front of the pixels has to grow."""
    path = tmp_path / "a.czi"
    where = "T0 C0 Z0 R1 I2 H3 V4 B5 S6"
    voxels = noise((8, 9))
    write_tiles(path, [(where, voxels, (3, 4))])
    [begin] = own_entries(path)
    assert struct.unpack_from("<i", path.read_bytes(), begin + 28) == (12,)
    image = open_czi(str(path))
    with no_composing():
        np.testing.assert_array_equal(image[ALL][0, 0, 0], voxels)


def test_a_file_that_can_not_be_opened_twice_is_left_to_pylibczirw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = open_czi(
        str(write_czi(tmp_path / "a.czi", voxels := noise((1, 1, 1, 5, 6))))
    )
    monkeypatch.setattr(os, "open", mock.Mock(side_effect=OSError))
    np.testing.assert_array_equal(image[ALL], voxels)


def test_a_plane_that_was_cut_off_after_opening_is_refused(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 30, 40)))
    image = open_czi(str(path))
    assert image[ALL].any()
    os.truncate(path, own_entries(path)[0] + 500)
    with pytest.raises(InputError, match="can't be opened as CZI: Not enough data"):
        image[ALL]
