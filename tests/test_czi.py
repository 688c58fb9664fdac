"""The CZI reader returns what was written, wherever the file says that it lies.

Promised: voxels, type, origin, scale, channels and warnings of one scene; a refusal
with numbers for a file that can't be denoised.  pylibCZIrw reports all ranges as
starting at 0 and fills what a file lacks with zeros, so a reader that trusts it is
green on every file that starts at 0 and is complete; most files here are neither.
Planes are random and all different: a reader that returns another plane is red.
"""

import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from demo_czi import write_czi
from pylibCZIrw import czi as pylibczi

from denoise_daisy import czi_directory
from denoise_daisy.czi import CziImage, open_czi
from denoise_daisy.czi_directory import read_directory
from denoise_daisy.errors import InputError

ALL = (slice(None),) * 5
CELLS = "CellDivision_T3_Z5_CH2_X240_Y170.czi"
LATTICE = "LLS7_small.czi"
MOSAIC = "S3_1Pos_2Mosaic_T2_Z3_CH2_sm.czi"

Tile = tuple[str, np.ndarray, tuple[int, int]]
"""Coordinate text, pixels, and x, y of the first pixel."""


def noise(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    """Random values over the whole range of a type."""
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(0, 1e3, shape).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def write_tiles(path: Path, tiles: Iterable[Tile]) -> Path:
    """A CZI of any sub-blocks, which pylibCZIrw's own write() has no words for."""
    with pylibczi.create_czi(str(path)) as writer:
        for number, (where, pixels, (x, y)) in enumerate(tiles):
            samples = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
            data = writer._format_data(np.ascontiguousarray(samples))
            writer._czi_writer.AddTile(where, data, x, y, number, "")
        writer.write_metadata(path.stem)
    return path


def set_xml(path: Path, change: Callable[[str], str]) -> Path:
    with pylibczi.edit_czi(str(path)) as editor:
        xml = editor.read_metadata_xml()
        with editor.edit_session() as builder:
            builder.set_xml(change(xml))
    return path


def with_xml(path: Path, inner: str) -> CziImage:
    """A CZI of two channels whose metadata is this, and nothing else."""
    write_czi(path, noise((1, 2, 1, 8, 8)), time_step_s=None)
    set_xml(
        path, lambda _: f"<ImageDocument><Metadata>{inner}</Metadata></ImageDocument>"
    )
    return open_czi(str(path))


def patch_entries(
    path: Path, change: Callable[[bytearray, int, list[int]], None]
) -> Path:
    """Change entries of the directory, and their copies in the sub-blocks.

    `change` gets the bytes, where an entry begins, and where its dimensions begin.
    """
    data = bytearray(path.read_bytes())
    directory_at = czi_directory._HEADER.unpack_from(data, 32)[7]
    (count,) = struct.unpack_from("<i", data, directory_at + 32)
    at = directory_at + 32 + 128
    for _ in range(count):
        position, dimensions = (
            struct.unpack_from("<q", data, at + 6)[0],
            struct.unpack_from("<i", data, at + 28)[0],
        )
        for entry in (at, position + 32 + 16):
            change(data, entry, [entry + 32 + 20 * i for i in range(dimensions)])
        at += 32 + 20 * dimensions
    path.write_bytes(data)
    return path


def refusal(path: Path | str, **kwargs) -> str:
    with pytest.raises(InputError) as caught:
        open_czi(str(path), **kwargs)
    said = str(caught.value)
    assert repr(str(path)) in said
    assert "Expected" in said
    assert "\n" not in said
    return said


# What was written


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    "compression",
    [None, "zstd0:ExplicitLevel=3", "zstd1:ExplicitLevel=1;PreProcess=HiLoByteUnpack"],
)
@pytest.mark.parametrize("scenes", [False, True])
def test_voxels_are_those_written(
    dtype: str, compression: str | None, scenes: bool, tmp_path: Path
) -> None:
    image = noise((2, 3, 4, 21, 33), dtype)
    path = write_czi(
        tmp_path / "a.czi",
        image,
        start=(5, 0, 3),
        location=(-100, 70),
        compression=compression,
        scenes=scenes,
    )
    opened = open_czi(str(path))
    assert opened.shape == image.shape
    assert opened.ndim == 5
    assert opened.dtype == image.dtype
    assert opened.origin == (5, 3, 70, -100)
    assert opened.scene == (0 if scenes else None)
    assert opened.warnings == ()
    np.testing.assert_array_equal(opened[ALL], image)


