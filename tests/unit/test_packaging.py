"""What is handed out: the packages' content, the licence, how to cite.

The packages are built here from the checkout and opened; a list of names alone would
miss a file that the build leaves out.
"""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from importlib.metadata import files as metadata_files
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel, built from this checkout."""
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as archive:
        yield archive


def build(target: str, folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.iterdir()
    return built


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def citation() -> dict[str, Any]:
    return dict(YAML(typ="safe").load((ROOT / "CITATION.cff").read_text("utf-8")))


def sources() -> set[str]:
    """All modules, templates of pages, and what the engine in C is made of."""
    return {
        str(file.relative_to(ROOT))
        for file in (ROOT / "denoise_daisy").rglob("*")
        if file.suffix in {".py", ".c", ".h", ".j2"}
    }


def test_the_wheel_has_every_source_the_types_marker_and_the_licences(
    wheel: zipfile.ZipFile,
) -> None:
    names = set(wheel.namelist())
    assert len(sources()) > 20
    assert sources() | {"denoise_daisy/py.typed"} <= names
    for text in ("LICENSE", "NOTICE"):
        (licence,) = (name for name in names if name.endswith(f"licenses/{text}"))
        assert wheel.read(licence) == (ROOT / text).read_bytes()


def test_the_notice_of_the_denoiser_is_word_for_word_its_own() -> None:
    (own,) = (
        file for file in metadata_files("ndsafir") or [] if file.name == "LICENSE"
    )
    notice = (ROOT / "NOTICE").read_text("utf-8")
    assert own.read_text().strip() in notice


def test_the_wheel_has_nothing_but_the_package(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    version = PROJECT["version"]
    assert tops == {"denoise_daisy", f"denoise_daisy-{version}.dist-info"}


def test_the_wheels_metadata_name_the_licence_the_authors_and_the_readme(
    wheel: zipfile.ZipFile,
) -> None:
    found = metadata(wheel)
    assert found["License-Expression"] == "BSD-3-Clause"
    assert found["Author"] == "the denoise_daisy authors"
    assert found.get_payload() == (ROOT / "README.md").read_text("utf-8")


def test_the_source_package_has_what_a_cluster_and_a_tester_need(
    tmp_path: Path,
) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        files = {name.partition("/")[2] for name in archive.getnames() if "/" in name}
    needed = {
        "LICENSE",
        "NOTICE",
        "hatch_build.py",
        "CITATION.cff",
        "README.md",
        "pyproject.toml",
        "constraints.txt",
        "denoise_daisy/py.typed",
        "tests/harness/__init__.py",
        "workers/slurm_worker.sh",
        "configs/minimal.json",
        "scripts/environment",
        "scripts/submit_slurm",
    }
    assert needed | sources() <= files


def test_the_citation_follows_its_format() -> None:
    end = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.citation-file-format"),
            "CITATION.cff",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert end.returncode == 0, end.stdout + end.stderr


def test_the_citation_is_of_this_version_and_licence() -> None:
    found = citation()
    assert found["version"] == PROJECT["version"]
    assert found["license"] == PROJECT["license"]


def test_the_citation_and_the_readme_name_the_same_article_of_the_denoiser() -> None:
    (named,) = re.findall(r"doi:(10\.\S+?)\.?\n", (ROOT / "README.md").read_text())
    assert named in {entry.get("doi") for entry in citation()["references"]}
