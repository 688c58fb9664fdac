"""A residual's figures: known by construction, or computed in another way by scipy."""

import numpy as np
import pytest
from scipy import ndimage, signal, stats

from denoise_daisy.algorithms.residuals import (
    BINS,
    LAGS,
    LEAST,
    autocorrelation,
    pure_noise,
    residual_figures,
    structure_in,
    variance_by_level,
)

GAIN, OFFSET = 3.0, -200.0


def scene(seed: int = 0) -> np.ndarray:
    """Fine fibres on a smooth ground, ``(z, y, x)``, without noise."""
    rng = np.random.default_rng(seed)
    ground = ndimage.gaussian_filter(rng.normal(size=(3, 128, 128)), (0, 12, 12))
    fibres = ndimage.gaussian_filter(rng.normal(size=(3, 128, 128)), (0, 1.2, 1.2))
    fibres = np.where(fibres > 1.5 * fibres.std(), 400.0, 0.0)
    return 200 + 60 * ground / ground.std().clip(1e-9) + fibres + 150


def noisy(clean: np.ndarray, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return clean + np.sqrt(GAIN * clean + OFFSET) * rng.normal(size=clean.shape)


def test_a_perfect_denoiser_leaves_a_white_residual_of_the_models_variance() -> None:
    clean = scene()
    figures = residual_figures(noisy(clean), clean, (GAIN, OFFSET))
    assert figures.variance == pytest.approx(1, abs=0.03)
    assert abs(figures.neighbours) < 0.02
    assert abs(figures.structure) < 0.05
    expected = GAIN * np.array(figures.levels) + OFFSET
    np.testing.assert_allclose(figures.variances, expected, rtol=0.1)
    assert len(figures.levels) == BINS


def test_what_is_smoothed_too_much_shows_in_every_figure() -> None:
    clean = scene()
    raw = noisy(clean)
    figures = residual_figures(
        raw, ndimage.gaussian_filter(raw, (0, 3, 3)), (GAIN, OFFSET)
    )
    assert figures.neighbours > 0.2
    assert figures.structure > 0.3
    assert figures.variance is not None
    assert figures.variance > 1.5


def test_noise_that_is_left_makes_the_variance_small() -> None:
    clean = scene()
    raw = noisy(clean)
    half = (raw + clean) / 2
    figures = residual_figures(raw, half, (GAIN, OFFSET))
    assert figures.variance == pytest.approx(0.25, rel=0.05)
    untouched = residual_figures(raw, raw, (GAIN, OFFSET))
    assert (untouched.variance, untouched.neighbours) == (0, 0)
    assert (untouched.structure, untouched.change) == (0, 0)


def test_noise_that_grows_with_the_level_is_no_structure() -> None:
    """A ramp of blobs: without the noise's units bright places would look eaten."""
    clean = scene() * np.linspace(0.6, 4, 128)
    raw = noisy(clean)
    assert abs(residual_figures(raw, clean, (GAIN, OFFSET)).structure) < 0.06
    assert abs(residual_figures(raw, clean, None).structure) < 0.12
    assert structure_in(raw - clean, clean, np.ones_like(clean)) > 0.3


def test_without_a_model_there_is_no_share_of_its_variance() -> None:
    clean = scene()
    figures = residual_figures(noisy(clean), clean, None)
    assert figures.variance is None
    assert abs(figures.neighbours) < 0.02


def test_the_change_is_that_of_the_mean() -> None:
    raw = np.array([[[10, 20], [30, 40]]], np.uint16)
    denoised = np.array([[[12, 22], [32, 39]]], np.uint16)
    assert residual_figures(raw, denoised, None).change == pytest.approx(5 / 100)
    zeros = np.zeros((1, 2, 2), np.uint16)
    assert residual_figures(zeros, zeros, (1.0, 0.0)).change == 0


@pytest.mark.parametrize("axis", [-1, -2])
def test_autocorrelation_is_that_of_scipy(axis: int) -> None:
    """`scipy.signal.correlate` line by line, over the number of pairs."""
    rng = np.random.default_rng(3)
    residual = ndimage.gaussian_filter(rng.normal(size=(2, 20, 31)), (0, 1.0, 0.6))
    centred = np.moveaxis(residual - residual.mean(), axis, -1)
    extent = centred.shape[-1]
    sums = np.zeros(LAGS + 1)
    for line in centred.reshape(-1, extent):
        sums += signal.correlate(line, line)[extent - 1 :][: LAGS + 1]
    lines = centred.size // extent
    expected = sums / (lines * (extent - np.arange(LAGS + 1))) / np.mean(centred**2)
    np.testing.assert_allclose(autocorrelation(residual, axis), expected)


def test_lags_end_with_the_image() -> None:
    figures = residual_figures(np.eye(3)[:, :, None], np.zeros((3, 3, 1)), None)
    assert (len(figures.along_y), len(figures.along_x)) == (3, 1)
    assert figures.neighbours == figures.along_y[1]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_neighbours_are_those_of_the_axis_that_is_worse(axis: int, sign: int) -> None:
    rng = np.random.default_rng(4)
    drawn = rng.normal(size=(64, 65))
    moving = drawn[:, 1:] + sign * drawn[:, :-1]
    figures = residual_figures(
        moving.T if axis == 0 else moving, np.zeros((64, 64)), None
    )
    along = figures.along_y if axis == 0 else figures.along_x
    assert figures.neighbours == along[1] == pytest.approx(sign / 2, abs=0.03)


def test_bins_are_of_equal_numbers_and_ordered_by_level() -> None:
    rng = np.random.default_rng(5)
    level = rng.uniform(0, 100, (40, 60))
    residual = rng.normal(size=level.shape) * level
    levels, variances = variance_by_level(residual, level)
    edges = np.quantile(level, np.linspace(0, 1, BINS + 1))
    kind = np.clip(np.searchsorted(edges, level, "right") - 1, 0, BINS - 1)
    expected = [residual[kind == i].var() for i in range(BINS)]
    np.testing.assert_allclose(variances, expected, rtol=1e-6)
    np.testing.assert_allclose(levels, [level[kind == i].mean() for i in range(BINS)])
    few, _ = variance_by_level(residual[:1, : LEAST - 1], level[:1, : LEAST - 1])
    assert len(few) == 1
    some, _ = variance_by_level(
        residual.ravel()[: 2 * LEAST], level.ravel()[: 2 * LEAST]
    )
    assert len(some) == 2


def test_structure_is_the_correlation_of_windows() -> None:
    """The same with scipy's filter and correlation, on windows within the plane."""
    rng = np.random.default_rng(6)
    residual, image = rng.normal(size=(2, 24, 30)), scene()[:2, :24, :30]
    deviation = np.sqrt(GAIN * image + OFFSET)
    inner = (slice(None), slice(2, -2), slice(2, -2))

    def windows(values: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(values, (0, 5, 5))[inner]

    spread = np.sqrt(windows(image**2) - windows(image) ** 2) / windows(deviation)
    size = windows(np.abs(residual))
    expected = stats.pearsonr(size.ravel(), spread.ravel()).statistic
    found = structure_in(residual, image, deviation)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("level", "gain", "offset"), [(500, 4, -300), (0.4, 1, 0), (100, 1e-4, 25)]
)
def test_pure_noise_has_the_models_mean_and_variance(
    level: float, gain: float, offset: float
) -> None:
    noise = pure_noise((1, 4, 200, 200), level, gain, offset)
    variance = gain * level + offset
    assert noise.shape == (1, 4, 200, 200)
    assert noise.mean() == pytest.approx(level, abs=5 * np.sqrt(variance / noise.size))
    assert noise.var() == pytest.approx(variance, rel=0.03)
    np.testing.assert_array_equal(noise, pure_noise(noise.shape, level, gain, offset))


def test_few_photons_come_one_by_one() -> None:
    photons = (pure_noise((50, 50), 6, 2, 0) - 0) / 2
    np.testing.assert_allclose(photons, np.rint(photons), atol=1e-9)
    assert photons.min() >= 0


def test_noise_of_no_variance_is_none() -> None:
    assert (pure_noise((4, 4), 10, 2, -50) == 10).all()


def test_the_shift_is_that_of_the_mean_beside_the_noise() -> None:
    clean = np.full((64, 64), 0.5)
    raw = clean + 4 * np.random.default_rng(6).normal(size=clean.shape)
    figures = residual_figures(raw, clean + 1, (0.0, 16.0))
    assert figures.shift == pytest.approx(0.25, abs=0.06)
    assert figures.shift_error == pytest.approx(1 / 64, rel=0.05)
