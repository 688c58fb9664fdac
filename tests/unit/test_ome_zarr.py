"""The output is a valid OME-Zarr that says where and how large its voxels are.

Made by the program's own way from a CZI file, then read with zarr and checked by
yaozarrs, which know nothing of this program.  A green run would mean nothing if
damaged bytes were read as zeros: bytes all over a file are flipped, one by one.
"""

import asyncio
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from demo_czi import write_czi
from funlib.geometry import Coordinate, Roi

from denoise_daisy.errors import RefusedError
from denoise_daisy.images.czi import CziImage
from denoise_daisy.images.image import Channel
from denoise_daisy.outputs.layout import Layout
from denoise_daisy.outputs.ome_groups import create_group, own_attributes, remove_image
from denoise_daisy.outputs.ome_metadata import Resolution, ome_metadata
from denoise_daisy.outputs.ome_zarr import (
    DamagedError,
    check_array,
    create_array,
    damage_told,
    files_of,
    open_array,
    open_written,
)
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.runs.output_metadata import create, describe
from harness import config_for, load, small_image
from harness.prepared import resolved

SHAPE = (3, 2, 5, 40, 36)

ONE = Coordinate(1, 1, 1, 1)


def made(
    tmp_path: Path, image: np.ndarray | None = None, czi: Any = None, **sections: Any
) -> ResolvedRun:
    """An output without voxels, made from a CZI."""
    image = small_image(SHAPE) if image is None else image
    source = write_czi(tmp_path / "in.czi", image, **(czi or {}))
    config = config_for(
        source, tmp_path / "out.zarr", noise_channels=image.shape[1], **sections
    )
    run = resolved(load(config))
    create(run, describe(run))
    return run


def ome_of(run: ResolvedRun) -> dict[str, Any]:
    return json.loads((run.output / "zarr.json").read_text())["attributes"]["ome"]


def scale_and_translation(run: ResolvedRun) -> tuple[list[float], list[float] | None]:
    [multiscale] = ome_of(run)["multiscales"]
    [level] = multiscale["datasets"]
    kinds = {t["type"]: t for t in level["coordinateTransformations"]}
    moved = kinds.get("translation", {}).get("translation")
    return kinds["scale"]["scale"], moved


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"output": {"shards": None, "chunks": {"z": 2, "y": 16, "x": 16}}},
        {"output": {"dtype": "float32"}},
        {"output": {"dtype": "uint8"}},
        {"input": {"roi": {"t": [1, 3], "z": [2, 4], "y": [3, 33], "x": [10, 36]}}},
        {"input": {"channels": [1]}, "noise": {"kind": "gaussian", "noise_std": 5.0}},
    ],
    ids=str,
)
def test_the_output_is_a_valid_ome_zarr(
    sections: dict[str, Any], tmp_path: Path
) -> None:
    run = made(tmp_path, **sections)
    yaozarrs.validate_zarr_store(str(run.output))
    array = zarr.open_array(run.output / "0", mode="r")
    assert array.shape == run.array.layout.shape
    assert array.metadata.zarr_format == 3
    assert array.metadata.dimension_names == ("t", "c", "z", "y", "x")


def test_the_validator_finds_what_is_wrong(tmp_path: Path) -> None:
    """Else the test before would hold for anything."""
    run = made(tmp_path)
    file = run.output / "zarr.json"
    file.write_text(file.read_text().replace('"name": "z"', '"name": "y"'))
    with pytest.raises(Exception, match="unique"):
        yaozarrs.validate_zarr_store(str(run.output))


