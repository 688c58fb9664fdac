"""Figures and pages are whole in themselves, the same each time, and escape values."""

import base64
import io
import re
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from denoise_daisy.reports import figures, page, report_figures, work_figures


def decoded(uri: str, kind: str) -> bytes:
    head, _, data = uri.partition(",")
    assert head == f"data:{kind};base64"
    return base64.b64decode(data, validate=True)


def plot() -> str:
    figure, axes = figures.axes("level", "variance")
    axes.plot([1, 2, 3], [2, 3, 5], label="measured")
    figures.legend(axes, "upper left")
    return figures.data_uri(figure)


def test_a_plot_is_an_svg_of_the_same_bytes_each_time() -> None:
    drawn = decoded(plot(), "image/svg+xml")
    assert drawn == decoded(plot(), "image/svg+xml")
    assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    links = re.findall(rb'(?:href|src)="([^"]*)"|url\(([^)]*)\)', drawn)
    assert links
    assert all((link or url).startswith(b"#") for link, url in links)


def test_the_ink_of_a_plot_has_another_colour_in_dark_mode() -> None:
    drawn = decoded(plot(), "image/svg+xml").decode()
    style = re.findall("<style>(.*?)</style>", drawn)
    assert any("prefers-color-scheme: dark" in text for text in style)
    for what in ("fill", "stroke"):
        light, dark = figures.INK, figures.PALE_INK
        rule = f'[style*="{what}: {light}"]{{{what}:{dark}!important}}'
        assert any(rule in text for text in style)
        assert drawn.count(f"{what}: {light}") > 1


def test_a_picture_has_a_pixel_for_each_voxel_and_clips_at_its_ends() -> None:
    plane = np.array([[-5, 0, 50], [100, 200, 25]], np.int32)
    data = decoded(figures.picture(plane, 0, 100), "image/png")
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    np.testing.assert_array_equal(pixels, [[0, 0, 128], [255, 255, 64]])
    assert data == figures.png(plane, 0, 100)


def test_a_plane_of_one_value_can_be_drawn() -> None:
    data = figures.png(np.full((2, 3), 7.0), 7, 7)
    assert not np.asarray(Image.open(io.BytesIO(data)).convert("L")).any()


def test_drawing_loads_neither_a_window_system_nor_anything_before_it_draws() -> None:
    script = """
import sys
from denoise_daisy.reports import figures, page
assert not {"matplotlib", "jinja2"} & sys.modules.keys()
figure, axes = figures.axes("x", "y")
figures.data_uri(figure)
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_values_are_escaped_and_a_missing_one_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    template = page._environment().from_string("<b title='{{ name }}'>{{ name }}</b>")
    assert template.render(name="<&\"'>") == (
        "<b title='&lt;&amp;&#34;&#39;&gt;'>&lt;&amp;&#34;&#39;&gt;</b>"
    )
    with pytest.raises(UndefinedError):
        template.render()


def test_a_page_needs_nothing_from_outside() -> None:
    drawn = page.render("base.html.j2")
    assert drawn.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?:|@import|<script|<link", drawn)


def test_names_in_a_plot_are_no_formulas_and_none_is_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[Any] = []

    def kept(figure: Any) -> str:
        drawn.append(figure)
        return figures.data_uri(figure)

    monkeypatch.setattr(report_figures, "data_uri", kept)
    names = ["$\\nonsense{$", "_hidden", "plain"]
    line = [0.0, 1.0], [0.8, 0.9]
    report_figures.over_plot("t", dict.fromkeys(names, line), (0.5, 1.15))
    texts = drawn[0].axes[0].get_legend().get_texts()
    assert [text.get_text().strip() for text in texts] == names
    busy = np.ones((1, 2))
    assert work_figures.workers_plot(np.arange(3.0), busy, "min", ["$\\nonsense{$"])


@pytest.mark.parametrize("doubtful", [0, 1])
def test_a_report_with_a_doubtful_figure_is_not_as_expected(doubtful: int) -> None:
    names = ("findings", "facts", "figures", "plots", "residuals", "channels")
    report: dict[str, Any] = dict.fromkeys((*names, "warnings", "left_out"), ())
    report |= {"made": "now", "took": "1 s", "cost": None, "more_residuals": 0}
    made = page.render(
        "report.html.j2", report={**report, "good": 7, "doubtful": doubtful}
    )
    assert ("as expected" in made) == (not doubtful)
