"""The map names every module, the public names exist, and nothing is left to do.

Each check asserts that it looked at something, for an empty list of files would pass
all of them.
"""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import denoise_daisy
from harness import ROOT

MODULES = sorted((ROOT / "denoise_daisy").rglob("*.py"))


def tracked_python_files() -> list[Path]:
    """What git knows; all there is where this is no checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    names = listed.stdout.split("\0") if listed.returncode == 0 else []
    files = [ROOT / name for name in names if name.endswith(".py")]
    return [file for file in files if file.is_file()] or sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_the_map_names_every_module(module: Path) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    name = str(module.relative_to(ROOT / "denoise_daisy"))
    assert f"`{name.removesuffix('__init__.py') or name}`" in text


def test_the_map_names_no_module_that_is_gone() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    named = set(re.findall(r"`(?:\w+/)?(\w+\.py)`", text))
    there = {file.name for file in tracked_python_files()}
    assert named <= there
    assert len(MODULES) > 20


def test_the_public_names_are_there_and_sorted() -> None:
    names = denoise_daisy.__all__
    assert names == sorted(names)
    assert len(names) == len(set(names)) > 0
    package = importlib.import_module("denoise_daisy")
    for name in names:
        assert getattr(package, name).__doc__, name


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_every_module_can_be_imported_by_itself(module: Path) -> None:
    name = ".".join(module.relative_to(ROOT).with_suffix("").parts)
    assert importlib.import_module(name).__doc__


def test_no_code_is_left_to_be_done() -> None:
    words = re.compile(
        r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b"
    )
    files = tracked_python_files()
    found = [
        f"{file.relative_to(ROOT)}:{number}: {text.strip()}"
        for file in files
        for number, text in enumerate(file.read_text("utf-8").splitlines(), start=1)
        if words.search(text)
    ]
    assert not found
    assert len(files) > len(MODULES)


def test_a_job_of_several_workers_loads_no_more_than_it_needs() -> None:
    """It stays small beside its workers; a public name comes once it is used."""
    script = """
import sys
import denoise_daisy.worker.job
engines = {"daisy", "numpy", "pydantic", "zarr"}
assert not engines & sys.modules.keys()
assert {"Config", "plan", "run"} <= set(dir(denoise_daisy))
from denoise_daisy import run
assert denoise_daisy.run is run
assert engines <= sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert not hasattr(denoise_daisy, "ran")


MOST_LINES = {"module": 300, "class": 150, "function": 50}

LONGER: dict[str, str] = {}
"""What may be longer, and why."""


def parts(module: Path) -> Iterator[tuple[str, str, int]]:
    """Kind, name and number of lines of a module and of all that is defined in it."""
    text = module.read_text("utf-8")
    place = module.relative_to(ROOT / "denoise_daisy").as_posix()
    yield "module", place, text.count("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield kind, f"{place}: {node.name}", lines


def test_nothing_is_longer_than_a_person_reads_at_once() -> None:
    found = [part for module in MODULES for part in parts(module)]
    longer = {name for kind, name, lines in found if lines > MOST_LINES[kind]}
    assert longer == LONGER.keys()
    assert {kind for kind, _, _ in found} == MOST_LINES.keys()
