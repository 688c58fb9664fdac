"""The CZI reader returns what was written, wherever the file says that it lies.

Promised: voxels, type, origin, scale, channels and warnings of one scene; a refusal
with numbers for a file that can't be denoised.  pylibCZIrw reports all ranges as
starting at 0 and fills what a file lacks with zeros, so a reader that trusts it is
green on every file that starts at 0 and is complete; most files here are neither.
Planes are random and all different: a reader that returns another plane is red.
"""

import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy.images.czi import open_czi
from denoise_daisy.images.czi_directory import read_directory
from harness.czi_files import ALL, noise, patch_entries, refusal, write_tiles

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
    assert not {"_composer", "_rows"} & vars(opened).keys()


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
    for scene in (None, 0, 4):
        opened = open_czi(str(tmp_path / "a.czi"), scene)
        assert opened.scene == 4
        np.testing.assert_array_equal(opened[ALL], image)
    assert "4 (T 1 C 1 Z 2 Y 8 X 9)" in refusal(tmp_path / "a.czi", scene=1)


def test_a_file_without_scenes_is_its_scene_0(tmp_path: Path) -> None:
    image = noise((1, 1, 1, 8, 9))
    path = write_czi(tmp_path / "a.czi", image)
    for scene in (None, 0):
        opened = open_czi(str(path), scene)
        assert opened.scene is None
        np.testing.assert_array_equal(opened[ALL], image)
    assert "has no scenes. Expected null or 0" in refusal(path, scene=1)


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
    kinds = read_directory(str(path)).sub_blocks.is_pyramid
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
