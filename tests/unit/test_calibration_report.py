"""What is said and drawn of a channel's noise; fits are made up, so that all occurs."""

import base64
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from denoise_daisy.algorithms.noise_blocks import levels_of
from denoise_daisy.algorithms.noise_fit import NoiseFit
from denoise_daisy.denoisers.noise_drift import Drift
from denoise_daisy.denoisers.survey import ChannelSurvey
from denoise_daisy.reports.figures import BLUE, GREY, ORANGE
from denoise_daisy.reports.noise_figure import (
    NoisePicture,
    bars,
    histogram_plot,
    variance_plot,
)
from denoise_daisy.runs.calibration_report import channel_rows, page

FIT = NoiseFit(
    gain=4.0,
    offset=-300.0,
    is_gaussian=False,
    noise_std=22.4,
    verdict="white",
    whiteness=1.02,
    levels=(100.0, 150.0, 200.0),
    variances=(100.0, 300.0, 500.0),
    counts=(30.0, 20.0, 10.0),
    quantiles=((0.01, 79.0), (0.5, 200.0), (0.99, 331.0)),
    clipped=0.0,
    saturated=0.0,
    saturation=None,
    find_intervals=lambda: ((3.5, 4.5), (-340.0, -260.0)),
)

PLANE = np.arange(75, 275, dtype=np.uint16).reshape(10, 20)


def channel(*drift: Drift, **changes: Any) -> ChannelSurvey:
    return ChannelSurvey(
        "GFP",
        levels=levels_of([PLANE], [None]),
        found=replace(FIT, **changes),
        drift=drift,
    )


def said(*drift: Drift, own: tuple[float, float] | str = "", **changes: Any) -> Any:
    return dict(channel_rows(channel(*drift, **changes), own))


def test_numbers_are_said_with_what_they_mean() -> None:
    """sqrt(4 * 79 - 300) = 4, sqrt(4 * 200 - 300) = 22.36, sqrt(4 * 331 - 300) = 32."""
    rows = said(own=(8.0, -1240.0))
    assert rows["gain"] == "4 (95 %: 3.5 to 4.5)"
    assert rows["offset"] == "-300 (95 %: -340 to -260)"
    assert rows["noise"].startswith("sd 4, 22.36, 32 at levels 79, 200, 331 (where 1%,")
    assert rows["verdict"].startswith("white: ")
    assert "(1.02 where 1 is white)" in rows["verdict"]
    assert rows["saturated"] == "no"
    assert rows["clipped"].startswith(
        "0.00 % of the voxels: what lies below 73.5 comes"
    )
    # Below 1240 / 8 - 3 = 152 lie 77 of 200 grey levels; sqrt(8 * 200 - 1240) = 18.97.
    assert "gain 8, offset -1240: sd 0, 18.97, 37.52 at these" in rows["ndsafir's"]
    assert "38.50 % of the voxels: what lies below 152 comes" in rows["ndsafir's"]
    assert said(own="no numbers")["ndsafir's"] == "no numbers"


def test_noise_that_does_not_grow_is_said() -> None:
    assert "" not in said()
    assert "noise.kind gaussian with noise_std 22.4" in said(is_gaussian=True)[""]


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("correlated", ("correlated: ", "Look at a preview before the run")),
        (
            "not to be trusted",
            ("not to be trusted: ", "deconvolved", "numbers measured"),
        ),
    ],
)
def test_a_verdict_says_what_to_do(verdict: str, words: Sequence[str]) -> None:
    found = said(verdict=verdict)["verdict"]
    assert all(word in found for word in words)


def test_saturation_is_said() -> None:
    rows = said(saturated=0.0123, saturation=255.0)
    assert rows["saturated"] == "1.23 % of the voxels, at level 255: left out"


def test_drift_is_said_and_what_to_do() -> None:
    rows = said(Drift("T", (1.0, 1.1), (50, 30)), Drift("Z", (1.0, 1.3), (50, 30)))
    assert rows["over T"] == (
        "steady (sd 1.10 times from the first third to the last; brightness 0.60 times,"
        " it bleaches: the model follows)"
    )
    assert rows["over Z"].startswith("CHANGES: ")
    assert "input.roi" in rows["over Z"]
    assert "sd 1.30 times" in rows["over Z"]
    assert "brightness" not in rows["over Z"]


