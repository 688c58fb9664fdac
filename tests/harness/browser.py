"""Pages looked at in a real browser, without a display.

The fixture lasts for a module: as long as it does, a loop of asyncio runs in the tests'
thread, and others could not start theirs.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

WIDTHS = (360, 1280)
"""Of a phone and of a desktop, in pixels."""

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # WebGL 2, without a card.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """A browser with an empty profile; the test is skipped where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this system")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[*ARGUMENTS], headless=True
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Shown:
    """A page in a window, and what went on there."""

    page: "Page"
    requests: list[str] = field(default_factory=list)
    """Whatever it asked for, but for what it holds itself (`data:`)."""
    errors: list[str] = field(default_factory=list)
    """Of its scripts, and what its console complained of."""


@contextmanager
def shown(
    browser: "Browser",
    place: Path | str,
    *,
    width: int = 1280,
    dark: bool = False,
    javascript: bool = True,
) -> Iterator[Shown]:
    """A file, or what lies behind a URL, in a window of that width."""
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if dark else "light",
        java_script_enabled=javascript,
    )
    try:
        page = context.new_page()
        found = Shown(page)

        def note_request(request: "Request") -> None:
            if not request.url.startswith("data:"):
                found.requests.append(request.url)

        def note_said(said: "ConsoleMessage") -> None:
            # A browser asks every server for that by itself.
            is_icon = said.location["url"].endswith("/favicon.ico")
            if said.type == "error" and not is_icon:
                found.errors.append(said.text)

        page.on("request", note_request)
        page.on("pageerror", lambda error: found.errors.append(str(error)))
        page.on("console", note_said)
        page.goto(place if isinstance(place, str) else place.absolute().as_uri())
        yield found
    finally:
        context.close()


def axe_violations(page: "Page") -> list[str]:
    """What axe-core finds wrong for those who don't see a page, or not well."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415

    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {rule['help']}: {', '.join(map(str, node['target']))}"
        f" {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


def overflow(page: "Page") -> int:
    """By how many pixels a page is wider than its window; 0 needs no scrolling."""
    element = "document.documentElement"
    return int(page.evaluate(f"{element}.scrollWidth - {element}.clientWidth"))


def by_keyboard(page: "Page", most: int = 200) -> list[str]:
    """What gets the focus by the tabulator, one after the other, once each."""
    reached: list[str] = []
    describe = """() => {
        const e = document.activeElement;
        return e === document.body ? "" : e.tagName.toLowerCase() + " " +
            (e.getAttribute("aria-label") || e.innerText || e.id || "").trim();
    }"""
    page.evaluate("document.activeElement.blur()")
    for _ in range(most):
        page.keyboard.press("Tab")
        name = page.evaluate(describe)
        if not name:
            break
        reached.append(name)
    return reached
