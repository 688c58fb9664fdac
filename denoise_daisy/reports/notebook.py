"""Answers as a notebook shows them: text as a table, a page in a frame of its own."""

import re
from collections.abc import Iterator
from html import escape
from typing import Any


class Shown:
    """What notebooks, and IPython in a terminal, show by its `str`."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return table_of(str(self))

    def _repr_pretty_(self, printer: Any, cycle: object) -> None:
        printer.text("..." if cycle else str(self))


def table_of(text: str) -> str:
    """An answer in words as HTML: names in a column, warnings in bold."""
    rows = "".join(map(_row, text.splitlines()))
    return f'<table style="text-align:left">{rows}</table>'


def framed(page: str, height: int = 640) -> str:
    """A whole page in a frame, so that its style is its own; nothing in it is run."""
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox style="width:100%;height:{height}px;'
        'border:0" loading="lazy"></iframe>'
    )


def _row(line: str) -> str:
    style = ' style="text-align:left;vertical-align:top"'
    if line.startswith("Warning: "):
        return f"<tr><td{style} colspan=2><strong>{escape(line)}</strong></td></tr>"
    name, said = next(_split(line), ("", ""))
    if name:
        return f"<tr><th{style}>{escape(name)}</th><td{style}>{escape(said)}</td></tr>"
    return f"<tr><td{style} colspan=2>{escape(line)}</td></tr>"


def _split(line: str) -> Iterator[tuple[str, str]]:
    """The name that a line begins with, and the rest; nothing of one without."""
    found = re.fullmatch(r" *(\S.{0,18}?) {2,}(\S.*)|([\w.]{1,40}): (.+)", line)
    if found:
        yield found[1] or found[3], found[2] or found[4]
        return
    # Names as long as their column are followed by one space.
    for width in (8, 11):
        if len(line) > width + 1 and line[width] == " " and " " not in line[:width]:
            yield line[:width], line[width + 1 :]
            return
