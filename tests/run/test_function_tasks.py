"""Tasks of kind "function", in real runs: what the user's code gets, and what it makes.

The functions lie in a module that a test writes beside its config.  They note in a file
what they saw and when, by process.  Expected results are those of numpy or scipy on the
whole of what a task read; every image has several blocks.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from funlib.geometry import Roi
from scipy import ndimage

from harness import (
    ledger_lines,
    ome_of,
    output_of,
    small_image,
)
from harness.functions import (
    BLOCKS,
    CUT,
    REGION,
    SHAPE,
    array_of,
    config_of,
    done_blocks,
    finish,
    notes_of,
)
from harness.shared import once
from harness.waiting import short_waits

MODULE = """
from scipy import ndimage


def mask(block, context):
    return block > 2500


def half(block, context):
    return block / 2.0


def numbered(block, context):
    return block.astype(np.int64) + 70_000


def twice(block, context):
    return np.concatenate([block, block + np.uint16(1)], axis=1)


def negative(block, context):
    return -block.astype(np.float64)


def after(block, context):
    return context.written(context.roi) + block


def noise(block, context):
    assert list(context.inputs) == ["denoised", "raw"]
    assert np.array_equal(context.inputs["denoised"], block)
    noise = context.inputs["raw"].astype(float) - block
    return noise * context.params["gain"] + context.params["more"]["offset"]


def seen(block, context):
    names = "voxel_size_um", "time_step_s", "factor", "axes", "state"
    note(
        context.params["notes"],
        task=context.params["task"],
        shape=block.shape,
        inputs=list(context.inputs),
        params=sorted(context.params),
        **{n: getattr(context, n) for n in names},
        **{n: box(getattr(context, n)) for n in ("roi", "write_roi", "image_roi")},
    )
    return block


def setup(params):
    note(params["notes"], what="setup")
    return {"params": params, "pid": os.getpid()}


def add(block, context):
    assert context.state["params"] == context.params
    note(context.params["notes"], what="block", set_up_by=context.state["pid"])
    return block + np.uint16(context.params["add"])


def teardown(state):
    note(state["params"]["notes"], what="teardown", set_up_by=state["pid"])


def rise(block, context):
    assert block.shape[0] == 2
    return block.astype(np.float32) - block[:1]


def means(block, context):
    return block.mean(axis=(2, 3, 4))


def greatest(block, context):
    return block.max()


def flat(block, context):
    means, greatest = context.inputs["means"], context.inputs["greatest"]
    assert means.shape == (2, 1)
    assert greatest.shape == ()
    mean = means[context.roi.begin[0] : context.roi.end[0], :, None, None, None]
    return (block - mean) / greatest


def around(block, context):
    return ndimage.maximum_filter(block, (1, 1, 3, 5, 5))
