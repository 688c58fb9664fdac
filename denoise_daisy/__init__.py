"""Denoise microscopy images of any size with ndsafir, block by block and exactly.

>>> import denoise_daisy as dd
>>> dd.lazy("config.json")[0, 0, 10].compute()  # doctest: +SKIP
>>> dd.run("config.json")  # doctest: +SKIP
>>> dd.open("config.json").image[0, 0, 10]  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from denoise_daisy.api.opened import open
    from denoise_daisy.config import Config
    from denoise_daisy.runs.lazy import lazy
    from denoise_daisy.runs.planning import plan
    from denoise_daisy.runs.run import run

__all__ = ["Config", "lazy", "open", "plan", "run"]

_HOMES = {
    "Config": "config",
    "lazy": "runs.lazy",
    "open": "api.opened",
    "plan": "runs.planning",
    "run": "runs.run",
}


def __getattr__(name: str) -> Any:
    """A public name, imported once it is used: a job of workers needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
