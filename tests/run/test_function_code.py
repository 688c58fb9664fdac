"""The code of functions: its modules, its exceptions, its changes, its neighbours."""

import itertools
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from funlib.geometry import Roi
from scipy import ndimage

from denoise_daisy import Config, run
from denoise_daisy.run_dir.run_dir import find
from harness import cli, ledger_lines, output_of, small_image, write_config
from harness.functions import NOTES, array_of, config_of, done_blocks, finish, notes_of
from harness.looking import status

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
        assert line["error"] == f"LookupError: no such cell (at {line['where']})"
        file, _, place = line["where"].partition(":")
        number, _, function = place.partition(", in ")
        assert (file, function) == (str(tmp_path / "own.py"), "deep")
        text = Path(file).read_text().splitlines()[int(number) - 1]
        assert text.strip() == 'raise LookupError("no such cell")'
        kept = tmp_path / "out.zarr.run" / "logs" / line["traceback_file"]
        assert kept.read_text() == line["traceback"]
        assert f'File "{file}", line {number}, in deep' in line["traceback"]
        assert str(list(line["block"])) in done.stderr
    assert f"LookupError: no such cell (at {tmp_path / 'own.py'}:" in done.stderr
    said = status(find(tmp_path / "out.zarr"))
    assert f"traceback: {tmp_path / 'out.zarr.run/logs/tracebacks/bad-0-0-1-1'}" in said
    assert "reader: 2 done, 0 failed, 0 left of 4 blocks (50.0% done), 2 orph" in said
    assert set(done_blocks(tmp_path, "bad")) == {(0, 0, 0, 0), (0, 0, 0, 1)}
    assert not bad & set(done_blocks(tmp_path, "reader"))
    broken.unlink()
    notes.unlink()
    finish(config)
    begun = [tuple(line["block"]) for line in notes_of(notes)]
    assert sorted(begun) == [(0, 0, 32, 0), (0, 0, 32, 32)]
    denoised = output_of(tmp_path / "out.zarr")
    np.testing.assert_array_equal(array_of(tmp_path, "bad"), denoised)


TYPED = """
def f(block, context):
    return block.astype(context.params["type"])
"""


def test_a_type_that_was_found_by_trying_is_found_again_for_other_params(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as nobody asks for the task, what it made is shown as it is."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    own = {"name": "own", "function": "own:f", "params": {"type": "uint8"}}
    soft = {"kind": "smooth", "name": "soft", "sigma": {"x": 1}}
    image = small_image((1, 1, 4, 40, 50))
    config = config_of(tmp_path, own, soft, module=TYPED, image=image)
    first = json.loads(config.read_text())

    def start(*asked: str, sigma: int = 1, **more: Any) -> None:
        tasks = [{"kind": "function"} | own | more, soft | {"sigma": {"x": sigma}}]
        write_config(config, first | {"tasks": tasks})
        run(Config.load(config), tasks=asked, say=lambda _: None)

    start(dtype="uint16", channels=1)
    assert array_of(tmp_path, "own").dtype == np.uint16
    start("soft", sigma=2)
    assert "own: 4 done, 0 failed, 0 left" in status(find(tmp_path / "out.zarr"))
    assert array_of(tmp_path, "own").dtype == np.uint16
    start(params={"type": "uint8"})
    assert array_of(tmp_path, "own").dtype == np.uint8
    start(params={"type": "float32"})
    assert array_of(tmp_path, "own").dtype == np.float32


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
    assert "Task edited is done again: code own was" in said
    assert "Task reader is done again: what it reads has changed" in said
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
