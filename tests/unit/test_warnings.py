"""What is warned of before a run: with its number and a key where it is so, else not.

Numbers are worked out by hand, or taken from the installed ndsafir itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from denoise_daisy.algorithms.noise_fit import NoiseFit, fit_noise
from denoise_daisy.denoisers.expected_levels import MOST, expected_levels
from denoise_daisy.denoisers.ndsafir import Ndsafir
from denoise_daisy.denoisers.ndsafir_engine import Algorithm, denoise
from denoise_daisy.denoisers.ndsafir_time import time_warnings
from denoise_daisy.denoisers.noise import NoiseNumbers, PoissonGaussian
from denoise_daisy.denoisers.noise_doubts import not_white, saturated, shifted
from denoise_daisy.denoisers.survey import ChannelSurvey, Survey, survey
from denoise_daisy.runs.warnings import beyond_type
from harness.images import MemoryImage
from harness.noise_scenes import scene


def probed(image: np.ndarray) -> tuple[Any, Survey]:
    section = Ndsafir()
    denoiser = section.denoiser(
        noise=PoissonGaussian(), channels=image.shape[1], threads=1, probed=None
    )
    found, told = denoiser.probe(MemoryImage(image))
    assert told is not None
    return found, told


@pytest.mark.parametrize("kind", ["camera", "thin", "two channels"])
def test_nothing_is_said_of_a_sound_image(kind: str) -> None:
    image = scene(kind, 3).noisy
    denoiser, told = probed(image)
    assert list(denoiser.doubts(MemoryImage(image), told)) == []


@pytest.mark.parametrize(
    ("shape", "active", "iterations", "words"),
    [
        ((30, 1, 64, 64), "zyx", 3, "a movie of 30 single planes"),
        ((30, 1, 64, 64), "zyx", 4, "a movie of 30 single planes"),
        ((2, 1, 64, 64), "yx", 3, "a movie of 2 single planes"),
        ((1, 1, 64, 64), "zyx", 3, ""),
        ((30, 2, 64, 64), "zyx", 3, ""),
        ((30, 1, 64, 64), "tyx", 4, ""),
        ((30, 1, 64, 64), "tyx", 3, "denoise.max_iter is 3"),
        ((30, 5, 64, 64), "tzyx", 3, "denoise.max_iter is 3"),
        ((30, 5, 64, 64), "tzyx", 4, ""),
        ((1, 5, 64, 64), "tzyx", 3, ""),
    ],
)
def test_time_points_that_are_not_searched_are_said(
    shape: tuple[int, ...], active: str, iterations: int, words: str
) -> None:
    algorithm = Algorithm((0, 0, 3, 3), active, iterations, 0.1)
    said = list(time_warnings(algorithm, shape))
    assert len(said) == bool(words)
    for warning in said:
        assert words in warning
        assert "denoise.max_iter to 4" in warning
        assert ("denoise.time_as_z" in warning) == (shape[1] == 1)


@pytest.mark.parametrize(("iterations", "same"), [(3, True), (4, False)])
def test_ndsafir_searches_time_from_the_fourth_iteration_on(
    iterations: int, same: bool
) -> None:
    """> active_dimensions with t below four iterations: identical to without."""
    image = np.random.default_rng(0).normal(100, 10, (4, 1, 1, 40, 40))
    noise = NoiseNumbers(noise_std=10.0)
    results = [
        denoise(
            image.astype(np.float32),
            noise,
            Algorithm((0, 0, 1, 1), active, iterations, 0.1),
            1,
        )
        for active in ("yx", "tyx")
    ]
    assert np.array_equal(results[0], results[1]) == same


@pytest.fixture(scope="module")
def fit() -> NoiseFit:
    planes = scene("camera", 3).planes(0)[:4]
    return fit_noise(planes, [None] * len(planes))


@pytest.mark.parametrize(
    ("verdict", "whiteness", "words"),
    [
        ("white", 1.4, ""),
        ("white", 1.41, "is sharpened"),
        ("white", 0.8, ""),
        ("correlated", 0.62, "is correlated"),
        ("not to be trusted", 0.28, "can't be told from structure"),
    ],
)
def test_noise_that_is_not_white_is_said(
    fit: NoiseFit, verdict: Any, whiteness: float, words: str
) -> None:
    said = list(not_white("GFP", replace(fit, verdict=verdict, whiteness=whiteness)))
    assert len(said) == bool(words)
    for warning in said:
        assert f"'GFP': the noise of neighbouring voxels {words}" in warning
        assert f"{whiteness:.2f} times" in warning
        assert "noise.gains and noise.offsets" in warning


def test_saturated_voxels_are_counted() -> None:
    image = scene("camera", 3).noisy
    denoiser, told = probed(image)
    assert list(saturated("c0", told.channels[0].fit)) == []
    top = int(np.quantile(image, 0.98))
    cut = np.minimum(image, top)
    share = 100 * np.mean(cut == top)
    denoiser, told = probed(cut)
    (warning,) = denoiser.doubts(MemoryImage(cut), told)
    assert f"'c0': {share:.2f}% of the sampled voxels" in warning
    assert f"highest grey level, {top}," in warning
    assert "input.channels" in warning


BRIGHT = 100_000.0
"""An offset with which there is so much noise that the inverse's bias is constant."""


