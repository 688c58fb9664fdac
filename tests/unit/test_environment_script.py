"""The environment is made once, and again when what it was made of has changed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import ROOT

PARTS = {
    "pyproject.toml": "[project]",
    "constraints.txt": "numpy==2",
    "hatch_build.py": "FLAGS = []",
    "denoise_daisy/denoisers/native/engine.c": '#include "lanes.h"',
    "denoise_daisy/denoisers/native/lanes.h": "#define LANES 8",
}

PYTHON = """#!/bin/sh
[ "$1 $2" = "-m venv" ] && mkdir -p .venv/bin && cp "$0" .venv/bin/python
[ "$1 $2" = "-m pip" ] && echo "$*" >>installs
exit 0
"""


@pytest.mark.parametrize("part", PARTS)
def test_a_changed_part_is_installed_and_an_unchanged_one_is_not(
    tmp_path: Path, part: str
) -> None:
    for name, text in PARTS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "environment", tmp_path / "scripts")
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def installs() -> int:
        end = subprocess.run(
            [tmp_path / "scripts" / "environment"],
            env=os.environ | {"PYTHON": str(python)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert end.stderr == ""
        return len((tmp_path / "installs").read_text().splitlines())

    assert [installs(), installs()] == [1, 1]
    (tmp_path / part).write_text("another")
    assert [installs(), installs()] == [2, 2]
