"""What is said of the noise: the numbers, and what ndsafir clips.

The floor is held against the installed ndsafir, voxel by voxel; a green run means
nothing if no voxel was clipped, so the cases say how many are.
"""

import re
from dataclasses import replace
from pathlib import Path

import ndsafir
import numpy as np
import pytest

from denoise_daisy import Config, plan, run
from denoise_daisy.algorithms.noise_blocks import levels_of
from denoise_daisy.denoisers.calibration import find_noise, sample_image
from denoise_daisy.denoisers.ndsafir import Ndsafir, NdsafirDenoiser
from denoise_daisy.denoisers.noise import NoiseMethod, NoiseNumbers, describe, floors
from denoise_daisy.denoisers.noise_doubts import clipped, doubts, implausible
from denoise_daisy.denoisers.survey import ChannelSurvey, survey
from denoise_daisy.errors import InputError
from denoise_daisy.runs.run_one import known_denoiser
from harness import cli, config_for, small_czi, small_image, write_config
from harness.images import MemoryImage
from harness.prepared import checked

METHODS: tuple[NoiseMethod, ...] = ("robust", "ndsafir")

KNOWN = NoiseNumbers(gains=(3.92,), offsets=(-367.0,))


class Unreadable(MemoryImage):
    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        raise InputError("The plane T 0 can't be read.")


REAL = {
    "FOV7": ("uint8", 4.36, -17),
    "DAPI": ("uint8", 0.35, -0.7),
    "Airyscan": ("uint16", 2.48, -983),
    "CellDivision": ("uint16", 36.6, -5713),
    "this repository's demo": ("uint16", 3.92, -388),
    "photon counts": ("uint8", 1.0, 50),
    "S3": ("uint16", 332, -255_000),
}
"""Pixel type, gain and offset as ndsafir calibrated them on real files."""


@pytest.mark.parametrize("name", REAL)
def test_what_lies_below_the_floor_comes_out_as_one_value(name: str) -> None:
    """> everything below -offset/gain - 3/8 gain comes out as one value.

    As measured on ndsafir itself; what lies a tenth of a gain above does not.
    """
    _, gain, offset = REAL[name]
    noise = NoiseNumbers(gains=(gain,), offsets=(float(offset),))
    (floor,) = floors(noise)
    rng = np.random.default_rng(0)
    near = 1e-6 * abs(offset)  # what float32 can't tell from the floor
    image = np.empty((1, 1, 1, 40, 80), np.float32)
    image[..., :40] = rng.uniform(floor - 9 * gain, floor - near, (40, 40))
    image[..., 40:] = rng.uniform(floor + near, floor + 0.1 * gain, (40, 40))
    section = Ndsafir(patch={}, max_iter=1, engine="ndsafir")
    result = NdsafirDenoiser(section, noise.kind, noise, 1, 1).denoise(image)
    below, above = result[..., :39], result[..., 41:]
    assert np.unique(below) == pytest.approx([floor + 0.25], abs=1 + near)
    assert np.unique(above).size > 500


@pytest.mark.parametrize("below", [0, 99, 100, 101, 5000])
@pytest.mark.parametrize("edge", [1, 0])
def test_more_than_one_per_cent_below_the_floor_is_said(below: int, edge: int) -> None:
    """Exactly 1 % is silent, as are voxels just at the floor."""
    noise = NoiseNumbers(gains=(2.0,), offsets=(-100.0,))
    assert floors(noise) == (49.25,)
    voxels = np.full((100, 100), 49.25, np.float32)
    voxels.ravel()[:below] = np.nextafter(np.float32(49.25), np.float32(0)) - edge
    channel = ChannelSurvey("GFP", levels=levels_of([voxels], [None]))
    warnings = list(clipped(channel, 2.0, -100.0))
    assert len(warnings) == (below > 100)
    for warning in warnings:
        share = {101: "1.0%", 5000: "50.0%"}[below]
        assert f"'GFP': {share} of the sampled voxels lie below" in warning
        assert "grey level 49.25" in warning
        assert "noise.gains and noise.offsets" in warning
        assert "noise.kind to gaussian with noise.noise_std" in warning


