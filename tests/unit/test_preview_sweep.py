"""Sweeps: which settings are tried, in whose words they are refused, which is best."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denoise_daisy.algorithms.residuals import ResidualFigures
from denoise_daisy.api.preview import _sweep
from denoise_daisy.config import Config
from denoise_daisy.errors import InputError
from denoise_daisy.runs.preview_sweep import (
    Score,
    best_of,
    changed,
    combinations,
    in_words,
)


def config(**sections: Any) -> Config:
    whole = {"input": {"path": "a.czi"}, "output": {"path": "b.zarr"}} | sections
    return Config.parse(json.dumps(whole).encode(), name="c.json", folder=Path("/f"))


def test_all_combinations_are_tried_the_last_key_first() -> None:
    sweep = ["pvalue=0.05,0.1", "denoise.patch.z=0,1", "noise.kind=gaussian"]
    assert combinations(sweep) == [
        {"denoise.pvalue": p, "denoise.patch.z": z, "noise.kind": "gaussian"}
        for p in (0.05, 0.1)
        for z in (0, 1)
    ]
    assert combinations([]) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("active_dimensions=yx, zyx,yx", ["yx", "zyx"]),
        ('engine="auto",ndsafir', ["auto", "ndsafir"]),
        ("noise.gains=[3.9, 4],[5,6]", [[3.9, 4], [5, 6]]),
        ('patch={"y": 1, "x": 2}', [{"y": 1, "x": 2}]),
        ("pvalue=1,1.5,x", [1, 1.5, "x"]),
    ],
)
def test_values_are_those_of_a_config_and_words_need_no_quotes(
    text: str, expected: list[Any]
) -> None:
    assert [next(iter(c.values())) for c in combinations([text])] == expected


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        (["pvalue"], "'pvalue' can't be used"),
        (["=1"], "'=1' can't be used"),
        (["pvalue= "], "'pvalue= ' can't be used"),
        (["pvalue=1", "denoise.pvalue=0"], "names 'denoise.pvalue' twice"),
        (["pvalue=.1,.2,.3,.4,.5", "max_iter=1,2,3,4,5"], "5 x 5 = 25 combinations"),
    ],
)
def test_what_is_no_sweep_is_refused(sweep: list[str], said: str) -> None:
    with pytest.raises(InputError, match="Expected") as caught:
        combinations(sweep)
    assert said in str(caught.value)


def test_twenty_four_combinations_are_not_too_many() -> None:
    assert len(combinations(["max_iter=1,2,3,4,5,6", "pvalue=.1,.2,.3,.4"])) == 24


def test_a_change_leaves_all_else_as_it_was() -> None:
    own = config(noise={"kind": "gaussian", "noise_std": 3.0}, blocks={"memory_gib": 2})
    other = changed(own, {"denoise.patch.z": 1, "noise.noise_std": 4}, "c.json")
    denoise = other.denoise.model_dump()
    assert denoise == own.denoise.model_dump() | {"patch": {"y": 3, "x": 3, "z": 1}}
    assert other.noise.model_dump()["noise_std"] == 4
    assert other.input.path == own.input.path == "/f/a.czi"
    assert other.model_copy(update={"denoise": own.denoise, "noise": own.noise}) == own


def test_a_given_patch_keeps_its_other_radii_and_a_filter_its_kind() -> None:
    own = config(denoise={"patch": {"z": 2, "x": 1}})
    other = changed(own, {"denoise.patch.x": 0}, "c.json")
    assert other.denoise.model_dump()["patch"] == {"z": 2, "x": 0}
    median = config(denoise={"kind": "median", "size": {"y": 3, "x": 3}})
    other = changed(median, {"denoise.size.z": 3}, "c.json")
    assert other.denoise.model_dump()["size"] == {"y": 3, "x": 3, "z": 3}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"denoise.pvalu": 1}, "unknown key 'denoise.pvalu' (did you mean 'pvalue'?)"),
        ({"denoise.pvalue": 2}, "'denoise.pvalue' is 2, expected"),
        ({"denoise.pvalue.z": 2}, "'denoise.pvalue' is "),
        ({"denoise.patch.q": 2}, "'denoise.patch.q'"),
        ({"noise.noise_std": 3.0}, "unknown key 'noise.noise_std'"),
    ],
)
def test_what_is_no_config_is_refused_in_the_configs_words(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        changed(config(), settings, "c.json")
    assert said in str(caught.value)
    assert "c.json with --sweep" in str(caught.value)


def test_settings_are_told_as_they_could_be_swept() -> None:
    settings = {"denoise.pvalue": 0.1, "noise.kind": "gaussian", "noise.gains": [1, 2]}
    words = ["pvalue=0.1", "noise.kind=gaussian", "noise.gains=[1, 2]"]
    assert in_words(settings) == words


def figures(neighbours: float, variance: float, structure: float) -> ResidualFigures:
    along = (1.0, neighbours)
    return ResidualFigures(along, along, (), (), variance, structure, 0.0, 0.0, 0.0)


def test_a_score_adds_faults_and_a_quarter_of_the_noise_left() -> None:
    score = Score.of(
        [figures(-0.1, 0.7, -0.5), figures(0.3, 1.4, 0.2)], noise_left=[0.1, 0.3]
    )
    assert score.neighbours == pytest.approx((0.1 + 0.3) / 2)
    assert score.excess == pytest.approx(0.4 / 2)
    assert score.structure == pytest.approx(0.2 / 2)
    assert score.noise_left == pytest.approx(0.2)
    assert score.total == pytest.approx(0.2 + 0.2 + 0.1 + 0.05)


def test_the_least_faults_are_best_and_of_equals_the_fastest() -> None:
    scores = [Score(0.2, 0, 0, 0), Score(0.1, 0, 0, 0), Score(0.105, 0, 0, 0)]
    assert best_of(scores, [1, 3, 4]) == 1
    assert best_of(scores, [1, 3, 2]) == 2


def test_values_of_a_sweep_may_be_numpys_or_just_one() -> None:
    swept = {
        "max_iter": np.arange(1, 3),
        "pvalue": [np.float64(0.1), 0.2],
        "patch.y": np.int64(2),
        "noise.gains": [np.array([1.0, 2.0])],
        "noise.kind": "gaussian",
    }
    expected = itertools.product([1, 2], [0.1, 0.2])
    assert combinations(_sweep(swept)) == [
        {
            "denoise.max_iter": n,
            "denoise.pvalue": p,
            "denoise.patch.y": 2,
            "noise.gains": [1.0, 2.0],
            "noise.kind": "gaussian",
        }
        for n, p in expected
    ]
    with pytest.raises(InputError, match="sweep has"):
        _sweep({"pvalue": [object()]})
