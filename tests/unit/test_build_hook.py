"""Building the engine in C never fails an install, and leaves no library of before.

The compiler is a stand-in: the C compiler of this machine, under the name and with the
options of the one that an install fetches.
"""

import ctypes
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import packaging.tags
import pytest
from hatchling.builders.wheel import WheelBuilder

from harness import ROOT

NATIVE = "denoise_daisy/denoisers/native"

LEVELS = {"engine-x86-64.so": 1, "engine-x86-64-v3.so": 3, "engine-x86-64-v4.so": 4}

SOURCE = """
#include <stdio.h>
#include "exported.h"
int inner(void) { return 0; }
EXPORTED double multiply_add(double a, double b, double c) { return a * b + c; }
EXPORTED int level(void) {
#if defined(__AVX512F__)
    return 4;
#elif defined(__AVX2__)
    return 3;
#else
    return 1;
#endif
}
"""

COMPILER = """#!{python}
import os, sys
assert os.path.isdir(os.path.dirname(os.environ["ZIG_GLOBAL_CACHE_DIR"]))
assert os.environ["ZIG_LOCAL_CACHE_DIR"] == os.environ["ZIG_GLOBAL_CACHE_DIR"]
command, *options = sys.argv[1:]
target = options.index("-target")
assert options[target + 1] == "x86_64-linux-gnu.2.17"
del options[target : target + 2]
levels = {{"-mcpu=x86_64" + v.replace("-", "_"): v for v in ("", "-v3", "-v4")}}
options = ["-march=x86-64" + levels[o] if o in levels else o for o in options]
os.environ["PATH"] = {path!r}
os.execv({cc!r}, [command, *options])
"""

with_compiler = pytest.mark.skipif(
    shutil.which("cc") is None, reason="no C compiler (cc)"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the engine's place, where an earlier build has left libraries."""
    project = tmp_path / "project"
    native = project / NATIVE
    native.mkdir(parents=True)
    for name in ("pyproject.toml", "hatch_build.py", ".gitignore"):
        shutil.copy(ROOT / name, project)
    for name in ("README.md", "LICENSE", "NOTICE"):
        (project / name).touch()
    (project / "denoise_daisy" / "__init__.py").touch()
    (native / "engine.c").write_text(SOURCE)
    (native / "exported.h").write_text(
        '#define EXPORTED __attribute__((visibility("default")))\n'
    )
    for name in LEVELS:
        (native / name).write_text("of an earlier build")
    return project


@pytest.fixture
def ziglang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of the compiler, installed; its program."""
    package = tmp_path / "site" / "ziglang"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    zig = package / "zig"
    cc = shutil.which("cc") or ""
    path = str(Path(cc).parent)
    zig.write_text(COMPILER.format(python=sys.executable, path=path, cc=cc))
    zig.chmod(0o755)
    monkeypatch.syspath_prepend(package.parent)
    return zig


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def build_editable(project: Path) -> None:
    """What happens to the checkout in an editable install."""
    builder = WheelBuilder(str(project))
    (hook,) = builder.get_build_hooks(str(project / "dist")).values()
    data: dict[str, Any] = {"force_include": {}}
    hook.initialize("editable", data)
    hook.finalize("editable", data, "")
    assert data == {"force_include": {}}


def build_wheel(project: Path) -> Path:
    builder = WheelBuilder(str(project))
    (wheel,) = builder.build(directory=str(project / "dist"), versions=["standard"])
    return Path(wheel)


def libraries(project: Path) -> set[str]:
    """What is beside the source that is no source."""
    names = {file.name for file in (project / NATIVE).iterdir()}
    return names - {"engine.c", "exported.h"}


def levels(folder: Path) -> dict[str, int]:
    """What the libraries say that they were compiled for."""
    return {file.name: ctypes.CDLL(str(file)).level() for file in folder.glob("*.so")}


@with_compiler
def test_an_editable_install_has_the_libraries_beside_their_source(
    project: Path, ziglang: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "stdio.h").write_text("#error of the caller's environment")
    monkeypatch.setenv("CPATH", str(project))
    with (project / NATIVE / "engine-x86-64.so").open() as loaded:
        build_editable(project)
        assert loaded.read() == "of an earlier build"
    assert libraries(project) == LEVELS.keys()
    assert levels(project / NATIVE) == LEVELS
    assert list(temporary.iterdir()) == []


@with_compiler
def test_the_libraries_round_each_product_and_export_what_is_marked(
    project: Path, ziglang: Path
) -> None:
    build_editable(project)
    library = ctypes.CDLL(str(project / NATIVE / "engine-x86-64-v3.so"))
    library.multiply_add.argtypes = [ctypes.c_double] * 3
    library.multiply_add.restype = ctypes.c_double
    # The exact product is 1 - 2**-60.
    assert library.multiply_add(1 + 2**-30, 1 - 2**-30, -1) == 0
    assert not hasattr(library, "inner")


@with_compiler
def test_a_wheel_has_the_libraries_inside_and_says_for_which_systems(
    project: Path, ziglang: Path, temporary: Path, tmp_path: Path
) -> None:
    wheel = build_wheel(project)
    assert wheel.name.endswith("-py3-none-manylinux_2_17_x86_64.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    assert levels(tmp_path / "installed" / NATIVE) == LEVELS
    (tags,) = (tmp_path / "installed").glob("*.dist-info/WHEEL")
    assert "Root-Is-Purelib: false" in tags.read_text()
    for name in LEVELS:
        assert (project / NATIVE / name).read_text() == "of an earlier build"
    assert list(temporary.iterdir()) == []


def another_platform(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tag = packaging.tags.Tag("py3", "none", "musllinux_1_2_x86_64")
    monkeypatch.setattr(packaging.tags, "sys_tags", lambda: iter([tag]))


def no_package(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ziglang", None)


def no_program(zig: Path, _: pytest.MonkeyPatch) -> None:
    zig.unlink()


def one_fails(zig: Path, _: pytest.MonkeyPatch) -> None:
    """The others are compiled."""
    zig.write_text(
        '#!/bin/sh\ncase "$*" in *_v4*) exit 9 ;; esac\n'
        'while [ "$1" != -o ]; do shift; done\necho >"$2"\n'
    )


@pytest.mark.parametrize("version", ["editable", "standard"])
@pytest.mark.parametrize(
    ("hinder", "said"),
    [
        (another_platform, "this Python loads no libraries for manylinux_2_17_x86_64"),
        (no_package, "its compiler, the package ziglang, is not installed"),
        (no_program, "No such file or directory"),
        (one_fails, "the compiler ended with 9 at engine-x86-64-v4.so"),
    ],
)
def test_what_hinders_the_build_is_said_and_leaves_no_library(
    project: Path,
    ziglang: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    hinder: Callable[[Path, pytest.MonkeyPatch], None],
    said: str,
    version: str,
) -> None:
    hinder(ziglang, monkeypatch)
    if version == "editable":
        build_editable(project)
        assert libraries(project) == set()
    else:
        wheel = build_wheel(project)
        assert wheel.name.endswith("-py3-none-any.whl")
        with zipfile.ZipFile(wheel) as archive:
            assert [n for n in archive.namelist() if n.endswith(".so")] == []
    out, err = capfd.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert line.startswith("denoise_daisy is built without its engine in C")
    assert said in line


def test_a_project_without_the_source_is_built(project: Path, ziglang: Path) -> None:
    shutil.rmtree(project / NATIVE)
    assert build_wheel(project).name.endswith("-py3-none-any.whl")
    build_editable(project)
