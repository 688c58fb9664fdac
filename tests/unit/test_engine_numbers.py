"""Each number of the algorithm is ndsafir's: 0.1 % off, and the bits are others.

So equality with ndsafir, where tests find it, holds all of them.  The quantiles and the
transform are what they are called.
"""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from denoise_daisy.denoisers.native_numbers import (
    CONSTANTS,
    Constants,
    chi2_quantile,
    has_quantile,
    normal_quantile,
    restore,
    stabilize,
)
from denoise_daisy.denoisers.ndsafir_engine import Algorithm
from denoise_daisy.denoisers.noise import NoiseNumbers
from harness.engine_scenes import Scene, scene
from harness.properties import examples


def of_photons() -> Scene:
    one = scene((1, 1, 3, 24, 40))
    return replace(one, noise=NoiseNumbers(gains=(1.3,), offsets=(-20.0,)))


def of_faint_noise() -> Scene:
    """The variance of its estimates is below the least."""
    one = scene((1, 1, 3, 24, 40))
    noise = np.random.default_rng(0).normal(0, 1e-4, one.image.shape)
    return replace(
        one, image=noise.astype(np.float32), noise=NoiseNumbers(noise_std=1e-4)
    )


def of_spots_like_nothing() -> Scene:
    """Each is some brighter than that before; their weights sum up to about 1e-6.

    Of chi-squared with one degree of freedom the quantile is 2.6.  So the weight of a
    spot's eight dark neighbours, and its own, at 4.56 times the noise:
    9 exp(-4.56**2 * (4 + 4) / (4 * 2.6)) = 1e-6.
    """
    image = np.zeros((1, 1, 1, 160, 160), np.float32)
    image[0, 0, 0, 2::4, 2::4] = np.linspace(4.54, 4.58, 40 * 40).reshape(40, 40)
    algorithm = Algorithm((0, 0, 0, 0), "zyx", 2, 0.1)
    return Scene(image, NoiseNumbers(noise_std=1.0), algorithm)


RIGGED: dict[str, Callable[[], Scene]] = {
    "tolerance": of_spots_like_nothing,
    "least_variance": of_faint_noise,
    "limit": lambda: scene(told=3.1),
}
"""Scenes for what does not show in that of photons."""


@pytest.mark.parametrize("share", [1.001, 0.999])
@pytest.mark.parametrize("name", [field.name for field in fields(Constants)])
def test_a_number_that_is_slightly_off_shows(name: str, share: float) -> None:
    one = RIGGED.get(name, of_photons)()
    wanted = one.by_ndsafir()
    np.testing.assert_array_equal(one.by_engine(), wanted)
    off = replace(CONSTANTS, **{name: share * getattr(CONSTANTS, name)})
    found = one.by_engine(constants=off)
    assert np.count_nonzero(found != wanted) > 10
    rounded = one.by_engine("float32", constants=off)
    assert not np.array_equal(rounded, one.by_engine("float32"))


@given(st.floats(1e-6, 1 - 1e-6))
@examples(200)
def test_the_normal_quantile_is_one(pvalue: float) -> None:
    """Winitzki's approximation is within 0.4 % of it, for this number of his."""
    found = normal_quantile(pvalue, CONSTANTS.erf_inverse)
    wanted = stats.norm.isf(float(np.float32(pvalue)))
    assert found == pytest.approx(wanted, rel=4e-3, abs=1e-6)


@pytest.mark.parametrize("pvalue", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("elements", [9, 27, 147, 1000])
def test_the_chi_squared_quantile_is_one(elements: int, pvalue: float) -> None:
    found = chi2_quantile(elements, float(stats.norm.isf(pvalue)))
    assert found == pytest.approx(stats.chi2.isf(pvalue, elements), rel=0.05)


def test_only_a_pvalue_that_is_0_or_1_as_float32_has_no_quantile() -> None:
    assert not any(map(has_quantile, (0.0, 1.0, 1 - 1e-9, 1e-20)))
    for pvalue in (1e-12, 0.1, 0.5, 0.9, 1 - 1e-7):
        assert has_quantile(pvalue)
        normal_quantile(pvalue, CONSTANTS.erf_inverse)


GAINS, OFFSETS = (0.5, 3.92), (20.0, -388.0)


def photons(count: float) -> tuple[np.ndarray, NoiseNumbers]:
    """Two channels of so many photons in each voxel."""
    rng = np.random.default_rng(0)
    image = rng.poisson(count, (2, 2, 3, 60, 60)).astype(np.float32)
    for c, (gain, offset) in enumerate(zip(GAINS, OFFSETS, strict=True)):
        image[:, c] = gain * image[:, c] - offset / gain
    return image, NoiseNumbers(gains=GAINS, offsets=OFFSETS)


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_the_noise_of_photons_is_made_one(count: float) -> None:
    image, noise = photons(count)
    stabilize(image, noise)
    for c in range(2):
        assert image[:, c].std() == pytest.approx(1, abs=0.03)


def test_there_and_back_is_a_quarter_of_a_grey_level_more() -> None:
    image, noise = photons(50)
    found = image.copy()
    stabilize(found, noise)
    assert not np.allclose(found, image, atol=1)
    restore(found, noise)
    np.testing.assert_allclose(found, image + 0.25, rtol=1e-5, atol=1e-4)


def test_what_has_no_root_is_0() -> None:
    image = np.full((1, 1, 1, 1, 2), [-1000, 1000], np.float32)
    stabilize(image, NoiseNumbers(gains=(2.0,), offsets=(0.0,)))
    assert image.ravel().tolist() == [0, np.sqrt(np.float32(2001.5))]


def test_gaussian_noise_is_left_as_it_is() -> None:
    image, _ = photons(50)
    found = image.copy()
    stabilize(found, NoiseNumbers(noise_std=3.0))
    restore(found, NoiseNumbers(noise_std=3.0))
    np.testing.assert_array_equal(found, image)
