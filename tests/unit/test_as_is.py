"""What is not there is not denoised: gaps stay 0, empty blocks stay as they are.

The oracle is ndsafir on the whole image, and numpy on what a block reads.  A green run
means nothing where no block has gaps in part, and none is wholly of one kind: each
case says how many blocks there are of which.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi
from hypothesis import given
from hypothesis import strategies as st

from denoise_daisy.blockwise.as_is import AsIs
from denoise_daisy.blockwise.sources import Raw
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import Block, Content
from denoise_daisy.images.czi import open_czi
from harness import config_for, load, small_image, whole_image
from harness.czi_files import ALL, MOSAIC, write_tiles
from harness.images import MemoryImage
from harness.prepared import resolved

SHAPE = (2, 2, 4, 40, 48)


def with_gaps(path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A CZI, its voxels, and which of them are in it.

    The tiles of each plane are the left half and a part of the right; the second time
    point lacks a plane in one channel, and a block of y 16:32, x 32:48 in all.
    """
    image, there = small_image(SHAPE), np.zeros(SHAPE, bool)
    there[..., :24] = there[:, :, :, :37, 20:41] = True
    there[1, :, :, 16:, 30:] = False
    there[1, 1, 2] = False
    tiles = []
    for t, c, z in np.ndindex(SHAPE[:3]):
        if (t, c, z) == (1, 1, 2):
            continue
        tiles.append((f"T{t} C{c} Z{z}", image[t, c, z, :, :24], (0, 0)))
        rows = slice(0, 16 if t else 37)
        tiles.append((f"T{t} C{c} Z{z}", image[t, c, z, rows, 20:41], (20, 0)))
    # Without a pixel in its last column, the image would end where the tiles do.
    there[0, 0, 0, 39, 47] = True
    tiles.append(("T0 C0 Z0", image[0, 0, 0, 39:, 47:], (47, 39)))
    there[1, :, :, 16:, 24:30] = False
    image[~there] = 0
    return write_tiles(path, tiles), image, there


def contents_of(stage: Stage) -> tuple[np.ndarray, list[bool], int]:
    """All that the blocks write, which are left as they are, and voxels clipped."""
    assert stage.array is not None
    volume = stage.grid.volume
    result = np.zeros((volume.shape[0], 2, *volume.shape[1:]), stage.array.dtype)
    left, clipped = [], 0
    for index in stage.grid.indices():
        block = stage.read_block(index)
        as_it_is = stage.left(block)
        left.append(as_it_is is not None)
        made = stage.compute(block) if as_it_is is None else as_it_is
        content: Content = stage.target.content(block, made)
        t, z, y, x = (block.write_roi - volume.begin).to_slices()
        result[t, :, z, y, x] = content.data
        clipped += content.clipped
    return result, left, clipped


@pytest.mark.parametrize(
    ("dtype", "denoise", "roi"),
    [
        ("float32", {}, {}),
        ("uint16", {}, {}),
        ("uint8", {}, {}),
        ("float32", {"cover": "all", "patch": {"y": 1, "x": 1}}, {}),
        ("float32", {}, {"t": [1, 2], "y": [3, 40], "x": [8, 48]}),
    ],
)
def test_gaps_stay_0_and_all_else_is_the_whole_images_result(
    dtype: str, denoise: dict[str, Any], roi: dict[str, list[int]], tmp_path: Path
) -> None:
    path, image, there = with_gaps(tmp_path / "in.czi")
    config = config_for(
        path,
        tmp_path / "out.zarr",
        input={"roi": roi},
        noise_channels=2,
        denoise=denoise,
        output={"dtype": dtype, "chunks": {"z": 4, "y": 8, "x": 16}},
        blocks={"shape": {"y": 16, "x": 16}},
    )
    run = resolved(load(config))
    assert run.is_exact
    stage = run.denoising
    found, left, clipped = contents_of(stage)
    t, z, y, x = stage.grid.volume.to_slices()
    padding = stage.grid.readable_roi.end - Coordinate(2, *SHAPE[2:])
    assert any(padding) == bool(denoise)
    layers = [(0, padding[0]), (0, 0), *((0, n) for n in padding[1:])]
    whole = whole_image(np.pad(image, layers, mode="reflect"), config)[t, :, z, y, x]
    valid, whole = there[t, :, z, y, x], np.array(whole)
    assert (whole[~valid] > 50).any()
    whole[~valid] = 0
    if dtype != "float32":
        most = np.iinfo(dtype).max
        outside = int((np.rint(whole) > most).sum())
        assert bool(outside) == (dtype == "uint8")
        assert clipped == outside
        whole = np.rint(whole).clip(0, most)
    np.testing.assert_array_equal(found, whole)
    blocks = [stage.grid.write_roi(i).to_slices() for i in stage.grid.indices()]
    empty = [not there[t, :, z, y, x].any() for t, z, y, x in blocks]
    assert left == empty
    assert 0 < sum(empty) < len(empty)
    assert stage.parameters["gaps"] == "stay 0"


