"""Functions of the user's: found by name, set up once, called block by block."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, cached_property
from types import ModuleType
from typing import Any

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.errors import InputError
from denoise_daisy.user_code import code_of, digest, file_in

_teardowns = ExitStack()


@dataclass(frozen=True, slots=True)
class BlockContext:
    """What a function is told beside the block's voxels."""

    roi: Roi
    """What was read, in voxels of ``(t, z, y, x)``."""

    write_roi: Roi
    """What will be written of the result."""

    image_roi: Roi
    """All there is to read; where `roi` ends before, it was cut off on purpose."""

    voxel_size_um: tuple[float | None, ...]
    """Size of a voxel along (z, y, x); None where it was not recorded."""

    time_step_s: float | None
    """Time between two time points; None where it was not recorded."""

    factor: tuple[int, ...]
    """Voxels of the image per voxel along (t, z, y, x), for a level of a pyramid."""

    params: Mapping[str, Any]
    """As in the config."""

    state: Any
    """What `setup` returned; None without one."""

    inputs: Mapping[str, np.ndarray]
    """All that the task reads, by name; the first one is the block itself."""

    written: Callable[[Roi], np.ndarray]
    """What the task's blocks have written so far in a Roi, zeros where nothing is."""

    axes: str = "tczyx"
    """The axes of every array."""


@dataclass(frozen=True)
class UserFunction:
    """A function and what prepares it, imported when first called."""

    function: str
    setup: str | None
    teardown: str | None
    folder: str
    params: Mapping[str, Any]
    code: Mapping[str, str]
    """What its code is expected to be, see `code_now`."""

    @cached_property
    def call(self) -> Callable[[np.ndarray, BlockContext], Any]:
        """The function itself.

        Raises
        ------
        RuntimeError
            Its code is not what the run was started with.
        """
        function = load(self.function, self.folder)
        now = self.code_now()
        changed = [k for k in {**now, **self.code} if now.get(k) != self.code.get(k)]
        if changed:
            raise RuntimeError(
                f"the code of {self.function!r} has changed since the run was started"
                f" ({', '.join(changed)}); start it again"
            )
        return function

    @cached_property
    def state(self) -> Any:
        """What `setup` returned, once; `tear_down` gives it to `teardown`."""
        state = load(self.setup, self.folder)(self.params) if self.setup else None
        if self.teardown:
            _teardowns.callback(load(self.teardown, self.folder), state)
        return state

    def code_now(self) -> dict[str, str]:
        """What its code is now, once it was imported: see `user_code.code_of`."""
        names = [name for name in (self.function, self.setup, self.teardown) if name]
        modules = dict.fromkeys(name.partition(":")[0] for name in names)
        found: dict[str, str] = {}
        for module in modules:
            found |= code_of(module, self.folder)
        return found

    def check(self) -> None:
        """Refuse what can't be imported.

        Raises
        ------
        InputError
            With the reason.
        """
        for name in (self.function, self.setup, self.teardown):
            if name:
                check(name, self.folder)


def tear_down() -> None:
    """Call the teardown of all functions that were set up in this process."""
    _teardowns.close()


def load(name: str, folder: str) -> Callable[..., Any]:
    """The ``module:name`` of a folder, or of what is installed.

    Raises
    ------
    Exception
        There is no such module or no such name in it, or what importing it raises.
    """
    module, _, attribute = name.partition(":")
    file = file_in(folder, module)
    version = digest(file) if file else ""
    found: Callable[..., Any] = getattr(_module(module, folder, version), attribute)
    return found


def check(name: str, folder: str) -> None:
    """Refuse a function that can't be imported.

    Raises
    ------
    InputError
        With the reason.
    """
    try:
        load(name, folder)
    except Exception as error:
        raise InputError(
            f"The function {name!r} can't be had ({type(error).__name__}: {error})."
            f" Expected a module {name.partition(':')[0]!r}, installed or in {folder!r}"
            " (the task's folder), that can be imported and has that name."
        ) from error


@cache
def _module(module: str, folder: str, _: str) -> ModuleType:
    """Import a module from its file in the folder, else as Python finds it.

    Two tasks may have modules of one name in different folders; and one that was
    edited, as its digest tells, is imported anew.
    """
    file = file_in(folder, module)
    if file is None:
        return importlib.import_module(module)
    if folder not in sys.path:
        # For what it imports from beside itself.
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(f"{module}@{folder}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no module")
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    writes_bytecode = sys.dont_write_bytecode
    # A run that is refused has written nothing, not even here.
    sys.dont_write_bytecode = True
    try:
        spec.loader.exec_module(found)
    finally:
        sys.dont_write_bytecode = writes_bytecode
    return found
