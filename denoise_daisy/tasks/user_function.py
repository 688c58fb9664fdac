"""Functions of the user's: found by name, set up once, called block by block."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.errors import InputError
from denoise_daisy.tasks.user_code import code_of, digest, file_in

DIGEST = "__denoise_daisy_digest__"
"""Attribute of a module that tells which version of its file it is."""


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
        return load(self.setup, self.folder)(self.params) if self.setup else None

    def tear_down(self) -> None:
        """Call `teardown`, if the function was set up in this process."""
        if self.teardown and "state" in self.__dict__:
            load(self.teardown, self.folder)(self.__dict__.pop("state"))

    def code_now(self) -> dict[str, str]:
        """What its code is now, once it was imported: see `user_code.code_of`."""
        names = [name for name in (self.function, self.setup, self.teardown) if name]
        modules = dict.fromkeys(name.partition(":")[0] for name in names)
        found: dict[str, str] = {}
        for module in modules:
            found |= code_of(module, self.folder)
        return found

    def where(self, error: BaseException) -> str | None:
        """File, line and function of the innermost frame in its own code.

        That is its modules and those that they import from beside themselves.
        """
        own = {name.removeprefix("code ") for name in self.code}
        found = None
        for frame, line in traceback.walk_tb(error.__traceback__):
            module = str(frame.f_globals.get("__name__", ""))
            if module.partition("@")[0] in own:
                code = frame.f_code
                # A comprehension is no function to a person.
                name = code.co_qualname.partition(".<locals>.<")[0]
                found = f"{code.co_filename}:{line}, in {name}"
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


def load(name: str, folder: str) -> Callable[..., Any]:
    """The ``module:name`` of a folder, or of what is installed.

    Raises
    ------
    Exception
        There is no such module or no such name in it, or what importing it raises.
    """
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(_module(module, folder), attribute)
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
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InputError(
            f"The function {name!r} could not be imported"
            f" ({type(error).__name__}: {error}). Expected a module"
            f" {name.partition(':')[0]!r}, installed or in {folder!r} (the task's"
            " folder), that can be imported and has that name."
        ) from error


def _module(module: str, folder: str) -> ModuleType:
    """Import a module from its file in the folder, else as Python finds it.

    Two tasks may have modules of one name in different folders; and one that was
    edited, as its digest tells, is imported again.
    """
    file = file_in(folder, module)
    if file is None:
        return importlib.import_module(module)
    name, now = f"{module}@{folder}", digest(file)
    before = sys.modules.get(name)
    if before is not None and getattr(before, DIGEST, "") == now:
        return before
    if folder not in sys.path:
        # For what it imports from beside itself.
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:  # pragma: no cover - a .py file has one
        raise ImportError(f"{file} is no module")
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    writes_bytecode = sys.dont_write_bytecode
    # A run that is refused has written nothing, not even here.
    sys.dont_write_bytecode = True
    try:
        spec.loader.exec_module(found)
    finally:
        sys.dont_write_bytecode = writes_bytecode
    setattr(found, DIGEST, now)
    return found
