"""Tasks of kind "function", in real runs: what the user's code gets, and what it makes.

The functions lie in a module that a test writes beside its config.  They note in a file
what they saw and when, by process.  Expected results are those of numpy or scipy on the
whole of what a task read; every image has several blocks.
"""

import itertools
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from demo_czi import write_czi
from funlib.geometry import Roi
from scipy import ndimage
from support import (
    cli,
    config_for,
    ledger_lines,
    output_of,
    small_image,
    write_config,
)

from denoise_daisy import Config, run
from denoise_daisy.errors import InputError

SHAPE = (2, 1, 6, 46, 60)

REGION = {"z": [1, 5], "y": [3, 43], "x": [9, 59]}
"""What is written of the image: in each time point 2 x 2 blocks of 32 x 32 voxels."""

CUT = (slice(None), slice(None), *(slice(*REGION[axis]) for axis in "zyx"))

BLOCKS = 8

NOTES = '''
import json
import os
import time
from pathlib import Path

import numpy as np


def note(file, **values):
    """One line in a file that all processes write."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    file = os.open(file, flags, 0o644)
    os.write(file, json.dumps({"pid": os.getpid()} | values).encode() + b"\\n")
    os.close(file)


def box(roi):
    return [list(roi.begin), list(roi.end)]

'''


def config_of(
    folder: Path,
    *tasks: dict[str, Any],
    module: str,
    image: np.ndarray | None = None,
    **sections: Any,
) -> Path:
    """The config of a run with a quick denoiser, its image, and the module own.py."""
    image = small_image(SHAPE) if image is None else image
    (folder / "in.czi").unlink(missing_ok=True)
    layout = {"chunks": {"z": 4, "y": 32, "x": 32}}
    cut = {"shape": {"y": 32, "x": 32}}
    config = config_for(
        write_czi(folder / "in.czi", image),
        folder / "out.zarr",
        **{"output": layout, "blocks": cut} | sections,
    )
    del config["noise"]
    config["denoise"] = {"kind": "median", "size": {"y": 3, "x": 3}}
    config["tasks"] = [{"kind": "function"} | task for task in tasks]
    (folder / "own.py").write_text(NOTES + module)
    return write_config(folder / "config.json", config)