def test_axes_units_scale_and_time_step_are_those_of_the_file(tmp_path: Path) -> None:
    run = made(tmp_path, czi={"scale_um": (0.5, 0.2, 0.1), "time_step_s": 12.5})
    assert ome_of(run)["version"] == "0.5"
    [multiscale] = ome_of(run)["multiscales"]
    assert multiscale["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    assert multiscale["name"] == "out"
    scale, translation = scale_and_translation(run)
    assert scale == pytest.approx([12.5, 1, 0.5, 0.2, 0.1])
    assert translation is None


def test_a_region_lies_where_it_was_cut_out(tmp_path: Path) -> None:
    roi = {"t": [1, 3], "z": [2, 4], "y": [3, 33], "x": [10, 36]}
    run = made(
        tmp_path,
        czi={"scale_um": (0.5, 0.2, 0.1), "time_step_s": 12.5},
        input={"roi": roi},
    )
    _, translation = scale_and_translation(run)
    assert translation == pytest.approx([12.5, 0, 1.0, 0.6, 1.0])


def test_an_image_that_begins_elsewhere_lies_there(tmp_path: Path) -> None:
    """A CZI of a stage position; a region in it adds up."""
    run = made(
        tmp_path,
        czi={
            "scale_um": (0.5, 0.2, 0.1),
            "time_step_s": 10.0,
            "start": (4, 0, 7),
            "location": (-120, 50),
        },
        input={"roi": {"x": [20, 36]}},
    )
    _, translation = scale_and_translation(run)
    assert translation == pytest.approx([40.0, 0, 3.5, 10.0, -10.0])


def test_what_is_not_known_has_no_unit(tmp_path: Path) -> None:
    """A unit would make the placeholder 1 a claim of one second."""
    run = made(tmp_path, czi={"time_step_s": None})
    [multiscale] = ome_of(run)["multiscales"]
    units = [axis.get("unit") for axis in multiscale["axes"]]
    assert units == [None, None, "micrometer", "micrometer", "micrometer"]
    scale, _ = scale_and_translation(run)
    assert scale[0] == 1
    yaozarrs.validate_zarr_store(str(run.output))


def test_unknown_voxel_sizes_have_no_unit_axis_by_axis(tmp_path: Path) -> None:
    image = CziImage(
        path=str(tmp_path),
        scene=None,
        origin=(0, 0, 0, 3),
        first_channel=0,
        selected=(0,),
        space_time=(1, 1, 8, 8),
        pixel_type="Gray16",
        fixed=(),
        channels=(Channel("a", "FFFFFF"),),
        scale_um=(None, 0.25, None),
        time_step_s=None,
        identity={},
        warnings=(),
    )
    begin = Coordinate(0, 0, 2, 0)
    ome = ome_metadata("n", image, [Resolution("0", begin, ONE, is_sampled=False)], "")
    [multiscale] = ome["multiscales"]
    units = [axis.get("unit") for axis in multiscale["axes"]]
    assert units == [None, None, None, "micrometer", None]
    [level] = multiscale["datasets"]
    scale, translation = level["coordinateTransformations"]
    assert scale["scale"] == [1, 1, 1, 0.25, 1]
    assert translation["translation"] == [0, 0, 0, 0.5, 3]


def test_channels_have_their_names_and_colours(tmp_path: Path) -> None:
    run = made(tmp_path, czi={"names": ["EGFP", "mCherry"]})
    channels = ome_of(run)["omero"]["channels"]
    assert [channel["label"] for channel in channels] == ["EGFP", "mCherry"]
    colours = [channel["color"] for channel in channels]
    assert len(set(colours)) == 2
    assert all(len(bytes.fromhex(colour)) == 3 for colour in colours)


def test_a_chosen_channel_keeps_its_name(tmp_path: Path) -> None:
    run = made(
        tmp_path,
        czi={"names": ["EGFP", "mCherry"]},
        input={"channels": [1]},
        noise={"kind": "gaussian", "noise_std": 5.0},
    )
    [channel] = ome_of(run)["omero"]["channels"]
    assert channel["label"] == "mCherry"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("level", ["noise", 0, 200, 255, 1000, 65535])
def test_contrast_windows_lie_inside_the_range(
    level: int | str, dtype: str, tmp_path: Path
) -> None:
    """Of the output's type; also where the image is constant or saturated."""
    image = small_image((1, 1, 2, 32, 32))
    if isinstance(level, int):
        image = np.full_like(image, level)
    run = made(tmp_path, image, output={"dtype": dtype})
    [channel] = ome_of(run)["omero"]["channels"]
    window = channel["window"]
    assert window["min"] <= window["start"] < window["end"] <= window["max"]
    if dtype != "float32":
        assert (window["min"], window["max"]) == (0, np.iinfo(dtype).max)
    if level == "noise":
        low, high = np.percentile(image[0, 0, 1], (5, 95))
        limit = np.iinfo(dtype).max if dtype != "float32" else math.inf
        assert window["start"] <= min(low, limit - 1)
        assert window["end"] >= min(high, limit)


LAYOUTS = {
    "sharded": Layout(
        (2, 2, 6, 20, 24), "uint16", (1, 1, 2, 8, 8), (1, 2, 4, 16, 24), 1
    ),
    "unsharded": Layout((2, 2, 6, 20, 24), "uint16", (1, 1, 2, 8, 8), None, 1),
}
"""Neither chunks nor shards divide the shape."""


def created(path: Path, layout: Layout) -> Any:
    create_group(path, {"version": "0.5"}, {"version": "0"})
    create_array(path / "0", layout)
    return open_array(path / "0")


def voxels_of(layout: Layout) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 4000, layout.shape).astype(layout.dtype)


