"""What an image tells of its noise comes from samples all over it.

> Samples spread over T, Z and intensity; gaps, missing planes left out.

Voxels of most of these images tell where they lie, so that a sample tells what was
looked at; those of the reference's size are made as they are read.
"""

import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from demo_czi import add_noise, truth

from denoise_daisy.algorithms.noise_fit import fit_noise
from denoise_daisy.denoisers.calibration import find_noise
from denoise_daisy.denoisers.noise_drift import Drift
from denoise_daisy.denoisers.noise_samples import VOXELS, sample
from denoise_daisy.denoisers.survey import survey
from denoise_daisy.errors import InputError
from denoise_daisy.images.image import Image
from harness.images import MemoryImage, small_image

REFERENCE = (17, 1, 1501, 2048, 1936)


class MadeWhenRead(MemoryImage):
    """An image of any size, and how many voxels of it were read."""

    def __init__(self, shape: tuple[int, ...], dtype: str = "uint16") -> None:
        super().__init__(np.empty((0, shape[1], 0, 0, 0), dtype))
        self.shape, self.read, self.largest = shape, 0, 0

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        sizes = [
            len(range(*part.indices(n)))
            for part, n in zip(key, self.shape, strict=True)
        ]
        self.read += int(np.prod(sizes))
        self.largest = max(self.largest, int(np.prod(sizes)))
        return np.full(sizes, 100, self.dtype)


def widest_gap(places: list[int]) -> int:
    return max(b - a for a, b in pairwise(places))


SHAPES: dict[str, tuple[int, ...]] = {
    "the reference": REFERENCE,
    "a deep stack": (1, 1, 1501, 2048, 1936),
    "a movie": (900, 1, 1, 1024, 1024),
    "as many time points as looks": (47, 1, 100, 2048, 2048),
    "thin stacks": (300, 1, 3, 2048, 2048),
    "short stacks": (8, 1, 8, 2048, 2048),
    "few large volumes": (2, 1, 4000, 4096, 4096),
}


@pytest.mark.parametrize("name", SHAPES)
def test_samples_are_spread_over_time_and_depth(name: str) -> None:
    """No tenth of an axis is left out, and not for want of the other's luck."""
    shape = SHAPES[name]
    windows = [s.window for s in sample(MadeWhenRead(shape), 0)]
    times, depths = {w.t for w in windows}, {w.z for w in windows}
    for places, size in ((times, shape[0]), (depths, shape[2])):
        assert widest_gap([-1, *sorted(places), size]) <= max(1, size / 10)
    late = {w.z for w in windows if w.t >= (shape[0] - 1) / 2}
    assert min(late) <= shape[2] / 5
    assert max(late) >= shape[2] * 4 / 5 - 1


@pytest.mark.parametrize("name", [*SHAPES, "a large mosaic"])
def test_little_is_read_and_less_is_kept(name: str) -> None:
    """However large the image and its planes are."""
    others = {"a large mosaic": (1, 1, 1, 90_000, 70_000)}
    image = MadeWhenRead((SHAPES | others)[name])
    samples = sample(image, 0)
    assert sum(s.voxels.size for s in samples) <= VOXELS
    assert sum(s.voxels.size for s in samples) >= VOXELS / 2
    assert image.largest <= 2048 * 2048
    assert image.read <= 48 * 2048 * 2048
    assert all(s.voxels.base is None for s in samples), "a whole plane is kept alive"


def test_a_large_plane_is_sampled_all_over() -> None:
    windows = [s.window for s in sample(MadeWhenRead((1, 1, 1, 30_000, 20_000)), 0)]
    for places, size in (
        ({w.y[0] for w in windows}, 30_000),
        ({w.x[0] for w in windows}, 20_000),
    ):
        assert widest_gap([0, *sorted(places), size]) <= 4096


@pytest.mark.parametrize(
    "shape", [(3, 2, 5, 170, 240), (2, 1, 1, 9, 300), (1, 1, 4, 1500, 1900)]
)
def test_a_small_image_is_sampled_whole(shape: tuple[int, ...]) -> None:
    """Every voxel once, and those of one channel only."""
    voxels = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    for c in range(shape[1]):
        seen = np.concatenate(
            [s.voxels.ravel() for s in sample(MemoryImage(voxels), c)]
        )
        np.testing.assert_array_equal(np.sort(seen), voxels[:, c].ravel())


