"""The page of a report, looked at in a browser."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from denoise_daisy.assessing.files import page_of_report
from denoise_daisy.assessing.values import Report
from harness.browser import axe_violations, by_keyboard, chromium, overflow, shown
from harness.reported import Reported

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["chromium"]


@pytest.fixture(scope="module")
def page(
    one_report: tuple[Reported, Report], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page_of_report(one_report[0].made(seconds=60)))
    return file


@pytest.mark.parametrize(("width", "dark"), [(360, True), (1280, False)])
def test_a_report_can_be_read_by_all(
    page: Path, chromium: "Browser", width: int, *, dark: bool
) -> None:
    with shown(chromium, page, width=width, dark=dark) as found:
        assert found.errors == []
        assert found.requests == [page.as_uri()]
        assert overflow(found.page) == 0
        found.page.locator("details").evaluate_all("all => all.map(e => e.open = true)")
        assert axe_violations(found.page) == []
        reached = by_keyboard(found.page)
        assert "div Figures of quality" in reached
        sizes = found.page.locator(".pictures img").evaluate_all(
            "all => all.map(e => [e.naturalWidth, e.naturalHeight, e.alt])"
        )
    # 7 planes of which 5 are shown, and a projection: before, after, residual.
    assert [size[:2] for size in sizes] == 18 * [[128, 96]]
    assert {size[2].split(",")[0] for size in sizes} == {
        *("Raw image", "Denoised image", "Residual"),
    }