@pytest.mark.parametrize(("offset", "said"), [(-367.0, False), (-390.0, True)])
def test_what_noise_takes_below_the_floor_is_not_said(
    offset: float, said: bool
) -> None:
    """Darkness is 100 with a standard deviation of 5; the floors are 92.2 and 98.0.

    So 6 and 34 % lie below.  The second model has a deviation of 1.4 there, which
    explains 8 % at most.
    """
    voxels = np.random.default_rng(0).normal(100, 5, (1, 1, 1, 256, 256))
    (channel,) = survey(MemoryImage(voxels.round().astype(np.uint16))).channels
    warnings = list(clipped(channel, 3.92, offset))
    assert len(warnings) == said
    for warning in warnings:
        assert re.search(
            r": 3\d\.\d% of the sampled .* Expected at most [6-9]\.\d%", warning
        )


def test_each_channel_has_its_own_floor() -> None:
    """Levels 100, 120 and 300; floors 89.6, 109.6 and 301.25."""
    image = MemoryImage(np.full((1, 3, 2, 20, 20), 100, np.uint16))
    image.voxels[:, 1:] = [[[[120]]], [[[300]]]]
    noise = NoiseNumbers(gains=(1.0, 1.0, 2.0), offsets=(-90.0, -110.0, -604.0))
    _, found = find_noise(image, "poisson-gaussian", "robust", noise)
    warnings = list(doubts(image, noise, found))
    assert [re.findall(r"'c\d'", w) for w in warnings] == [["'c2'"]]
    assert all("100.0%" in w for w in warnings)


ABSURD = {
    "WellD6": ("uint16", 21, 556_000, "darkness (-offset / gain) at grey level -26476"),
    "tile region": ("uint16", 0.44, 637_000, "grey level -1447727"),
    "nuclei": ("uint8", 0.03, 0, "a gain of 0.03"),
    "steep": ("uint8", 16.1, 0, "Expected 0.05 to 16 grey levels"),
    "steep, 16 bits": ("uint16", 4097, 0, "Expected 0.05 to 4096 grey levels"),
    "below all": ("uint8", 1, 257, "at grey level -257"),
    "above all": ("uint8", 1, -257, "at grey level 257"),
    "above all, 16 bits": ("uint16", 2, -131_074, "at grey level 65537"),
    "below all, 16 bits": ("uint16", 2, 8194, "at grey level -4097"),
}


@pytest.mark.parametrize("name", ABSURD)
def test_numbers_of_no_detector_are_said(name: str) -> None:
    dtype, gain, offset, words = ABSURD[name]
    (warning,) = implausible(np.dtype(dtype), "GFP", gain, offset)
    assert "Channel 'GFP'" in warning
    assert words in warning
    assert f"implausible for {dtype}. Expected" in warning
    assert "noise.gains and noise.offsets" in warning
    assert list(implausible(np.dtype("float32"), "GFP", gain, offset)) == []


EDGES: dict[str, tuple[str, float, float]] = {
    "least gain": ("uint8", 0.05, 0),
    "largest gain": ("uint8", 16, 0),
    "largest gain, 16 bits": ("uint16", 4096, 0),
    "lowest darkness": ("uint8", 1, 256),
    "highest darkness": ("uint8", 1, -256),
    "lowest darkness, 16 bits": ("uint16", 2, 8192),
    "highest darkness, 16 bits": ("uint16", 2, -131_072),
}


@pytest.mark.parametrize("name", REAL | EDGES)
def test_numbers_of_real_detectors_are_not(name: str) -> None:
    dtype, gain, offset = (REAL | EDGES)[name]
    assert list(implausible(np.dtype(dtype), "GFP", gain, offset)) == []


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (((2.4812345,), (-982.98,)), "gains 2.481, offsets -983"),
        (((21.3, 0.4), (556_123.4, -0.71)), "gains 21.3, 0.4, offsets 556123, -0.71"),
        (((1.0,), (0.0,)), "gains 1, offsets 0"),
        (((1e-5,), (-9999.6,)), "gains 1e-05, offsets -10000"),
        (((1e12,), (3e300,)), "gains 1e+12, offsets 3e+300"),
    ],
)
def test_numbers_are_short_and_for_people(
    numbers: tuple[tuple[float, ...], tuple[float, ...]], words: str
) -> None:
    noise = NoiseNumbers(gains=numbers[0], offsets=numbers[1])
    assert describe(noise) == f"poisson-gaussian, {words}"
    gaussian = NoiseNumbers(noise_std=12.3456)
    assert describe(gaussian) == "gaussian, noise_std 12.35"


