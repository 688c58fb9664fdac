"""The page of a run, in a browser: whole in itself, calm, and legible to everybody."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from denoise_daisy.monitoring import many_page
from denoise_daisy.monitoring.history import NO_HISTORY
from denoise_daisy.monitoring.many_page import ImageRow, page_of_many
from denoise_daisy.monitoring.page import page_of
from denoise_daisy.monitoring.values import RunStatus
from harness.browser import axe_violations, by_keyboard, overflow, shown
from harness.statuses import (
    HOSTILE,
    NOW,
    ended,
    failed,
    history,
    samples,
    stage,
    states_of,
    status,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SAMPLES = samples()

GRID = (1, 1, 4, 3)


def written(folder: Path, found: RunStatus, blocks: int = 0) -> Path:
    """The page of a run in a file."""
    made = history(blocks, 4) if blocks else NO_HISTORY
    refresh = 1e6 if found.scheduler else None
    text = page_of(found, written=NOW, refresh=refresh, history=made)
    file = folder / "status.html"
    file.write_text(text, "utf-8")
    return file


def image(**more: Any) -> ImageRow:
    """One of many images."""
    values: dict[str, Any] = {
        "done": 6,
        "blocks": 12,
        "failed": 0,
        "took": "3 min",
        "link": lambda: "../a%20b.zarr.run/status.html",
        "message": "",
    }
    return ImageRow(**values | more)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_page_is_fit_for_phones_and_desktops_in_light_and_dark(
    chromium: "Browser", tmp_path: Path, name: str
) -> None:
    place = written(tmp_path, SAMPLES[name], 0 if name == "not begun" else 60)
    for width, dark in ((360, True), (1280, False)):
        with shown(chromium, place, width=width, dark=dark) as seen:
            assert axe_violations(seen.page) == []
            assert overflow(seen.page) == 0
            assert seen.errors == []
            assert seen.requests == [place.as_uri()]
            assert seen.page.locator("details.stage[open]").count() == 1


def test_other_colours_are_as_legible(chromium: "Browser", tmp_path: Path) -> None:
    place = written(tmp_path, SAMPLES["failed"], 60)
    for width, dark in ((360, False), (1280, True)):
        with shown(chromium, place, width=width, dark=dark) as seen:
            seen.page.evaluate(
                "document.querySelectorAll('details').forEach(d => "
                "{ d.removeAttribute('name'); d.open = true; })"
            )
            assert axe_violations(seen.page) == []
            assert overflow(seen.page) == 0


def test_a_hostile_name_is_only_a_name(chromium: "Browser", tmp_path: Path) -> None:
    with shown(chromium, written(tmp_path, SAMPLES["hostile"])) as seen:
        assert seen.page.title().startswith("50 % running")
        # Of what an outsider can have in it, all stands there, letter by letter.
        told = seen.page.locator(".error").text_content() or ""
        assert told == HOSTILE.replace("\udcff", "\\udcff")
        assert seen.page.locator("main img[src^='x:']").count() == 0
        assert seen.page.locator("script").count() == 1
        links = [a.get_attribute("href") or "" for a in seen.page.locator("a").all()]
        assert links
        assert not [link for link in links if ":" in link or link.startswith("/")]


def test_a_page_is_whole_without_scripts(chromium: "Browser", tmp_path: Path) -> None:
    place = written(tmp_path, SAMPLES["running"], 60)
    with shown(chromium, place, javascript=False) as seen:
        seen.page.get_by_text("labels.pieces", exact=True).click()
        stages = seen.page.locator("details.stage")
        assert [s.get_attribute("open") for s in stages.all()] == [None, ""]
        refresh = seen.page.locator("meta[http-equiv='refresh']")
        assert refresh.get_attribute("content") == "1000000"
        assert seen.page.get_by_role("button", name="Pause").count() == 0


def test_all_that_can_be_done_can_be_done_by_keyboard(
    chromium: "Browser", tmp_path: Path
) -> None:
    found = status(
        stage("denoise", GRID, states_of(GRID, 0.5, failed=1)),
        stage("cells", GRID, states_of(GRID)),
        failures=(failed(),),
    )
    with shown(chromium, written(tmp_path, found)) as seen:
        reached = by_keyboard(seen.page)
        expected = (
            "button Pause refreshing",
            "summary denoise, block t 0 z 1 y 2 x 3: exception",
            "summary denoise",
            "summary In numbers",
            "summary cells",
            "div Table of workers",
            "div Table of the slowest blocks",
            "a /data/a b/out.zarr",
            "a logs/",
        )
        for name in expected:
            assert any(r.startswith(name) for r in reached), (name, reached)
        seen.page.locator("#failure-1 summary").focus()
        seen.page.keyboard.press("Enter")
        assert seen.page.get_by_text("Traceback (most recent call last)").is_visible()
        link = seen.page.get_by_role("link", name="failed.txt")
        assert link.get_attribute("href") == "logs/failed.txt"


def test_a_page_is_read_again_where_its_reader_was(
    chromium: "Browser", tmp_path: Path
) -> None:
    place = written(tmp_path, SAMPLES["running"], 60)
    old = re.sub(r'data-written="\d+"', 'data-written="0"', place.read_text())
    place.write_text(old)
    look_again = "document.dispatchEvent(new Event('visibilitychange'))"
    with shown(chromium, place) as seen:
        page = seen.page
        page.get_by_text("labels.pieces", exact=True).click()
        page.locator("#stage-2 > summary").focus()
        page.evaluate("scrollTo(0, 300)")
        with page.expect_navigation(wait_until="load"):
            page.evaluate(look_again)
        assert page.locator("#stage-2").get_attribute("open") == ""
        assert page.locator("#stage-1").get_attribute("open") is None
        assert page.evaluate("scrollY") == 300
        assert page.evaluate("document.activeElement.parentElement.id") == "stage-2"
        page.get_by_role("button", name="Pause refreshing").click()
        before = len(seen.requests)
        page.evaluate(look_again)
        assert page.get_by_role("button", name="Refresh again").is_visible()
        page.evaluate("new Promise(requestAnimationFrame)")
        assert len(seen.requests) == before == 2


def test_a_page_that_nobody_writes_any_more_says_so(
    chromium: "Browser", tmp_path: Path
) -> None:
    old = re.sub(
        r'refresh="\d+"',
        'refresh="30"',
        page_of(SAMPLES["running"], written=1.6e9, refresh=30),
    )
    (tmp_path / "old.html").write_text(old, "utf-8")
    with shown(chromium, tmp_path / "old.html") as seen:
        stale = seen.page.get_by_role("status")
        assert "The scheduler may have been killed" in (stale.text_content() or "")
    with shown(chromium, written(tmp_path, SAMPLES["done"])) as seen:
        assert seen.page.locator("#stale").is_hidden()


def test_many_images_are_a_page_with_links(chromium: "Browser", tmp_path: Path) -> None:
    rows = [
        image(name=f"cells_{i}", kind="done", done=12, state="done") for i in range(30)
    ]
    rows += [
        image(name="begun", kind="running", state="at work"),
        image(name=HOSTILE, kind="failed", state=HOSTILE, message=HOSTILE),
    ]
    place = tmp_path / "many.html"
    text = page_of_many(HOSTILE, rows, "running", refresh=1e6, written=NOW)
    place.write_text(text, "utf-8")
    for width, dark in ((360, True), (1280, False)):
        with shown(chromium, place, width=width, dark=dark) as seen:
            assert axe_violations(seen.page) == []
            assert overflow(seen.page) == 0
            assert seen.errors == []
            assert seen.requests == [place.as_uri()]
            names = seen.page.locator("tbody th").all_inner_texts()
            assert names[1:3] == ["begun", "cells_0"]
            assert names[0].startswith("</script>")
    assert "30 of 32 images are done, 1 at work, 1 failed, 0 left." in text
    assert "<strong>96 %</strong>" in text


def test_pages_of_many_images_are_looked_for_where_they_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sought: list[str] = []

    def row(name: str, kind: str) -> ImageRow:
        def link() -> str:
            sought.append(name)
            return ""

        return image(name=name, kind=kind, state=kind, link=link)

    monkeypatch.setattr(many_page, "MOST_ROWS", 2)
    rows = [row("good", "done"), row("bad", "failed"), row("next", "left")]
    text = page_of_many("all", rows, "running", written=NOW)
    assert sought == ["bad", "next"]
    assert "<a href" not in text.partition("<tbody>")[2].partition("</tbody>")[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("running", "2.0 to 3.1 h left; it will end between"),
        ("not begun", "No worker is at a block: 2 jobs are in the queue of Slurm."),
        ("done", "All 12 blocks are done."),
        ("failed", "4 blocks failed for good; 12 of 24 are done."),
        ("stopped", "9 blocks of 12 are left. The same command goes on"),
    ],
)
def test_the_state_is_said_in_a_line(name: str, words: str) -> None:
    text = page_of(SAMPLES[name], written=NOW)
    assert words in text
    assert ("data-refresh" in text) is False


def test_almost_all_is_not_all() -> None:
    nearly = states_of((1, 1, 100, 100))
    nearly[:9999] = 2
    found = ended("stopped", stage("denoise", (1, 1, 100, 100), nearly), share=0.9999)
    text = page_of(found, written=NOW)
    assert "<strong>99.9 %</strong>" in text
    assert '<span class="share">99 %</span>' not in text
    assert "100 %" not in text
