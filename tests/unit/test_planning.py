"""The block shape is legal, fits into memory, and is the quickest there is.

The oracle tries every block shape, and has its own formulas of memory and time.  A
green run would mean nothing if memory never ruled out a shape, or if one block were
always best; a test asserts that it is not so.
"""

import itertools
import math
import random
import re
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from funlib.geometry import Coordinate, Roi
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from denoise_daisy.amounts import GIB
from denoise_daisy.blockwise.block_shape import (
    Workload,
    check_shape,
    choose_shape,
)
from denoise_daisy.blockwise.limits import Limits
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import BlockGrid, stencil
from denoise_daisy.outputs.layout import MAX_SHARD_BYTES, auto_shards
from denoise_daisy.resolved.resolve import resolve
from harness import config_for, load, small_czi
from harness.prepared import resolved
from harness.properties import examples

BASE = 200 << 20
"""Memory of a worker that has read nothing yet."""

ITEMSIZE = {"uint8": 1, "uint16": 2, "float32": 4}


def within(memory: int) -> Limits:
    return Limits(memory=memory)


def workload(*, channels: int, itemsize: int, workers: int) -> Workload:
    """That of ndsafir: 28 bytes per voxel and channel beside the input's."""
    per_voxel = channels * (28 + itemsize)
    return Workload(bytes_per_voxel=per_voxel, base=BASE, workers=workers)


def grid_of(image: Roi, volume: Roi, patch: Coordinate, max_iter: int) -> BlockGrid:
    law = stencil(patch, "zyx", max_iter)
    return BlockGrid(image, volume, volume.shape, law.reach, law)


def every_shape(grid: BlockGrid, unit: Coordinate) -> list[BlockGrid]:
    """All legal cuts, from multiples of the unit to whole axes."""
    axes = []
    for voxels, step in zip(grid.volume.shape, unit, strict=True):
        steps = range(1, math.ceil(voxels / step) + 1)
        axes.append([min(n * step, voxels) for n in steps])
    return [replace(grid, block_shape=Coordinate(s)) for s in itertools.product(*axes)]


def lengths_read(cut: BlockGrid) -> list[list[int]]:
    """Per axis, what the blocks at each position read, by the law of tiling.

    All context that counts, from a patch's place on, and not beyond the image.
    """
    axes = zip(
        *(cut.readable_roi.end, cut.volume.begin, cut.volume.end, cut.block_shape),
        *(cut.stencil.reach, cut.stencil.stride),
        strict=True,
    )
    found = []
    for image_end, first, last, block, reach, stride in axes:
        lengths = []
        for begin in range(first, last, block):
            start = max(0, begin - reach) // stride * stride
            lengths.append(min(min(begin + block, last) + reach, image_end) - start)
        found.append(lengths)
    return found


def memory_of(cut: BlockGrid, work: Workload) -> int:
    """That of the block that reads most, beside the worker's own."""
    largest = math.prod(map(max, lengths_read(cut)))
    return BASE + largest * work.bytes_per_voxel


def time_of(cut: BlockGrid, work: Workload) -> Fraction:
    """When the last of up to 64 blocks is done; of more, as many rounds of the mean."""
    lengths = lengths_read(cut)
    blocks = math.prod(map(len, lengths))
    if blocks > 64:
        voxels = math.prod(map(sum, lengths))
        return Fraction(voxels * math.ceil(blocks / work.workers), blocks)
    free_at = [0] * work.workers
    for block in itertools.product(*lengths):
        free_at[free_at.index(min(free_at))] += math.prod(block)
    return Fraction(max(free_at))


