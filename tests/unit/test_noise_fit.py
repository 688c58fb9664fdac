"""Fits of noise that was simulated: what went in comes out, or is called wrong."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from denoise_daisy.algorithms import noise_fit
from denoise_daisy.algorithms.noise_fit import NoiseFit, fit_noise
from harness.noise_scenes import KINDS, Scene, scene

SHAPE = (4, 192, 192)


def fit(planes: Sequence[np.ndarray] | np.ndarray) -> NoiseFit:
    return fit_noise(list(planes), [None] * len(planes))


def hills(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """From 0 to 1, smooth along y and x."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, (0, 12, 12))
    return (smooth - smooth.min()) / np.ptp(smooth)


def camera(
    rate: np.ndarray, gain: float = 3, read: float = 5, background: float = 100
) -> np.ndarray:
    """Grey levels of so many photons, variance gain * mean + read**2 - gain * 100."""
    random = np.random.default_rng(7)
    levels = background + gain * random.poisson(rate)
    levels = np.rint(levels + random.normal(0, read, rate.shape))
    return levels.clip(0, 65535).astype(np.uint16)


def correlated(kernel: Sequence[float], *axes: int) -> np.ndarray:
    """Hills of 1000 to 3000 with noise of sd 20, smoothed or sharpened along axes."""
    noise = np.random.default_rng(9).standard_normal(SHAPE)
    for axis in axes:
        noise = ndimage.correlate1d(noise, kernel, axis=axis, mode="wrap")
    levels = 1000 + 2000 * hills(8) + 20 * noise / noise.std()
    return np.rint(levels).astype(np.uint16)


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_of_all_kinds_are_told_right(kind: str) -> None:
    made = scene(kind, 5)
    for channel, gain in enumerate(made.gains):
        found = fit(made.planes(channel))
        for share in (0.02, 0.5, 0.9, 0.99):
            level = float(np.quantile(made.clean[:, channel], share))
            assert found.sd(level) == pytest.approx(made.sd(channel, level), rel=0.15)
        low, high = found.gain_interval
        assert low <= gain <= high or found.gain == pytest.approx(gain, rel=0.2)
        assert found.is_gaussian == (gain == 0)
        assert found.clipped <= max(0.005, clipped_by_truth(made, channel))
        assert found.clipped == np.mean(made.noisy[:, channel] < found.floor)


def clipped_by_truth(made: Scene, channel: int) -> float:
    gain, offset = made.gains[channel], made.offsets[channel]
    floor = -offset / gain - 3 / 8 * gain if gain else -np.inf
    return float(np.mean(made.noisy[:, channel] < floor))


def test_intervals_hold_the_truth_and_are_narrow_where_much_is_known() -> None:
    held, widths = [], []
    for seed in range(8):
        found = fit(camera(5 + 200 * hills(seed)))
        low, high = found.gain_interval
        assert low < found.gain < high
        offset_low, offset_high = found.offset_interval
        held.append(low <= 3 <= high and offset_low <= 25 - 300 <= offset_high)
        widths.append(high - low)
    assert sum(held) >= 7
    assert max(widths) < 0.75


def test_intervals_are_wide_where_levels_hardly_differ() -> None:
    found = fit(camera(200 + 10 * hills(1)))
    low, high = found.gain_interval
    assert low < 3 < high
    assert high - low > 3
    assert found.sd(100 + 3 * 205) == pytest.approx(np.sqrt(9 * 205 + 25), rel=0.03)


def test_a_tiny_stack_is_told_well_enough() -> None:
    for seed in range(4):
        found = fit(camera(5 + 100 * hills(seed, (3, 64, 64))))
        for photons in (20, 50, 90):
            expected = np.sqrt(9 * photons + 25)
            assert found.sd(100 + 3 * photons) == pytest.approx(expected, rel=0.15)
        low, high = found.gain_interval
        assert low < 3 < high
        assert found.verdict == "white"
        assert found.whiteness < 1.4


def test_what_a_fit_tells_of_an_image_is_true() -> None:
    planes = camera(5 + 100 * hills(1))
    found = fit(planes)
    for share, level in found.quantiles:
        assert np.mean(planes < level) <= share <= np.mean(planes <= level)
    assert [share for share, _ in found.quantiles][::6] == [0.001, 0.5, 0.999]
    assert found.noise_std == found.sd(float(np.median(planes)))
    assert found.floor == pytest.approx(-found.offset / found.gain - 0.375 * found.gain)
    assert (found.saturated, found.saturation) == (0, None)
    assert found.sd(-1e6) == 0
    truth = [gain_line(level) for level in found.levels]
    np.testing.assert_allclose(found.variances, truth, rtol=0.35)
    assert len(found.counts) == len(found.levels) > 20
    assert list(found.levels) == sorted(found.levels)


def gain_line(level: float) -> float:
    return 3 * (level - 100) + 25


def test_the_same_planes_give_the_same_numbers() -> None:
    planes = camera(5 + 100 * hills(1, (3, 64, 64)))
    first, second = fit(planes), fit(planes)
    assert first == second
    assert first.intervals == second.intervals


def test_floats_in_any_unit_give_the_numbers_in_that_unit() -> None:
    planes = camera(5 + 100 * hills(1))
    found = fit(planes)
    for scale in (1 / 65535, 1e6):
        scaled = fit((planes * scale).astype(np.float32))
        assert scaled.gain == pytest.approx(found.gain * scale, rel=0.02)
        assert scaled.noise_std == pytest.approx(found.noise_std * scale, rel=0.01)


