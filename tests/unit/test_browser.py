"""The browser that pages are looked at in sees what is wrong with one."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.browser import axe_violations, by_keyboard, overflow, shown

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HEAD = '<!DOCTYPE html><html lang="en"><title>Page</title>'


def test_what_is_wrong_with_a_page_is_seen(chromium: "Browser", tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        f"{HEAD}<main><h1>Wide</h1><div style='width:700px'>wide</div>"
        "<img src='other.png'><a href='#x'>first</a> <button>second</button></main>"
        "<script>document.title = 'changed'; nothing.at.all</script>"
    )
    with shown(chromium, page, width=360) as seen:
        assert any(v.startswith("image-alt") for v in axe_violations(seen.page))
        assert overflow(seen.page) > 300
        assert seen.requests == [page.as_uri(), (tmp_path / "other.png").as_uri()]
        assert any("nothing is not defined" in error for error in seen.errors)
        assert by_keyboard(seen.page) == ["a first", "button second"]
        assert seen.page.title() == "changed"
    with shown(chromium, page, javascript=False) as seen:
        assert seen.page.title() == "Page"


@pytest.mark.parametrize(("dark", "ground"), [(True, "dark"), (False, "light")])
def test_a_good_page_has_nothing_wrong(
    chromium: "Browser", tmp_path: Path, dark: bool, ground: str
) -> None:
    page = tmp_path / "page.html"
    rule = "@media (prefers-color-scheme: dark) {h1::after {content: 'dark'}}"
    page.write_text(
        f"{HEAD}<style>h1::after {{content: 'light'}} {rule}</style>"
        "<main><h1>Good</h1></main>"
    )
    with shown(chromium, page, dark=dark) as seen:
        assert axe_violations(seen.page) == []
        assert overflow(seen.page) == 0
        assert seen.errors == []
        after = "getComputedStyle(document.querySelector('h1'), '::after').content"
        assert seen.page.evaluate(after) == f'"{ground}"'
