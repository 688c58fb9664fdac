"""HDF5 files: which dataset, what its axes are, and what is refused of them."""

import fcntl
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from denoise_daisy.config import Config
from denoise_daisy.errors import InputError
from denoise_daisy.images.formats import (
    describe,
    described_image,
    format_of,
    inspect_image,
    is_image,
    open_image,
)
from harness.czi_files import ALL, noise
from harness.opened import opened, refused

VOLUME = noise((3, 6, 7))


def written(path: Path, **datasets: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, voxels in datasets.items():
            file[name] = voxels
    return path


# Which dataset


def test_the_only_dataset_of_an_image_s_dimensions_is_the_image(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", a=VOLUME, b=np.arange(9), c=np.float32(1))
    image = opened(path)
    assert (image.path, image.part) == (str(path), "a")
    np.testing.assert_array_equal(image[ALL][0, 0], VOLUME)


def test_several_datasets_are_listed_with_their_shapes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", raw=VOLUME, **{"g/mask": VOLUME[0]})
    said = refused(path)
    assert "2 datasets" in said
    assert "g/mask (6 x 7), raw (3 x 6 x 7)" in said
    assert f"{str(path) + '/g/mask'!r}" in said
    np.testing.assert_array_equal(opened(f"{path}/raw")[ALL][0, 0], VOLUME)


def test_of_many_datasets_only_some_are_listed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", **{f"d{i:02}": VOLUME for i in range(27)})
    assert "d19 (3 x 6 x 7) and 7 more." in refused(path)


def test_a_group_stands_for_the_only_dataset_in_it(tmp_path: Path) -> None:
    data = {"a/b/raw": VOLUME, "c/raw": VOLUME[:2]}
    path = written(tmp_path / "a.h5", **data)
    image = opened(f"{path}/a")
    assert image.part == "a/b/raw"
    np.testing.assert_array_equal(image[ALL][0, 0], VOLUME)
    assert described_image(describe(image))[ALL].tobytes() == VOLUME.tobytes()


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    assert "0 datasets" in refused(written(tmp_path / "a.h5", b=np.arange(9)))


def test_a_dataset_that_is_not_there_is_refused_with_those_that_are(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "a.h5", raw=VOLUME)
    said = refused(f"{path}/volumes/raw")
    assert "no dataset 'volumes/raw'" in said
    assert "Expected one of raw (3 x 6 x 7)" in said


def test_a_file_is_known_by_its_beginning(tmp_path: Path) -> None:
    path = written(tmp_path / "image", raw=VOLUME)
    assert opened(path).shape == (1, 1, 3, 6, 7)
    assert opened(f"{path}/raw").shape == (1, 1, 3, 6, 7)
    assert is_image(path / "raw")


@pytest.mark.parametrize("ending", ["h5", "hdf5", "hdf", "he5", "H5"])
def test_a_dataset_of_a_file_that_is_away_is_still_of_hdf5(
    ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{ending}" / "volumes" / "raw"
    assert format_of(str(path)).name == "HDF5"
    assert is_image(path)
    assert "No such file" in refused(path)


def test_a_folder_is_no_file_of_hdf5(tmp_path: Path) -> None:
    (tmp_path / "a.h5").mkdir()
    config = tmp_path / "a.h5" / "config.json"
    config.write_text("{}")
    assert not is_image(config)
    assert not is_image(config.with_name("absent.json"))
    assert "directory" in refused(tmp_path / "a.h5")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.h5")
    assert "pipe" in refused(tmp_path / "a.h5")


def test_a_config_names_a_dataset_behind_the_file(tmp_path: Path) -> None:
    written(tmp_path / "a.h5", raw=VOLUME, other=VOLUME)
    text = b'{"input": {"path": "a.h5/raw"}, "output": {"path": "o.zarr"}}'
    config = Config.parse(text, name="c.json", folder=tmp_path)
    assert config.input.path == str(tmp_path / "a.h5" / "raw")
    assert open_image(config.input).part == "raw"  # type: ignore[attr-defined]


def test_inspect_tells_the_size_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", raw=VOLUME, other=VOLUME)
    assert inspect_image(f"{path}/raw").bytes == path.stat().st_size
    problem = inspect_image(str(path)).scenes[0].problem
    assert problem is not None
    assert "2 datasets" in problem


# What the file says of it


def tagged(axes: str) -> str:
    keys = [{"key": axis, "typeFlags": 2, "resolution": 0} for axis in axes]
    return json.dumps({"axes": keys})


def with_attributes(path: Path, voxels: np.ndarray, **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        file["raw"] = voxels
        file["raw"].attrs.update(attributes)
    return path


@pytest.mark.parametrize(
    ("attributes", "axes"),
    [
        ({"axistags": tagged("ctyx")}, "ctyx"),
        ({"axistags": tagged("ctyx").encode()}, "ctyx"),
        ({"axes": "CTYX"}, "ctyx"),
        ({"axes": ["channel", "Time", "y", "x"]}, "ctyx"),
        ({"axes": np.array([b"c", b"t", b"y", b"x"])}, "ctyx"),
        ({"axes": "tzyx", "axistags": tagged("ctyx")}, "ctyx"),
    ],
)
def test_axes_are_those_that_the_file_names(
    attributes: dict[str, Any], axes: str, tmp_path: Path
) -> None:
    voxels = noise((2, 3, 6, 7))
    image = opened(with_attributes(tmp_path / "a.h5", voxels, **attributes))
    assert image.axes == axes
    np.testing.assert_array_equal(image[ALL][:, :, 0], voxels.swapaxes(0, 1))


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"axistags": "no JSON"},
        {"axistags": tagged("czyx")[:-3]},
        {"axistags": '{"axes": [1, 2, 3, 4]}'},
        {"axistags": tagged("czy")},
        {"axes": "bzyx"},
        {"axes": 7},
        {"axes": h5py.Empty("f")},
    ],
)
def test_axes_that_the_file_does_not_name_are_asked_for(
    attributes: dict[str, Any], tmp_path: Path
) -> None:
    voxels = noise((2, 3, 6, 7))
    path = with_attributes(tmp_path / "a.h5", voxels, **attributes)
    assert "input.axes" in refused(path)
    assert opened(path, axes="tzyx").shape == (2, 1, 3, 6, 7)


def test_a_config_s_axes_replace_the_file_s(tmp_path: Path) -> None:
    path = with_attributes(tmp_path / "a.h5", VOLUME, axes="zyx")
    assert opened(path, axes="cyx").shape == (1, 3, 1, 6, 7)


@pytest.mark.parametrize(
    ("sizes", "scale"),
    [
        ([2.0, 0.5, 0.25], (2.0, 0.5, 0.25)),
        (np.array([2, 0.5, 0.25], np.float32), (2.0, 0.5, 0.25)),
        ([1, 2, 3], (1.0, 2.0, 3.0)),
        ([0, np.nan, 3.0], (None, None, 3.0)),
        ([2.0, 0.5], (None,) * 3),
        ("no numbers", (None,) * 3),
    ],
)
def test_the_size_of_a_voxel_is_element_size_um(
    sizes: Any, scale: tuple[float | None, ...], tmp_path: Path
) -> None:
    path = with_attributes(tmp_path / "a.h5", VOLUME, element_size_um=sizes)
    assert opened(path).scale_um == scale


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.bool_, "S3", "c8"])
def test_types_that_cannot_be_denoised_are_refused(dtype: Any, tmp_path: Path) -> None:
    said = refused(written(tmp_path / "a.h5", raw=VOLUME.astype(dtype)))
    assert "raw has voxels of" in said