def test_a_channel_that_tells_nothing_says_why() -> None:
    nothing = ChannelSurvey("GFP", problem="All is black.")
    assert dict(channel_rows(nothing, "")) == {"noise": "All is black."}


def test_the_page_has_all_of_it_and_needs_no_other_file() -> None:
    drawn = page(
        source="/data/<a>.czi",
        sampled="1 x 2 x 3",
        channels=[
            (channel(), (8.0, -1240.0)),
            (ChannelSurvey("DAPI", problem="?"), ""),
        ],
        warnings=["Doubtful."],
        in_config=['"noise": {}'],
    )
    assert "Noise of &lt;a&gt;.czi" in drawn
    assert "/data" not in drawn
    for words in ("GFP", "DAPI", "1 x 2 x 3", "Doubtful.", "4 (95 %: 3.5 to 4.5)"):
        assert words in drawn
    assert drawn.count('src="data:image/svg+xml;base64,') == 2
    assert not re.search(r"https?:|@import|<script|<link", drawn)


PICTURE = NoisePicture(
    levels=FIT.levels,
    variances=FIT.variances,
    gain=FIT.gain,
    offset=FIT.offset,
    gain_interval=FIT.gain_interval,
    offset_interval=FIT.offset_interval,
    floor=73.5,
    seen=(np.arange(75.0, 275.0), np.ones(200)),
    shown=(75.0, 274.0),
    saturation=None,
    other=None,
)


def drawn(uri: str) -> str:
    return base64.b64decode(uri.partition(",")[2]).decode()


def points(svg: str) -> list[tuple[float, float]]:
    """Where grey dots lie; in a plot, and in its legend."""
    found = re.findall(rf'<use [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*fill: {GREY}', svg)
    return [(float(x), float(y)) for x, y in found]


def test_what_was_found_is_drawn_on_the_model_that_it_fits() -> None:
    """Three points on a line: steps of 50 grey levels are as wide as each other."""
    svg = drawn(variance_plot(PICTURE))
    first, second, third, *legend = points(svg)
    assert len(legend) == 1
    for axis in (0, 1):
        step = second[axis] - first[axis]
        assert third[axis] - second[axis] == pytest.approx(step, abs=1e-3)
    assert BLUE in svg


@pytest.mark.parametrize("plot", [variance_plot, histogram_plot])
def test_what_is_clipped_or_saturated_is_marked(plot: Any) -> None:
    """The plot begins at 75 less 4 % of 199: 67.04."""
    assert ORANGE in drawn(plot(replace(PICTURE, floor=67.1)))
    assert ORANGE not in drawn(plot(replace(PICTURE, floor=67.0)))
    assert ORANGE in drawn(plot(replace(PICTURE, floor=0.0, saturation=200.0)))


def test_another_calibration_is_drawn() -> None:
    picture = replace(PICTURE, floor=0.0)
    assert ORANGE not in drawn(variance_plot(picture))
    assert ORANGE in drawn(variance_plot(replace(picture, other=(8.0, -1240.0))))


@pytest.mark.parametrize("shown", [(75.0, 274.0), (75.0, 80.0), (100.0, 199.0)])
def test_each_bar_holds_as_many_grey_levels_as_the_next(
    shown: tuple[float, float],
) -> None:
    heights, edges = bars(replace(PICTURE, shown=shown))
    assert len(set(heights[:-1])) == 1
    assert len(heights) <= 120
    assert edges[0] < shown[0]
    assert edges[-1] >= shown[1]


def test_grey_levels_that_are_no_whole_numbers_are_drawn() -> None:
    values = np.linspace(0, 1, 1001)
    picture = replace(PICTURE, seen=(values, np.ones(1001)), shown=(0.0, 1.0))
    heights, _ = bars(picture)
    assert len(heights) == 120
    assert heights.sum() == 1001
