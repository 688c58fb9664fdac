"""What is said of the noise: the numbers, and what ndsafir clips.

The floor is held against the installed ndsafir, voxel by voxel; a green run means
nothing if no voxel was clipped, so the cases say how many are.
"""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from denoise_daisy import Config, plan, run
from denoise_daisy.denoisers.calibration import find_noise, sample_image
from denoise_daisy.denoisers.ndsafir import Ndsafir, NdsafirDenoiser
from denoise_daisy.denoisers.ndsafir_engine import calibrate
from denoise_daisy.denoisers.noise import NoiseNumbers, describe, floors
from denoise_daisy.denoisers.noise_doubts import clipped, implausible
from denoise_daisy.errors import InputError
from denoise_daisy.images.image import Channel
from denoise_daisy.runs.run import known_denoiser
from harness import cli, config_for, small_czi, small_image, write_config
from harness.images import MemoryImage
from harness.prepared import checked

KNOWN = NoiseNumbers(gains=(3.92,), offsets=(-367.0,))


class Stub(MemoryImage):
    """An image in memory that counts how often it is read."""

    reads = 0

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        self.reads += 1
        return self.voxels[key]


class Unreadable(Stub):
    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        raise InputError("The plane T 0 can't be read.")


def of_type(dtype: str) -> Any:
    return SimpleNamespace(dtype=np.dtype(dtype), channels=(Channel("GFP", "FFFFFF"),))


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
    sample = np.full((1, 1, 100, 100), 49.25, np.float32)
    sample.ravel()[:below] = np.nextafter(np.float32(49.25), np.float32(0)) - edge
    warnings = list(clipped(of_type("float32"), noise, sample))
    assert len(warnings) == (below > 100)
    for warning in warnings:
        share = {101: "1.0%", 5000: "50.0%"}[below]
        assert f"'GFP': {share} of the sampled voxels lie below" in warning
        assert "grey level 49.25" in warning
        assert "noise.gains and noise.offsets" in warning
        assert "noise.kind to gaussian with noise.noise_std" in warning


def test_each_channel_has_its_own_floor() -> None:
    """Levels 100, 120 and 300; floors 89.6, 109.6 and 301.25."""
    image = Stub(np.full((1, 3, 2, 20, 20), 100, np.uint16))
    image.voxels[:, 1:] = [[[[120]]], [[[300]]]]
    noise = NoiseNumbers(gains=(1.0, 1.0, 2.0), offsets=(-90.0, -110.0, -604.0))
    _, warnings = find_noise(image, "poisson-gaussian", noise)
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
    noise = NoiseNumbers(gains=(float(gain),), offsets=(float(offset),))
    (warning,) = implausible(of_type(dtype), noise)
    assert "Channel 'GFP'" in warning
    assert words in warning
    assert f"implausible for {dtype}. Expected" in warning
    assert "noise.gains and noise.offsets" in warning
    assert list(implausible(of_type("float32"), noise)) == []


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
    noise = NoiseNumbers(gains=(float(gain),), offsets=(float(offset),))
    assert list(implausible(of_type(dtype), noise)) == []


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


def test_the_samples_are_read_once() -> None:
    image = Stub(small_image((3, 1, 6, 200, 190)))
    sample_image(image)
    once, image.reads = image.reads, 0
    calibrated, _ = find_noise(image, "poisson-gaussian", None)
    assert image.reads == once > 3
    assert calibrated == calibrate(sample_image(image), "poisson-gaussian")
    image.reads = 0
    assert find_noise(image, "poisson-gaussian", KNOWN) == (KNOWN, ())
    assert image.reads == once
    image.reads = 0
    gaussian = NoiseNumbers(noise_std=30.0)
    assert find_noise(image, "gaussian", gaussian) == (gaussian, ())
    assert image.reads == 0


def test_known_numbers_outlive_samples_that_can_not_be_read() -> None:
    """They are for a warning; the blocks that can be read are to be done."""
    image = Unreadable(np.ones((1, 1, 2, 30, 30), np.uint16))
    numbers, (warning,) = find_noise(image, "poisson-gaussian", KNOWN)
    assert numbers == KNOWN
    assert "could not be held against the image: The plane T 0" in warning
    with pytest.raises(InputError, match="The plane T 0"):
        find_noise(image, "poisson-gaussian", None)


@pytest.mark.filterwarnings("error")
def test_known_numbers_outlive_samples_that_are_no_numbers() -> None:
    voxels = np.full((1, 1, 2, 30, 30), np.nan, np.float32)
    voxels[..., ::2], voxels[..., ::3] = np.inf, -np.inf
    _, (warning,) = find_noise(Stub(voxels), "poisson-gaussian", KNOWN)
    assert "33.3% of the sampled voxels" in warning


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    ("gain", "offset"), [(1e308, 0.0), (5e-324, -1e308), (5e-324, 1e308), (1, -1e300)]
)
def test_the_largest_numbers_are_no_bug(dtype: str, gain: float, offset: float) -> None:
    image = Stub(np.ones((1, 1, 2, 30, 30), dtype))
    known = NoiseNumbers(gains=(gain,), offsets=(offset,))
    _, warnings = find_noise(image, "poisson-gaussian", known)
    assert ("100.0% of" in "".join(warnings)) == (offset < 0)
    assert describe(known)


def test_gaussian_noise_is_calibrated_in_grey_levels() -> None:
    """And nothing is doubted of it, which has neither gains nor a floor."""
    rng = np.random.default_rng(0)
    voxels = rng.normal(1000, 30, (1, 2, 16, 160, 160)).astype(np.uint16)
    numbers, warnings = find_noise(MemoryImage(voxels), "gaussian", None)
    assert numbers.noise_std == pytest.approx(30, rel=0.02)
    assert (numbers.gains, numbers.offsets) == (None, None)
    assert warnings == ()


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
        find_noise(MemoryImage(voxels.astype(dtype)), kind, None)
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
    assert "gains 3.92, offsets -367\n" in plan(Config.load(path))
    said: list[str] = []
    run(Config.load(path), say=said.append)
    assert [text.split()[0] for text in said] == ["All"]
    values["tasks"] = [{"kind": "smooth", "name": "soft", "sigma": {"x": 1}}]
    more = checked(Config.load(write_config(path, values)))
    assert not more.is_done
    assert known_denoiser(more) == (more.run, ())
