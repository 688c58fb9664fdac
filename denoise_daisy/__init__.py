"""Denoise microscopy images of any size with ndsafir, block by block and exactly.

>>> import denoise_daisy as dd
>>> dd.lazy("config.json")[0, 0, 10].compute()  # doctest: +SKIP
>>> dd.run("config.json")  # doctest: +SKIP
>>> dd.open("config.json").image[0, 0, 10]  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from denoise_daisy.api.calibrate import calibrate
    from denoise_daisy.api.opened import open
    from denoise_daisy.api.preview import preview
    from denoise_daisy.api.report import report
    from denoise_daisy.api.run import run
    from denoise_daisy.api.status import status
    from denoise_daisy.api.verify import verify
    from denoise_daisy.config import Config
    from denoise_daisy.runs.inspect import inspect
    from denoise_daisy.runs.lazy import lazy
    from denoise_daisy.runs.many_views import plan_many
    from denoise_daisy.runs.planning import plan

__all__ = [
    "Config",
    "calibrate",
    "inspect",
    "lazy",
    "open",
    "plan",
    "plan_many",
    "preview",
    "report",
    "run",
    "status",
    "verify",
]

_HOMES = {
    "Config": "config",
    "calibrate": "api.calibrate",
    "inspect": "runs.inspect",
    "lazy": "runs.lazy",
    "open": "api.opened",
    "plan": "runs.planning",
    "plan_many": "runs.many_views",
    "preview": "api.preview",
    "report": "api.report",
    "run": "api.run",
    "status": "api.status",
    "verify": "api.verify",
}


def __getattr__(name: str) -> Any:
    """A public name, imported once it is used: a job of workers needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
