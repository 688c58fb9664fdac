"""File systems that answer with an error once, to one kind of call."""

import errno
import io
import os
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest


class Hiccup:
    """A call that fails where its path has some words in it; how often is counted."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        call: str,
        words: str,
        *,
        times: int = 1,
        error: int = errno.ESTALE,
    ) -> None:
        """`call` is a function of `os`, or `io.open`; or several, with | in between."""
        self.hits = 0
        self._words, self._times, self._error = words, times, error
        for one in call.split("|"):
            module: types.ModuleType = io if one == "io.open" else os
            name = one.removeprefix("io.")
            stand_in = partial(self._call, getattr(module, name))
            monkeypatch.setattr(module, name, stand_in)

    def _call(
        self, real: Callable[..., Any], path: Any, *arguments: Any, **options: Any
    ) -> Any:
        """The real call, or the error."""
        is_file = isinstance(path, int)
        name = str(Path(f"/proc/self/fd/{path}").readlink() if is_file else path)
        if self._words in name and self.hits < self._times:
            self.hits += 1
            raise OSError(self._error, os.strerror(self._error), name)
        return real(path, *arguments, **options)
