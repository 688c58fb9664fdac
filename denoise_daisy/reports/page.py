"""Pages: templates filled with values, each one HTML file that needs no other."""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """A template of `reports/templates`, filled; all values are escaped.

    A value that it names and does not get is an error.
    """
    return _environment().get_template(template).render(values)


def source_of(name: str) -> str:
    """A file beside the templates, as it is: a script."""
    place = files("denoise_daisy.reports").joinpath("templates", name)
    return place.read_text("utf-8")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    return Environment(
        loader=PackageLoader("denoise_daisy.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
