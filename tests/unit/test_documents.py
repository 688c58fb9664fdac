"""What the documents say can be done; where they point to, there is something.

The README's configs and commands are taken from its text and run on a small image of
the name that the text gives.  A pattern that finds nothing would pass, so there are
tests of how much there must be.  The two commands that set up an environment are not
run here: CI runs one of them, and both make the environment by the same script.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from denoise_daisy import Config
from harness import REAL_WAITS, ROOT, cli, environment, small_czi
from harness.documents import DOCUMENTS, Shell, Snippet, config_of, fences

README = (ROOT / "README.md").read_text("utf-8")

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def commands(text: str) -> list[str]:
    """Lines of the blocks without a language that call something, without comments."""
    lines = [line for code in fences(text, "") for line in code.splitlines()]
    called = re.compile(r"(scripts/|\.venv/bin/|python |sbatch |denoise-daisy )")
    return [line.partition("#")[0].strip() for line in lines if called.match(line)]


def slug(heading: str) -> str:
    """The anchor that a heading gets on the usual pages."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for target in LINK.findall(document.read_text("utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        file = document.parent / name if name else document
        assert file.is_relative_to(ROOT)
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), target


def test_there_are_links_to_check() -> None:
    assert {"README.md", "CONTRIBUTING.md", "faults.md"} <= {d.name for d in DOCUMENTS}
    assert len(LINK.findall(README)) > 5


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_config_in_a_document_loads(document: Path) -> None:
    for code in fences(document.read_text("utf-8"), "json"):
        text = json.dumps(config_of(code)).encode()
        Config.parse(text, name=document.name, folder=ROOT)


def test_there_are_configs_to_load() -> None:
    assert len(fences(README, "json")) >= 3


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_script_and_worker_that_a_document_calls_is_there(document: Path) -> None:
    text = document.read_text("utf-8")
    for name in re.findall(r"\b((?:scripts|workers|configs)/\w[\w.]*\w)", text):
        assert (ROOT / name).is_file(), name
        if name.startswith("scripts/") and "." not in name:
            assert os.access(ROOT / name, os.X_OK), name


def test_the_readme_sets_up_with_the_command_that_ci_runs() -> None:
    demo, test = (line for line in commands(README) if re.search("/(demo|test)$", line))
    assert (demo, test) == ("scripts/demo", "scripts/test")
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert re.search(rf"^\s+{re.escape(test)} ", ci, re.MULTILINE)
    for script in (demo, test):
        assert "scripts/environment" in (ROOT / script).read_text("utf-8")


def test_the_readmes_first_config_and_commands_run_in_their_order(
    tmp_path: Path,
) -> None:
    """The table's verbs too, with each thing that PATH may be."""
    small_czi(tmp_path / "embryo.czi", (1, 1, 4, 64, 64))
    (tmp_path / "config.json").write_text(fences(README, "json")[0])
    first = fences(README, "sh")[0]
    table = re.findall(r"^\| `(denoise-daisy [^`]*)` \|", README, re.MULTILINE)
    assert [line.split()[1] for line in table] == [
        *("inspect", "init", "calibrate", "plan", "preview", "config.json", "status"),
        *("report", "verify", "rerun", "export", "schema", "--version"),
    ]
    paths = ("config.json", "embryo_denoised.zarr", "embryo_denoised.zarr.run")
    for command in (first, *table):
        for path in paths if "PATH" in command else ("",):
            named = command.replace("PATH", path).replace("FILE", "embryo.czi")
            words = shlex.split(named.replace("OUT.zarr", paths[1]))
            program = {
                "python": [sys.executable],
                "denoise-daisy": [str(Path(sys.executable).with_name("denoise-daisy"))],
            }[words[0]]
            end = subprocess.run(
                [*program, *words[1:]],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=300,
                env=environment(),
                check=False,
            )
            assert end.returncode == 0, f"{command} {path}: {end.stdout}{end.stderr}"
            (tmp_path / "embryo.ome.tif").unlink(missing_ok=True)
    assert (tmp_path / "embryo_denoised.zarr" / "0").is_dir()


def test_the_readmes_full_config_can_be_planned(tmp_path: Path) -> None:
    small_czi(tmp_path / "embryo.czi", (4, 1, 400, 16, 16))
    (tmp_path / "config.json").write_text(fences(README, "json")[1])
    end = cli("plan", tmp_path / "config.json")
    assert end.returncode == 0, end.stderr


def test_the_readmes_chain_of_tasks_runs_and_leaves_what_it_says(
    tmp_path: Path,
) -> None:
    small_czi(tmp_path / "embryo.czi", (1, 1, 4, 64, 64))
    config = config_of(fences(README, "json")[2])
    (tmp_path / "config.json").write_text(json.dumps(config))
    shutil.copy(ROOT / "configs" / "examples.py", tmp_path)
    end = cli(tmp_path / "config.json", env=REAL_WAITS)
    assert end.returncode == 0, end.stderr
    left = next(code for code in fences(README, "") if "ledger" in code)
    named = re.findall(r"^( *)([\w./*]+)  ", left, re.MULTILINE)
    assert len(named) > 8
    folder = tmp_path
    for indent, name in named:
        task = "smooth" if name.endswith(".zarr/") else "cells"
        path = name.replace("NAME", task).replace("STAGE", task).rstrip("/")
        folder = folder if indent else tmp_path / path
        assert list((folder if indent else tmp_path).glob(path)), name


def test_of_a_command_that_says_nothing_no_text_is_expected(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.do(Snippet("text", "before any command, it is just shown", None))
    shell.do(Snippet("sh", "true", None))
    with pytest.raises(AssertionError):
        shell.do(Snippet("text", "done", None))