def test_windows_say_where_they_lie() -> None:
    plane = np.arange(1300 * 1200, dtype=np.float32).reshape(1300, 1200)
    voxels = np.broadcast_to(plane, (60, 1, 1, 1300, 1200))
    image = MemoryImage(voxels)
    samples = sample(image, 0)
    assert len(samples) > 500
    for s in samples:
        np.testing.assert_array_equal(s.voxels, voxels[s.window.key(0)][0, 0, 0])


@pytest.mark.parametrize("corner", [(0, 0), (5, 9), (9, 5)])
def test_the_darkest_and_the_brightest_place_are_sampled(
    corner: tuple[int, int],
) -> None:
    """Wherever they lie, and places of all levels between."""
    levels = np.roll(np.arange(100).reshape(10, 10), corner, (0, 1))
    plane = np.kron(levels, np.ones((128, 128))).astype(np.uint16)
    image = MemoryImage(np.broadcast_to(plane, (50, 1, 1, *plane.shape)))
    seen = {int(s.voxels[0, 0]) for s in sample(image, 0) if s.window.t == 7}
    assert {0, 99} < seen
    assert widest_gap(sorted(seen)) <= 6


def test_the_same_is_sampled_every_time() -> None:
    image = MemoryImage(small_image((2, 1, 2, 70, 90)))
    first, second = survey(image), survey(image)
    assert first.channels[0].windows == second.channels[0].windows
    assert first.channels[0].fit == second.channels[0].fit


def test_what_the_file_does_not_hold_is_not_sampled() -> None:
    """Neither missing planes nor gaps in others; others take their place."""
    voxels = np.zeros((90, 2, 3, 700, 700), np.uint8)
    there = np.zeros(voxels.shape, bool)
    there[::2, 0, :, :300] = there[:3, 1] = True
    image = MemoryImage(voxels, there)
    for channel, places in ((0, range(0, 90, 2)), (1, range(3))):
        samples = sample(image, channel)
        times = {s.window.t for s in samples}
        assert times <= set(places)
        assert len({(s.window.t, s.window.z) for s in samples}) >= min(
            45, 3 * len(places)
        )
        for s in samples:
            expected = there[s.window.key(channel)][0, 0, 0]
            held = np.ones(s.voxels.shape, bool) if s.valid is None else s.valid
            np.testing.assert_array_equal(held, expected)
            assert held.any()


def test_a_channel_without_any_plane_is_refused_and_no_other() -> None:
    voxels = small_image((1, 2, 4, 160, 160))
    there = np.ones(voxels.shape, bool)
    there[:, 1] = False
    found = survey(MemoryImage(voxels, there))
    assert found.channels[0].fit.gain == pytest.approx(3.92, rel=0.1)
    assert found.channels[1].windows == ()
    with pytest.raises(InputError, match="channel 'c1' can't be calibrated: no voxel"):
        _ = found.channels[1].fit


def test_gaps_do_not_enter_the_noise() -> None:
    """As they lie in a mosaic; they are read as 0."""
    voxels = small_image((1, 1, 6, 160, 160))
    whole = survey(MemoryImage(voxels)).channels[0].fit
    there = np.ones(voxels.shape, bool)
    there[..., 40:90, 60:] = False
    image = MemoryImage(np.where(there, voxels, 0).astype(np.uint16), there)
    channel = survey(image).channels[0]
    assert channel.fit.gain == pytest.approx(whole.gain, rel=0.1)
    assert channel.levels is not None
    assert channel.levels.share_below(1) == 0


def test_each_channel_is_fitted_by_itself() -> None:
    first, second = (
        small_image((1, 1, 6, 160, 160)),
        small_image((1, 1, 6, 160, 160), 1),
    )
    voxels = np.concatenate([first, second * 3], axis=1)
    found = survey(MemoryImage(voxels))
    for channel, own in zip(found.channels, (first, second * 3), strict=True):
        expected = fit_noise(list(own[0, 0]), [None] * 6)
        assert channel.fit == expected
    assert [channel.name for channel in found.channels] == ["c0", "c1"]


def moving(noise: Any, brightness: Any, axis: int) -> Image:
    """White noise on slopes, whose sd and height change along an axis."""
    rng = np.random.default_rng(0)
    shape = [9, 1, 9, 96, 96]
    slope = np.linspace(0, 1000, 96)
    along = [1] * 5
    along[axis] = 9
    height = np.reshape(brightness, along) * slope
    voxels = rng.normal(100 + height, np.reshape(noise, along) * 10, shape)
    return MemoryImage(voxels.round().astype(np.uint16))


EVEN = np.ones(9)
FALLING = np.linspace(1, 0.4, 9)