def test_a_compressed_file_is_compressed(tmp_path: Path) -> None:
    """Else the test above compares three times the same."""
    image = noise((1, 1, 1, 200, 200)) & 7
    sizes = {
        compression: write_czi(
            tmp_path / f"{compression}.czi", image, compression=compression
        )
        .stat()
        .st_size
        for compression in (None, "zstd0:ExplicitLevel=3", "zstd1:ExplicitLevel=1")
    }
    plain = sizes.pop(None)
    assert all(size < plain / 2 for size in sizes.values())


def test_special_floats_are_kept(tmp_path: Path) -> None:
    image = noise((1, 1, 2, 9, 11), "float32")
    special = [np.nan, np.inf, -np.inf, -0.0, 1e-42, 3e38, -3e38]
    image[0, 0, 1, 4, : len(special)] = special
    read = open_czi(str(write_czi(tmp_path / "a.czi", image)))[ALL]
    np.testing.assert_array_equal(read.view(np.uint32), image.view(np.uint32))


@pytest.mark.parametrize(
    "start", [(0, 0, 0), (7, 0, 0), (0, 0, 9), (4, 2, 6), (1, 1, 1)]
)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 1), (3, 1, 1), (2, 2, 3)])
def test_t_z_and_c_may_start_anywhere(
    start: tuple[int, ...], shape: tuple[int, ...], tmp_path: Path
) -> None:
    """The library drops a dimension of one position, and reports 0 for all others."""
    image = noise((*shape, 6, 7))
    opened = open_czi(str(write_czi(tmp_path / "a.czi", image, start=start)))
    assert opened.shape == image.shape
    assert (opened.origin[0], opened.origin[1]) == (start[0], start[2])
    np.testing.assert_array_equal(opened[ALL], image)


@pytest.mark.parametrize(
    "location", [(-1, -1), (-70_000, 3), (118_583, 88_865), (1 << 30, -(1 << 30))]
)
def test_x_and_y_may_start_anywhere(location: tuple[int, int], tmp_path: Path) -> None:
    image = noise((1, 1, 2, 15, 17))
    opened = open_czi(str(write_czi(tmp_path / "a.czi", image, location=location)))
    assert opened.origin == (0, 0, location[1], location[0])
    np.testing.assert_array_equal(opened[ALL], image)
    part = (slice(0, 1), slice(0, 1), slice(1, 2), slice(3, 9), slice(5, 17))
    np.testing.assert_array_equal(opened[part], image[part])


@pytest.mark.parametrize("width", [1, 2, 33, 64, 101, 645])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_widths_that_pylibczirw_pads_are_read_whole(
    width: int, dtype: str, tmp_path: Path
) -> None:
    image = noise((1, 1, 1, 5, width), dtype)
    block = open_czi(str(write_czi(tmp_path / "a.czi", image)))[ALL]
    assert block.flags.c_contiguous
    assert block.flags.owndata
    assert block.flags.writeable
    np.testing.assert_array_equal(block, image)


def test_slices_are_those_of_numpy(tmp_path: Path) -> None:
    image = noise((3, 2, 5, 19, 23))
    opened = open_czi(str(write_czi(tmp_path / "a.czi", image, start=(2, 1, 8))))
    rng = np.random.default_rng(1)
    for _ in range(40):
        key = tuple(slice(*sorted(rng.integers(-n, n + 3, 2))) for n in image.shape)
        np.testing.assert_array_equal(opened[key], image[key], err_msg=str(key))


