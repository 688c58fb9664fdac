"""What is said of a region's figures, and which of them are marked."""

from typing import Any

import numpy as np
import pytest
from funlib.geometry import Roi

from denoise_daisy.algorithms.residuals import ResidualFigures
from denoise_daisy.runs.preview_regions import Region
from denoise_daisy.runs.preview_report import figures_of, place
from denoise_daisy.runs.preview_trial import Part


def part(
    *,
    left: float = 0.1,
    below: float = 0.0,
    neighbours: float = 0.0,
    has_model: bool = True,
    **figures: Any,
) -> Part:
    """A region with these figures; all others are as they should be."""
    rng = np.random.default_rng(0)
    noise = rng.normal(100, 10, (1, 1, 1, 64, 64))
    values = {"variance": 0.9, "structure": 0.0, "change": 0.0} | figures
    values = {"shift": 1.0, "shift_error": 0.0} | values
    along = (1.0, neighbours)
    empty = np.zeros((1, 1, 1, 1, 1))
    return Part(
        region=Region(Roi((0, 3, 10, 0), (1, 1, 4, 96)), "as asked"),
        raw=empty,
        denoised=empty,
        figures=(ResidualFigures(along, along, (), (), **values),),
        below_floor=(below,) if has_model else (),
        noise=noise if has_model else None,
        noise_denoised=left * noise if has_model else None,
        gaps=0.0,
        core_seconds=1.0,
    )


def test_figures_that_are_as_they_should_be_are_not_marked() -> None:
    shown = figures_of(part(change=-0.0002), 0)
    assert {name: figure.text for name, figure in shown.items()} == {
        "variance": "90%",
        "neighbours": "+0.00",
        "structure": "+0.00",
        "left": "10%",
        "below": "0.0%",
        "change": "+0.0%",
    }
    assert not any(figure.doubt for figure in shown.values())


@pytest.mark.parametrize(
    ("name", "wrong", "right", "said"),
    [
        ("variance", {"variance": 0.04}, {"variance": 0.51}, "nothing removed"),
        ("variance", {"variance": 0.06}, {"variance": 0.51}, "noise left"),
        ("variance", {"variance": 1.16}, {"variance": 1.14}, "too large"),
        ("neighbours", {"neighbours": -0.16}, {"neighbours": -0.14}, "correlated"),
        ("neighbours", {"neighbours": 0.16}, {"neighbours": 0.14}, "correlated"),
        ("structure", {"structure": 0.16}, {"structure": -0.9}, "structure lost"),
        ("left", {"left": 0.31}, {"left": 0.29}, "much left"),
        ("below", {"below": 0.11}, {"below": 0.09}, "clipped"),
        ("change", {"change": -0.011}, {"change": 0.009}, "mean shifted"),
    ],
)
def test_figures_that_deserve_a_look_are_marked(
    name: str, wrong: dict[str, Any], right: dict[str, Any], said: str
) -> None:
    assert figures_of(part(**wrong), 0)[name].doubt == said
    assert figures_of(part(**right), 0)[name].doubt == ""


def test_without_a_noise_model_its_figures_are_left_out() -> None:
    shown = figures_of(part(has_model=False, variance=None), 0)
    assert {n for n, f in shown.items() if f.text == "-"} == {
        *("variance", "left", "below"),
    }


def test_a_region_is_named_by_its_ranges() -> None:
    assert place(part()) == "t 0, z 3, y 10:14, x 0:96"