def test_chunks_that_nobody_wrote_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("raw", (4, 6, 7), "u2", chunks=(1, 6, 4))
        data[:3] = 1
    assert any("2 of its 8 chunks" in text for text in opened(path).warnings)
    with h5py.File(path, "a") as file:
        file["raw"][3] = 1
    assert not any("chunks" in text for text in opened(path).warnings)


# Voxels that lie elsewhere, or can't be decoded


def test_voxels_behind_links_are_read_and_belong_to_the_identity(
    tmp_path: Path,
) -> None:
    there = written(tmp_path / "there.h5", deep=VOLUME)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = h5py.ExternalLink("there.h5", "/deep")
        file["soft"] = h5py.SoftLink("/raw")
    image = opened(f"{path}/soft")
    np.testing.assert_array_equal(image[ALL][0, 0], VOLUME)
    assert image.others == (str(there),)
    assert image.current_identity() == image.identity
    del image
    before = opened(f"{path}/raw").identity
    written(there, deep=VOLUME[..., :-1])
    assert opened(f"{path}/raw").current_identity() != before
    there.unlink()
    assert "a link whose end is not there" in refused(f"{path}/soft")


def virtual(path: Path, *sources: tuple[str, str]) -> Path:
    layout = h5py.VirtualLayout((len(sources), *VOLUME.shape), VOLUME.dtype)
    for i, (name, part) in enumerate(sources):
        layout[i] = h5py.VirtualSource(name, part, shape=VOLUME.shape)
    with h5py.File(path, "w", libver="latest") as file:
        file.create_virtual_dataset("all", layout)
        file["all"].attrs["axes"] = "tzyx"
    return path


