"""Which voxels a report shows, and which it leaves out; the runs here are stand-ins."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi

from denoise_daisy.assessing import places, section, views
from denoise_daisy.assessing.allowance import Allowance
from denoise_daisy.assessing.on_disk import OnDisk
from denoise_daisy.assessing.places import Place, choose_window
from denoise_daisy.assessing.residuals import residuals
from denoise_daisy.assessing.values import Figure, Resolution
from denoise_daisy.geometry import LevelTransform


def disk(run: Any) -> OnDisk:
    """What is left of a run that has no files."""
    nothing: Any = SimpleNamespace()
    return OnDisk(run, nothing, nothing, "", "")


def place(as_is: float, t: int = 0) -> Place:
    voxels = np.random.default_rng(0).normal(100, 5, (1, 16, 16))
    roi = Roi((t, 0, 0, 0), (1, 1, 16, 16))
    return Place(roi, voxels, np.full_like(voxels, 100), as_is=as_is)


def test_the_whole_field_is_that_of_the_time_point_in_the_pyramid_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Levels of a region begin at 0, wherever the region lies."""
    volume = Roi((6, 0, 4, 8), (3, 2, 60, 51))
    level: Any = SimpleNamespace(
        path=SimpleNamespace(name="1"),
        layout=SimpleNamespace(shape=(3, 1, 2, 30, 26)),
        roi=Roi((0, 0, 0, 0), (3, 2, 30, 26)),
        transform=LevelTransform(Coordinate(1, 1, 2, 2), volume.begin),
    )
    stages = (SimpleNamespace(name="pyramid.1", array=level),)
    run: Any = SimpleNamespace(
        image=SimpleNamespace(shape=(9, 1, 2, 64, 64)),
        denoising=SimpleNamespace(grid=SimpleNamespace(volume=volume)),
        stages=stages,
    )
    asked: list[Roi] = []

    def written(_: object, roi: Roi) -> np.ndarray:
        asked.append(roi)
        return np.zeros((1, 1, *roi.shape[1:]))

    monkeypatch.setattr(views, "written", written)
    monkeypatch.setattr(views, "MOST_VOXELS", 2000)
    monkeypatch.setattr(OnDisk, "is_done", lambda *_: False)
    there = Place(Roi((7, 0, 4, 8), (1, 1, 9, 9)), None, np.zeros((1, 9, 9)))
    ((title, *_),) = views._projections(disk(run), [there], Allowance(None))
    assert title == "all of t 7, by level 1"
    assert asked == [Roi((1, 0, 0, 0), (1, 2, 30, 26))]


def test_channels_of_one_name_are_told_apart() -> None:
    def named(*names: str) -> tuple[str, ...]:
        channels = [SimpleNamespace(name=name) for name in names]
        return disk(SimpleNamespace(image=SimpleNamespace(channels=channels))).channels

    assert named("dapi", "gfp") == ("dapi", "gfp")
    assert named("dapi", "gfp", "dapi") == ("0 dapi", "1 gfp", "2 dapi")
    assert len(set(named("a", "a", "0 a", "1 a"))) == 4


def test_a_place_that_was_denoised_in_part_tells_nothing_of_the_denoiser() -> None:
    some = [place(0.0), place(0.4, t=1), place(1.0, t=2)]
    found = residuals(some, ["c0"], None, None, [(0.0, 25.0)])
    assert [(r.t, r.is_as_is) for r in found] == [(0, False), (2, True)]


def test_a_window_that_was_denoised_as_a_whole_is_looked_at_before_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even where there is less structure."""
    stand_in: Any = SimpleNamespace(
        volume=Roi((0, 0, 0, 0), (1, 1, 64, 1024)),
        is_done=lambda _: True,
        left_as_is=lambda roi: 0.5 if roi.begin[3] < 512 else 0.0,
    )
    monkeypatch.setattr(places, "_structure", lambda _, roi: 1 / (1 + roi.begin[3]))
    chosen = choose_window(stand_in, [(0, 0)])
    assert chosen is not None
    assert chosen.begin[3] == 768


def test_a_plot_that_can_not_be_drawn_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> str:
        raise ValueError("no such symbol")

    monkeypatch.setattr(section, "rings_plot", broken)
    rings = Resolution(
        channel="c0", place="here", pixel_um=None, frequencies=(0.1, 0.2),
        raw=(0.9, 0.1), denoised=None, raw_resolution=6.0, denoised_resolution=None,
    )  # fmt: skip
    report: Any = SimpleNamespace(residuals=(), resolution=(rings,))
    allowed = Allowance(None)
    assert [plot["uri"] for plot in section._plots(report, allowed)] == [""]
    assert allowed.left_out == [
        "The plot of rings of c0: ValueError: no such symbol",
    ]


def test_figures_of_one_name_stand_together_and_what_all_mean_is_said_once() -> None:
    def figure(name: str, of: str, meaning: str) -> Figure:
        return Figure(
            name=name,
            of=of,
            value=1.0,
            text="1",
            expected="",
            verdict="told",
            meaning=meaning,
        )

    figures = [
        figure("Share", "a", "Of all. Less is less."),
        figure("Mean", "a", "It should stay. It moved by 0.1 of it."),
        figure("Share", "b", "Of all. Less is less."),
        figure("Mean", "b", "It should stay. It moved by 0.2 of it."),
        figure("Blocks", "", "Not denoised."),
    ]
    found = [
        (group["name"], group["meaning"], [(f.of, own) for f, own in group["rows"]])
        for group in section._by_name(figures)
    ]
    assert found == [
        ("Share", "Of all. Less is less.", [("a", ""), ("b", "")]),
        (
            "Mean",
            "It should stay.",
            [("a", "It moved by 0.1 of it."), ("b", "It moved by 0.2 of it.")],
        ),
        ("Blocks", "Not denoised.", [("", "")]),
    ]
