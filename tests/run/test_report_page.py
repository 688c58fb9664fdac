"""The page of a report, looked at in a browser."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from denoise_daisy.assessing.files import page_of_report
from denoise_daisy.assessing.make import Made
from denoise_daisy.assessing.values import Report
from harness.browser import axe_violations, by_keyboard, chromium, overflow, shown
from harness.reported import Reported

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["chromium"]


@pytest.fixture(scope="module")
def made(one_report: tuple[Reported, Report]) -> Made:
    return one_report[0].made(seconds=60)


@pytest.fixture(scope="module")
def page(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page_of_report(made))
    return file


def of_two_channels(made: Made) -> Made:
    """The second has a long name, a large number, and something to look at."""
    figures = made.report.figures
    name = "mNeonGreen-Histone_H2B 488 nm"
    others = [
        replace(f, of=name, verdict="doubtful", text=f"{f.text} 123456789 (12.34%)")
        for f in figures
        if f.of == "Channel 0"
    ]
    return replace(made, report=replace(made.report, figures=(*figures, *others)))


CELLS = """table => [...table.querySelectorAll("th, td")].map(cell => {
    const box = cell.getBoundingClientRect();
    return [cell.innerText, box.left, box.right, box.height, cell.scrollWidth -
            cell.clientWidth];
})"""


@pytest.mark.parametrize(("width", "dark"), [(360, False), (360, True), (700, False)])
def test_all_figures_are_in_sight_on_a_phone(
    made: Made, tmp_path: Path, chromium: "Browser", width: int, *, dark: bool
) -> None:
    made = of_two_channels(made)
    (tmp_path / "report.html").write_text(page_of_report(made))
    with shown(chromium, tmp_path / "report.html", width=width, dark=dark) as found:
        assert overflow(found.page) == 0
        table = found.page.get_by_role("table", name="Quality in numbers")
        cells = table.evaluate(CELLS)
        assert axe_violations(found.page) == []
        headers = table.get_by_role("columnheader").all_inner_texts()
    assert headers == ["of", "found", "expected"]
    assert all(0 <= left < right <= width for _, left, right, _, _ in cells)
    assert all(height < 100 and more <= 0 for _, _, _, height, more in cells)
    # What the figures of both channels mean is said once, and all of it is there.
    said, figures = [text for text, *_ in cells], made.report.figures
    for figure in figures:
        names = {f.name for f in figures if f.meaning == figure.meaning}
        assert said.count(figure.name) == 1
        assert said.count(figure.meaning) in (0, len(names))
        assert all(part in " ".join(said) for part in figure.meaning.split(". "))


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
        assert "div Cost of each stage" in by_keyboard(found.page)
        sizes = found.page.locator(".pictures img").evaluate_all(
            "all => all.map(e => [e.naturalWidth, e.naturalHeight, e.alt])"
        )
    # 7 planes of which 5 are shown, and a projection: before, after, residual.
    assert [size[:2] for size in sizes] == 18 * [[128, 96]]
    assert {size[2].split(",")[0] for size in sizes} == {
        *("Raw image", "Denoised image", "Residual"),
    }
