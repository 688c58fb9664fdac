"""Levels that a small region does not need are said, and refused to nobody."""

from pathlib import Path
from typing import Any

import pytest

from denoise_daisy.errors import InputError
from denoise_daisy.runs.warnings import warnings_of
from harness import config_for, load, small_czi
from harness.prepared import resolved

LEVELS = {"kind": "pyramid", "name": "levels"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_czi(tmp_path_factory.mktemp("wide") / "in.czi", (1, 1, 1, 16, 300))


def warnings(path: Path, x: int, **task: Any) -> list[str]:
    """Of a run on a region as wide as that, with a pyramid."""
    config = config_for(path, path.with_name("out.zarr"))
    config["input"]["roi"] = {"x": [0, x]}
    config["tasks"] = [LEVELS | task]
    run = resolved(load(config))
    return [said for said in warnings_of(run, None) if "levels" in said]


def test_a_pyramid_that_viewers_need_is_not_spoken_of(path: Path) -> None:
    assert warnings(path, 300) == []
    assert warnings(path, 257, levels=1) == []
    assert warnings(path, 256, levels=0) == []


def test_a_region_too_small_for_any_level_is_told(path: Path) -> None:
    (said,) = warnings(path, 256)
    assert (
        "Task 'levels' makes no levels: the planes of 'denoised' are 256 x 256" in said
    )


def test_levels_of_what_is_small_already_are_named(path: Path) -> None:
    (said,) = warnings(path, 300, levels=3)
    assert "makes levels.2, levels.3 of planes that are 256 x 256 at most" in said
    assert "Expected levels 1, or auto." in said
    (said,) = warnings(path, 256, levels=1)
    assert "makes levels.1 of planes" in said
    assert "Expected levels 0, or auto." in said


def test_a_task_that_reads_a_level_that_is_not_there_learns_why(path: Path) -> None:
    config = config_for(path, path.with_name("out.zarr"))
    config["input"]["roi"] = {"x": [0, 256]}
    config["tasks"] = [
        {"kind": "smooth", "name": "soft", "sigma": 1, "input": "pyramid.1"}
    ]
    with pytest.raises(InputError, match=r"small enough for viewers has no pyramid\.1"):
        resolved(load(config))