def test_gaps_and_what_is_not_valid_change_hardly_anything() -> None:
    planes = camera(5 + 100 * hills(1))
    whole = fit(planes)
    holed = planes.copy()
    holed[:, 60:80] = 0
    mask = np.ones(planes[0].shape, bool)
    mask[60:80] = False
    known = fit_noise(list(holed), [mask] * len(holed))
    found = fit(holed)
    for one in (known, found):
        assert one.noise_std == pytest.approx(whole.noise_std, rel=0.03)
        assert one.gain == pytest.approx(whole.gain, rel=0.1)
        assert one.quantiles[0][1] == pytest.approx(whole.quantiles[0][1], abs=3)


def test_a_saturated_top_does_not_bend_the_line() -> None:
    planes = camera(5 + 200 * hills(1))
    top = int(np.quantile(planes, 0.7))
    found = fit(planes.clip(0, top))
    assert found.saturation == top
    assert found.saturated == np.mean(planes >= top)
    assert found.gain == pytest.approx(3, rel=0.1)


def test_noise_that_does_not_grow_is_gaussian() -> None:
    for sd in (4, 40):
        noise = np.random.default_rng(2).normal(0, sd, SHAPE)
        found = fit(np.rint(1000 + 500 * hills(1) + noise).astype(np.uint16))
        assert found.is_gaussian
        assert found.noise_std == pytest.approx(sd, rel=0.03)
        assert found.gain > 0
        assert found.gain_interval[0] == 0
        assert found.clipped == 0
    assert not fit(camera(5 + 100 * hills(1))).is_gaussian


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2)])
def test_noise_correlated_between_neighbours_is_called_so(
    axes: tuple[int, ...],
) -> None:
    """Its standard deviation is that of single voxels, not of their differences."""
    found = fit(correlated([0.1, 0.8, 0.1], *axes))
    assert found.verdict == "correlated"
    assert found.whiteness < 0.75
    assert found.noise_std == pytest.approx(20, rel=0.06)


def test_noise_that_is_hardly_correlated_is_taken_for_white() -> None:
    found = fit(correlated([0.02, 0.96, 0.02], 1, 2))
    assert found.verdict == "white"
    assert found.noise_std == pytest.approx(20, rel=0.08)


def test_correlation_along_x_of_a_sixth_is_seen() -> None:
    """The autocorrelation of this kernel is 0.16 one voxel apart."""
    kernel = np.array([0.08, 1, 0.08])
    assert 2 * 0.08 / np.square(kernel).sum() == pytest.approx(0.16, abs=0.003)
    assert fit(correlated(list(kernel), 2)).verdict == "correlated"


def test_sharpened_noise_is_white_above_1_4() -> None:
    assert fit(correlated([-0.15, 1.3, -0.15], 1, 2)).whiteness > 1.4
    assert fit(correlated([1], 1)).whiteness == pytest.approx(1, abs=0.1)


def grainy(rate: float, width: float) -> np.ndarray:
    """Hills full of grain, as strong as they are bright."""
    random = np.random.default_rng(4)
    grain = ndimage.gaussian_filter(random.standard_normal(SHAPE), (0, width, width))
    return camera(5 + rate * hills(1) * np.exp(0.6 * grain / grain.std()))


def test_texture_near_the_voxels_size_is_not_to_be_trusted() -> None:
    assert fit(grainy(400, 1.2)).verdict == "not to be trusted"


def test_texture_that_grows_with_the_signal_is_no_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planes = grainy(400, 1.2)
    assert fit(planes).gain == pytest.approx(3, rel=0.2)
    monkeypatch.setattr(noise_fit, "DOUBTFUL", np.inf)
    assert fit(planes).gain > 1.4 * 3


def test_dark_structure_is_not_clipped() -> None:
    """Pits that are far too dark for the noise around them."""
    planes = camera(20 + 100 * hills(1))
    planes[:, 10::20, 10::20] = 40
    planes[:, 20::20, 10::20] = 45
    found = fit(planes)
    assert np.mean(planes < 60) > 0.004
    pits = replace(found, offset=25 - 300)
    assert np.mean(planes < pits.floor) > 0.004
    assert found.clipped <= 0.005


def test_the_noise_of_darkness_may_lie_below_the_floor() -> None:
    """With little readout noise the true model clips some of it."""
    planes = camera(0.3 + 200 * hills(1) ** 8, gain=10, read=10)
    truth = np.mean(planes < 100 - 10 - 3.75)
    found = fit(planes)
    assert truth > 0.01
    assert found.clipped <= truth
    assert found.sd(103) == pytest.approx(np.sqrt(100 + 30), rel=0.15)


def refused() -> dict[str, Callable[[], np.ndarray]]:
    random = np.random.default_rng(1)
    lone = np.full((1, 64, 64), 5, np.uint8)
    lone[0, 20, 20:24] = 9
    broken = random.normal(5, 1, (2, 64, 64)).astype(np.float32)
    broken[1, 3, 3] = np.inf
    return {
        "of one value": lambda: np.full((2, 64, 64), 7, np.uint16),
        "only 1 blocks": lambda: lone,
        "no finite numbers": lambda: broken,
        "no plane holds": lambda: random.integers(0, 9, (9, 8, 8)).astype(np.uint8),
    }


@pytest.mark.parametrize("words", refused())
def test_planes_that_tell_nothing_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fit(refused()[words]())


def test_no_plane_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no voxel is valid"):
        fit([])


def test_bins_take_the_flattest_blocks() -> None:
    """Half of the image is noise on hills, the other half edges everywhere."""
    planes = camera(50 + 100 * hills(1))
    edges = np.indices(planes.shape).sum(axis=0) // 3 % 2
    planes[:, :, 130:] += (60 * edges[:, :, 130:]).astype(np.uint16)
    assert fit(planes).gain == pytest.approx(3, rel=0.2)
