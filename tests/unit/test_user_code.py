"""A function's code is all of its modules, wherever they are imported, and no others.

Modules are real files.  A green run would mean nothing if every change of a folder were
noticed: files that are not imported are changed as well, and must change nothing.
"""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distribution, version
from pathlib import Path

import numpy as np
import pytest

from denoise_daisy.errors import InputError
from denoise_daisy.tasks.user_code import code_of
from denoise_daisy.tasks.user_function import UserFunction, load

FILES = {
    "mine.py": "import numpy as np\nimport helper\n\ndef f(block, context):\n"
    "    from late import g\n    return g(block)\n",
    "helper.py": "import json\nfrom tools import deep\nfrom skimage import filters\n",
    "late.py": "def g(block):\n    return block\n",
    "tools/__init__.py": "from .inner import one\nfrom . import sibling\n",
    "tools/inner.py": "from .below.leaf import two as one\n",
    "tools/below/__init__.py": "",
    "tools/below/leaf.py": "from ..other import two\n",
    "tools/other.py": "two = 2\n",
    "tools/sibling.py": "",
    "tools/deep.py": "import models.net\n",
    "tools/unused.py": "",
    "models/net.py": "import nothing_that_is_installed\n",
    "unused.py": "",
}

USED = {
    "mine",
    "helper",
    "late",
    "tools",
    "tools.inner",
    "tools.below",
    "tools.below.leaf",
    "tools.other",
    "tools.sibling",
    "tools.deep",
    "models.net",
}

Write = Callable[[dict[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A folder of modules, where Python finds them."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    def files(contents: dict[str, str]) -> Path:
        for name, text in contents.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return files


def test_code_is_what_is_imported_at_once_or_late(write: Write) -> None:
    folder = write(FILES)
    code = code_of("mine", str(folder))
    assert {k.removeprefix("code ") for k in code if k.startswith("code ")} == USED
    packages = {k: v for k, v in code.items() if k.startswith("package ")}
    assert packages == {
        "package numpy": version("numpy"),
        "package scikit-image": version("scikit-image"),
    }


@pytest.mark.parametrize("name", FILES)
def test_a_change_is_told_by_the_modules_name(write: Write, name: str) -> None:
    folder = write(FILES)
    before = code_of("mine", str(folder))
    write({name: FILES[name] + "\nmore = 1\n"})
    after = code_of("mine", str(folder))
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    changed = {key for key in {**before, **after} if before.get(key) != after.get(key)}
    assert changed == ({f"code {module}"} if module in USED else set())


def test_a_module_that_is_no_python_is_code_all_the_same(write: Write) -> None:
    """It may be imported where its error is expected, and be mended later."""
    folder = write({"mine.py": "import helper\n", "helper.py": "import late, (\n"})
    before = code_of("mine", str(folder))
    assert set(before) == {"code mine", "code helper"}
    write({"helper.py": "import late\n", "late.py": ""})
    after = code_of("mine", str(folder))
    assert set(after) == {"code mine", "code helper", "code late"}
    assert after["code helper"] != before["code helper"]


def test_another_version_of_a_package_is_another_code(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(FILES)
    before = code_of("mine", str(folder))
    # Its own class: importlib_metadata, where it is imported, has others.
    monkeypatch.setattr(type(distribution("numpy")), "version", "0.0.1")
    after = code_of("mine", str(folder))
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"package numpy", "package scikit-image"}


def test_a_package_that_is_a_link_to_its_source_is_followed(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(FILES | {"helper.py": "import tools\n"})
    monkeypatch.setattr(
        "denoise_daisy.tasks.user_code._distributions", lambda: {"tools": ["numpy"]}
    )
    code = code_of("mine", str(folder))
    assert "code tools" not in code
    assert code["package numpy"] == version("numpy")
    monkeypatch.setattr(
        "denoise_daisy.tasks.user_code._direct_url",
        lambda _: '{"dir_info": {"editable": true}, "url": "file:///src"}',
    )
    assert "code tools.inner" in code_of("mine", str(folder))


def test_a_helper_of_another_folder_with_the_same_name_is_refused(
    tmp_path: Path,
) -> None:
    """Python would take the one that it finds first, for both."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text("import helper\nf = helper.f\n")
        (tmp_path / name / "helper.py").write_text("def f(b, c):\n    return b\n")
    script = f"""
from denoise_daisy.tasks.user_function import UserFunction, load
for name in ("one", "two"):
    folder = {str(tmp_path)!r} + "/" + name
    user = UserFunction(f"{{name}}:f", None, None, folder, {{}}, {{}})
    user.check()
    print(sorted(user.code_now()))
"""
    end = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert end.stdout == "['code helper', 'code one']\n"
    assert InputError.__name__ in end.stderr
    assert "Two folders have a module 'helper'" in end.stderr


def test_a_function_whose_helper_has_changed_is_not_called(write: Write) -> None:
    folder = write({"own_f.py": "import own_helper\n\ndef f(b, c):\n    return b\n"})
    write({"own_helper.py": "x = 1\n"})
    user = UserFunction("own_f:f", None, None, str(folder), {}, {})
    user.check()
    started = UserFunction("own_f:f", None, None, str(folder), {}, user.code_now())
    assert callable(started.call)
    write({"own_helper.py": "x = 2\n"})
    late = UserFunction("own_f:f", None, None, str(folder), {}, user.code_now())
    assert callable(late.call)
    with pytest.raises(RuntimeError, match=r"has changed .* \(code own_helper\)"):
        assert callable(
            UserFunction("own_f:f", None, None, str(folder), {}, started.code).call
        )


def test_an_edited_module_is_loaded_again_and_no_other(write: Write) -> None:
    """In one process, as a notebook's, which has loaded it before."""
    folder = str(write({"mine.py": "def f():\n    return 1\n"}))
    first = load("mine:f", folder)
    assert load("mine:f", folder) is first
    write({"mine.py": "def f():\n    return 2\n"})
    assert (first(), load("mine:f", folder)()) == (1, 2)


WHERE = {
    "failing.py": "import beside\nimport numpy as np\n\n\ndef f(block, context):\n"
    "    return beside.deep(block)\n\n\ndef setup(params):\n    raise KeyError(7)\n\n\n"
    "def sums(block, context):\n    return [np.stack([b, [1]]) for b in block]\n",
    "beside.py": "def deep(block):\n    return 1 // 0\n",
}


def test_an_error_is_said_to_be_where_the_users_own_code_is(write: Write) -> None:
    """Not where it was called from, and not in the packages that it calls."""
    folder = str(write(WHERE))
    code = code_of("failing", folder)
    user = UserFunction("failing:f", None, None, folder, {}, code)
    block = np.zeros((2, 3))
    for name, arguments, place in (
        ("f", (block, None), "beside.py:2, in deep"),
        ("sums", (block, None), "failing.py:14, in sums"),
        ("setup", ({},), "failing.py:10, in setup"),
    ):
        with pytest.raises(Exception, match=r".") as caught:
            load(f"failing:{name}", folder)(*arguments)
        assert user.where(caught.value) == f"{folder}/{place}"
    with pytest.raises(ValueError, match="no code of the user's") as elsewhere:
        raise ValueError("no code of the user's")
    assert user.where(elsewhere.value) is None
