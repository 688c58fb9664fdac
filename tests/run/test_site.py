"""The site of docs/: built as `scripts/docs` builds it, and looked at.

Sphinx takes a link that leads nowhere, and whatever else it warns of, for an error.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

import denoise_daisy
from denoise_daisy.__main__ import main
from denoise_daisy.commands import COMMANDS
from denoise_daisy.config import Config
from harness import ROOT
from harness.browser import WIDTHS, axe_violations, overflow, shown
from harness.shared import once

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; not to be changed."""

    def make(folder: Path) -> Path:
        options = (ROOT / "scripts" / "docs").read_text("utf-8").split("sphinx ")[1]
        options = options.partition(" docs ")[0]
        made = folder / "site"
        end = subprocess.run(
            [
                *(sys.executable, "-m", "sphinx", *options.split()),
                *("-d", folder / "doctrees", ROOT / "docs", made),
            ],
            env=os.environ | {"NO_PROXY": "*"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert end.returncode == 0, end.stderr
        return made

    return once(tmp_path_factory, "site", make)


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def keys(section: Any) -> Iterator[str]:
    """Every key of a section and of those in it, by pydantic's own account."""
    for name, field in section.model_fields.items():
        yield field.alias or name
        yield from _keys_of_type(field.annotation)


def _keys_of_type(annotation: Any) -> Iterator[str]:
    if hasattr(annotation, "model_fields"):
        yield from keys(annotation)
    for part in getattr(annotation, "__args__", ()):
        yield from _keys_of_type(part)


def test_each_document_is_a_page_of_the_site(site: Path) -> None:
    documents = [file.relative_to(ROOT / "docs") for file in documents_of_the_site()]
    assert Path("faults.md") in documents
    for document in documents:
        assert (site / document.with_suffix(".html")).is_file(), document


def documents_of_the_site() -> list[Path]:
    every = (ROOT / "docs").rglob("*.md")
    return sorted(file for file in every if "_generated" not in file.parts)


def test_the_reference_has_every_key_of_the_config(site: Path) -> None:
    page = (site / "reference" / "config.html").read_text("utf-8")
    named = set(re.findall(r"<h[2-6]>([^<]+)<", page))
    wanted = set(keys(Config))
    assert {"memory_gib", "per_job", "below", "tasks", "$schema"} <= wanted
    assert wanted <= named


def test_the_reference_has_every_verb_with_all_of_its_options(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By what `--help` says."""
    page = (site / "reference" / "command_line.html").read_text("utf-8")
    for verb in COMMANDS:
        part = page.partition(f'id="{verb}"')[2].partition("</section>")[0]
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        options = re.findall(r"(?<![\w-])--[a-z][a-z-]+", capsys.readouterr().out)
        for option in {*options} - {"--help"}:
            assert f'<span class="pre">{option}' in part, (verb, option)


def test_the_reference_has_every_public_name_and_what_comes_back(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text("utf-8")
    for name in denoise_daisy.__all__:
        public = getattr(denoise_daisy, name)
        assert f'id="denoise_daisy.{name}"' in page
        back = getattr(public, "__annotations__", {}).get("return")
        if isinstance(back, type):
            assert f'id="{back.__module__}.{back.__name__}"' in page, back


class _Seen(HTMLParser):
    """What a page loads as it opens, where its links lead, and where one may lead."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = {""}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors.add(found.get("id") or "")
        place = found.get("src") or found.get("href")
        if place:
            (self.links if tag == "a" else self.loaded).append(place)


@pytest.fixture(scope="module")
def seen(site: Path) -> dict[Path, _Seen]:
    """All pages, by their file."""
    found = {}
    for page in pages(site):
        found[page] = _Seen()
        found[page].feed(page.read_text("utf-8"))
    return found


OUTSIDE = re.compile(r"(https?:)?//")


def test_no_page_needs_the_network(seen: dict[Path, _Seen]) -> None:
    for page, parts in seen.items():
        assert parts.loaded
        for place in parts.loaded:
            assert not OUTSIDE.match(place), (page, place)


def test_lists_of_definitions_begin_with_what_is_defined(site: Path) -> None:
    """Which Sphinx's signatures of a line for each parameter do not by themselves."""
    page = (site / "reference" / "python.html").read_text("utf-8")
    first = re.findall(r"<dl[^>]*>\s*<(\w+)", page)
    assert len(first) > 100
    assert {*first} == {"dt"}


def test_every_link_within_the_site_leads_to_a_page_and_a_place_in_it(
    seen: dict[Path, _Seen],
) -> None:
    """Those of the theme and of generated pages as well, by what is in the files."""
    asked = 0
    for page, parts in seen.items():
        for link in parts.links:
            if OUTSIDE.match(link):
                continue
            path, _, anchor = unquote(link).partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.is_file(), (page, link)
            if there in seen:
                assert anchor in seen[there].anchors, (page, link)
                asked += bool(anchor)
    assert asked > 100


def test_pages_can_be_read_on_a_phone_and_by_everybody(
    site: Path, chromium: "Browser"
) -> None:
    """A page with a picture and one of wide tables, in one browser."""
    for name in ("index", "faults"):
        with shown(chromium, site / f"{name}.html", width=WIDTHS[0]) as seen:
            assert seen.errors == []
            assert overflow(seen.page) == 0
            assert axe_violations(seen.page) == []
