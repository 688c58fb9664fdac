"""The inverse of the transform gives back means, whatever their noise.

Expected values are sums over photo-electrons and integrals over read noise, in grey
levels, by SciPy.
"""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from denoise_daisy.algorithms.anscombe import (
    bias_of_algebraic_inverse,
    unbiased_inverse,
)


def transform(level: float, gain: float, offset: float) -> float:
    return 2 / gain * max(gain * level + 3 / 8 * gain**2 + offset, 0) ** 0.5


def of_read_noise(mean: float, std: float, gain: float, offset: float) -> float:
    """The mean transform of normal grey levels."""
    if std == 0:
        return transform(mean, gain, offset)

    def weighted(level: float) -> float:
        density = math.exp(-(((level - mean) / std) ** 2) / 2)
        return transform(level, gain, offset) * density / std / math.sqrt(2 * math.pi)

    floor = -offset / gain - 3 / 8 * gain
    first = max(floor, mean - 10 * std)
    return integrate.quad(weighted, first, mean + 10 * std, epsabs=1e-11, limit=400)[0]


def of_camera(photons: float, background: float, std: float, gain: float) -> float:
    """The mean transform of grey levels, told the true gain and offset."""
    offset = std**2 - gain * background
    counts = np.arange(int(photons + 9 * photons**0.5) + 20)
    return sum(
        chance * of_read_noise(gain * n + background, std, gain, offset)
        for n, chance in zip(counts, stats.poisson.pmf(counts, photons), strict=True)
        if chance > 1e-14
    )


def inverse(mean: float, gain: float, offset: float) -> float:
    return float(unbiased_inverse(np.array([mean]), gain, offset)[0])


@pytest.mark.parametrize("photons", [0, 0.01, 0.3, 1, 3, 12, 100, 254, 258, 4000])
@pytest.mark.parametrize(("gain", "background"), [(1, 0), (0.4, 0), (7, 0), (3, 100)])
def test_without_read_noise_it_is_exact(
    photons: float, gain: float, background: float
) -> None:
    found = inverse(of_camera(photons, background, 0, gain), gain, -gain * background)
    assert found == pytest.approx(gain * photons + background, abs=2e-5 * gain)


@pytest.mark.parametrize("photons", [0, 0.02, 0.5, 4, 40])
@pytest.mark.parametrize(("gain", "std"), [(1, 0.3), (1, 2), (5, 3), (0.5, 4)])
def test_with_read_noise_and_no_background_it_is_exact(
    photons: float, gain: float, std: float
) -> None:
    found = inverse(of_camera(photons, 0, std, gain), gain, std**2)
    assert found == pytest.approx(gain * photons, abs=2e-5 * gain)


@pytest.mark.parametrize("level", [-1, -3, -5.5])
def test_below_a_background_of_0_all_noise_is_read_noise(level: float) -> None:
    gain, offset = 3.0, 18.0
    mean = of_read_noise(level, (gain * level + offset) ** 0.5, gain, offset)
    assert inverse(mean, gain, offset) == pytest.approx(level, abs=1e-4)


@pytest.mark.parametrize("variance", [0.1, 0.3, 1, 3, 5, 9.9, 10, 30])
@pytest.mark.parametrize("share", [0.2, 0.5, 1])
def test_read_noise_that_background_hides_makes_it_a_little_wrong(
    variance: float, share: float
) -> None:
    """By less than the twentieth of a photo-electron that is said."""
    gain, std = 2.0, 2 * (share * variance) ** 0.5
    mean = of_camera((1 - share) * variance, 100, std, gain)
    found = inverse(mean, gain, std**2 - gain * 100)
    wrong = (found - 100) / gain - (1 - share) * variance
    assert -0.05 < wrong < 1e-5
    assert abs(wrong) < 0.2 / variance


@pytest.mark.parametrize("offset", [-40.0, 0.0, 9.0])
def test_where_there_is_no_noise_it_undoes_the_transform(offset: float) -> None:
    gain = 2.0
    darkness = -offset / gain
    for level in (darkness, darkness - 0.1, darkness - 0.5, darkness - 0.75):
        found = inverse(transform(level, gain, offset), gain, offset)
        assert found == pytest.approx(level, abs=1e-9)


@pytest.mark.parametrize("gain", [0.02, 1.0, 30.0])
@pytest.mark.parametrize("read", [-1e4, -10.0, 0.0, 0.01, 0.5, 20.0, 256.0, 1e5])
def test_it_grows_without_steps(gain: float, read: float) -> None:
    offset = read * gain**2
    means = np.linspace(0, 70, 70_001)
    found = unbiased_inverse(means, gain, offset) + offset / gain
    steps = np.diff(found) / gain / 1e-3
    assert found[0] / gain == pytest.approx(-3 / 8, abs=1e-6)
    assert np.all(steps > 0)
    assert np.all(steps < means[1:] / 2 + 4)


