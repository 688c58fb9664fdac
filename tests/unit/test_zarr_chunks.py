"""A missing chunk, one that can't be read and one of zeros are three things."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec

from denoise_daisy.errors import InputError
from denoise_daisy.images.formats import describe, described_image
from harness.czi_files import ALL, noise
from harness.opened import opened
from harness.zarr_files import write_04, write_plain

ZARRS: dict[str, Any] = {
    "v2": {"zarr_format": 2},
    "v2 /": {
        "zarr_format": 2,
        "chunk_key_encoding": {"name": "v2", "separator": "/"},
    },
    "v3": {},
    "v3 .": {"chunk_key_encoding": {"name": "default", "separator": "."}},
    "v3 v2": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
}


@pytest.mark.parametrize("kind", ZARRS)
def test_a_missing_chunk_is_a_gap_and_one_of_zeros_is_none(
    kind: str, tmp_path: Path
) -> None:
    voxels = noise((3, 20, 30)) | 1
    voxels[1, :8, :8] = 0
    array: Any = zarr.create_array(
        tmp_path / "a.zarr",
        shape=voxels.shape,
        dtype=voxels.dtype,
        chunks=(2, 8, 8),
        fill_value=7,
        **ZARRS[kind],
    )
    there = np.ones(voxels.shape, bool)
    whole = zarr.open_array(
        tmp_path / "a.zarr", config={"write_empty_chunks": True}, mode="r+"
    )
    whole[:] = voxels
    assert not opened(tmp_path / "a.zarr").has_gaps
    for position in ((0, 1, 2), (1, 2, 3), (1, 0, 0)):
        key = array.metadata.encode_chunk_key(position)
        (tmp_path / "a.zarr" / key).unlink()
        begin = [i * n for i, n in zip(position, (2, 8, 8), strict=True)]
        there[tuple(slice(b, b + n) for b, n in zip(begin, (2, 8, 8), strict=True))] = 0
    # What a writer that was killed leaves is no chunk.
    (tmp_path / "a.zarr" / "0.1.2.partial").write_bytes(b"")
    image = opened(tmp_path / "a.zarr")
    assert image.has_gaps
    first = array.metadata.encode_chunk_key((0, 1, 2))
    assert any(
        f"3 of 24 chunks are missing in the Zarr (the first: {first}); they stay 0" in w
        for w in image.warnings
    )
    again = described_image(json.loads(json.dumps(describe(image))))
    for key in (
        ALL,
        (slice(0, 1), slice(0, 1), slice(1, 3), slice(5, 18), slice(9, 25)),
    ):
        wanted = there[key[2:]][None, None]
        np.testing.assert_array_equal(image.valid(key), wanted)
        np.testing.assert_array_equal(again.valid(key), wanted)
        np.testing.assert_array_equal(
            image[key], np.where(wanted, voxels[key[2:]][None, None], 0)
        )
    held = (slice(0, 1), slice(0, 1), slice(0, 2), slice(0, 8), slice(0, 30))
    assert image.valid(held) is None
    assert image.valid((slice(0, 0), *ALL[1:])) is None


def test_gaps_are_those_of_the_channels_that_are_asked_for(tmp_path: Path) -> None:
    voxels = noise((2, 3, 1, 4, 5)) | 1
    path = write_04(tmp_path / "a.zarr", voxels, chunks=(1, 1, 1, 4, 5))
    (path / "s0/1/2/0/0/0").unlink()
    image = opened(path, channels=(2, 0))
    mask = image.valid(ALL)
    assert mask.sum(axis=(2, 3, 4)).tolist() == [[20, 20], [0, 20]]
    assert image.valid((slice(None), slice(1, 2), *ALL[2:])) is None


def test_shards_that_are_missing_are_gaps(tmp_path: Path) -> None:
    write_plain(tmp_path / "a.zarr", noise((1, 32, 16)) | 1, shards=(1, 16, 16))
    (tmp_path / "a.zarr/c/0/1/0").unlink()
    image = opened(tmp_path / "a.zarr")
    assert any("1 of 2 shards are missing" in warning for warning in image.warnings)
    assert image.valid(ALL)[0, 0, 0, :, 0].tolist() == [True] * 16 + [False] * 16


def test_a_gap_of_our_own_output_asks_whether_its_run_is_complete(
    tmp_path: Path,
) -> None:
    path = write_04(tmp_path / "a.zarr", noise((1, 1, 1, 32, 32)))
    (path / "s0/0/0/0/0/0").unlink()
    assert not any("complete?" in warning for warning in opened(path).warnings)
    (tmp_path / "a.zarr.run").mkdir()
    (tmp_path / "a.zarr.run" / "run.json").write_text("{}")
    assert any("'a.zarr.run'" in warning for warning in opened(path).warnings)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)


def replace_by_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


def lose(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("harm", [cut, empty, flip, lose, replace_by_loop])
def test_a_chunk_that_can_not_be_read_is_an_error_that_names_it(
    harm: Any, tmp_path: Path
) -> None:
    """Root may read what nobody may, so a link to itself stands for a denied file."""
    voxels = noise((2, 16, 16))
    codecs = [ZstdCodec(checksum=True)]
    path = write_plain(tmp_path / "a.zarr", voxels, compressors=codecs)
    image = opened(path)
    harm(path / "c/1/0/1")
    with pytest.raises(InputError) as caught:
        image[ALL]
    said = str(caught.value)
    assert "'c/1/0/1'" in said
    assert str(path) in said
    assert "\n" not in said
    assert "Expected" in said
    left = (*ALL[:4], slice(0, 8))
    np.testing.assert_array_equal(image[left], voxels[None, None, :, :, :8])


def test_an_array_without_any_chunk_is_all_gap(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(9, 9), dtype="uint8", chunks=(4, 4))
    image = opened(tmp_path / "a.zarr")
    assert any("9 of 9 chunks are missing" in warning for warning in image.warnings)
    assert not image.valid(ALL).any()


def test_a_million_missing_chunks_take_little_room(tmp_path: Path) -> None:
    zarr.create_array(
        tmp_path / "a.zarr", shape=(1000, 1000), dtype="uint8", chunks=(1, 1)
    )
    image = opened(tmp_path / "a.zarr")
    assert len(json.dumps(describe(image))) < 4000
    assert image.valid(ALL).shape == (1, 1, 1, 1000, 1000)


def test_a_chunk_that_is_written_again_changes_the_identity(tmp_path: Path) -> None:
    path = write_04(tmp_path / "a.zarr", noise((1, 1, 1, 32, 32)))
    image = opened(path)
    file = path / "s0/0/0/0/0/0"
    now = file.stat().st_mtime_ns
    os.utime(file, ns=(now, now + 5_000_000_000))
    assert image.current_identity() != image.identity
    with file.open("ab") as grown:
        grown.write(b"more")
    os.utime(file, ns=(now, now))
    changed = image.current_identity()
    assert changed["bytes"] == int(image.identity["bytes"]) + 4
    shutil.copytree(path, tmp_path / "b.zarr")
    assert opened(tmp_path / "b.zarr").identity == image.current_identity()
    file.unlink()
    changed = image.current_identity()
    assert changed["chunks"] == int(image.identity["chunks"]) - 1


def test_several_threads_read_one_image(tmp_path: Path) -> None:
    voxels = noise((2, 3, 4, 33, 41))
    image = opened(write_04(tmp_path / "a.zarr", voxels))
    with ThreadPoolExecutor(4) as threads:
        read = list(
            threads.map(lambda t: image[(slice(t, t + 1), *ALL[1:])], [0, 1] * 8)
        )
    for i, part in enumerate(read):
        np.testing.assert_array_equal(part, voxels[i % 2 : i % 2 + 1])
