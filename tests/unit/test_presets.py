"""Which parameters suit which axes.

What each preset is for was measured on images whose truth is known: a movie gains by
its time points as by planes of a stack, and patches along z help where z is fine.
"""

from typing import Any

import pytest

from denoise_daisy.denoisers.ndsafir_layers import uncovered_layers
from denoise_daisy.runs.presets import Preset, preset_for

FINE, COARSE, UNKNOWN = (0.2, 0.1, 0.11), (0.3, 0.1, 0.11), (None, 0.1, 0.1)

Case = tuple[tuple[int, ...], tuple[float | None, ...], dict[str, Any]]

CASES: dict[str, Case] = {
    "a movie of single planes": (
        (30, 1, 1, 67, 67),
        UNKNOWN,
        {"active_dimensions": "zyx", "max_iter": 3, "time_as_z": True}
        | {"patch": {"z": 0, "y": 3, "x": 3}},
    ),
    "a movie of two time points": (
        (2, 1, 1, 67, 67),
        FINE,
        {"name": "a movie of single planes", "time_as_z": True},
    ),
    "a single plane": (
        (1, 2, 1, 67, 67),
        FINE,
        {"active_dimensions": "yx", "max_iter": 4, "time_as_z": False}
        | {"patch": {"z": 0, "y": 3, "x": 3}},
    ),
    "a stack of coarse z": (
        (1, 1, 9, 67, 67),
        COARSE,
        {"active_dimensions": "zyx", "max_iter": 3, "patch": {"z": 0, "y": 3, "x": 3}},
    ),
    "a volume": (
        (1, 1, 9, 67, 67),
        FINE,
        {"active_dimensions": "zyx", "max_iter": 3, "time_as_z": False}
        | {"patch": {"z": 1, "y": 3, "x": 3}},
    ),
    "a movie of volumes": (
        (5, 1, 9, 67, 67),
        FINE,
        {
            "name": "a volume",
            "active_dimensions": "zyx",
            "patch": {"z": 1, "y": 3, "x": 3},
        },
    ),
    "voxels of no known size": (
        (1, 1, 9, 67, 67),
        UNKNOWN,
        {"name": "a stack of coarse z", "patch": {"z": 0, "y": 3, "x": 3}},
    ),
    "just coarse": (
        (1, 1, 9, 67, 67),
        (2.0, 1.0, 0.9),
        {"name": "a stack of coarse z", "patch": {"z": 0, "y": 3, "x": 3}},
    ),
    "three planes": (
        (1, 1, 3, 67, 67),
        FINE,
        {"patch": {"z": 1, "y": 3, "x": 3}},
    ),
    "two planes, which no patch along z fits": (
        (1, 1, 2, 67, 67),
        FINE,
        {"patch": {"z": 0, "y": 3, "x": 3}},
    ),
    "planes smaller than patches": (
        (1, 1, 1, 6, 4),
        UNKNOWN,
        {"patch": {"z": 0, "y": 2, "x": 1}},
    ),
    "one voxel": ((1, 1, 1, 1, 1), UNKNOWN, {"patch": {"z": 0, "y": 0, "x": 0}}),
}


def preset(name: str) -> Preset:
    shape, scale, _ = CASES[name]
    return preset_for(shape, scale)


@pytest.mark.parametrize("name", CASES)
def test_the_parameters_suit_the_axes(name: str) -> None:
    found, expected = preset(name), CASES[name][2]
    assert {key: getattr(found, key) for key in expected} == expected
    if name in ("a movie of single planes", "a stack of coarse z", "a volume"):
        assert found.name == name


@pytest.mark.parametrize("planes", range(5, 14))
def test_layers_that_no_patch_reaches_are_covered(planes: int) -> None:
    """Planes of 67 voxels have none along y and x; see `uncovered_layers` for z."""
    found = preset_for((1, 1, planes, 67, 67), FINE)
    left = uncovered_layers((0, 1, 3, 3), (1, planes, 67, 67))
    assert found.cover == ("all" if any(left) else "ndsafir")
    assert found.patch["z"] == 1


def test_both_covers_were_seen_above() -> None:
    covers = {preset_for((1, 1, z, 67, 67), FINE).cover for z in range(5, 14)}
    assert covers == {"all", "ndsafir"}


WHY = {
    "a volume": "1.82 times as large along z as along y and x",
    "a stack of coarse z": "2.73 times as large",
    "voxels of no known size": "not recorded",
    "a movie of volumes": "time points are independent",
    "a movie of single planes": "in time as along the z of a stack",
}


@pytest.mark.parametrize("name", WHY)
def test_each_says_why(name: str) -> None:
    assert WHY[name] in preset(name).why
    assert "independent" not in preset("a volume").why