@pytest.mark.parametrize("axis", range(5))
def test_a_slice_of_length_0_is_empty_and_reads_nothing(
    axis: int, tmp_path: Path
) -> None:
    """Dask asks for one before anything else; pylibCZIrw fails on some of them."""
    path = write_czi(tmp_path / "a.czi", noise((2, 2, 2, 5, 6)))
    opened = open_czi(str(path))
    key = tuple(slice(0, 0) if i == axis else slice(None) for i in range(5))
    block = opened[key]
    assert block.shape == tuple(
        0 if i == axis else n for i, n in enumerate(opened.shape)
    )
    assert block.dtype == np.uint16
    assert "_reader" not in vars(opened)


# Channels


def test_every_channel_is_read_by_itself(tmp_path: Path) -> None:
    """The library's read() without C returns the first channel for all."""
    image = noise((1, 4, 2, 8, 9))
    opened = open_czi(str(write_czi(tmp_path / "a.czi", image, names="abcd")))
    for c in range(4):
        key = (slice(0, 1), slice(c, c + 1), *ALL[2:])
        np.testing.assert_array_equal(opened[key], image[:, c : c + 1])


@pytest.mark.parametrize("chosen", [(0,), (2,), (2, 0), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("first", [0, 3])
def test_channels_are_chosen_by_position_in_the_file(
    chosen: tuple[int, ...], first: int, tmp_path: Path
) -> None:
    image = noise((2, 3, 2, 8, 9))
    path = write_czi(tmp_path / "a.czi", image, start=(0, first, 0), names="abc")
    opened = open_czi(str(path), channels=chosen)
    assert opened.shape[1] == len(chosen) == len(opened.channels)
    if not first:
        assert [c.name for c in opened.channels] == ["abc"[i] for i in chosen]
    np.testing.assert_array_equal(opened[ALL], image[:, list(chosen)])


@pytest.mark.parametrize("chosen", [(3,), (0, 3), (1, 1), (0, 1, 2, 0), (10**9,)])
def test_channels_absent_or_twice_are_refused(
    chosen: tuple[int, ...], tmp_path: Path
) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 3, 1, 8, 9)))
    said = refusal(path, channels=chosen)
    assert str(list(chosen)) in said
    assert "3 channels" in said


# Scenes