@pytest.mark.parametrize("name", LAYOUTS)
def test_chunks_are_bitshuffled_zstd_with_a_checksum(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    created(tmp_path / "a.zarr", layout)
    codecs = json.loads((tmp_path / "a.zarr/0/zarr.json").read_text())["codecs"]
    if layout.shards:
        [sharding] = codecs
        assert sharding["name"] == "sharding_indexed"
        assert sharding["configuration"]["chunk_shape"] == list(layout.chunks)
        index = [codec["name"] for codec in sharding["configuration"]["index_codecs"]]
        assert index == ["bytes", "crc32c"]
        codecs = sharding["configuration"]["codecs"]
    assert [codec["name"] for codec in codecs] == ["bytes", "blosc", "crc32c"]
    assert codecs[0]["configuration"]["endian"] == "little"
    blosc = codecs[1]["configuration"]
    assert blosc["cname"] == "zstd"
    assert blosc["shuffle"] == "bitshuffle"
    assert blosc["clevel"] == 1
    assert blosc["typesize"] == 2


@pytest.mark.parametrize("level", [0, 1, 9])
def test_the_compression_level_is_the_one_asked_for(level: int, tmp_path: Path) -> None:
    layout = Layout((1, 1, 2, 8, 8), "uint16", (1, 1, 2, 8, 8), None, level)
    created(tmp_path / "a.zarr", layout)
    text = (tmp_path / "a.zarr/0/zarr.json").read_text()
    assert json.loads(text)["codecs"][1]["configuration"]["clevel"] == level


def read_without_error(path: Path, file: Path, contents: list[bytes]) -> list[int]:
    """Which of these contents of a file, by position, zarr reads without an error.

    In a process of its own, where zarr's unfinished tasks disturb no other test.
    """
    script = f"""
import sys
from pathlib import Path
from denoise_daisy.outputs.ome_zarr import open_written

length = int.from_bytes(sys.stdin.buffer.read(8))
for i in range(length):
    data = sys.stdin.buffer.read(int.from_bytes(sys.stdin.buffer.read(8)))
    Path({str(file)!r}).write_bytes(data)
    try:
        open_written(Path({str(path / "0")!r}))[...]
    except Exception:
        continue
    print(i)
"""
    sent = len(contents).to_bytes(8)
    for data in contents:
        sent += len(data).to_bytes(8) + data
    done = subprocess.run(
        [sys.executable, "-c", script], input=sent, capture_output=True, check=True
    )
    return [int(i) for i in done.stdout.split()]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_flipped_byte_is_an_error_when_read(name: str, tmp_path: Path) -> None:
    """At both ends of a file and all over it; undamaged it is read as written."""
    layout = LAYOUTS[name]
    path = tmp_path / "a.zarr"
    array, voxels = created(path, layout), voxels_of(layout)
    array[...] = voxels
    np.testing.assert_array_equal(open_written(path / "0")[...], voxels)
    file = next(files_of(path / "0", layout, Roi((0, 0, 0, 0), (1, 1, 1, 1))))
    good = file.read_bytes()
    step = max(1, len(good) // 60)
    places = sorted({*range(0, len(good), step), *range(len(good) - 8, len(good))})
    flipped = []
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 0x10
        flipped.append(bytes(bad))
    assert read_without_error(path, file, [*flipped, good]) == [len(places)]
    np.testing.assert_array_equal(open_written(path / "0")[...], voxels)
    assert len(places) > 60


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_file_cut_short_is_an_error_when_read(name: str, tmp_path: Path) -> None:
    """Unless a shard is cut to nothing, which zarr reads as zeros; `verify` sees it."""
    layout = LAYOUTS[name]
    path = tmp_path / "a.zarr"
    created(path, layout)[...] = voxels_of(layout)
    file = next(files_of(path / "0", layout, Roi((0, 0, 0, 0), (1, 1, 1, 1))))
    good = file.read_bytes()
    lengths = (1, 10, 100, len(good) // 2, len(good) - 1)
    assert read_without_error(path, file, [good[:n] for n in lengths]) == []


def crc32c(data: bytes | bytearray) -> bytes:
    """The CRC-32C of RFC 3720, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return (crc ^ 0xFFFFFFFF).to_bytes(4, "little")


def test_a_chunk_that_was_damaged_before_its_checksum_was_made_is_damaged(
    tmp_path: Path,
) -> None:
    """The checksum fits; it is Blosc that gives up."""
    layout = Layout((1, 1, 2, 8, 8), "uint16", (1, 1, 2, 8, 8), None, 1)
    created(tmp_path, layout)[...] = voxels_of(layout)
    file = tmp_path / "0/c/0/0/0/0/0"
    bad = bytearray(file.read_bytes()[:-4])
    assert file.read_bytes() == bad + crc32c(bad)
    bad[20] ^= 0x10
    file.write_bytes(bad + crc32c(bad))
    with pytest.raises(DamagedError, match="blosc decompression"), damage_told():
        open_written(tmp_path / "0")[...]


def test_a_thread_that_can_not_be_started_is_no_damage() -> None:
    """Else a block would be done again because the machine was busy."""
    error = RuntimeError("can't start new thread")
    with pytest.raises(RuntimeError) as raised, damage_told():
        raise error
    assert raised.value is error


def test_a_file_that_is_gone_is_an_error_in_whichever_way_zarr_reads_it(
    tmp_path: Path,
) -> None:
    """At once, as later versions of Zarr do, or while others are read."""
    layout = LAYOUTS["unsharded"]
    created(tmp_path, layout)[...] = voxels_of(layout)
    store = open_written(tmp_path / "0").store
    key = "c/0/1/2/1/0"
    file = tmp_path / "0" / key
    assert store.get_sync(key).to_bytes() == file.read_bytes()
    file.unlink()
    with pytest.raises(FileNotFoundError) as missed:
        store.get_sync(key)
    assert missed.value.filename == str(file)
    with pytest.raises(FileNotFoundError) as missed:
        asyncio.run(store.get(key))
    assert missed.value.filename == str(file)
    assert store.get_sync("not/a/chunk") is None


def test_an_array_that_was_moved_away_is_not_made_again_by_looking_for_a_chunk(
    tmp_path: Path,
) -> None:
    layout = LAYOUTS["unsharded"]
    store = created(tmp_path / "a.zarr", layout).store
    (tmp_path / "a.zarr").rename(tmp_path / "away")
    for its in (store, store.with_read_only(read_only=False)):
        assert its.get_sync("c/0/0/0/0/0") is None
        assert [path.name for path in tmp_path.iterdir()] == ["away"]


def files_on_disk(path: Path) -> set[Path]:
    return {file for file in (path / "0" / "c").rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", LAYOUTS)
def test_zeros_are_written_and_stay_written(name: str, tmp_path: Path) -> None:
    """By default zarr leaves them out, and deletes what they replace."""
    layout = LAYOUTS[name]
    path = tmp_path / "a.zarr"
    array = created(path, layout)
    array[...] = np.zeros(layout.shape, layout.dtype)
    everything = Roi((0, 0, 0, 0), (2, 6, 20, 24))
    expected = set(files_of(path / "0", layout, everything))
    assert files_on_disk(path) == expected
    assert len(expected) == layout.files
    array[...] = voxels_of(layout)
    array[...] = np.zeros(layout.shape, layout.dtype)
    assert files_on_disk(path) == expected


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_of_names_just_the_files_that_a_region_makes(
    name: str, tmp_path: Path
) -> None:
    layout = LAYOUTS[name]
    rng = np.random.default_rng(3)
    for i in range(15):
        path = tmp_path / f"{i}.zarr"
        extent = np.array(layout.shape)[[0, 2, 3, 4]]
        begin = rng.integers(0, extent)
        end = rng.integers(begin + 1, extent + 1)
        roi = Roi(begin.tolist(), (end - begin).tolist())
        t, z, y, x = roi.to_slices()
        created(path, layout)[t, :, z, y, x] = 7
        assert files_on_disk(path) == set(files_of(path / "0", layout, roi))


def test_an_image_that_was_cut_short_is_completed(tmp_path: Path) -> None:
    """A run killed between group and array; and what is there is not emptied."""
    path, layout = tmp_path / "a.zarr", LAYOUTS["sharded"]
    assert own_attributes(path) is None
    zarr.open_group(path, mode="a", zarr_format=3)
    with pytest.raises(RefusedError):
        check_array(path / "0", layout)
    array = created(path, layout)
    check_array(path / "0", layout)
    assert own_attributes(path) == {"version": "0"}
    array[...] = 9
    created(path, layout)
    assert (open_written(path / "0")[...] == 9).all()


def test_an_image_is_removed_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    created(path, LAYOUTS["sharded"])
    remove_image(path)
    assert not path.exists()


def test_metadata_that_can_not_be_read_are_not_taken_for_damaged(
    tmp_path: Path,
) -> None:
    """Damaged ones are written anew; these may be whole."""
    link = tmp_path / "zarr.json"
    link.symlink_to(link)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        create_group(tmp_path, {"version": "0.5"}, {})
    assert link.readlink() == link