def test_known_numbers_are_held_against_the_image() -> None:
    """And stay what they are, whatever would have been found."""
    image = MemoryImage(small_image((3, 1, 6, 200, 190)))
    for kind, known in (
        ("poisson-gaussian", KNOWN),
        ("gaussian", NoiseNumbers(noise_std=30.0)),
    ):
        numbers, found = find_noise(image, kind, "robust", known)
        assert numbers == known
        assert found.channels[0].fit.gain == pytest.approx(3.92, rel=0.1)
        assert list(doubts(image, known, found)) == []


def test_ndsafir_calibrates_where_it_is_asked_to() -> None:
    """By its own function, of samples that lie behind each other."""
    image = MemoryImage(small_image((3, 2, 6, 200, 190)))
    sample = sample_image(image)
    gains, offsets = ndsafir.calibrate_poisson_gaussian(sample, "CZYX")
    numbers, found = find_noise(image, "poisson-gaussian", "ndsafir", None)
    assert (numbers.gains, numbers.offsets) == (tuple(gains), tuple(offsets))
    assert numbers.gains != tuple(channel.fit.gain for channel in found.channels)
    gaussian, _ = find_noise(image, "gaussian", "ndsafir", None)
    assert gaussian.noise_std == ndsafir.calibrate_gaussian(sample, "CZYX")


def test_known_numbers_outlive_samples_that_can_not_be_read() -> None:
    """They are for a warning; the blocks that can be read are to be done."""
    image = Unreadable(np.ones((1, 1, 2, 30, 30), np.uint16))
    numbers, found = find_noise(image, "poisson-gaussian", "robust", KNOWN)
    assert numbers == KNOWN
    (warning,) = doubts(image, KNOWN, found)
    assert "could not be held against the image: The plane T 0" in warning
    for method in METHODS:
        with pytest.raises(InputError, match=r"^The plane T 0 can't be read\.$"):
            find_noise(image, "poisson-gaussian", method, None)


@pytest.mark.filterwarnings("error")
def test_known_numbers_outlive_samples_that_are_no_numbers() -> None:
    voxels = np.full((1, 1, 2, 30, 30), np.nan, np.float32)
    voxels[..., ::2], voxels[..., ::3] = np.inf, -np.inf
    image = MemoryImage(voxels)
    _, found = find_noise(image, "poisson-gaussian", "robust", KNOWN)
    (warning,) = doubts(image, KNOWN, found)
    assert "some voxels are no finite numbers" in warning


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    ("gain", "offset"), [(1e308, 0.0), (5e-324, -1e308), (5e-324, 1e308), (1, -1e300)]
)
def test_the_largest_numbers_are_no_bug(dtype: str, gain: float, offset: float) -> None:
    image = MemoryImage(np.ones((1, 1, 2, 30, 30), dtype))
    known = NoiseNumbers(gains=(gain,), offsets=(offset,))
    _, found = find_noise(image, "poisson-gaussian", "robust", known)
    warnings = "".join(doubts(image, known, found))
    assert ("100.0% of" in warnings) == (offset < 0)
    assert describe(known)


@pytest.mark.parametrize("method", METHODS)
def test_gaussian_noise_is_calibrated_in_grey_levels(method: NoiseMethod) -> None:
    """And nothing is doubted of it, which has neither gains nor a floor."""
    rng = np.random.default_rng(0)
    voxels = rng.normal(1000, 30, (1, 2, 16, 160, 160)).astype(np.uint16)
    image = MemoryImage(voxels)
    numbers, found = find_noise(image, "gaussian", method, None)
    assert numbers.noise_std == pytest.approx(30, rel=0.02)
    assert (numbers.gains, numbers.offsets) == (None, None)
    assert list(doubts(image, numbers, found)) == []


def test_one_standard_deviation_is_that_of_all_channels_together() -> None:
    rng = np.random.default_rng(0)
    voxels = rng.normal(1000, 1, (1, 2, 4, 160, 160))
    voxels[:, 0] += rng.normal(0, 30, voxels[:, 0].shape)
    voxels[:, 1] += rng.normal(0, 40, voxels[:, 1].shape)
    image = MemoryImage(voxels.astype(np.float32))
    numbers, _ = find_noise(image, "gaussian", "robust", None)
    assert numbers.noise_std == pytest.approx(((30**2 + 40**2) / 2) ** 0.5, rel=0.02)