@st.composite
def problems(
    draw: st.DrawFn,
) -> tuple[BlockGrid, Coordinate, Workload, int, list[BlockGrid]]:
    """A volume, its files, the work, the memory, and all cuts."""
    extent, begin, shape, unit = [], [], [], []
    for most in (3, 8, 60, 60):
        n = draw(st.integers(1, most))
        first = draw(st.sampled_from([0, 0, n // 3]))
        extent.append(n)
        begin.append(first)
        shape.append(n - first)
        unit.append(draw(st.integers(max(1, (n - first) // 6), max(1, n - first))))
    patch = Coordinate(
        draw(st.integers(0, 1)) if extent[0] > 2 else 0,
        draw(st.integers(0, 1)) if extent[1] > 2 else 0,
        *(draw(st.integers(0, min(2, (n - 1) // 2))) for n in extent[2:]),
    )
    grid = grid_of(
        Roi((0, 0, 0, 0), extent), Roi(begin, shape), patch, draw(st.integers(1, 3))
    )
    work = workload(
        channels=draw(st.integers(1, 3)),
        itemsize=draw(st.sampled_from([1, 2, 4])),
        workers=draw(st.integers(1, 5)),
    )
    cuts = every_shape(grid, Coordinate(unit))
    sizes = sorted(memory_of(cut, work) for cut in cuts)
    memory = sizes[draw(st.integers(0, len(sizes) - 1))]
    return grid, Coordinate(unit), work, memory, cuts


@examples(400)
@given(problems())
def test_the_chosen_shape_is_legal_fits_and_occupies_all_workers(
    problem: tuple[BlockGrid, Coordinate, Workload, int, list[BlockGrid]],
) -> None:
    grid, unit, work, memory, cuts = problem
    chosen = replace(grid, block_shape=choose_shape(grid, unit, work, within(memory)))
    check_shape(chosen.block_shape, unit, grid.volume.shape)
    assert memory_of(chosen, work) <= memory
    most = max(cut.size for cut in cuts if memory_of(cut, work) <= memory)
    assert chosen.size >= min(work.workers, most)


@examples(400)
@given(problems())
def test_no_other_shape_is_quicker(
    problem: tuple[BlockGrid, Coordinate, Workload, int, list[BlockGrid]],
) -> None:
    """Of the shapes that fit and occupy the workers.

    Blocks of several time points save nothing where time points are independent, and
    are not tried there.
    """
    grid, unit, work, memory, cuts = problem
    chosen = replace(grid, block_shape=choose_shape(grid, unit, work, within(memory)))
    rivals = [cut for cut in cuts if memory_of(cut, work) <= memory]
    most = max(cut.size for cut in rivals)
    rivals = [cut for cut in rivals if cut.size >= min(work.workers, most)]
    if not grid.stencil.reach[0]:
        one = min(unit[0], grid.volume.shape[0])
        rivals = [cut for cut in rivals if cut.block_shape[0] == one]
    quickest = min(rivals, key=lambda cut: time_of(cut, work))
    assert time_of(chosen, work) <= time_of(quickest, work), quickest.block_shape


@examples(400)
@given(problems(), st.randoms(use_true_random=False))
def test_memory_and_time_are_those_of_the_oracle(
    problem: tuple[BlockGrid, Coordinate, Workload, int, list[BlockGrid]],
    chance: random.Random,
) -> None:
    _, _, work, _, cuts = problem
    for cut in chance.sample(cuts, min(len(cuts), 20)):
        assert work.memory(cut) == memory_of(cut, work)
        assert work.time(cut) == time_of(cut, work)


@examples(200)
@given(problems())
def test_too_little_memory_is_refused_with_the_number_that_is_needed(
    problem: tuple[BlockGrid, Coordinate, Workload, int, list[BlockGrid]],
) -> None:
    grid, unit, work, _, cuts = problem
    least = min(memory_of(cut, work) for cut in cuts)
    choose_shape(grid, unit, work, within(least))
    with pytest.raises(InputError) as refused:
        choose_shape(grid, unit, work, within(least - 1))
    assert f"needs {least / GIB:.2f} GiB per worker" in str(refused.value)
    assert "blocks.memory_gib" in str(refused.value)


def test_memory_and_cores_really_decide_in_many_problems() -> None:
    """Else the tests above would hold for the whole volume as one block."""
    total, cut, forced = 0, 0, 0

    @settings(max_examples=300, database=None, derandomize=True)
    @given(problems())
    def count(
        problem: tuple[BlockGrid, Coordinate, Workload, int, list[BlockGrid]],
    ) -> None:
        nonlocal total, cut, forced
        grid, unit, work, memory, cuts = problem
        assume(len(cuts) > 1)
        total += 1
        shape = choose_shape(grid, unit, work, within(memory))
        cut += shape != grid.volume.shape
        forced += memory_of(grid, work) > memory

    count()
    assert total > 150
    assert cut > 0.4 * total
    assert forced > 0.4 * total


def test_of_equals_whole_planes_are_preferred() -> None:
    """Without context in z, halves in z, y and x are equally quick."""
    image = Roi((0, 0, 0, 0), (1, 64, 64, 64))
    law = replace(
        stencil(Coordinate(0, 0, 0, 0), "yx", 1),
        reach=Coordinate(0, 0, 0, 0),
    )
    grid = BlockGrid(image, image, image.shape, law.reach, law)
    unit = Coordinate(1, 32, 32, 32)
    work = workload(channels=1, itemsize=2, workers=2)
    assert len({work.time(cut) for cut in every_shape(grid, unit)}) == 2
    assert tuple(choose_shape(grid, unit, work, within(GIB))) == (1, 32, 64, 64)


def test_of_equals_the_fewest_blocks_are_preferred() -> None:
    """Blocks of one plane and of two are equally quick for one worker."""
    image = Roi((0, 0, 0, 0), (1, 64, 64, 64))
    law = replace(
        stencil(Coordinate(0, 0, 0, 0), "yx", 1),
        reach=Coordinate(0, 0, 0, 0),
    )
    grid = BlockGrid(image, image, image.shape, law.reach, law)
    work = workload(channels=1, itemsize=2, workers=1)
    assert (
        choose_shape(grid, Coordinate(1, 1, 64, 64), work, within(GIB)) == image.shape
    )


def test_memory_counts_every_channel_and_the_input() -> None:
    image = Roi((0, 0, 0, 0), (1, 10, 100, 100))
    grid = grid_of(image, image, Coordinate(0, 0, 1, 1), 1)
    work = workload(channels=2, itemsize=2, workers=1)
    assert work.memory(grid) == BASE + 100_000 * 2 * (28 + 2)


def test_time_is_that_of_the_worker_who_is_done_last() -> None:
    image = Roi((0, 0, 0, 0), (5, 1, 10, 10))
    grid = grid_of(image, image, Coordinate(0, 0, 0, 0), 1)
    grid = replace(grid, block_shape=Coordinate(1, 1, 10, 10))
    times = [
        workload(channels=1, itemsize=2, workers=workers).time(grid)
        for workers in (1, 2, 3, 5, 9)
    ]
    assert times == [500, 300, 200, 100, 100]


LIGHTSHEET = Roi((0, 0, 0, 0), (17, 1501, 2048, 1936))
"""A time lapse of a Lattice Lightsheet 7: 188 GiB of uint16."""


@pytest.mark.parametrize("workers", [1, 2, 16, 100])
def test_a_time_lapse_of_188_gib_is_planned_at_once_and_without_much_overhead(
    workers: int,
) -> None:
    """With all defaults and 4 GiB per worker."""
    grid = grid_of(LIGHTSHEET, LIGHTSHEET, Coordinate(0, 0, 3, 3), 3)
    unit = Coordinate(1, 32, 128, 128)
    work = workload(channels=1, itemsize=2, workers=workers)
    started = time.thread_time()
    shape = choose_shape(grid, unit, work, within(4 * GIB))
    assert time.thread_time() - started < 2
    chosen = replace(grid, block_shape=shape)
    check_shape(shape, unit, LIGHTSHEET.shape)
    assert 2 * GIB < memory_of(chosen, work) <= 4 * GIB
    assert chosen.voxels_read / chosen.voxels_written < 1.6
    assert chosen.size > 100


extents = st.tuples(*[st.integers(1, 40)] * 4)
sizes = st.tuples(*[st.integers(1, 45)] * 4)
units = st.tuples(*[st.integers(1, 12)] * 4)


@examples(1000)
@given(sizes, units, extents)
def test_a_shape_is_refused_exactly_when_two_blocks_would_write_one_file(
    shape: tuple[int, ...], unit: tuple[int, ...], extent: tuple[int, ...]
) -> None:
    """Along an axis, the last file that a block touches is not the next one's first."""
    shared = any(
        (begin - 1) // u == begin // u
        for block, u, n in zip(shape, unit, extent, strict=True)
        for begin in range(block, n, block)
    )
    try:
        check_shape(Coordinate(shape), Coordinate(unit), extent)
    except InputError:
        assert shared
    else:
        assert not shared


@examples(1000)
@given(sizes, units, extents)
def test_a_refused_shape_is_answered_with_the_nearest_legal_one(
    shape: tuple[int, ...], unit: tuple[int, ...], extent: tuple[int, ...]
) -> None:
    whole_files = (b % u == 0 for b, u in zip(shape, unit, strict=True))
    spans = (b >= n for b, n in zip(shape, extent, strict=True))
    assume(not all(map(any, zip(whole_files, spans, strict=True))))
    with pytest.raises(InputError) as refused:
        check_shape(Coordinate(shape), Coordinate(unit), extent)
    nearest_text = str(refused.value).rpartition("shape is ")[2]
    nearest = [int(n) for n in re.findall(r"\d+", nearest_text)]
    check_shape(Coordinate(nearest), Coordinate(unit), extent)
    for block, found, u, n in zip(shape, nearest, unit, extent, strict=True):
        legal = [*range(u, n, u), n]
        assert found in legal
        assert abs(found - min(block, n)) == min(abs(s - min(block, n)) for s in legal)


@st.composite
def layouts(
    draw: st.DrawFn,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], str]:
    """Block, array and chunk shape of (t, c, z, y, x), from tiny to huge."""
    block, shape, chunks = [], [], []
    for axis, most in enumerate((40, 4, 3000, 5000, 5000)):
        extent = draw(st.integers(1, most))
        chunk = min(extent, draw(st.integers(1, 300)))
        count = draw(st.integers(1, math.ceil(extent / chunk)))
        shape.append(extent)
        chunks.append(chunk)
        block.append(extent if axis == 1 else min(extent, count * chunk))
    dtype = draw(st.sampled_from(["uint8", "uint16", "float32"]))
    return tuple(block), tuple(shape), tuple(chunks), dtype


@examples(1000)
@given(layouts())
def test_automatic_shards_tile_the_block_in_whole_chunks(
    layout: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], str],
) -> None:
    block, shape, chunks, dtype = layout
    shards = auto_shards(block, shape, chunks, dtype)
    assert all(s % c == 0 for s, c in zip(shards, chunks, strict=True))
    assert shards[1] >= shape[1]
    space = (0, 2, 3, 4)
    block_of_space, shape_of_space = ([v[i] for i in space] for v in (block, shape))
    unit = Coordinate(shards[i] for i in space)
    check_shape(Coordinate(block_of_space), unit, shape_of_space)
    nbytes = math.prod(shards) * ITEMSIZE[dtype]
    is_one_row = all(shards[i] == chunks[i] for i in space)
    assert nbytes <= MAX_SHARD_BYTES or is_one_row


def test_automatic_shards_are_as_large_as_the_block_where_that_is_small() -> None:
    shards = auto_shards(
        (1, 2, 64, 256, 300), (9, 2, 64, 999, 300), (1, 1, 32, 128, 128), "uint16"
    )
    assert shards == (1, 2, 64, 256, 384)


def test_automatic_shards_of_a_large_block_are_not_small() -> None:
    """A shard of one chunk would be legal, and millions of files."""
    shards = auto_shards(
        (1, 1, 256, 2048, 1936),
        (17, 1, 1501, 2048, 1936),
        (1, 1, 32, 128, 128),
        "uint16",
    )
    assert MAX_SHARD_BYTES / 4 <= 2 * math.prod(shards) <= MAX_SHARD_BYTES


# Of a run


def asked_in(folder: Path, **sections: Any) -> dict[str, Any]:
    source = folder / "in.czi"
    if not source.exists():
        small_czi(source, (1, 1, 4, 64, 64))
    output = {"chunks": {"z": 4, "y": 16, "x": 64}, "shards": None}
    given = {"output": output, "workers": {"count": 1}} | sections
    tasks = given.pop("tasks", [])
    return config_for(source, folder / "out.zarr", **given) | {"tasks": tasks}


SOFT = {"kind": "smooth", "name": "soft", "sigma": {"y": 1}}


@pytest.mark.parametrize(("engine", "per_voxel"), [("ndsafir", 28), ("auto", 24)])
@pytest.mark.parametrize(("tasks", "more"), [([], 0), ([SOFT], 24 << 20)])
def test_a_worker_that_has_tasks_to_do_takes_more_memory(
    tasks: list[dict[str, Any]],
    more: int,
    engine: str,
    per_voxel: int,
    tmp_path: Path,
) -> None:
    asked = asked_in(tmp_path, tasks=tasks)
    asked["denoise"] |= {"engine": engine}
    run = resolved(load(asked))
    # What a thread works with is in the engine's own hands.
    more += run.denoiser.scratch_bytes
    assert (engine == "ndsafir") is (run.denoiser.scratch_bytes == 0)
    assert run.memory == BASE + more + 4 * 64 * 64 * (per_voxel + 2)


def test_a_run_keeps_its_blocks_as_long_as_they_fit(tmp_path: Path) -> None:
    """Though others would occupy all workers now."""
    first = resolved(load(asked_in(tmp_path, blocks={"memory_gib": 4})))
    assert first.denoising.grid.block_shape == (1, 4, 64, 64)
    record = first.record(1)
    for memory, shape in ((first.memory, (1, 4, 64, 64)), (first.memory - 1, None)):
        blocks = {"memory_gib": memory / GIB}
        config = load(asked_in(tmp_path, blocks=blocks, workers={"count": 2}))
        run = resolve(config, record, "another")
        assert run.memory <= memory
        found = tuple(run.denoising.grid.block_shape)
        assert found == shape or (shape is None and found[2] < 64)


@pytest.mark.parametrize("inputs", [["raw", "denoised"], ["denoised", "raw"]])
def test_what_a_task_sees_is_in_all_that_it_reads(
    inputs: list[str], tmp_path: Path
) -> None:
    """The image is larger than what is denoised of it."""
    (tmp_path / "own.py").write_text("same = lambda block, context: block")
    task: dict[str, Any] = {"kind": "function", "name": "f", "input": inputs}
    task |= {"function": "own:same"}
    task |= {"dtype": "uint16", "channels": 1, "folder": str(tmp_path)}
    task |= {"blocks": {"context": {"z": 1}}}
    source = {"path": str(tmp_path / "in.czi"), "roi": {"z": [1, 3]}}
    [stage] = resolved(load(asked_in(tmp_path, input=source, tasks=[task]))).tasks
    assert stage.grid.readable_roi == Roi((0, 1, 0, 0), (1, 2, 64, 64))
