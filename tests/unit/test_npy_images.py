"""NumPy's files as images: what is refused of them."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denoise_daisy.errors import InputError
from denoise_daisy.images.formats import open_image
from denoise_daisy.images.input import Input
from harness.czi_files import ALL, noise
from harness.reader_contract import some_keys

VOLUME = noise((3, 6, 7))


def opened(path: Path, **asked: Any) -> Any:
    return open_image(Input(path=str(path), **asked))


def refusal(path: Path, **asked: Any) -> str:
    with pytest.raises(InputError) as caught:
        opened(path, **asked)
    assert "Expected" in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def saved(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


def test_any_order_of_axes_and_bytes_is_read(tmp_path: Path) -> None:
    voxels = noise((2, 3, 4, 13, 11))
    stored = voxels.transpose(0, 2, 1, 4, 3).astype(">u2")
    path = saved(tmp_path / "a.npy", np.asfortranarray(stored))
    image = opened(path, axes="tzcxy")
    for key in [ALL, *some_keys(voxels.shape, 20, seed=1)]:
        np.testing.assert_array_equal(image[key], voxels[key])


def test_axes_of_two_and_three_are_known(tmp_path: Path) -> None:
    assert opened(saved(tmp_path / "a.npy", VOLUME)).shape == (1, 1, 3, 6, 7)
    assert opened(saved(tmp_path / "b.npy", VOLUME[0])).shape == (1, 1, 1, 6, 7)
    assert "input.axes" in refusal(saved(tmp_path / "c.npy", VOLUME[None]))
    assert "is empty" in refusal(saved(tmp_path / "d.npy", VOLUME[:0]))


def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path) -> None:
    objects = saved(tmp_path / "a.npy", np.array([[{}, 1]], object))
    assert "can't be read as .npy" in refusal(objects)
    assert "float64" in refusal(saved(tmp_path / "b.npy", VOLUME.astype(float)))
    pair = np.zeros((3, 4), [("a", "u2"), ("b", "u2")])
    assert "voxels of" in refusal(saved(tmp_path / "c.npy", pair))
    np.savez(tmp_path / "d.npz", VOLUME)
    archive = (tmp_path / "d.npz").rename(tmp_path / "d.npy")
    assert "can't be read as .npy" in refusal(archive)
    assert "No such file" in refusal(tmp_path / "absent.npy")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.npy", VOLUME).read_bytes()
    for end in [*range(0, 160, 7), len(whole) - 1]:
        path = tmp_path / f"{end}.npy"
        path.write_bytes(whole[:end])
        assert "can't be read as .npy" in refusal(path)


def test_a_damaged_header_is_refused_or_read(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.npy", VOLUME).read_bytes()
    rng, said = random.Random(1), []  # noqa: S311 - no secret
    for i in range(200):
        data = bytearray(whole)
        data[rng.randrange(70)] = rng.randrange(256)
        path = tmp_path / f"{i}.npy"
        path.write_bytes(data)
        try:
            opened(path)[ALL]
        except InputError as error:
            said.append(str(error))
    assert len(said) > 100
    assert not any("\n" in text for text in said)


def test_a_file_that_was_replaced_is_not_read_as_the_old_one(tmp_path: Path) -> None:
    image = opened(saved(tmp_path / "a.npy", VOLUME))
    saved(tmp_path / "a.npy", VOLUME[:2])
    with pytest.raises(InputError, match=r"is now of uint16 and shape \(2, 6, 7\)"):
        image[ALL]