"""


def tasks_of(folder: Path) -> list[dict[str, Any]]:
    """A task for each function of MODULE."""
    life, where = str(folder / "life"), str(folder / "where")
    known = {"dtype": "uint16", "channels": 1}
    seen = {"function": "own:seen", "blocks": {"context": {"z": 1, "y": 4, "x": 50}}}
    around = {"function": "own:around"}
    cut = {"z": 4, "y": 32, "x": 32}
    value = {"span": "tzyx", "output": "values"}
    tasks: list[dict[str, Any]] = [
        {"kind": "pyramid", "name": "pyramid", "levels": 1},
        {"name": "mask"},
        {"name": "half"},
        {"name": "numbered", "output": "labels"},
        {"name": "twice"},
        {"name": "negative", "dtype": "uint16"},
        {"name": "after", "channels": 1},
        {
            "name": "noise",
            "input": ["denoised", "raw"],
            "params": {"gain": -3, "more": {"offset": 1.5}},
            "blocks": {"context": {"y": 3}},
        },
        {"name": "fine", "params": {"notes": where, "task": "fine"}} | seen | known,
        {
            "name": "coarse",
            "input": "pyramid.1",
            "params": {"notes": where, "task": "coarse"},
            **(seen | known),
        },
        {
            "name": "add",
            "setup": "own:setup",
            "teardown": "own:teardown",
            "params": {"notes": life, "add": 7},
            **known,
        },
        {"name": "rise", "span": "t"},
        {"name": "means"} | value,
        {"name": "greatest"} | value,
        {
            "name": "flat",
            "input": ["denoised", "means", "greatest"],
            "dtype": "float32",
            "channels": 1,
        },
        {
            "name": "enough",
            "blocks": {"shape": cut, "context": {"z": 1, "y": 2, "x": 2}},
            **around,
        },
        {
            "name": "less",
            "blocks": {"shape": cut, "context": {"z": 1, "y": 2, "x": 1}},
            **around,
        },
    ]
    return [
        task if "kind" in task else {"function": f"own:{task['name']}"} | task
        for task in tasks
    ]


def do_all(folder: Path) -> Path:
    """Do all these tasks in a region of the image; the folder."""
    tasks = tasks_of(folder)
    config = config_of(folder, *tasks, module=MODULE, input={"roi": REGION})
    finish(config, env=short_waits(leave=60))  # every teardown is to be called
    return folder


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of all these tasks, in a region of the image."""
    return once(tmp_path_factory, "functions", do_all)


EXPECTED: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "mask": ("uint8", lambda block: block > 2500),
    "half": ("float32", lambda block: block / np.float32(2)),
    "numbered": ("uint32", lambda block: block.astype(np.uint32) + 70_000),
    "twice": ("uint16", lambda b: np.concatenate([b, b + np.uint16(1)], axis=1)),
    "negative": ("uint16", np.zeros_like),
    "after": ("uint32", lambda block: block),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_type_and_channels_are_found_by_trying_or_declared(
    name: str, done: Path
) -> None:
    dtype, function = EXPECTED[name]
    denoised, written = output_of(done / "out.zarr"), array_of(done, name)
    assert denoised.dtype == np.uint16
    assert denoised.min() < 2500 < denoised.max()
    assert written.dtype == dtype
    np.testing.assert_array_equal(written, function(denoised))
    assert list(done_blocks(done, name).values()) == [1] * BLOCKS


def test_new_channels_have_names_of_their_own(done: Path) -> None:
    shown = ome_of(done / "out.twice.zarr")["omero"]["channels"]
    assert [channel["label"] for channel in shown] == ["twice 0", "twice 1"]


def test_voxels_beyond_the_type_s_range_are_counted(done: Path) -> None:
    clipped = [x["clipped"] for x in ledger_lines(done / "out.zarr", "negative")]
    assert sum(clipped) == output_of(done / "out.zarr").size


def test_several_inputs_and_params_reach_the_function(done: Path) -> None:
    """The raw image goes on beyond the region, the denoised one does not."""
    raw = small_image(SHAPE)[CUT].astype(np.float32)
    expected = (raw - output_of(done / "out.zarr")) * -3 + 1.5
    assert np.ptp(expected) > 10
    np.testing.assert_array_equal(array_of(done, "noise"), expected)


def seen_by(done: Path, task: str) -> list[dict[str, Any]]:
    """What a task noted, sorted by block; what is the same for all is checked."""
    lines = [line for line in notes_of(done / "where") if line["task"] == task]
    for line in lines:
        assert line["time_step_s"] == 30.0
        assert line["axes"] == "tczyx"
        assert line["state"] is None
        assert line["params"] == ["notes", "task"]
    return sorted(lines, key=lambda line: line["write_roi"])


