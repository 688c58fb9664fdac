"""A function that can't work is refused before any block."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denoise_daisy import Config, plan, run
from denoise_daisy.errors import InputError
from harness import cli
from harness.functions import config_of
from harness.prepared import resolved

BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "wrong_shape": ("return block[:, :, 1:]", {}, "Expected five axes"),
    "too_few_axes": ("return block[:, 0]", {}, "Expected five axes"),
    "complex_numbers": ("return block * 1j", {}, "returns complex"),
    "fractions_as_labels": ("return block / 2", {"output": "labels"}, "whole numbers"),
    "raising": ("raise KeyError('my own words')", {}, "KeyError: 'my own words'"),
    "exiting": ("raise SystemExit(0)", {}, "SystemExit: 0"),
    "exiting_module": (
        "return block\nraise SystemExit(0)",
        {"dtype": "uint16", "channels": 1},
        "SystemExit: 0",
    ),
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


@pytest.mark.parametrize(("source", "is_there"), [("denoised", 1), ("pyramid.1", 0)])
def test_a_function_is_tried_on_the_raw_image_where_its_input_is_not_there_yet(
    source: str, is_there: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or on as many zeros, where that is no stand-in for it."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    code = """
def f(block, context):
    assert block.shape == (1, 1, 2, 10, 64), block.shape
    assert block.any() == context.params["is_there"]
    return block / np.float32(2)
"""
    params = {"is_there": is_there}
    task = {"name": "own", "function": "own:f", "input": source, "params": params}
    image = np.full((1, 1, 2, 10 if is_there else 20, 300), 7, np.uint16)
    config = config_of(tmp_path, task, module=code, image=image)
    shape = "1 x 1 x 2 x 10 x 300" if is_there else "1 x 1 x 2 x 10 x 150"
    assert f"{shape} float32 to" in str(plan(Config.load(config)))


def test_a_values_function_has_no_array_to_read_what_is_written_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    code = "\ndef f(block, context):\n    return context.written(context.roi)\n"
    task = {"name": "own", "function": "own:f", "output": "values", "span": "tzyx"}
    config = config_of(tmp_path, task | {"input": "raw"}, module=code)
    [stage] = resolved(Config.load(config)).tasks
    with pytest.raises(ValueError, match="writes no array that could be read"):
        stage.compute(stage.read_block((0, 0, 0, 0)))


def test_the_command_line_says_no_with_2(tmp_path: Path) -> None:
    code = "\ndef f(block, context):\n    raise OSError('no model')\n"
    config = config_of(tmp_path, {"name": "bad", "function": "own:f"}, module=code)
    done = cli(config)
    assert done.returncode == 2
    assert "OSError: no model" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("out*"))