def test_a_virtual_dataset_is_read_while_its_sources_are_there(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    one = written(tmp_path / "parts" / "1.h5", raw=VOLUME)
    two = written(tmp_path / "parts" / "2.h5", raw=VOLUME[::-1])
    path = virtual(tmp_path / "a.h5", ("parts/1.h5", "raw"), ("parts/2.h5", "raw"))
    image = opened(path)
    np.testing.assert_array_equal(image[ALL][:, 0], [VOLUME, VOLUME[::-1]])
    assert image.others == (str(one), str(two))
    two.unlink()
    with pytest.raises(InputError, match=r"2\.h5.* not there any more"):
        image[ALL]
    assert "2.h5' is not there" in refused(path)


def test_a_virtual_dataset_that_would_be_read_as_zeros_is_refused(
    tmp_path: Path,
) -> None:
    written(tmp_path / "1.h5", raw=VOLUME)
    said = refused(virtual(tmp_path / "a.h5", ("1.h5", "raw"), ("1.h5", "no")))
    assert "1.h5' has no dataset 'no'" in said
    virtual(tmp_path / "b.h5", ("1.h5", "raw"))
    assert "virtual itself" in refused(virtual(tmp_path / "c.h5", ("b.h5", "all")))


def test_voxels_in_a_raw_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        place = [(str(tmp_path / "raw.bin"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("raw", data=VOLUME, external=place)
    assert "raw file" in refused(path)


def test_a_filter_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As blosc's, with which a file of HDF5 is written that knows it."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", data=VOLUME, chunks=True, compression="lzf")
    image = opened(path)
    known = h5py.h5z.filter_avail
    monkeypatch.setattr(
        h5py.h5z, "filter_avail", lambda code: code != 32000 and known(code)
    )
    said = refused(path)
    assert "filter 32000 (lzf)" in said
    assert "hdf5plugin" in said
    with pytest.raises(InputError, match="hdf5plugin"):
        image[ALL]


def test_a_file_that_was_replaced_is_not_read_as_the_old_one(tmp_path: Path) -> None:
    image = opened(written(tmp_path / "a.h5", raw=VOLUME))
    written(tmp_path / "a.h5", raw=VOLUME.astype(np.float32))
    with pytest.raises(InputError, match="is now of float32"):
        image[ALL]


def test_a_file_that_another_program_has_locked_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", raw=VOLUME)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        np.testing.assert_array_equal(opened(path)[ALL][0, 0], VOLUME)


# Damage


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def flip(data: bytearray, rng: random.Random) -> None:
    """A few bytes; half of them where the metadata lie."""
    for _ in range(rng.choice([1, 3, 20])):
        end = rng.choice([2048, len(data)])
        data[rng.randrange(end)] ^= rng.randrange(1, 256)


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize(
    ("libver", "settings"),
    [
        ("earliest", {"chunks": (1, 16, 16), "compression": "gzip"}),
        ("latest", {"chunks": (1, 16, 16), "fletcher32": True}),
        ("earliest", {}),
    ],
)
def test_a_damaged_file_is_refused_or_read(
    damage: Callable[[bytearray, random.Random], None],
    libver: str,
    settings: dict[str, Any],
    tmp_path: Path,
) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        file.create_dataset("v/raw", data=noise((4, 40, 50)), **settings)
        file["v/raw"].attrs.update(axes="zyx", element_size_um=[1.0, 0.5, 0.5])
    whole = (tmp_path / "a.h5").read_bytes()
    rng = random.Random(3)  # noqa: S311 - no secret
    said = []
    for i in range(60):
        data = bytearray(whole)
        damage(data, rng)
        path = tmp_path / f"{i}.h5"
        path.write_bytes(data)
        try:
            image = opened(path)
            image[tuple(slice(0, min(n, 50)) for n in image.shape)]
        except InputError as error:
            said.append(str(error))
    assert all("Expected" in text and "\n" not in text for text in said)
    assert len(said) >= (60 if damage is cut else 10)
