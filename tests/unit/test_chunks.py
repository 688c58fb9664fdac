"""Chunks that nobody names: near cubes of the specimen with which blocks balance.

What is expected is worked out here: bytes by multiplication, edges in micrometers, and
the time of a run by cutting the image with each of some chunks.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denoise_daisy.denoisers.ndsafir import NdsafirDenoiser
from denoise_daisy.errors import InputError
from denoise_daisy.outputs.chunks import chunk_shapes
from denoise_daisy.resolved import resolve
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.record import RunRecord
from harness import config_for, load
from harness.images import MemoryImage
from harness.properties import examples

MIB = 1 << 20

DENOISE = {"patch": {"z": 1, "y": 3, "x": 3}, "max_iter": 3}

extents = st.tuples(
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(1, 3000),
    st.integers(1, 5000),
    st.integers(1, 5000),
)
scales = st.tuples(*[st.none() | st.floats(0.05, 5.0)] * 3)
itemsizes = st.sampled_from([1, 2, 4])


@examples(400)
@given(
    extents,
    itemsizes,
    scales,
    st.dictionaries(st.sampled_from("tczyx"), st.integers(1, 300)),
)
def test_chunks_fit_in_the_image_and_are_as_named(
    shape: tuple[int, ...],
    itemsize: int,
    scale: tuple[float | None, ...],
    named: dict[Any, int],
) -> None:
    found = chunk_shapes(shape, itemsize, scale, named, {})
    assert found == chunk_shapes(shape, itemsize, scale, named, {})
    assert 1 <= len(found) <= 16
    assert len(set(found)) == len(found)
    for chunk in found:
        for axis, length, most in zip("tczyx", chunk, shape, strict=True):
            assert 1 <= length <= most
            if axis in named:
                assert length == min(named[axis], most)
            elif axis in "tc":
                assert length == 1


@examples(400)
@given(extents, itemsizes, scales)
def test_chunks_have_half_a_mib_to_two_where_there_is_so_much(
    shape: tuple[int, ...], itemsize: int, scale: tuple[float | None, ...]
) -> None:
    volume = math.prod(shape[2:]) * itemsize
    for chunk in chunk_shapes(shape, itemsize, scale, {}, {}):
        size = math.prod(chunk) * itemsize
        assert size <= 2 * MIB
        assert size >= min(MIB // 2, volume)


@examples(400)
@given(extents, itemsizes, st.tuples(*[st.floats(0.05, 5.0)] * 3))
def test_chunks_are_near_cubes_of_the_specimen(
    shape: tuple[int, ...], itemsize: int, scale: tuple[float, ...]
) -> None:
    """No edge of more than a voxel is twice another that could be longer."""
    for chunk in chunk_shapes(shape, itemsize, scale, {}, {}):
        edges = [n * um for n, um in zip(chunk[2:], scale, strict=True)]
        longest = max(
            (e for e, n in zip(edges, chunk[2:], strict=True) if n > 1), default=0
        )
        for edge, n, most in zip(edges, chunk[2:], shape[2:], strict=True):
            assert n == most or longest <= 2.001 * edge


@pytest.mark.parametrize(
    ("shape", "dtype", "scale", "chunk"),
    [
        ((17, 1, 1501, 2048, 1936), "uint16", (0.145,) * 3, (1, 1, 80, 80, 80)),
        ((1, 2, 200, 2048, 2048), "uint16", (1.6, 0.1, 0.1), (1, 1, 12, 192, 192)),
        ((1, 1, 512, 512, 512), "uint8", (1.0,) * 3, (1, 1, 96, 96, 96)),
        ((1, 1, 512, 512, 512), "float32", (1.0,) * 3, (1, 1, 64, 64, 64)),
        ((1, 1, 1, 8192, 8192), "uint16", (1.0,) * 3, (1, 1, 1, 768, 768)),
        ((9, 3, 5, 40, 30), "uint16", (1.0,) * 3, (1, 1, 5, 40, 30)),
    ],
)
def test_the_best_cube_of_usual_images(
    shape: tuple[int, ...],
    dtype: str,
    scale: tuple[float, ...],
    chunk: tuple[int, ...],
) -> None:
    best = chunk_shapes(shape, np.dtype(dtype).itemsize, scale, {}, {})[0]
    assert best == chunk


class Known(MemoryImage):
    """Zeros, of which there is one in memory."""

    path = "known.czi"

    def __init__(self, shape: tuple[int, ...], scale: float | None) -> None:
        super().__init__(np.broadcast_to(np.uint16(0), shape))
        self.scale_um = (scale, scale, scale)


def resolved(
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    record: RunRecord | None = None,
    **sections: Any,
) -> ResolvedRun:
    monkeypatch.setattr(resolve, "open_image", lambda _: Known(shape, 1.0))
    monkeypatch.setattr(NdsafirDenoiser, "seconds_per_step", lambda *_: 1e-9)
    # As a start on a machine of this size would, whatever this one has free.
    sections = {"blocks": {"memory_gib": 8}, "denoise": DENOISE} | sections
    config = config_for(Path("/a.czi"), Path("/o.zarr"), **sections)
    return resolve.resolve(load(config), record, "new")


def record_of(run: ResolvedRun) -> RunRecord:
    """What the run would leave."""
    stages = run.stage_records()
    return RunRecord(id="old", epoch=1, config={}, stages=stages, versions={})


def time_with(run: ResolvedRun, workers: int) -> float:
    """When the last of the workers is done, in voxels, blocks handed out in order."""
    grid = run.denoising.grid
    busy = [0] * workers
    for index in grid.indices():
        busy[busy.index(min(busy))] += math.prod(grid.read_roi(index).shape)
    return max(busy)


def balanced(workers: int) -> dict[str, Any]:
    return {"kind": "local", "count": workers}


SMALL = (1, 1, 32, 384, 384)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_no_chunks_near_a_cube_balance_better_and_none_as_good_are_nearer(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of those that could be is tried, by naming it."""
    pool = balanced(workers)
    run = resolved(monkeypatch, SMALL, workers=pool)
    times = {}
    for chunk in chunk_shapes(SMALL, 2, (1.0,) * 3, {}, {}):
        named = {"chunks": dict(zip("tczyx", chunk, strict=True))}
        times[chunk] = time_with(
            resolved(monkeypatch, SMALL, workers=pool, output=named), workers
        )
    as_good = [c for c, time in times.items() if time <= 1.02 * min(times.values())]
    assert run.array.layout.chunks == as_good[0]
    assert len(set(times.values())) > 1 or workers == 1