@pytest.mark.parametrize(("axis", "name"), [(0, "T"), (2, "Z")])
def test_drift_along_time_and_depth_is_told(axis: int, name: str) -> None:
    """Of the noise at one level, and of the brightness; thirds are held together."""

    def drift(noise: Any, brightness: Any) -> Any:
        (channel,) = survey(moving(noise, brightness, axis)).channels
        found = {drift.axis: drift for drift in channel.drift}
        assert found.keys() == {"T", "Z"}
        other = found["Z" if name == "T" else "T"]
        assert other.is_steady
        assert not other.bleaches
        return found[name]

    same = drift(EVEN, EVEN)
    assert same.noise_change == pytest.approx(1, abs=0.03)
    assert (same.is_steady, same.bleaches) == (True, False)
    louder = drift(np.linspace(1, 2, 9), EVEN)
    assert louder.noise_change == pytest.approx(1.875 / 1.125, rel=0.05)
    assert (louder.is_steady, louder.bleaches) == (False, False)
    softer = drift(np.linspace(2, 1, 9), EVEN)
    assert softer.noise_change == pytest.approx(1.125 / 1.875, rel=0.05)
    assert not softer.is_steady
    darker = drift(EVEN, FALLING)
    first, last = darker.brightness
    assert last / first == pytest.approx(0.475 / 0.925, rel=0.05)
    assert darker.noise_change == pytest.approx(1, abs=0.05)
    assert (darker.is_steady, darker.bleaches) == (True, name == "T")


def test_two_positions_have_no_drift() -> None:
    (channel,) = survey(MemoryImage(small_image((2, 1, 1, 160, 160)))).channels
    assert channel.drift == ()


@pytest.mark.parametrize("place", ["the last time point", "the last planes"])
def test_an_image_that_shows_something_at_its_end_only_is_calibrated(
    place: str,
) -> None:
    """All before is darkness, of which no numbers can be had."""
    shown = add_noise(truth((1, 1, 16, 160, 160)))
    axis = 0 if place == "the last time point" else 2
    dark = np.full((7, 1, 16, 160, 160) if axis == 0 else (1, 1, 112, 160, 160), 100)
    image = MemoryImage(np.concatenate([dark.astype(np.uint16), shown], axis))
    numbers, _ = find_noise(image, "poisson-gaussian", "robust", None)
    assert numbers.gains == pytest.approx((3.92,), rel=0.1)


def test_most_planes_may_be_missing() -> None:
    """Of 300 large planes there are 30, which an even choice of 48 mostly misses."""
    there = np.zeros((300, 1, 1, 1, 1), bool)
    there[5::10] = True
    shape = (300, 1, 1, 700, 700)
    voxels = np.broadcast_to(np.uint8(7), shape)
    samples = sample(MemoryImage(voxels, np.broadcast_to(there, shape)), 0)
    assert sorted({s.window.t for s in samples}) == list(range(5, 300, 10))


def test_of_many_small_planes_some_hundreds_are_sampled() -> None:
    samples = sample(MadeWhenRead((3000, 1, 1, 64, 64)), 0)
    times = [s.window.t for s in samples]
    assert len(times) == 512
    assert widest_gap([-1, *times, 3000]) <= 8
    assert all(s.voxels.shape == (64, 64) for s in samples)


@pytest.mark.parametrize(
    ("noise", "brightness", "said"),
    [
        ((1.0, 1.149), (10, 8), (True, False)),
        ((1.0, 1.151), (10, 7.99), (False, True)),
        ((1.149, 1.0), (10, 30), (True, False)),
        ((2.302, 2.0), (-1, -1), (False, False)),
    ],
)
def test_a_change_is_said_from_a_seventh_on_and_bleaching_from_a_fifth(
    noise: tuple[float, float],
    brightness: tuple[float, float],
    said: tuple[bool, bool],
) -> None:
    drift = Drift("T", noise, brightness)
    assert (drift.is_steady, drift.bleaches) == said


def test_few_blocks_have_no_drift() -> None:
    """16 of 8 x 8 voxels in each plane; then 25."""
    for edge, axes in ((36, []), (44, ["Z"])):
        image = MemoryImage(small_image((1, 1, 3, edge, edge)))
        (channel,) = survey(image).channels
        assert [drift.axis for drift in channel.drift] == axes


def test_nobody_who_calibrates_nothing_waits_for_what_calibrates() -> None:
    script = """
import sys
import denoise_daisy.__main__, denoise_daisy.worker.process
assert not {"scipy", "matplotlib", "jinja2"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
