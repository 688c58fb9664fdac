"""What the code of a user's function is: the modules that it is made of, by checksum.

A function's module imports others: from beside itself, from the standard library, and
from installed packages.  Modules of the user's are followed and each is told by its
checksum, packages by their versions.  Imports are read from the source, those inside
functions as well; nothing is imported for it, so that every process finds the same.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from denoise_daisy.errors import InputError

PROGRAM = __name__.partition(".")[0]


def file_in(folder: str, module: str) -> Path | None:
    """The module's file in a folder, if it is there."""
    file = Path(folder, *module.split(".")).with_suffix(".py")
    return file if file.is_file() else None


def digest(file: Path) -> str:
    """A checksum of a file, by which a change of its code is noticed."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def code_of(module: str, folder: str) -> dict[str, str]:
    """What a module's code is: ``code MODULE``: checksum, ``package NAME``: version.

    The folder must be on ``sys.path`` if the module lies there.

    Raises
    ------
    InputError
        Python would import a module of another folder instead of one in this.
    """
    found: dict[str, str] = {}
    own: dict[str, ModuleSpec] = {}
    file = file_in(folder, module)
    spec = (
        importlib.util.spec_from_file_location(module, file)
        if file
        else _top_level(module)
    )
    waiting = _note(module, spec, found) if spec else []
    while waiting:
        parent: ModuleSpec | None = None
        for name in _prefixes(waiting.pop()):
            if name in own:
                parent = own[name]
                continue
            spec = _spec(name, parent)
            if spec is None:
                break
            if parent is None and (packages := _packages(name)) is not None:
                found |= packages
                break
            if parent is None:
                _check_place(name, spec, folder)
            own[name] = parent = spec
            waiting += _note(name, spec, found)
    return found


def _note(name: str, spec: ModuleSpec, found: dict[str, str]) -> list[str]:
    """Enter a module's checksum; what it imports."""
    file = Path(spec.origin or "")
    if not file.is_file():
        return []
    found[f"code {name}"] = digest(file)
    if file.suffix != ".py":
        return []
    is_package = spec.submodule_search_locations is not None
    return list(_imports(file, name if is_package else name.rpartition(".")[0]))


def _imports(file: Path, package: str) -> Iterator[str]:
    """The names that a module of a package may import; of no module, if it is none."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = f"{package.rsplit('.', node.level - 1)[0]}.{base}".strip(".")
            yield base
            # What is imported from a package may be a module of it.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _prefixes(name: str) -> Iterator[str]:
    """a, a.b and a.b.c for a.b.c: packages are imported before what is in them."""
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _spec(name: str, parent: ModuleSpec | None) -> ModuleSpec | None:
    """Where Python finds a module, None where there is no such."""
    if parent is None:
        return _top_level(name)
    return PathFinder.find_spec(name, parent.submodule_search_locations or [])


def _top_level(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _packages(name: str) -> dict[str, str] | None:
    """The packages that a top-level module is of; None where it is the user's code.

    A package that is installed as a link to its source is the user's code.
    """
    if name in sys.stdlib_module_names or name == PROGRAM:
        return {}
    names = set(_distributions().get(name, ()))
    linked = {n for n in names if '"editable": true' in (_direct_url(n) or "")}
    if not names - linked:
        return None
    return {f"package {n}": distribution(n).version for n in sorted(names)}


@cache
def _distributions() -> dict[str, list[str]]:
    """The installed packages by the names of their modules."""
    return dict(packages_distributions())


def _direct_url(name: str) -> str | None:
    return distribution(name).read_text("direct_url.json")


def _check_place(name: str, spec: ModuleSpec, folder: str) -> None:
    """Refuse a module that hides one of the same name in the task's folder."""
    is_beside = file_in(folder, name) or file_in(folder, f"{name}.__init__")
    places = [spec.origin or "", *(spec.submodule_search_locations or ())]
    if is_beside and not any(Path(p).is_relative_to(folder) for p in places if p):
        raise InputError(
            f"Two folders have a module {name!r}: {folder!r}, which is a task's, and"
            f" {str(Path(places[0]).parent)!r}, from where Python takes it. Expected"
            " names that differ; rename one of them."
        )
