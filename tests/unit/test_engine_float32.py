"""In float32 the engine differs from ndsafir by rounding, and never from itself.

What rounding is, ndsafir tells: on two threads it adds up in another order.  A patch
that is accepted here and rejected there would move voxels by a part of the noise.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denoise_daisy.denoisers.engine_trial import rms
from denoise_daisy.denoisers.native_engine import instruction_sets
from denoise_daisy.denoisers.native_numbers import CONSTANTS
from denoise_daisy.denoisers.noise import NoiseNumbers
from harness.engine_scenes import Scene, random_scene, scene
from harness.properties import examples


def bright() -> Scene:
    one = scene((1, 1, 4, 60, 60), told=500.0)
    return replace(one, image=one.image * np.float32(100))


def of_photons() -> Scene:
    one = scene((1, 2, 4, 50, 50))
    return replace(one, noise=NoiseNumbers(gains=(1.3, 0.8), offsets=(-20.0, 9.0)))


NEAR = scene((1, 1, 6, 60, 60), told=3.1)
"""Many of its patches come near to being rejected."""

SCENES = {
    "volume": scene((1, 1, 6, 70, 70), patch=(0, 1, 3, 3)),
    "four iterations": scene((1, 1, 4, 40, 40), max_iter=4),
    "movie": scene(
        (5, 1, 1, 30, 30), patch=(1, 0, 1, 1), active_dimensions="tzyx", max_iter=4
    ),
    "two channels, photons": of_photons(),
    "near the threshold": NEAR,
    "bright": bright(),
}


@pytest.mark.parametrize("name", SCENES)
def test_it_differs_from_ndsafir_as_ndsafir_from_itself(name: str) -> None:
    """Where that is less than a unit in the last place of the brightest: as this."""
    one = SCENES[name]
    wanted = one.by_ndsafir()
    assert (wanted != one.image).mean() > 0.5
    other, found = one.by_ndsafir(threads=2) - wanted, one.by_engine("float32") - wanted
    unit = float(np.finfo(np.float32).eps) * float(np.abs(wanted).max())
    assert 0 < rms(found) < 2 * max(rms(other), unit)
    assert far_out(found, 99.99) < 3 * max(far_out(other, 99.99), unit)
    assert far_out(found, 100) < 4 * max(far_out(other, 100), unit)
    assert decisions_changed(found, one) == 0


def test_a_changed_decision_would_show() -> None:
    """A threshold 0.1 % higher changes some, which no percentile need tell."""
    higher = replace(CONSTANTS, limit=1.001 * CONSTANTS.limit)
    changed = NEAR.by_engine("float32", constants=higher) - NEAR.by_ndsafir()
    assert decisions_changed(changed, NEAR) > 50


def test_no_decision_is_changed_in_random_scenes() -> None:
    """Whose noise may be told as it is not; judged by what is a millionth of the light.

    That they are rounded otherwise is asserted too: else these were ndsafir's bits.
    """
    rounded = 0
    for seed in range(60):
        one = random_scene(seed)
        wanted = one.by_ndsafir()
        differences = np.abs(one.by_engine("float32") - wanted)
        rounded += bool(differences.any())
        assert differences.max() <= 1e-5 * np.abs(wanted).max(), seed
    assert rounded > 30


def far_out(differences: np.ndarray, percentile: float) -> float:
    return float(np.percentile(np.abs(differences), percentile))


def decisions_changed(differences: np.ndarray, one: Scene) -> int:
    """Voxels that a patch accepted here and rejected there has moved.

    By more than a twentieth of the noise, which is thousands of times the rounding.
    """
    noise = one.noise.noise_std or max(one.noise.gains or ())
    return int(np.count_nonzero(np.abs(differences) > noise / 20))


@examples(40)
@given(st.integers(0, 2**40))
def test_instructions_and_threads_do_not_change_a_bit(seed: int) -> None:
    one = random_scene(seed)
    wanted = one.by_engine("float32", instruction_sets()[-1], 1)
    for found in one.by_each("float32"):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_more_threads_than_work_do_not_change_a_bit(threads: int) -> None:
    for one in SCENES.values():
        wanted = one.by_engine("float32", threads=1)
        found = one.by_engine("float32", threads=threads)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e18, 1e30])
def test_very_small_and_very_large_numbers_are_denoised_alike(scale: float) -> None:
    """The noise being scaled with them, as far as float32 has its square."""
    one = scene((1, 1, 3, 20, 40))
    noise = NoiseNumbers(noise_std=5.0 * min(scale, 1e18))
    that = replace(one, image=one.image * np.float32(scale), noise=noise)
    wanted = that.by_ndsafir()
    (found, *others) = that.by_each("float32")
    assert np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max()
    for other in others:
        np.testing.assert_array_equal(other, found)