@pytest.mark.parametrize(
    ("gain", "level", "words"),
    [
        # Of bright voxels it is (1 - gain) / 4 grey levels.
        (5.0, 99.0, "-1.0%"),
        (5.0, 101.0, ""),
        (1.0, 10.0, ""),
        (0.2, 19.0, "+1.1%"),
        (0.2, 21.0, ""),
    ],
)
def test_a_total_that_shifts_is_said(gain: float, level: float, words: str) -> None:
    channel = ChannelSurvey("GFP", expected=np.full(100, level))
    said = list(shifted(channel, gain, BRIGHT))
    assert len(said) == bool(words)
    for warning in said:
        assert f"'GFP': its total is predicted to change by {words}" in warning
        assert 'denoise.inverse to "unbiased"' in warning


def test_the_total_shifts_as_predicted() -> None:
    """Against the installed ndsafir: photon counts of 0.05 to 1.5."""
    rate = np.full((1, 1, 4, 96, 96), 0.05)
    rate[..., 24:60, 24:72] = 1.5
    image = np.random.default_rng(0).poisson(rate).astype(np.uint16)
    noise = NoiseNumbers(gains=(1.0,), offsets=(0.0,))
    result = denoise(image, noise, Algorithm((0, 0, 2, 2), "zyx", 3, 0.1), 1)
    true = 100 * (result.sum() / image.sum() - 1)
    told = survey(MemoryImage(image))
    (warning,) = shifted(told.channels[0], 1.0, 0.0)
    predicted = float(warning.partition("change by ")[2].partition("%")[0])
    assert true > 10
    assert predicted == pytest.approx(true, rel=0.2)


@pytest.mark.parametrize(("inverse", "said"), [("ndsafir", 1), ("unbiased", 0)])
def test_nothing_is_said_of_a_shift_that_the_inverse_mends(
    inverse: Any, said: int
) -> None:
    section = Ndsafir(inverse=inverse)
    noise = PoissonGaussian(gains=(5.0,), offsets=(BRIGHT,))
    denoiser = section.denoiser(noise=noise, channels=1, threads=1, probed=None)
    image = MemoryImage(np.full((1, 1, 2, 16, 16), 50, np.float32))
    told = Survey((ChannelSurvey("GFP", expected=np.full(9, 50.0)),))
    warnings = [w for w in denoiser.doubts(image, told) if "its total" in w]
    assert len(warnings) == said


def test_nothing_shifts_where_nothing_is() -> None:
    assert list(shifted(ChannelSurvey("GFP", expected=np.zeros(9)), 2.0, 0.0)) == []
    assert list(shifted(ChannelSurvey("GFP"), 2.0, 0.0)) == []


@pytest.mark.parametrize(
    ("dtype", "levels", "words"),
    [
        (
            "uint8",
            [-0.6] * 20 + [256.0] * 10,
            "2.0% of its voxels lie below 0 and 1",
        ),
        ("uint8", [-0.5] * 20 + [255.5] * 10, ""),
        ("uint8", [-0.6], ""),
        ("uint8", [-0.6] * 2, "0.2% of its voxels lie below 0 and 0.0% above 255"),
        (
            "uint16",
            [65_536.0] * 2,
            "lie below 0 and 0.2% above 65535",
        ),
        ("uint16", [256.0] * 10, ""),
        ("float32", [-9.0] * 20, ""),
    ],
)
def test_levels_beyond_the_outputs_type_are_said(
    dtype: str, levels: Sequence[float], words: str
) -> None:
    """Of a thousand; what rounds into the range is not beyond it."""
    every = np.sort([*levels, *[100.0] * (1000 - len(levels))])
    told = Survey((ChannelSurvey("GFP", expected=every), ChannelSurvey("dark")))
    said = list(beyond_type(dtype, told))
    assert len(said) == bool(words)
    for warning in said:
        assert words in warning
        assert f"from {every[0]:.4g} to {every[-1]:.4g}" in warning
        assert "output.dtype" in warning


def test_expected_levels_are_means_of_whole_cells() -> None:
    plane = np.arange(9 * 10, dtype=np.uint8).reshape(9, 10)
    corners = [(y, x) for y in (0, 4) for x in (0, 4)]
    means = [float(plane[y : y + 4, x : x + 4].mean()) for y, x in corners]
    assert expected_levels([plane], [None]).tolist() == sorted(means)
    valid = np.ones(plane.shape, bool)
    valid[5, 5] = False
    assert expected_levels([plane], [valid]).tolist() == sorted(means[:3])
    assert expected_levels([plane[:3]], [None]).tolist() == []
    assert expected_levels([], []).tolist() == []
    many = np.arange(4 * 4 * 20_001).reshape(4, -1)
    levels = expected_levels([many], [None])
    assert (len(levels), np.ptp(levels)) == (MOST, 4 * 20_000)