def block_of(image: MemoryImage, read: Roi, write: Roi, padding: Coordinate) -> Block:
    raw = Raw(image, padding)
    return Block(
        (0, 0, 0, 0), read, write, (raw.read(read),), lambda _, roi: raw.read(roi)
    )


@given(st.data())
def test_a_block_is_left_when_nothing_of_the_image_in_it_is_bright(
    data: st.DataObject,
) -> None:
    """Its context counts as well, mirrored layers do not; as numpy counts them."""
    shape = (1, 2, 2, 5, 6)
    seed = data.draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    dtype = data.draw(st.sampled_from(["uint8", "uint16", "float32"]))
    rarely = data.draw(st.sampled_from([4, 60]))
    voxels = (rng.integers(0, rarely, shape) == 0) * rng.integers(1, 4, shape)
    voxels = voxels.astype(dtype)
    if dtype == "float32":
        voxels[rng.random(shape) < 0.2] = np.nan
    there = rng.random(shape) < data.draw(st.sampled_from([0.1, 0.7, 1.1]))
    below = data.draw(st.sampled_from([-1.0, 0.0, 1.0, 2.5, 3, 1e6]))
    begin = [data.draw(st.integers(0, n - 1)) for n in (1, 2, 5, 6)]
    ends = zip(begin, (1, 2, 5, 6), strict=True)
    write = Roi(begin, [data.draw(st.integers(1, n - first)) for first, n in ends])
    padding = Coordinate(0, 1, 2, 2)
    image = MemoryImage(voxels, there)
    read = write.grow((0, 1, 1, 1), (0, 1, 3, 3))
    own = read.intersect(Roi((0, 0, 0, 0), (1, 2, 5, 6)))
    read = read.intersect(Roi((0, 0, 0, 0), (1, 3, 7, 8)))
    block = block_of(image, read, write, padding)
    t, z, y, x = own.to_slices()
    of_block = (t, slice(None), z, y, x)
    bright = [
        value > below
        for value, is_there in zip(
            voxels[of_block].ravel().tolist(), there[of_block].ravel(), strict=True
        )
        if is_there
    ]
    t, z, y, x = write.to_slices()
    written = (t, slice(None), z, y, x)
    result = AsIs(image, below).left(block)
    assert (result is None) == (any(bright) and bool(there[written].any()))
    if result is not None:
        result = np.broadcast_to(result, result.shape)
        if result.shape[2:] != voxels[written].shape[2:]:
            t, z, y, x = (write - read.begin).to_slices()
            result = result[t, :, z, y, x]
        expected = np.where(there[written], voxels[written], 0)
        np.testing.assert_array_equal(result, expected)
    only_gaps = AsIs(image, None).left(block)
    assert (only_gaps is None) == there[written].any()


