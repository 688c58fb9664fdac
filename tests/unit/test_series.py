"""Series of files as one image: which files they are, in which order, and refusals."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import psutil
import pytest
from demo_czi import write_czi

from denoise_daisy.config import Config
from denoise_daisy.errors import InputError
from denoise_daisy.images import series
from denoise_daisy.images.formats import (
    describe,
    described_image,
    format_of,
    inspect_image,
    is_image,
    scenes_of,
)
from denoise_daisy.images.series_files import is_member, place_of
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.calibrate import write_page
from denoise_daisy.runs.init import init
from denoise_daisy.runs.output_places import check_output
from harness.czi_files import ALL, noise, write_tiles
from harness.opened import opened, refused
from harness.reader_contract import some_keys

PLANE = np.zeros((4, 5), np.uint16)


def saved(folder: Path, *names: str) -> Path:
    """Files of a plane each, whose voxels are all their place in the list."""
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / name, PLANE + np.uint16(i))
    return folder


def order(image: Any) -> list[int]:
    """The places of the files, by the positions of the image."""
    found = image[ALL]
    assert (found == found[..., :1, :1]).all()
    return found[..., 0, 0].ravel().tolist()


# Which files, in which order


@pytest.mark.parametrize(
    ("names", "pattern", "expected"),
    [
        (["t10.npy", "t1.npy", "t2.npy"], "t{t}.npy", [1, 2, 0]),
        (["010.npy", "002.npy", "001.npy"], "{t}.npy", [2, 1, 0]),
        (["t010.npy", "t2.npy", "t1.npy"], "t{t}.npy", [2, 1, 0]),
        (["1/a.npy", "10/a.npy", "2/a.npy"], "{t}/a.npy", [0, 2, 1]),
        (["exp7/t2.npy", "expx/t1.npy"], "exp*/t{t}.npy", [1, 0]),
        (["a1.npy", "b2.npy", "ab3.npy"], "?{t}.npy", [0, 1]),
        (["t2/x2.npy", "t1/x1.npy", "t1/x2.npy"], "t{t}/x{t}.npy", [1, 0]),
        (["1.npy", "2.npy", ".1.npy", "x1.npy", "1.npz", "a.npy"], "{t}.npy", [0, 1]),
        (["a.b1.npy", "aXb1.npy"], "a.b{t}.npy", [0]),
        (["1.npy", "._1.npy"], "*{t}.npy", [0]),
        (["a1_b1.npy", "a1_b2.npy"], "a{t}_b{t}.npy", [0]),
        (["1/a.npy", "2/b.npy"], "{t}/a.npy", [0]),
        (["s1_488nm-1.npy", "s2_488nm-1.npy"], "s{t}_*-1.npy", [0, 1]),
    ],
)
def test_files_are_those_of_the_pattern_by_number(
    names: list[str], pattern: str, expected: list[int], tmp_path: Path
) -> None:
    image = opened(saved(tmp_path, *names) / pattern)
    assert image.shape == (len(expected), 1, 1, 4, 5)
    assert order(image) == expected


def test_a_pattern_of_three_axes_has_a_file_for_each_position(tmp_path: Path) -> None:
    voxels = noise((3, 2, 4, 6, 7))
    for t, c, z in np.ndindex(3, 2, 4):
        name = f"z{z * 3:02}/{['GFP', 'mCherry-2'][c]}_{t + 9}.npy"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, voxels[t, c, z])
    image = opened(tmp_path / "z{z}" / "{c}_{t}.npy")
    for key in [ALL, *some_keys(voxels.shape, 30, seed=0)]:
        np.testing.assert_array_equal(image[key], voxels[key])
    assert [channel.name for channel in image.channels] == ["GFP", "mCherry-2"]
    chosen = opened(tmp_path / "z{z}" / "{c}_{t}.npy", channels=("mCherry-2", 0))
    np.testing.assert_array_equal(chosen[ALL], voxels[:, ::-1])


def test_channels_are_sorted_and_named_by_words(tmp_path: Path) -> None:
    image = opened(saved(tmp_path, "a_B.npy", "a_C.npy", "a_A.npy") / "a_{c}.npy")
    assert order(image) == [2, 0, 1]
    assert [channel.name for channel in image.channels] == ["A", "B", "C"]
    assert len({channel.color for channel in image.channels}) == 3


def test_channels_of_numbers_are_named_by_the_files_that_name_them(
    tmp_path: Path,
) -> None:
    voxels = noise((1, 2, 3, 8, 9))
    for c, name in enumerate(["red", "green"]):
        write_czi(tmp_path / f"{c + 1}.czi", voxels[:, c : c + 1], names=[name])
    image = opened(tmp_path / "{c}.czi")
    assert [channel.name for channel in image.channels] == ["red", "green"]
    np.testing.assert_array_equal(image[ALL], voxels)
    saved(tmp_path, "1.npy", "2.npy")
    image = opened(tmp_path / "{c}.npy")
    assert [channel.name for channel in image.channels] == ["Channel 0", "Channel 1"]


def test_files_of_several_channels_are_chosen_from_all_alike(tmp_path: Path) -> None:
    """CZI files whose time, as on a microscope, goes on from file to file."""
    voxels = noise((3, 3, 2, 8, 9))
    for t in range(3):
        write_czi(
            tmp_path / f"{t}.czi", voxels[t : t + 1], start=(t + 3, 0, 5), time_step_s=3
        )
    image = opened(tmp_path / "{t}.czi", channels=(2, 0), time_step_s=7.0)
    np.testing.assert_array_equal(image[ALL], voxels[:, [2, 0]])
    assert image.scale_um == pytest.approx((0.3, 0.145, 0.145))
    assert image.time_step_s == 7
    assert opened(tmp_path / "{t}.czi").time_step_s is None
    assert image.origin[:2] == (0, 5)


def test_a_scene_and_axes_are_those_of_each_file(tmp_path: Path) -> None:
    voxels = noise((2, 2, 1, 8, 9))
    for t in range(2):
        write_czi(tmp_path / f"{t}.czi", voxels[t : t + 1], scenes=True)
        np.save(tmp_path / f"{t}.npy", voxels[t, :, 0].swapaxes(1, 2))
    image = opened(tmp_path / "{t}.npy", axes="cxy")
    np.testing.assert_array_equal(image[ALL], voxels)
    np.testing.assert_array_equal(opened(tmp_path / "{t}.czi", scene=0)[ALL], voxels)
    assert [scene.number for scene in scenes_of(str(tmp_path / "{t}.czi"))] == [0]
    assert "input.scene is 3" in refused(tmp_path / "{t}.czi", scene=3)
    with pytest.raises(InputError, match="axes"):
        opened(tmp_path / "{t}.czi", axes="zyx")


def test_gaps_are_those_of_the_files(tmp_path: Path) -> None:
    """The second file lacks a channel's plane at its first z."""
    tile = np.ones((8, 9), np.uint16)
    for t in range(3):
        tiles = [(f"C{c}T0Z{z}", tile, (0, 0)) for c in range(2) for z in range(2)]
        write_tiles(tmp_path / f"{t}.czi", tiles[1:] if t == 1 else tiles)
    image = opened(tmp_path / "{t}.czi")
    assert image.has_gaps
    assert image.valid((slice(0, 1), *ALL[1:])) is None
    expected = np.ones((3, 2, 2, 8, 9), bool)
    expected[1, 0, 0] = False
    np.testing.assert_array_equal(image.valid(ALL), expected)
    np.testing.assert_array_equal(image[ALL], expected)
    assert image.valid((slice(0, 0), *ALL[1:])) is None


