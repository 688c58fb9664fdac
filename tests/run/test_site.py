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

import pytest

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


class _Loaded(HTMLParser):
    """What a page loads as it opens."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        place = found.get("src") or (found.get("href") if tag == "link" else None)
        if place:
            self.places.append(place)


def test_no_page_needs_the_network(site: Path) -> None:
    for page in pages(site):
        loaded = _Loaded()
        loaded.feed(page.read_text("utf-8"))
        assert loaded.places
        for place in loaded.places:
            assert not re.match(r"(https?:)?//", place), (page, place)


def test_pages_can_be_read_on_a_phone_and_by_everybody(
    site: Path, chromium: "Browser"
) -> None:
    """A long page and one with a picture, in one browser."""
    for name, width in (("index", WIDTHS[0]), ("reference/config", WIDTHS[1])):
        with shown(chromium, site / f"{name}.html", width=width) as seen:
            assert seen.errors == []
            assert overflow(seen.page) == 0
            assert axe_violations(seen.page) == []