def test_what_is_0_in_a_gap_was_not_clipped() -> None:
    """Whatever came out there, even what is no number; of a whole image all stays."""
    there = np.ones((1, 1, 1, 1, 4), bool)
    there[..., 1:3] = False
    roi = Roi((0, 0, 0, 0), (1, 1, 1, 4))
    made = np.array([300, np.nan, -7, 5], np.float32).reshape(there.shape)
    for gaps, expected in ((there, [300, 0, 0, 5]), (None, made.ravel().tolist())):
        image = MemoryImage(np.zeros(there.shape, np.uint8), gaps)
        block = block_of(image, roi, roi, Coordinate(0, 0, 0, 0))
        result = AsIs(image, None).without_gaps(block, made.copy())
        np.testing.assert_array_equal(result.ravel(), expected)


def test_empty_blocks_are_the_raw_voxels_and_the_others_are_denoised(
    tmp_path: Path,
) -> None:
    """In a file without gaps, whose run keeps its blocks and is not exact."""
    image = np.full(SHAPE, 100, np.uint16)
    image[:, :, :, :9, :9] = small_image(SHAPE)[:, :, :, :9, :9]
    image[0, 1, 3, 39, 47] = 257
    image[1, 1, 0, 20, 40] = 256
    tiles = [
        (f"T{t} C{c} Z{z}", image[t, c, z], (0, 0)) for t, c, z in np.ndindex(SHAPE[:3])
    ]
    config = config_for(
        write_tiles(tmp_path / "in.czi", tiles),
        tmp_path / "out.zarr",
        noise_channels=2,
        output={"dtype": "uint8", "chunks": {"z": 4, "y": 8, "x": 16}},
        blocks={"shape": {"y": 8, "x": 16}, "skip": {"below": 256.5}},
    )
    run = resolved(load(config))
    assert not run.is_exact
    assert run.missing_context == {}
    assert "gaps" not in run.denoising.parameters
    found, left, clipped = contents_of(run.denoising)
    whole = np.rint(whole_image(image, config))
    expected, outside = [], 0
    for index in run.denoising.grid.indices():
        read = run.denoising.grid.read_roi(index).to_slices()
        t, z, y, x = run.denoising.grid.write_roi(index).to_slices()
        is_empty = not (image[read[0], :, read[1], read[2], read[3]] > 256.5).any()
        expected.append(is_empty)
        part = (t, slice(None), z, y, x)
        kept = (image if is_empty else whole)[part]
        np.testing.assert_array_equal(found[part], kept.clip(0, 255))
        outside += int((kept > 255).sum())
    assert left == expected
    assert 2 < sum(left) < len(left) - 2
    assert found[1, 1, 0, 20, 40] == 255
    assert clipped == outside


def test_real_gaps_stay_0(real_czi: Callable[[str], Path], tmp_path: Path) -> None:
    """Of a mosaic, of which ndsafir makes 210 where there is nothing."""
    path = real_czi(MOSAIC)
    image = open_czi(str(path), 2)
    there, raw = image.valid(ALL), image[ALL]
    assert there is not None
    assert there.mean() == pytest.approx(0.72, abs=0.01)
    config = config_for(
        path,
        tmp_path / "out.zarr",
        input={"scene": 2},
        noise_channels=2,
        denoise={"patch": {"y": 3, "x": 3}, "max_iter": 3},
        noise={"kind": "poisson-gaussian"}
        | {"gains": [124.3, 123.7], "offsets": [-31906, -31634]},
        output={"chunks": {"z": 3, "y": 64, "x": 64}},
        blocks={"shape": {"y": 128, "x": 128}},
    )
    found, _, _ = contents_of(resolved(load(config)).denoising)
    whole = np.rint(whole_image(raw, config)).astype(np.uint16)
    np.testing.assert_array_equal(found, np.where(there, whole, 0))
    before, total = (a.sum(dtype=float) / raw.sum(dtype=float) for a in (whole, found))
    assert before > 1.06
    assert total == pytest.approx(1, abs=0.01)