def test_two_workers_are_balanced_better_than_by_chunks_of_128(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = resolved(monkeypatch, SMALL, workers=balanced(2))
    old = {"chunks": {"z": 32, "y": 128, "x": 128}}
    before = resolved(monkeypatch, SMALL, workers=balanced(2), output=old)
    assert time_with(run, 2) < 0.9 * time_with(before, 2)


def test_axes_that_are_named_stay_so_in_every_array(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = [{"kind": "smooth", "name": "s", "input": "denoised", "sigma": 1}]
    config = config_for(
        Path("/a.czi"), Path("/o.zarr"), denoise=DENOISE, output={"chunks": {"y": 48}}
    )
    monkeypatch.setattr(resolve, "open_image", lambda _: Known((1, 1, 64, 600, 600), 1))
    run = resolve.resolve(load(config | {"tasks": tasks}), None, "new")
    first = run.array.layout.chunks
    assert first[3] == 48
    arrays = [stage.array for stage in run.stages if stage.array]
    assert {"denoise", "s", "pyramid.1", "s.pyramid.1"} <= {s.name for s in run.stages}
    for array in arrays:
        expected = tuple(map(min, first, array.layout.shape))
        assert array.layout.chunks == expected


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_a_run_that_goes_on_keeps_its_chunks_whoever_does(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = resolved(monkeypatch, SMALL, workers=balanced(2))
    again = resolved(
        monkeypatch,
        SMALL,
        record_of(run),
        workers=balanced(workers),
        blocks={"memory_gib": 1},
    )
    assert again.array.layout == run.array.layout


def test_a_run_with_the_chunks_of_an_earlier_version_goes_on_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = {"chunks": {"z": 32, "y": 128, "x": 128}, "shards": None}
    was = resolved(monkeypatch, SMALL, output=old)
    now = resolved(monkeypatch, SMALL, record_of(was), output={"shards": None})
    assert now.array.layout.chunks == (1, 1, 32, 128, 128)
    assert now.denoising.fingerprint == was.denoising.fingerprint
    levels = [stage.fingerprint for stage in was.tasks]
    assert levels
    assert [stage.fingerprint for stage in now.tasks] == levels
    named = resolved(monkeypatch, SMALL, record_of(was), output={"chunks": {"y": 64}})
    assert named.array.layout.chunks == (1, 1, 32, 64, 128)


@pytest.mark.parametrize(
    "sections",
    [
        {"blocks": {"shape": {"z": 32, "y": 100, "x": 150}}},
        {"output": {"shards": {"z": 32, "y": 200, "x": 336}}},
        {
            "blocks": {"shape": {"z": 32, "y": 144, "x": 384}},
            "output": {"shards": {"y": 72, "x": 96}},
        },
    ],
)
def test_blocks_and_shards_that_are_named_are_whole_chunks(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = resolved(monkeypatch, SMALL, **sections)
    layout, block = run.array.layout, run.denoising.grid.block_shape
    shards = layout.shards or layout.chunks
    for chunk, shard, n, most in zip(
        layout.chunks[2:], shards[2:], block[1:], SMALL[2:], strict=True
    ):
        assert shard % chunk == 0
        assert n % shard == 0 or n >= most
    named = sections.get("output", {}).get("shards", {})
    for axis, length in zip("zyx", shards[2:], strict=True):
        assert length == named.get(axis, length)
    wanted = sections.get("blocks", {}).get("shape", {})
    for axis, length in zip("zyx", block[1:], strict=True):
        assert length == wanted.get(axis, length)


def test_the_smallest_blocks_of_all_chunks_are_tried_before_memory_is_too_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InputError, match="smallest block"):
        resolved(monkeypatch, SMALL, blocks={"memory_gib": 0.21})


def test_chunks_that_make_many_files_give_way_to_some_as_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Blocks of 7 x 13 chunks tile in no larger shards than a row; 8 x 13 do."""
    movie = (17, 1, 1501, 2048, 1936)
    sections: dict[str, Any] = {"workers": balanced(8), "blocks": {"memory_gib": 57}}
    cube = {"chunks": {"z": 80, "y": 80, "x": 80}}
    rows = resolved(monkeypatch, movie, output=cube, **sections)
    assert rows.array.layout.shards == (1, 1, 80, 80, 2000)
    run = resolved(monkeypatch, movie, **sections)
    assert rows.array.layout.files == 17 * 19 * 26
    assert run.array.layout.files <= 4000
    share = time_of(run) / time_of(rows)
    assert share <= 1.02


def time_of(run: ResolvedRun) -> float:
    """Of eight workers: all that is read, in whole rounds."""
    grid = run.denoising.grid
    return grid.voxels_read * math.ceil(grid.size / 8) / grid.size


def test_blocks_of_tasks_that_are_named_are_whole_chunks_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = {"kind": "smooth", "name": "s", "input": "denoised", "sigma": 1}
    config = config_for(Path("/a.czi"), Path("/o.zarr"), denoise=DENOISE)
    monkeypatch.setattr(resolve, "open_image", lambda _: Known(SMALL, 1.0))
    cut = {"blocks": {"shape": {"z": 32, "y": 100, "x": 200}}}
    run = resolve.resolve(load(config | {"tasks": [task | cut]}), None, "new")
    (smooth,) = (stage for stage in run.stages if stage.name == "s")
    assert tuple(smooth.grid.block_shape) == (1, 32, 100, 200)
    _, _, _, y, x = run.array.layout.chunks
    assert 100 % y == 200 % x == 0


def test_blocks_larger_than_the_image_decide_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As long as the axis, or longer, is the same as not named."""
    chunks = {
        resolved(
            monkeypatch, (1, 1, 32, 390, 390), blocks={"shape": {"y": 96} | x}
        ).array.layout.chunks
        for x in ({}, {"x": 390}, {"x": 391})
    }
    assert len(chunks) == 1
