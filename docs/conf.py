"""How Sphinx builds the site: `scripts/docs`."""

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "scripts"))

import docs_links  # noqa: E402 - found by the line above
import docs_reference  # noqa: E402

docs_reference.write(DOCS / "_generated")

project = "denoise_daisy"
author = "the denoise_daisy authors"
version = release = version_of("denoise-daisy")
html_title = f"denoise_daisy {release}"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_generated", "_build"]

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"
highlight_language = "text"

autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
napoleon_google_docstring = False
# Types of other packages have no pages here: the build is offline.
nitpick_ignore_regex = [("py:.*", ".*")]

html_theme = "furo"
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False


def setup(app: Sphinx) -> None:
    """Links of the repository become links of the site."""
    app.connect("source-read", _page_read)
    app.connect("include-read", _include_read)
    app.connect("build-finished", _name_parts)
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)
    app.connect("autodoc-process-docstring", _show_colons, priority=600)


def _page_read(_: Sphinx, name: str, content: list[str]) -> None:
    page = DOCS / f"{name}.md"
    if page.is_file():
        content[0] = docs_links.on_site(content[0], page, page)


def _include_read(app: Sphinx, file: Path, _: str, content: list[str]) -> None:
    # What the event tells of the page is its name without its folder.
    page = DOCS / f"{app.env.docname}.md"
    content[0] = docs_links.on_site(content[0], (DOCS / file).resolve(), page)


COLON = "\ue000"
"""Stands for a colon while Napoleon, of priority 500, takes what stands before one in
the first line of an attribute for its type."""


def _hide_colons(*event: Any) -> None:
    _, what, _, _, _, lines = event
    if what in ("attribute", "property") and lines:
        lines[0] = lines[0].replace(":", COLON)


def _show_colons(*event: Any) -> None:
    lines = event[-1]
    lines[:] = [line.replace(COLON, ":") for line in lines]


NAMED = {
    'role="heading"><span class="caption-text"': 'role="heading" aria-level="2">'
    '<span class="caption-text"',
    '<aside class="sidebar-drawer"': '<aside class="sidebar-drawer" aria-label="Pages"',
    "<pre>": '<pre tabindex="0">',
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    '<aside class="toc-drawer': '<aside aria-label="On this page" class="toc-drawer',
}
"""What screen readers and keyboards miss in the theme's pages."""

PARAMETERS = re.compile(r"<dl>\s*((?:<dd><em class=\"sig-param\">.*?</dd>\s*)+)</dl>")
"""Of a signature, a line each: a list of definitions that has no terms."""


def _name_parts(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        for page in Path(app.outdir).rglob("*.html"):
            text = page.read_text("utf-8")
            for old, new in NAMED.items():
                text = text.replace(old, new)
            text = PARAMETERS.sub(_as_lines, text)
            page.write_text(text, "utf-8")


def _as_lines(found: re.Match[str]) -> str:
    style = 'style="display: block; margin-left: 2em"'
    return found[1].replace("<dd>", f"<span {style}>").replace("</dd>", "</span>")