# Refused


def test_missing_files_are_counted_and_the_first_ones_told(tmp_path: Path) -> None:
    names = [f"{t}_{c}.npy" for t in range(4) for c in "ab"]
    left = [name for name in names if name not in ("1_b.npy", "3_a.npy")]
    said = refused(saved(tmp_path, *left) / "{t}_{c}.npy")
    assert "2 of the 8 files" in said
    assert "t 1 c b, t 3 c a. " in said
    few = [f"{i}_{i}.npy" for i in range(300)]
    for name in few:
        (tmp_path / "few").mkdir(exist_ok=True)
        (tmp_path / "few" / name).touch()
    said = refused(tmp_path / "few" / "{t}_{z}.npy")
    assert "89700 of the 90000 files" in said
    assert "t 0 z 1, t 0 z 2, t 0 z 3, t 0 z 4, t 0 z 5, ..." in said


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["1.npy", "01.npy"], "{t}.npy"),
        (["a1.npy", "b1.npy"], "*{t}.npy"),
        (["1/a.npy", "1/b.npy"], "{t}/?.npy"),
    ],
)
def test_two_files_for_a_position_are_named(
    names: list[str], pattern: str, tmp_path: Path
) -> None:
    said = refused(saved(tmp_path, *names) / pattern)
    assert all(repr(name) in said for name in names)