def two_scenes(path: Path, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two scenes of unlike size, far apart."""
    a, b = noise((1, 1, 2, 12, 20)), noise((1, 1, 3, 9, 7), seed=1)
    tiles = [
        (f"S{first + s} T0 C0 Z{z}", image[0, 0, z], where)
        for s, image, where in [(0, a, (-30, 5)), (1, b, (400, -77))]
        for z in range(image.shape[2])
    ]
    write_tiles(path, tiles)
    return a, b


def test_each_scene_has_its_own_size_and_origin(tmp_path: Path) -> None:
    images = two_scenes(tmp_path / "a.czi")
    for scene, origin in [(0, (0, 0, 5, -30)), (1, (0, 0, -77, 400))]:
        opened = open_czi(str(tmp_path / "a.czi"), scene)
        assert opened.scene == scene
        assert opened.origin == origin
        np.testing.assert_array_equal(opened[ALL], images[scene])
        assert opened.warnings == ()


@pytest.mark.parametrize("scene", [None, 2, 99])
def test_an_absent_scene_is_refused_with_the_sizes_of_all(
    scene: int | None, tmp_path: Path
) -> None:
    two_scenes(tmp_path / "a.czi")
    said = refusal(tmp_path / "a.czi", scene=scene)
    assert ("null" if scene is None else str(scene)) in said
    assert "0 (T 1 C 1 Z 2 Y 12 X 20), 1 (T 1 C 1 Z 3 Y 9 X 7)" in said


def test_the_only_scene_need_not_be_named(tmp_path: Path) -> None:
    image = noise((1, 1, 2, 8, 9))
    write_tiles(
        tmp_path / "a.czi",
        [(f"S4 T0 C0 Z{z}", image[0, 0, z], (10, 20)) for z in range(2)],
    )
    for scene in (None, 4):
        opened = open_czi(str(tmp_path / "a.czi"), scene)
        assert opened.scene == 4
        np.testing.assert_array_equal(opened[ALL], image)
    assert "4 (T 1 C 1 Z 2 Y 8 X 9)" in refusal(tmp_path / "a.czi", scene=0)


@pytest.mark.parametrize("scene", [0, 1])
def test_a_scene_of_a_file_without_scenes_is_refused(
    scene: int, tmp_path: Path
) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 9)))
    assert "has no scenes" in refusal(path, scene=scene)


# What a file lacks


def test_missing_planes_are_zeros_and_warned_of(tmp_path: Path) -> None:
    image = noise((2, 2, 3, 6, 7))
    missing = [(0, 1, 2), (1, 0, 0), (1, 1, 1)]
    tiles = [
        (f"T{t + 3} C{c} Z{z + 5}", image[t, c, z], (0, 0))
        for t, c, z in np.ndindex(2, 2, 3)
        if (t, c, z) not in missing
    ]
    opened = open_czi(str(write_tiles(tmp_path / "a.czi", tiles)))
    for index in missing:
        image[index] = 0
    np.testing.assert_array_equal(opened[ALL], image)
    (warning,) = opened.warnings
    assert "3 of 12 planes are missing" in warning
    assert "T 0, C 1, Z 2" in warning


def test_gaps_between_tiles_are_zeros_and_warned_of(tmp_path: Path) -> None:
    """Tiles in two corners: half of the plane is nowhere in the file."""
    a, b = noise((10, 10)), noise((10, 10), seed=1)
    tiles = [("T0 C0 Z0", a, (100, 50)), ("T0 C0 Z0", b, (110, 60))]
    opened = open_czi(str(write_tiles(tmp_path / "a.czi", tiles)))
    expected = np.zeros((20, 20), np.uint16)
    expected[:10, :10], expected[10:, 10:] = a, b
    np.testing.assert_array_equal(opened[ALL][0, 0, 0], expected)
    (warning,) = opened.warnings
    assert "1 of 1 planes have gaps" in warning
    assert "50.0%" in warning


def test_tiles_that_overlap_or_touch_are_no_gap(tmp_path: Path) -> None:
    image = noise((20, 50))
    tiles = [
        ("T0 C0 Z0", image[:, :30], (0, 0)),
        ("T0 C0 Z0", image[:, 20:40], (20, 0)),
        ("T0 C0 Z0", image[:5, 40:], (40, 0)),
        ("T0 C0 Z0", image[5:, 40:], (40, 5)),
    ]
    opened = open_czi(str(write_tiles(tmp_path / "a.czi", tiles)))
    assert opened.warnings == ()
    np.testing.assert_array_equal(opened[ALL][0, 0, 0], image)


def test_planes_of_unlike_size_leave_gaps(tmp_path: Path) -> None:
    tiles = [
        ("T0 C0 Z0", noise((8, 8)), (0, 0)),
        ("T0 C0 Z1", noise((4, 8), seed=1), (0, 0)),
    ]
    opened = open_czi(str(write_tiles(tmp_path / "a.czi", tiles)))
    assert opened.shape == (1, 1, 2, 8, 8)
    assert "1 of 2 planes have gaps" in opened.warnings[0]
    assert not opened[ALL][0, 0, 1, 4:].any()


def test_pyramid_sub_blocks_are_left_out(tmp_path: Path) -> None:
    """A reduced copy claims twice its stored size and lies over the true planes."""
    image = noise((1, 1, 1, 16, 16))
    tiles = [
        ("T0 C0 Z0", image[0, 0, 0], (0, 0)),
        ("T0 C0 Z0", noise((20, 20), seed=1), (0, 0)),
    ]
    path = write_tiles(tmp_path / "a.czi", tiles)

    def shrink(data: bytearray, _: int, dimensions: list[int]) -> None:
        for at in dimensions:
            size, stored = struct.unpack_from("<i", data, at + 8)[0], at + 16
            if data[at : at + 1] in b"XY" and size == 20:
                struct.pack_into("<i", data, at + 8, 40)
                struct.pack_into("<i", data, stored, 20)

    patch_entries(path, shrink)
    kinds = [block.is_pyramid for block in read_directory(str(path)).sub_blocks]
    assert sorted(kinds) == [False, True]
    opened = open_czi(str(path))
    assert opened.shape == image.shape
    assert opened.warnings == ()
    np.testing.assert_array_equal(opened[ALL], image)


# Dimensions beyond these five


@pytest.mark.parametrize("dimension", ["H", "V", "I"])
@pytest.mark.parametrize("start", [0, 1, 5])
def test_another_dimension_of_one_position_is_dropped(
    dimension: str, start: int, tmp_path: Path
) -> None:
    image = noise((2, 1, 2, 6, 7))
    tiles = [
        (f"T{t} C0 Z{z} {dimension}{start}", image[t, 0, z], (0, 0))
        for t, z in np.ndindex(2, 2)
    ]
    opened = open_czi(str(write_tiles(tmp_path / "a.czi", tiles)))
    assert opened.shape == image.shape
    np.testing.assert_array_equal(opened[ALL], image)


@pytest.mark.parametrize("dimension", ["H", "V", "I"])
def test_another_dimension_of_more_positions_is_refused(
    dimension: str, tmp_path: Path
) -> None:
    tiles = [
        (f"T0 C0 Z0 {dimension}{i}", noise((6, 7), seed=i), (0, 0)) for i in range(3)
    ]
    said = refusal(write_tiles(tmp_path / "a.czi", tiles))
    assert f"3 positions along dimension {dimension}" in said
    assert f"{dimension} 3" in said


# Pixel types


def test_a_colour_image_is_refused(tmp_path: Path) -> None:
    tiles = [("T0 C0 Z0", noise((6, 7, 3), "uint8"), (0, 0))]
    said = refusal(write_tiles(tmp_path / "a.czi", tiles))
    assert "colour image (Bgr24)" in said


@pytest.mark.parametrize("where", ["T0 C1 Z0", "T0 C0 Z1"])
def test_mixed_pixel_types_are_refused(where: str, tmp_path: Path) -> None:
    """Of a plane of another type pylibCZIrw scales the values down, silently."""
    tiles = [
        ("T0 C0 Z0", noise((6, 7), "uint8"), (0, 0)),
        (where, noise((6, 7), "uint16"), (0, 0)),
    ]
    said = refusal(write_tiles(tmp_path / "a.czi", tiles))
    assert "mixes the pixel types Gray16, Gray8" in said


@pytest.mark.parametrize(
    ("number", "name"), [(10, "Gray64ComplexFloat"), (12, "Gray32"), (77, "type 77")]
)
def test_other_pixel_types_are_refused(number: int, name: str, tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 2, 6, 7)))

    def change(data: bytearray, at: int, _: list[int]) -> None:
        struct.pack_into("<i", data, at + 2, number)

    assert name in refusal(patch_entries(path, change))


# Pickling and laziness


@pytest.mark.parametrize("read_before", [False, True])
def test_an_image_survives_pickling(read_before: bool, tmp_path: Path) -> None:
    image = noise((1, 2, 2, 6, 7))
    opened = open_czi(str(write_czi(tmp_path / "a.czi", image, names="ab")))
    if read_before:
        np.testing.assert_array_equal(opened[ALL], image)
    copy = pickle.loads(pickle.dumps(opened))  # noqa: S301
    assert copy == opened
    assert len(pickle.dumps(opened)) < 4000
    np.testing.assert_array_equal(copy[ALL], image)


def test_a_fresh_process_reads_a_pickled_image(tmp_path: Path) -> None:
    image = noise((1, 1, 2, 6, 7))
    opened = open_czi(str(write_czi(tmp_path / "a.czi", image, start=(0, 0, 4))))
    assert opened[ALL].any()
    (tmp_path / "image.pickle").write_bytes(pickle.dumps(opened))
    code = (
        "import pickle, sys, numpy;"
        "image = pickle.load(open(sys.argv[1], 'rb'));"
        "numpy.save(sys.argv[2], image[(slice(None),) * 5])"
    )
    words = [str(tmp_path / "image.pickle"), str(tmp_path / "read.npy")]
    subprocess.run([sys.executable, "-c", code, *words], check=True, timeout=60)
    np.testing.assert_array_equal(np.load(tmp_path / "read.npy"), image)


def open_files() -> set[str]:
    fds = Path("/proc/self/fd")
    return {str(fd.readlink()) for fd in fds.iterdir() if fd.is_symlink()}


def test_the_file_is_opened_by_the_first_read_only(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 2, 6, 7)))
    opened = open_czi(str(path))
    assert str(path) not in open_files()
    assert opened[ALL].any()
    assert str(path) in open_files()
    del opened
    assert str(path) not in open_files()


# Metadata


def test_scale_is_in_micrometer_and_names_are_kept(tmp_path: Path) -> None:
    path = write_czi(
        tmp_path / "a.czi",
        noise((2, 2, 1, 8, 8)),
        names=("DAPI", "Größe 7 µm"),
        scale_um=(0.3, 0.145, 1.45e-3),
        time_step_s=12.25,
    )
    opened = open_czi(str(path))
    assert opened.scale_um == (0.3, 0.145, 0.00145)
    assert opened.time_step_s == 12.25
    assert [c.name for c in opened.channels] == ["DAPI", "Größe 7 µm"]


def test_a_file_without_metadata_has_none(tmp_path: Path) -> None:
    opened = with_xml(tmp_path / "a.czi", "")
    assert opened.scale_um == (None, None, None)
    assert opened.time_step_s is None
    assert [c.name for c in opened.channels] == ["Channel 0", "Channel 1"]
    assert [c.window for c in opened.channels] == [None, None]
    colors = [c.color for c in opened.channels]
    assert len(set(colors)) == 2
    assert all(len(color) == 6 and int(color, 16) for color in colors)
    assert opened.warnings == ()


@pytest.mark.parametrize(
    ("text", "micrometer"),
    [
        ("1.45E-07", 0.145),
        (" 3e-7\n", 0.3),
        ("0.000001", 1.0),
        ("0", None),
        ("-1e-7", None),
        ("", None),
        ("none", None),
        ("NaN", None),
        ("inf", None),
        ("1e999", None),
        ("1,45E-07", None),
    ],
)
def test_a_scale_that_is_no_length_is_none(
    text: str, micrometer: float | None, tmp_path: Path
) -> None:
    opened = with_xml(
        tmp_path / "a.czi",
        f"<Scaling><Items><Distance Id='Y'><Value>{text}</Value></Distance>"
        "<Distance Id='X'/></Items></Scaling>",
    )
    assert opened.scale_um == (None, micrometer, None)


@pytest.mark.parametrize(
    ("positions", "seconds"),
    [
        ("<Interval><Increment>33.412</Increment></Interval>", 33.412),
        ("<List><Offsets>0 90.038</Offsets></List>", 90.038),
        ("<List><Offsets>5 7 9.5 11</Offsets></List>", 2.0),
        ("<Interval><Increment>0</Increment></Interval>", None),
        ("<Interval><Increment>x</Increment></Interval>", None),
        ("<List><Offsets>0</Offsets></List>", None),
        ("<List><Offsets></Offsets></List>", None),
        ("<List><Offsets>0 later</Offsets></List>", None),
        ("<List><Offsets>9 0</Offsets></List>", None),
        ("<List/>", None),
    ],
)
def test_the_time_step_is_read_where_it_is_one(
    positions: str, seconds: float | None, tmp_path: Path
) -> None:
    opened = with_xml(
        tmp_path / "a.czi",
        "<Information><Image><Dimensions><T><Positions>"
        f"{positions}</Positions></T></Dimensions></Image></Information>",
    )
    assert opened.time_step_s == seconds


@pytest.mark.parametrize(
    ("inside", "color", "window"),
    [
        ("<Color>#FF123abc</Color>", "123ABC", None),
        ("<Color>#123abc</Color>", "123ABC", None),
        ("<Color>red</Color>", None, None),
        ("<Color></Color>", None, None),
        ("<Low>0.25</Low><High>0.5</High>", None, (16384, 32768)),
        ("<High>1</High>", None, (0, 65535)),
        ("<Low>0</Low><High>1</High>", None, (0, 65535)),
        ("<Low>0.5</Low>", None, None),
        ("<Low>0.5</Low><High>0.5</High>", None, None),
        ("<Low>0.6</Low><High>0.5</High>", None, None),
        ("<Low>0</Low><High>1.5</High>", None, None),
        ("<Low>0</Low><High>-1</High>", None, None),
        ("<Low>a</Low><High>b</High>", None, None),
    ],
)
def test_colours_and_windows_are_read_where_they_are_such(
    inside: str, color: str | None, window: tuple | None, tmp_path: Path
) -> None:
    opened = with_xml(
        tmp_path / "a.czi",
        "<DisplaySetting><Channels><Channel Name='shown'>"
        f"{inside}</Channel></Channels></DisplaySetting>",
    )
    first, second = opened.channels
    assert first.name == "shown"
    assert first.window == window
    assert first.color == (color or "00FF00")
    assert second.window is None


def test_metadata_of_too_many_channels_is_no_problem(tmp_path: Path) -> None:
    channels = "".join(f"<Channel Name='c{i}'/>" for i in range(5))
    opened = with_xml(
        tmp_path / "a.czi",
        f"<Information><Image><Dimensions><Channels>{channels}</Channels></Dimensions>"
        "</Image></Information>",
    )
    assert [c.name for c in opened.channels] == ["c0", "c1"]


@pytest.mark.parametrize(
    ("text", "warned"),
    [("Skew60", True), ("Skew30", True), ("None", False), ("", False)],
)
def test_a_skewed_stack_is_warned_of(text: str, warned: bool, tmp_path: Path) -> None:
    opened = with_xml(tmp_path / "a.czi", f"<ZAxisShear>{text}</ZAxisShear>")
    assert bool(opened.warnings) == warned
    assert all("ZAxisShear" in w and repr(text) in w for w in opened.warnings)


def test_metadata_that_is_no_xml_is_warned_of(tmp_path: Path) -> None:
    """The pixels are all there; only scales and names are lost."""
    image = noise((1, 1, 2, 8, 8))
    path = write_czi(tmp_path / "a.czi", image)
    data = bytearray(path.read_bytes())
    metadata_at = czi_directory._HEADER.unpack_from(data, 32)[8]
    tag = data.index(b"<ImageDocument", metadata_at)
    data[tag + 3 : tag + 4] = b"<"
    path.write_bytes(data)
    opened = open_czi(str(path))
    assert "metadata can't be read" in opened.warnings[0]
    np.testing.assert_array_equal(opened[ALL], image)


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
    assert open_czi(str(path)).identity == before
    moved = path.rename(tmp_path / "b.czi")
    assert open_czi(str(moved)).identity == before
    os.utime(moved, ns=(0, before["mtime_ns"] + 1))
    assert open_czi(str(moved)).identity != before
    write_czi(path, noise((1, 1, 1, 8, 8)))
    os.utime(path, ns=(0, before["mtime_ns"]))
    assert open_czi(str(path)).identity != before


# Real files


@pytest.mark.parametrize(
    ("name", "scene"),
    [(CELLS, None), (LATTICE, None), (MOSAIC, 0), (MOSAIC, 1), (MOSAIC, 2)],
)
def test_a_real_file_is_read_as_pylibczirw_reads_it(
    name: str, scene: int | None, real_czi: Callable[[str], Path]
) -> None:
    path = str(real_czi(name))
    opened = open_czi(path, scene)
    with pylibczi.open_czi(path) as reader:
        boxes = reader.total_bounding_box
        assert opened.shape[:3] == tuple(boxes[d][1] for d in "TCZ")
        for t, c, z in np.ndindex(opened.shape[:3]):
            plane = {"T": t, "C": c, "Z": z}
            expected = reader.read(plane=plane, scene=scene)[..., 0]
            key = tuple(slice(i, i + 1) for i in (t, c, z))
            found = opened[(*key, slice(None), slice(None))][0, 0, 0]
            np.testing.assert_array_equal(found, expected)
            assert found.any()


@pytest.mark.parametrize("name", [CELLS, LATTICE, MOSAIC])
def test_the_directory_of_a_real_file_is_that_of_pylibczirw(
    name: str, real_czi: Callable[[str], Path]
) -> None:
    path = str(real_czi(name))
    found = sorted(
        (
            tuple(sorted((d, n) for d, n in b.start.items() if d not in "XYM")),
            (b.start["X"], b.start["Y"], b.size["X"], b.size["Y"]),
            b.pixel_type,
            b.is_pyramid,
        )
        for b in read_directory(path).sub_blocks
    )
    expected = []

    def collect(_: int, info) -> bool:
        rect = info.logicalRect
        expected.append(
            (
                tuple(sorted(info.coordinate.to_dict().items())),
                (rect.x, rect.y, rect.w, rect.h),
                str(info.pixelType).rpartition(".")[2],
                info.get_zoom() < 1,
            )
        )
        return True

    with pylibczi.open_czi(path) as reader:
        reader.enumerate_subblocks(collect)
    assert found == sorted(expected)
    assert len(found) > 10


def test_the_metadata_of_real_files_is_what_zen_shows(
    real_czi: Callable[[str], Path],
) -> None:
    lattice = open_czi(str(real_czi(LATTICE)))
    assert lattice.scale_um == (0.144992, 0.144992, 0.144992)
    assert lattice.time_step_s == 90.038
    assert lattice.warnings == ()
    cells = open_czi(str(real_czi(CELLS)))
    assert [c.name for c in cells.channels] == ["LED555", "LED470"]
    assert [c.color for c in cells.channels] == ["FF7E00", "00FF33"]
    assert cells.scale_um[0] == 0.32
    assert cells.time_step_s == pytest.approx(60.075)
    assert cells.dtype == np.uint16


def test_a_real_mosaic_needs_its_scene_and_tells_of_gaps(
    real_czi: Callable[[str], Path],
) -> None:
    path = real_czi(MOSAIC)
    said = refusal(path)
    for size in ("Y 122 X 295", "Y 64 X 64", "Y 237 X 352"):
        assert size in said
    for scene in range(3):
        opened = open_czi(str(path), scene)
        assert bool(opened.warnings) == has_gaps(path, scene, opened.shape), scene


def has_gaps(path: Path, scene: int, shape: tuple[int, ...]) -> bool:
    """Whether pylibCZIrw fills anything in: it then shows the background's colour."""
    with pylibczi.open_czi(str(path)) as reader:
        for t, c, z in np.ndindex(shape[:3]):
            plane = {"T": t, "C": c, "Z": z}
            white = reader.read(plane=plane, scene=scene, background_pixel=(1, 1, 1))
            if (white != reader.read(plane=plane, scene=scene)).any():
                return True
    return False