def test_what_is_below_0_is_taken_for_0() -> None:
    """No denoiser gives it; no number of these is infinite."""
    found = unbiased_inverse(np.array([-7.0, -1e-9, 0.0], np.float32), 2.0, 6.0)
    np.testing.assert_allclose(found, [-3.75] * 3, rtol=1e-11)


def test_no_number_is_none() -> None:
    found = unbiased_inverse(np.array([np.nan, np.inf, 1.0]), 2.0, 6.0)
    assert np.isnan(found[0])
    assert np.isposinf(found[1])
    assert np.isfinite(found[2])


@pytest.mark.parametrize("gain", [1e-6, 1e6])
@pytest.mark.parametrize("offset", [-1e30, 1e30])
def test_absurd_numbers_give_numbers(gain: float, offset: float) -> None:
    assert np.isfinite(unbiased_inverse(np.array([0.0, 3.0, 1e9]), gain, offset)).all()


def test_each_value_has_the_same_bits_in_any_company() -> None:
    values = np.random.default_rng(1).uniform(0, 40, 5000).astype(np.float32)
    together = unbiased_inverse(values, 1.7, 3.0)
    alone = np.concatenate(
        [unbiased_inverse(v, 1.7, 3.0) for v in np.split(values, 5000)]
    )
    np.testing.assert_array_equal(together, alone)


def test_it_is_near_the_closed_form() -> None:
    """Of Makitalo and Foi (2013), equation 10; the exact one is within 0.02 of it."""
    values = np.linspace(1.3, 300, 4000)
    closed = (
        values**2 / 4
        + (3 / 2) ** 0.5 / (4 * values)
        - 11 / (8 * values**2)
        + 5 / 8 * (3 / 2) ** 0.5 / values**3
        - 1 / 8
    )
    for std in (0.0, 3.0):
        found = unbiased_inverse(values, 1.0, std**2)
        far = values > 10
        np.testing.assert_allclose(found[far], closed[far] - std**2, atol=0.02, rtol=0)
    found = unbiased_inverse(values, 1.0, 0.0)
    np.testing.assert_allclose(found, closed, atol=0.02, rtol=0)


def algebraic(mean: float, gain: float, offset: float) -> float:
    """As ndsafir inverts."""
    return gain / 4 * (mean**2 - 3 / 2) + 1 / 4 - offset / gain


@pytest.mark.parametrize(
    ("gain", "background", "std"),
    [(1.0, 0.0, 0.0), (1.0, 0.0, 1.5), (20.0, 0.0, 0.0), (0.5, 100.0, 0.0)],
)
def test_the_bias_of_ndsafirs_inverse_is_that_of_its_formula(
    gain: float, background: float, std: float
) -> None:
    offset = std**2 - gain * background
    photons, weights = np.array([0, 0.3, 2, 7, 300]), np.array([5, 40, 9, 2, 1])
    levels = gain * photons + background
    restored = [
        algebraic(of_camera(n, background, std, gain), gain, offset) for n in photons
    ]
    wanted = weights @ restored / (weights @ levels) - 1
    found = bias_of_algebraic_inverse(gain, offset, levels, weights)
    assert found == pytest.approx(wanted, rel=1e-3, abs=2e-5)


def test_few_photons_are_made_more_and_high_gains_less() -> None:
    few, ones = np.array([0.3, 0.5, 1.0, 5.0]), np.ones(4)
    assert bias_of_algebraic_inverse(1.0, 0.0, few, ones) == pytest.approx(
        0.055, abs=0.01
    )
    assert bias_of_algebraic_inverse(1.0, 0.0, np.array([500.0]), ones[:1]) < 1e-4
    # A quarter of a grey level in place of a quarter of the gain.
    bright = bias_of_algebraic_inverse(20.0, 0.0, np.array([9e3, 9e3]), ones[:2])
    assert bright == pytest.approx((0.25 - 5) / 9e3, rel=1e-3)


def test_what_is_clipped_is_made_more() -> None:
    """Levels 10 and 20 lie 90 and 80 below darkness, of which 3/8 are kept."""
    levels, weights = np.array([10.0, 20.0, 1e6]), np.array([3, 1, 1e-9])
    found = bias_of_algebraic_inverse(1.0, -100.0, levels, weights)
    floor = 100 - 3 / 8 + 1 / 4
    wanted = (3 * (floor - 10) + floor - 20) / 50
    assert found == pytest.approx(wanted, rel=1e-4)


def test_levels_of_either_sign_do_not_cancel() -> None:
    levels, ones = np.array([-200.0, 200.0]), np.ones(2)
    found = bias_of_algebraic_inverse(4.0, 4e4, levels, ones)
    assert found == pytest.approx(2 * (0.25 - 1) / 400, rel=1e-2)


def test_the_part_of_nothing_is_infinite() -> None:
    assert bias_of_algebraic_inverse(1.0, 0.0, np.zeros(2), np.ones(2)) == np.inf