def test_the_context_says_where_the_block_lies_in_the_image(done: Path) -> None:
    volume = Roi((0, 1, 3, 9), (2, 4, 40, 50))
    places = itertools.product((0, 1), (1,), (3, 35), (9, 41))
    for begin, line in zip(places, seen_by(done, "fine"), strict=True):
        write = Roi(begin, (1, 4, 32, 32)).intersect(volume)
        read = write.grow((0, 1, 4, 50), (0, 1, 4, 50)).intersect(volume)
        assert line["write_roi"] == [list(write.begin), list(write.end)]
        assert line["roi"] == [list(read.begin), list(read.end)]
        assert line["image_roi"] == [list(volume.begin), list(volume.end)]
        assert line["shape"] == [1, 1, *read.shape[1:]]
        assert line["voxel_size_um"] == pytest.approx([0.3, 0.145, 0.145])
        assert line["factor"] == [1, 1, 1, 1]
        assert line["inputs"] == ["denoised"]
    fine = array_of(done, "fine")
    np.testing.assert_array_equal(fine, output_of(done / "out.zarr"))


def test_on_a_level_of_the_pyramid_the_context_is_in_its_voxels(done: Path) -> None:
    level = zarr.open_array(done / "out.zarr" / "1", mode="r")
    assert level.shape == (2, 1, 4, 20, 25)
    lines = seen_by(done, "coarse")
    covered = np.zeros((2, 4, 20, 25), int)
    for line in lines:
        begin, end = np.array(line["image_roi"])
        assert (end - begin).tolist() == [2, 4, 20, 25]
        write, read = np.array(line["write_roi"]), np.array(line["roi"])
        assert (read[0] == np.maximum(write[0] - (0, 1, 4, 50), begin)).all()
        assert (read[1] == np.minimum(write[1] + (0, 1, 4, 50), end)).all()
        covered[tuple(map(slice, *(write - begin)))] += 1
        assert line["shape"] == [1, 1, *(read[1] - read[0])[1:]]
        assert line["voxel_size_um"] == pytest.approx([0.3, 0.29, 0.29])
        assert line["factor"] == [1, 1, 2, 2]
        assert line["inputs"] == ["pyramid.1"]
    assert (covered == 1).all()
    np.testing.assert_array_equal(array_of(done, "coarse"), level[...])


def test_a_worker_calls_setup_once_and_teardown_at_its_end(done: Path) -> None:
    expected = output_of(done / "out.zarr") + 7
    np.testing.assert_array_equal(array_of(done, "add"), expected)
    lives: dict[int, list[str]] = {}
    for line in notes_of(done / "life"):
        assert line.get("set_up_by", line["pid"]) == line["pid"]
        lives.setdefault(line["pid"], []).append(line["what"])
    for life in lives.values():
        assert life == ["setup", *["block"] * (len(life) - 2), "teardown"]
    assert sum(life.count("block") for life in lives.values()) == BLOCKS


def test_a_block_spans_the_axes_that_are_named(done: Path) -> None:
    denoised = output_of(done / "out.zarr").astype(np.float32)
    expected = denoised - denoised[:1]
    assert expected.any()
    np.testing.assert_array_equal(array_of(done, "rise"), expected)
    assert sorted(done_blocks(done, "rise")) == [
        (0, 0, y, x) for y in (0, 1) for x in (0, 1)
    ]


def test_values_of_a_task_are_read_by_another(done: Path) -> None:
    denoised = output_of(done / "out.zarr")
    means = denoised.mean(axis=(2, 3, 4), keepdims=True)
    assert means[0] != means[1]
    expected = (denoised - means) / denoised.max()
    np.testing.assert_allclose(array_of(done, "flat"), expected, rtol=1e-5, atol=1e-7)
    assert list(done_blocks(done, "means")) == [(0, 0, 0, 0)]


def test_blocks_see_as_much_around_them_as_asked_for(done: Path) -> None:
    """The filter sees 1 voxel in z and 2 in y and x: less shows at the block border."""
    denoised = output_of(done / "out.zarr")
    expected = ndimage.maximum_filter(denoised, (1, 1, 3, 5, 5))
    np.testing.assert_array_equal(array_of(done, "enough"), expected)
    wrong = np.argwhere(array_of(done, "less") != expected)
    assert set(wrong[:, -1]) == {31, 32}
