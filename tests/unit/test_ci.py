"""CI sees what a fresh machine sees: no variables of a shell, and no test left out.

A green run would mean nothing if the script or the option did nothing; each is given
something to stop at, and something to let through.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from harness import ROOT

SKIPPED = """
import pytest

def test_that_passes():
    pass

@pytest.mark.skipif(True, reason="no Slurm on this system")
def test_of_slurm():
    pass

def test_of_mounts():
    pytest.skip("mounting needs root")
"""


@pytest.mark.parametrize(
    ("allowed", "code", "named", "processes"),
    [
        ("# none\n\n", 1, ["no Slurm on this system", "mounting needs root"], []),
        ("mounting .*\n", 1, ["no Slurm on this system"], []),
        ("mounting .*\n", 1, ["no Slurm on this system"], ["-n", "2"]),
        ("mounting\nno Slurm.*\n", 1, ["mounting needs root"], []),
        ("mounting .*\nno Slurm.*\n", 0, [], []),
    ],
)
def test_a_skip_without_leave_fails_the_run(
    tmp_path: Path, allowed: str, code: int, named: list[str], processes: list[str]
) -> None:
    (tmp_path / "test_skips.py").write_text(SKIPPED)
    (tmp_path / "allowed").write_text(allowed)
    end = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", os.devnull),
            *("-p", "no:cacheprovider", "--rootdir", str(tmp_path)),
            *("-p", "unexpected_skips", *processes),
            f"--allow-skips={tmp_path / 'allowed'}",
            str(tmp_path),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert end.returncode == code, end.stdout
    _, _, said = end.stdout.partition("skipped without leave")
    assert [name for name in named if name not in said] == []
    assert said.count("test_skips.py") == len(named)
    assert "1 passed, 2 skipped" in end.stdout


def test_ci_has_no_variables_but_those_that_it_needs(tmp_path: Path) -> None:
    for folder in (".ci", "scripts", "bin"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    scripts = {
        "scripts/test": 'env; echo "said: $*"',
        "bin/slurmctld": "",
        "bin/faketime": "",
        "bin/chromium": "",
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    given = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LANG": "de_DE.UTF-8",
        "PIP_INDEX_URL": "file:///packages",
        "SSL_CERT_FILE": "/certificates",
        "https_proxy": "http://proxy:1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": "/elsewhere",
        "SLURM_JOB_ID": "7",
    }
    end = subprocess.run(
        ["sh", str(tmp_path / ".ci" / "run")],
        env=given,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = end.stdout.splitlines()
    assert lines.pop() == "said: --allow-skips=.ci/allowed-skips"
    found = dict(line.split("=", 1) for line in lines)
    # The shell sets these by itself.
    own = {"PWD", "OLDPWD", "_", "SHLVL"}
    kept = ("PATH", "HOME", "PIP_INDEX_URL", "SSL_CERT_FILE", "https_proxy")
    expected = {name: given[name] for name in kept} | {"LANG": "C.UTF-8"}
    assert {k: v for k, v in found.items() if k not in own} == expected


def test_the_hook_before_a_commit_is_the_check() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    (repository,) = YAML(typ="safe").load(text)["repos"]
    assert repository["repo"] == "local"
    (hook,) = repository["hooks"]
    assert hook["entry"] == "scripts/check"
    assert os.access(ROOT / hook["entry"], os.X_OK)


def test_the_quick_tests_are_there() -> None:
    named = (ROOT / "tests" / "quick").read_text("utf-8").split()
    assert [name for name in named if not (ROOT / name).is_file()] == []
    assert named