def finish(*words: str | Path) -> str:
    done = cli("run", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def array_of(folder: Path, task: str) -> np.ndarray:
    """All voxels of an image or of labels that a task wrote."""
    places = folder / "out.zarr" / "labels" / task, folder / f"out.{task}.zarr"
    (found,) = [path for path in places if path.exists()]
    return output_of(found)


def notes_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def done_blocks(folder: Path, task: str) -> "Counter[tuple[int, ...]]":
    """How often the ledger has each block as done."""
    lines = ledger_lines(folder / "out.zarr", task)
    return Counter(tuple(x["block"]) for x in lines if x["status"] == "done")


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
    tasks = [
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


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of all these tasks, in a region of the image."""
    folder = tmp_path_factory.mktemp("functions")
    tasks = tasks_of(folder)
    finish(config_of(folder, *tasks, module=MODULE, input={"roi": REGION}))
    return folder


EXPECTED = {
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
    group = zarr.open_group(done / "out.twice.zarr", mode="r")
    shown = group.attrs["ome"]["omero"]["channels"]
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


BAD = {
    "wrong_shape": ("return block[:, :, 1:]", {}, "Expected five axes"),
    "too_few_axes": ("return block[:, 0]", {}, "Expected five axes"),
    "complex_numbers": ("return block * 1j", {}, "returns complex"),
    "fractions_as_labels": ("return block / 2", {"output": "labels"}, "whole numbers"),
    "raising": ("raise KeyError('my own words')", {}, "KeyError: 'my own words'"),
    "missing_name": ("return block", {"function": "{}:other"}, "other"),
    "missing_module": ("return block", {"function": "{}_2:f"}, "{}_2"),
    "raising_setup": ("return block", {"setup": "{}:f"}, "TypeError"),
    "missing_name_declared": (
        "return block",
        {"function": "{}:other", "dtype": "uint16", "channels": 1},
        "other",
    ),
    "missing_setup_declared": (
        "return block",
        {"setup": "{}:other", "dtype": "uint16", "channels": 1},
        "other",
    ),
    "declared_fractions_as_labels": (
        "return block / 2",
        {"output": "labels", "dtype": "float32", "channels": 1},
        "float32",
    ),
}
"""Body of a function, more of its task, and what is said of it."""


def refuse(folder: Path, config: Path, match: str) -> None:
    """It is refused for its input, and nothing is written."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match=match) as refusal:
        run(Config.load(config))
    assert refusal.value.exit_code == 2
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", BAD)
def test_a_function_that_can_t_work_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, so each module has a name of its own."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    body, more, said = BAD[name]
    module = f"own_{name}"
    task = {"name": "bad", "function": "{}:f", "max_retries": 0} | more
    task = {k: v.format(module) if isinstance(v, str) else v for k, v in task.items()}
    config = config_of(tmp_path, task, module="")
    code = f"def f(block, context):\n    {body}\n"
    (tmp_path / "own.py").rename(tmp_path / f"{module}.py").write_text(code)
    refuse(tmp_path, config, said.format(module))


def test_the_values_of_a_task_can_t_be_all_that_is_read_or_tried_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    values = {"name": "v", "function": "own:f", "span": "tzyx", "output": "values"}
    code = "\ndef f(block, context):\n    return block\n"
    for inputs, said in ((["v", "raw"], "image first"), (["raw", "v"], "Declare")):
        task = {"name": "user", "input": inputs, "function": "own:f"}
        refuse(tmp_path, config_of(tmp_path, values, task, module=code), said)


def test_the_command_line_says_no_with_2(tmp_path: Path) -> None:
    code = "\ndef f(block, context):\n    raise OSError('no model')\n"
    config = config_of(tmp_path, {"name": "bad", "function": "own:f"}, module=code)
    done = cli(config)
    assert done.returncode == 2
    assert "OSError: no model" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("out*"))


SAME_NAME = """
def f(block, context):
    return block + np.uint16({})
"""


def test_modules_of_one_name_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    tasks = []
    for number in (1, 2):
        folder = tmp_path / f"folder{number}"
        folder.mkdir()
        (folder / "mine.py").write_text(NOTES + SAME_NAME.format(number))
        task = {"name": f"plus{number}", "function": "mine:f", "folder": folder.name}
        tasks.append(task)
    done = cli(config_of(tmp_path, *tasks, module=""))
    if done.returncode == 2:
        assert "mine" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    denoised = output_of(tmp_path / "out.zarr")
    for number in (1, 2):
        plus = array_of(tmp_path, f"plus{number}")
        np.testing.assert_array_equal(plus, denoised + number)


FAULTY = """
def deep(context):
    note(context.params["notes"], block=box(context.write_roi)[0])
    if context.write_roi.begin[2] > 3 and Path(context.params["broken"]).exists():
        raise LookupError("no such cell")


def f(block, context):
    deep(context)
    return block
"""


def test_a_block_s_exception_is_in_the_ledger_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    """With the traceback of the user's own code; the next start does only these."""
    broken, notes = tmp_path / "broken", tmp_path / "notes"
    broken.touch()
    task = {
        "name": "bad",
        "function": "own:f",
        "params": {"notes": str(notes), "broken": str(broken)},
        "dtype": "uint16",
        "channels": 1,
        "max_retries": 1,
    }
    reader = {"kind": "smooth", "name": "reader", "input": "bad", "sigma": {"x": 1}}
    image = small_image((1, 1, 4, 40, 50))
    config = config_of(tmp_path, task, reader, module=FAULTY, image=image)
    done = cli(config)
    assert done.returncode == 3, done.stderr
    lines = list(ledger_lines(tmp_path / "out.zarr", "bad"))
    failed = [line for line in lines if line["status"] == "failed"]
    bad = {(0, 0, 1, 0), (0, 0, 1, 1)}
    assert Counter(tuple(x["block"]) for x in failed) == dict.fromkeys(bad, 2)
    for line in failed:
        assert line["reason"] == "exception"
        assert line["error"] == "LookupError: no such cell"
        assert str(tmp_path / "own.py") in line["traceback"]
        assert "in deep" in line["traceback"]
        assert str(list(line["block"])) in done.stderr
    assert "LookupError: no such cell" in done.stderr
    assert set(done_blocks(tmp_path, "bad")) == {(0, 0, 0, 0), (0, 0, 0, 1)}
    assert not bad & set(done_blocks(tmp_path, "reader"))
    broken.unlink()
    notes.unlink()
    finish(config)
    begun = [tuple(line["block"]) for line in notes_of(notes)]
    assert sorted(begun) == [(0, 0, 32, 0), (0, 0, 32, 32)]
    denoised = output_of(tmp_path / "out.zarr")
    np.testing.assert_array_equal(array_of(tmp_path, "bad"), denoised)


PLUS = """
def f(block, context):
    note(context.params["notes"], task=context.params["task"])
    return block + np.uint16(1)
"""


def test_an_edited_module_has_its_tasks_and_their_readers_done_anew(
    tmp_path: Path,
) -> None:
    notes = tmp_path / "notes"
    common = {"dtype": "uint16", "channels": 1}
    tasks = [
        {
            "name": name,
            "input": source,
            "function": function,
            "params": {"notes": str(notes), "task": name},
            **common,
        }
        for name, source, function in (
            ("edited", "denoised", "own:f"),
            ("kept", "denoised", "other:f"),
            ("reader", "edited", "other:f"),
        )
    ]
    image = small_image((1, 1, 4, 40, 50))
    config = config_of(tmp_path, *tasks, module=PLUS, image=image)
    (tmp_path / "other.py").write_text(NOTES + PLUS)
    finish(config)
    denoised = output_of(tmp_path / "out.zarr")
    np.testing.assert_array_equal(array_of(tmp_path, "reader"), denoised + 2)
    notes.unlink()
    (tmp_path / "own.py").write_text(NOTES + PLUS.replace("(1)", "(10)"))
    said = finish(config)
    assert "Task edited is done anew: code own was" in said
    assert "Task reader is done anew: what it reads has changed" in said
    assert "Task kept" not in said
    begun = Counter(line["task"] for line in notes_of(notes))
    assert begun == {"edited": 4, "reader": 4}
    for name, more in (("edited", 10), ("kept", 1), ("reader", 11)):
        written = array_of(tmp_path, name)
        np.testing.assert_array_equal(written, denoised + more, err_msg=name)
    assert list(done_blocks(tmp_path, "denoise").values()) == [1] * 4
    assert "blocks were done before" in finish(config)


JOIN = """
from scipy import ndimage


def join(block, context):
    \"\"\"Number what is bright, and go on with the numbers that neighbours gave.\"\"\"
    place = {"read": box(context.roi), "write": box(context.write_roi)}
    begun = time.monotonic()
    labels, count = ndimage.label(block[0, 0] > 300)
    flat = np.ravel_multi_index(context.write_roi.begin, context.image_roi.end)
    ids = np.concatenate([[0], 1 + flat + np.arange(count)])
    written = context.written(context.roi)[0, 0]
    for label in range(1, count + 1):
        theirs = written[labels == label]
        if theirs.any():
            ids[label] = theirs.max()
    note(context.params["notes"], what="read", **place)
    others_have_read(context)
    time.sleep(0.1)
    ended = time.monotonic()
    note(context.params["notes"], what="end", begun=begun, ended=ended, **place)
    return ids[labels][np.newaxis, np.newaxis]


def others_have_read(context):
    \"\"\"Wait until two workers have looked at what is written.\"\"\"
    deadline = time.monotonic() + 30
    file = Path(context.params["notes"])
    while len({json.loads(x)["pid"] for x in file.read_text().splitlines()}) < 2:
        if time.monotonic() > deadline:
            raise TimeoutError("there is no second worker")
        time.sleep(0.01)
"""


def boxes_across_borders() -> np.ndarray:
    """4 x 4 blocks of 16 x 16 voxels; a bright box on each of their 24 borders."""
    image = np.full((1, 1, 3, 64, 64), 100, np.uint16)
    for along, border in itertools.product(range(8, 64, 16), (16, 32, 48)):
        near, far = slice(along - 2, along + 3), slice(border - 3, border + 3)
        image[0, 0, :, near, far] = image[0, 0, :, far, near] = 500
    return image


def is_near(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether one of two blocks reads what the other writes."""
    read, write = (
        [Roi(begin, np.subtract(end, begin)) for begin, end in (x["read"], y["write"])]
        for x, y in ((a, b), (b, a))
    )
    return read[0].intersects(read[1]) or write[0].intersects(write[1])


@pytest.mark.parametrize("exclusive", [True, False])
def test_blocks_join_what_their_neighbours_wrote_if_never_at_work_at_once(
    exclusive: bool, tmp_path: Path
) -> None:
    """Without read_write_conflict the first two read before either has written."""
    image = boxes_across_borders()
    task = {
        "name": "objects",
        "input": "raw",
        "function": "own:join",
        "params": {"notes": str(tmp_path / "notes")},
        "output": "labels",
        "dtype": "uint32",
        "channels": 1,
        "blocks": {"shape": {"y": 16, "x": 16}, "context": {"y": 1, "x": 2}},
        "read_write_conflict": exclusive,
    }
    layout = {"chunks": {"y": 16, "x": 16}}
    config = config_of(tmp_path, task, module=JOIN, image=image, output=layout)
    finish(config, "--task", "objects")
    ended = [x for x in notes_of(tmp_path / "notes") if x["what"] == "end"]
    assert len(ended) == 16
    assert len({line["pid"] for line in ended}) == 2
    pairs = list(itertools.combinations(ended, 2))
    assert sum(is_near(a, b) for a, b in pairs) == 42
    at_once = [
        is_near(a, b)
        for a, b in pairs
        if a["begun"] < b["ended"] and b["begun"] < a["ended"]
    ]
    assert at_once
    assert any(at_once) is not exclusive
    (found,) = array_of(tmp_path, "objects")[0]
    expected, count = ndimage.label(image[0, 0] > 300)
    assert count == 24
    np.testing.assert_array_equal(found > 0, expected > 0)
    both = np.unique(np.stack([found, expected])[:, expected > 0], axis=1)
    ids, objects = both
    assert len(set(ids)) == len(ids), "an id stands for two objects"
    assert (len(objects) == count) is exclusive
