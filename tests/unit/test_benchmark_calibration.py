"""What `scripts/benchmark calibration` counts as wrong."""

import json
from collections.abc import Sequence
from typing import Any

import benchmark_calibration
import numpy as np
import pytest
from benchmark_calibration import Found

from harness.noise_scenes import Scene

GAIN, OFFSET = 4.0, 100.0


def volume(kind: str, seed: int) -> Scene:
    """A step from 0 to 99; of the kind dark, voxels far below what is expected."""
    clean = np.repeat(np.arange(100.0), 100).reshape(1, 1, 1, 100, 100)
    noisy = clean - (150.0 if kind == "dark" else 0)
    return Scene(kind, seed, clean, noisy, (GAIN,), (OFFSET,))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_calibration, "scene", volume)
    sets = {"few": lambda: [("step", 0), ("step", 1), ("dark", 2)]}
    monkeypatch.setattr(benchmark_calibration, "SETS", sets)


def counted(
    monkeypatch: pytest.MonkeyPatch, found: Found | str
) -> tuple[list[int], dict[str, Any]]:
    """What is wrong in how many volumes, where a method always finds that."""

    def method(_: Sequence[np.ndarray]) -> Found:
        if isinstance(found, Found):
            return found
        raise ValueError(found)

    monkeypatch.setattr(benchmark_calibration, "METHODS", {"robust": method})
    result = benchmark_calibration.run("few", ["robust"])
    json.dumps(result)
    return benchmark_calibration._count(result["volumes"]["robust"]), result


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (Found(GAIN, OFFSET), [0, 0, 0, 0, 0, 0, 0, 0]),
        # The standard deviation 15 % off is a variance 1.3225 times as large.
        (Found(GAIN * 1.18, OFFSET * 1.31), [0, 0, 0, 0, 0, 0, 0, 0]),
        # At the four levels the variance is 108, 298, 456 and 492: 35 is enough to be
        # off at the first, 100 at the second, too.
        (Found(GAIN, OFFSET + 34), [0, 0, 0, 0, 0, 0, 0, 0]),
        (Found(GAIN, OFFSET + 36), [0, 3, 0, 0, 0, 0, 0, 0]),
        (Found(GAIN, OFFSET + 100), [0, 3, 3, 0, 0, 0, 0, 0]),
        (Found(GAIN, OFFSET + 150), [0, 3, 3, 3, 0, 0, 0, 0]),
        (Found(GAIN, OFFSET + 165), [0, 3, 3, 3, 3, 0, 0, 0]),
        (Found(GAIN * 1.21, OFFSET * 0.9), [0, 0, 0, 0, 0, 3, 0, 0]),
        (Found(GAIN * 0.79, OFFSET * 1.2, (3.9, 4.1)), [0, 0, 0, 0, 0, 3, 3, 0]),
        (Found(GAIN * 0.79, OFFSET * 1.2, (3.0, 3.9)), [0, 0, 0, 0, 0, 3, 0, 0]),
        # A floor at level 0, and one a little above: 1 % of the step's voxels.
        (Found(GAIN, -(GAIN**2) * 3 / 8), [0, 3, 3, 0, 0, 0, 0, 0]),
        (Found(GAIN, -(GAIN**2) * 3 / 8 - 1), [0, 3, 3, 0, 0, 0, 0, 2]),
        (Found(-1.0, OFFSET), [3, 3, 3, 3, 3, 3, 0, 3]),
        ("nothing to see", [3, 3, 3, 3, 3, 3, 0, 3]),
    ],
)
def test_each_thing_that_is_wrong_is_counted(
    found: Found | str, wrong: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the table: refused, sd at four levels, gain, told so, clipped.

    Of the dark volume the true noise has more voxels clipped.
    """
    counts, result = counted(monkeypatch, found)
    assert counts == wrong
    assert ("failed" in result) == bool(wrong[1] or wrong[5] > wrong[6] or wrong[7])


def test_kinds_have_their_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counted(monkeypatch, Found(GAIN, OFFSET))
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in table[-3:]] == [
        ["step", "2"],
        ["dark", "1"],
        ["all", "3"],
    ]