def test_no_file_at_all_is_refused(tmp_path: Path) -> None:
    for path in ("{t}.npy", "absent/{t}/*.npy"):
        assert "no file like" in refused(saved(tmp_path, "a.npy") / path)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (PLANE[1:], "1 x 1 x 1 x 3 x 5 voxels (t, c, z, y, x) of uint16"),
        (PLANE.astype(np.uint8), "1 x 1 x 1 x 4 x 5 voxels (t, c, z, y, x) of uint8"),
        (PLANE.astype(np.float64), "float64"),
    ],
)
def test_files_that_are_not_alike_are_refused(
    other: np.ndarray, words: str, tmp_path: Path
) -> None:
    saved(tmp_path, "1.npy", "2.npy", "3.npy")
    np.save(tmp_path / "2.npy", other)
    said = refused(tmp_path / "{t}.npy")
    assert words in said
    assert "2.npy" in said


def test_files_that_hold_what_their_names_tell_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", noise((3, 4, 5)))
    assert "3 positions along z" in refused(tmp_path / "{z}.npy")
    assert opened(tmp_path / "{z}.npy", axes="tyx").shape == (3, 1, 1, 4, 5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_damaged_file_of_a_series_is_named(
    damage: Callable[[Path], Any], tmp_path: Path
) -> None:
    damage(saved(tmp_path, "1.npy", "2.npy", "3.npy") / "3.npy")
    assert "3.npy" in refused(tmp_path / "{t}.npy")


def test_a_file_that_is_replaced_later_is_refused_when_it_is_read(
    tmp_path: Path,
) -> None:
    image = opened(saved(tmp_path, "1.npy", "2.npy") / "{t}.npy")
    np.save(tmp_path / "2.npy", PLANE[1:])
    with pytest.raises(InputError, match=r"2\.npy.* 1 x 3 x 5 voxels"):
        image[ALL]
    (tmp_path / "1.npy").unlink()
    with pytest.raises(InputError, match=r"1\.npy"):
        described_image(describe(image))[ALL]
    with pytest.raises(InputError, match=r"1\.npy"):
        image.current_identity()


def test_numbers_that_jump_are_warned_of(tmp_path: Path) -> None:
    saved(tmp_path, "1.npy", "3.npy", "5.npy")
    assert not [w for w in opened(tmp_path / "{t}.npy").warnings if "jump" in w]
    saved(tmp_path, "11.npy")
    told = [w for w in opened(tmp_path / "{t}.npy").warnings if "jump" in w]
    assert len(told) == 1
    assert "from 5 to 11, others are 2 apart" in told[0]


def test_a_folder_is_refused_and_placeholders_are_explained(tmp_path: Path) -> None:
    said = refused(saved(tmp_path, "1.npy"))
    assert "is a folder" in said
    assert f"{str(tmp_path / 'img_{t}_{c}_z{z}.tif')!r}" in said


# Identity, and what is kept of it


def test_the_identity_tells_each_file_from_a_changed_one(tmp_path: Path) -> None:
    names = [f"{t}.npy" for t in range(5)]
    image = opened(saved(tmp_path, *names) / "{t}.npy")
    before = image.identity
    assert before["files"] == 5
    status = (tmp_path / "3.npy").stat()
    os.utime(tmp_path / "3.npy", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert image.current_identity() != before
    os.utime(tmp_path / "3.npy", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert image.current_identity() == before
    (tmp_path / "3.npy").rename(tmp_path / "away")
    (tmp_path / "4.npy").rename(tmp_path / "3.npy")
    (tmp_path / "away").rename(tmp_path / "4.npy")
    assert opened(tmp_path / "{t}.npy").identity != before
    before = opened(tmp_path / "{t}.npy").identity
    (tmp_path / "4.npy").rename(tmp_path / "9.npy")
    assert opened(tmp_path / "{t}.npy").identity != before


def test_a_file_that_is_read_again_and_again_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = opened(saved(tmp_path, *(f"{t}.npy" for t in range(20))) / "{t}.npy")
    asked: list[str] = []

    def noted(path: str, asked_for: dict[str, Any]) -> Any:
        asked.append(Path(path).name)
        return open_member(path, asked_for)

    open_member = series.open_member
    monkeypatch.setattr(series, "open_member", noted)
    for t in range(1, 20):
        for each in (0, t):
            image[(slice(each, each + 1), *ALL[1:])]
    assert sorted(asked) == sorted(f"{t}.npy" for t in range(20))


def test_many_files_are_few_bytes_of_a_record_and_few_descriptors(
    tmp_path: Path,
) -> None:
    for t in range(300):
        with h5py.File(tmp_path / f"frame_{t}.h5", "w") as file:
            file["raw"] = PLANE + np.uint16(t)
    process = psutil.Process()
    before = process.num_fds()
    image = opened(tmp_path / "frame_{t}.h5")
    assert order(image) == list(range(300))
    assert process.num_fds() <= before + 10
    assert len(json.dumps(describe(image))) < 300 * 20 + 2000


# Paths with placeholders, all over the program


def test_placeholders_survive_a_config(tmp_path: Path) -> None:
    text = b'{"input": {"path": "r/*_{t}.npy"}, "output": {"path": "o.zarr"}}'
    config = Config.parse(text, name="c.json", folder=tmp_path)
    assert config.input.path == str(tmp_path / "r" / "*_{t}.npy")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("img_{t}.tif", True),
        ("exp{c}/a.json", True),
        ("{z}", True),
        ("img_{t.jpg", False),
        ("{name}.json", False),
        ("{scene}/{x}.json", False),
        ("*.json", False),
    ],
)
def test_a_path_with_placeholders_is_a_series(path: str, *, expected: bool) -> None:
    assert is_image(Path(path)) is expected
    assert (format_of(path).name == "series of files") is expected


def test_an_output_that_would_be_a_file_of_the_series_is_refused(
    tmp_path: Path,
) -> None:
    def config(output: str) -> Config:
        text = {"input": {"path": "raw/x_{c}.zarr"}, "output": {"path": output}}
        return Config.parse(json.dumps(text).encode(), name="c", folder=tmp_path)

    with pytest.raises(InputError, match="would be one of the files"):
        check_output(config("raw/x_denoised.zarr"), RunDir(tmp_path / "a.run"))
    for other in ("raw/x_denoised.v2.zarr", "raw/denoised.zarr", "x_a.zarr"):
        check_output(config(other), RunDir(tmp_path / "a.run"))
    assert is_member("a/{t}/x{t}.npy", "a/1/x1.npy")
    assert not is_member("a/{t}/x{t}.npy", "a/1/x2.npy")
    assert not is_member("a/b.npy", "a/b.npy")


def test_what_is_made_of_a_series_lies_beside_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of(Path("raw/e*/x_{t}.npy")) == Path("raw/x_t.npy")
    assert place_of(Path("raw/{t}")) == Path("raw/t")
    assert place_of(Path("a/b.czi")) == Path("a/b.czi")
    with h5py.File("a.h5", "w") as file:
        file["v/raw"] = noise((1, 3, 3))
    assert place_of(Path("a.h5/v/raw")) == Path("a.h5")
    for t in range(3):
        np.save(f"x_{t}.npy", noise((3, 24, 24), seed=t))
    init("x_{t}.npy", "c.json")
    config = Config.load("c.json")
    assert config.input.path == str(tmp_path / "x_{t}.npy")
    assert config.output.path == str(tmp_path / "x_t_denoised.zarr")
    drawn: Any = SimpleNamespace(page="plots")
    assert write_page(drawn, Path("a.h5/v/raw")) == Path("a.noise.html")


def test_inspect_tells_what_all_files_hold(tmp_path: Path) -> None:
    names = [f"{t}.npy" for t in range(3)]
    facts = inspect_image(str(saved(tmp_path, *names) / "{t}.npy"))
    assert facts.bytes == sum((tmp_path / name).stat().st_size for name in names)
    assert facts.scenes[0].shape == (3, 1, 1, 4, 5)
    assert facts.scenes[0].channels[0].grey_levels == (0, 2)