def test_noise_that_does_not_grow_with_the_signal_is_nothing_to_doubt() -> None:
    """As that of a scanning electron microscope: ndsafir finds a gain below 0."""
    rng = np.random.default_rng(0)
    levels = np.kron(np.linspace(60, 200, 256).reshape(16, 16), np.ones((32, 32)))
    voxels = rng.normal(levels, 12).round().astype(np.uint8)
    image = MemoryImage(voxels[np.newaxis, np.newaxis, np.newaxis])
    numbers, found = find_noise(image, "poisson-gaussian", "robust", None)
    assert numbers.gains is not None
    assert 0 < numbers.gains[0] < 0.05
    assert found.channels[0].fit.sd(100) == pytest.approx(12, rel=0.03)
    assert list(doubts(image, numbers, found)) == []
    given = replace(numbers, gains=(numbers.gains[0] * 2,))
    assert "a gain of" in "".join(doubts(image, given, found))


NO_NOISE: dict[str, tuple[np.ndarray, str]] = {
    "all of one value": (np.ones((1, 1, 2, 160, 160), np.uint16), "of one value"),
    "no numbers": (np.full((1, 1, 2, 160, 160), np.nan, np.float32), "no finite"),
    "too small": (small_image((1, 1, 9, 11, 160)), "12 voxels a side"),
}


@pytest.mark.parametrize("kind", ["poisson-gaussian", "gaussian"])
@pytest.mark.parametrize("name", NO_NOISE)
def test_an_image_that_tells_nothing_is_refused(name: str, kind: str) -> None:
    """With its channel, and the numbers to set."""
    voxels, words = NO_NOISE[name]
    with pytest.raises(InputError) as refused:
        find_noise(MemoryImage(voxels), kind, "robust", None)
    said = str(refused.value)
    assert said.startswith("The noise of channel 'c0' can't be calibrated: ")
    assert words in said
    assert "Set noise.gains and noise.offsets, or noise.kind to gaussian" in said


IMPOSSIBLE: dict[str, tuple[str, np.ndarray, str]] = {
    "less noise where it is brighter": (
        "poisson-gaussian",
        5000 - small_image((1, 1, 8, 160, 160)),
        r"poisson-gaussian, gains -4\.\d+, offsets 2\d{4}",
    ),
    "no noise at all": (
        "gaussian",
        np.broadcast_to(np.arange(160, dtype=np.float32), (1, 1, 8, 160, 160)),
        "gaussian, noise_std 0",
    ),
    "numbers too large to be squared": (
        "gaussian",
        np.random.default_rng(0).normal(1e38, 1e37, (1, 1, 8, 160, 160)),
        "gaussian, noise_std nan",
    ),
}
"""The kind of noise, an image, and the noise that ndsafir finds in it."""


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_noise_that_no_image_has_is_refused(name: str) -> None:
    kind, voxels, found = IMPOSSIBLE[name]
    dtype = np.uint16 if voxels.dtype.kind == "u" else np.float32
    with pytest.raises(InputError, match=rf"impossible noise \({found}\)") as refused:
        find_noise(MemoryImage(voxels.astype(dtype)), kind, "ndsafir", None)
    assert "noise.gains and noise.offsets, or noise.noise_std" in str(refused.value)


def test_where_all_is_denoised_nothing_is_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for a plan or a run, nor for a task that is left to do."""
    values = config_for(
        small_czi(tmp_path / "in.czi", (1, 1, 2, 33, 33)), tmp_path / "out.zarr"
    )
    path = write_config(tmp_path / "config.json", values)
    found = checked(Config.load(path))
    assert cli(path).returncode == 0

    def fail(*_: object) -> None:
        raise AssertionError("the image was sampled")

    monkeypatch.setattr("denoise_daisy.denoisers.ndsafir.find_noise", fail)
    with pytest.raises(AssertionError, match="was sampled"):
        known_denoiser(found)
    assert "gains 3.92, offsets -367\n" in str(plan(Config.load(path)))
    said: list[str] = []
    run(Config.load(path), say=said.append)
    assert [text.split()[0] for text in said] == ["All"]
    values["tasks"] = [{"kind": "smooth", "name": "soft", "sigma": {"x": 1}}]
    more = checked(Config.load(write_config(path, values)))
    assert not more.is_done
    assert known_denoiser(more) == (more.run, None)
