"""With the unbiased inverse all but the inverse is ndsafir's, and totals are kept.

What lies between transform and inverse is held against the installed ndsafir.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import ndsafir
import numpy as np
import pytest
from scipy import ndimage

from denoise_daisy.algorithms.anscombe import unbiased_inverse
from denoise_daisy.denoisers import unbiased as unbiased_module
from denoise_daisy.denoisers.ndsafir import Ndsafir, NdsafirDenoiser
from denoise_daisy.denoisers.noise import GaussianNoise, NoiseNumbers, PoissonGaussian
from denoise_daisy.denoisers.unbiased import VOXELS_AT_ONCE
from denoise_daisy.errors import InputError
from harness import config_for, load, small_czi
from harness.prepared import resolved

PATCH: dict[Any, int] = {"z": 1, "y": 1, "x": 2}

TOLD: dict[str, Any] = {
    "axes": "TCZYX",
    "patch": [0, 0, 1, 1, 2],
    "active_dimensions": "zyx",
    "max_iter": 2,
    "pvalue": 0.1,
    "nthreads": 1,
}

NUMBERS = NoiseNumbers(gains=(1.5, 0.3), offsets=(-40.0, 2.0))


def unbiased(noise: NoiseNumbers, **section: Any) -> NdsafirDenoiser:
    asked = {"patch": PATCH, "max_iter": 2, "inverse": "unbiased"} | section
    return NdsafirDenoiser(Ndsafir(**asked), noise.kind, noise, 2, len(noise.gains))  # type: ignore[arg-type]


def two_channels() -> np.ndarray:
    """Of that noise, ``(t, c, z, y, x)``."""
    rng = np.random.default_rng(4)
    waves = 8 + 6 * np.sin(np.indices((2, 5, 30, 44)).sum(0) / 5.0)
    first = 1.5 * rng.poisson(waves) + 40 / 1.5
    second = 0.3 * rng.poisson(waves) + rng.normal(0, 2**0.5, waves.shape)
    return np.stack([first, second], 1).astype(np.float32)


def middle(image: np.ndarray) -> np.ndarray:
    """What ndsafir makes of the transformed image, in its Gaussian mode.

    By its roundings: its own inverse of this is its own result.
    """
    gains, offsets = (
        np.array(n, np.float32)[:, None, None, None]
        for n in (NUMBERS.gains, NUMBERS.offsets)
    )
    part = np.float32(0.375) * (gains * gains) + offsets
    roots = np.sqrt(np.maximum(image * gains + part, np.float32(0)))
    transformed = np.float32(2) / gains * roots
    denoised = ndsafir.denoise_gaussian(transformed, noise_std=1.0, **TOLD)
    own = gains / np.float32(4) * (denoised * denoised - np.float32(1.5))
    wanted = ndsafir.denoise_poisson_gaussian(
        image, gains=NUMBERS.gains, offsets=NUMBERS.offsets, **TOLD
    )
    shift = np.float32(0.25) - offsets / gains
    np.testing.assert_array_equal(own + shift, wanted)
    return denoised


@pytest.mark.parametrize("engine", ["auto", "ndsafir"])
def test_it_is_the_inverse_of_what_ndsafir_makes_of_the_transformed_image(
    engine: str,
) -> None:
    """To the bit, each channel with its own numbers."""
    image = two_channels()
    before = image.copy()
    between = middle(image)
    found = replace(unbiased(NUMBERS, engine=engine), threads=1).denoise(image)
    pairs = zip((1.5, 0.3), (-40.0, 2.0), strict=True)
    for c, (gain, offset) in enumerate(pairs):
        wanted = unbiased_inverse(between[:, c], gain, offset).astype(np.float32)
        np.testing.assert_array_equal(found[:, c], wanted)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(image, before)


def test_in_float32_it_is_the_same_within_rounding() -> None:
    image = two_channels()
    exact, found = (
        unbiased(NUMBERS, precision=precision).denoise(image)
        for precision in ("bitwise", "float32")
    )
    np.testing.assert_allclose(found, exact, atol=1e-3, rtol=0)
    assert not np.array_equal(found, exact)


def test_images_of_many_voxels_are_inverted_to_their_end() -> None:
    """A part at a time; what has no noise comes out a quarter of the gain higher."""
    noise = NoiseNumbers(gains=(2.0, 2.0), offsets=(0.0, 0.0))
    rows = VOXELS_AT_ONCE // 100 * 2 + 7
    image = np.full((2, 2, 1, rows, 100), 50, np.uint16)
    found = unbiased(noise, patch={"y": 1, "x": 1}, max_iter=1).denoise(image)
    np.testing.assert_allclose(found, 50.5, atol=1e-3)


def photons(least: float, most: float) -> tuple[np.ndarray, np.ndarray]:
    """A smooth truth of blobs, and photons counted of it."""
    rng = np.random.default_rng(8)
    blobs = ndimage.gaussian_filter(rng.random((1, 1, 8, 96, 96)), (0, 0, 2, 6, 6))
    blobs = (blobs - blobs.min()) / np.ptp(blobs)
    truth = least + (most - least) * blobs**2
    return truth, rng.poisson(truth).astype(np.uint16)


@pytest.mark.parametrize(
    ("gain", "least", "most", "off"),
    [(1, 0.3, 5, 0.03), (1, 0.0, 0.8, 0.5), (20, 0.3, 5, -0.1)],
)
def test_the_total_of_few_photons_is_kept(
    gain: int, least: float, most: float, off: float
) -> None:
    """Within 1 %; by ndsafir's inverse it is off by more than `off`."""
    _, counts = photons(least, most)
    noise = NoiseNumbers(gains=(float(gain),), offsets=(0.0,))
    changes = {}
    for inverse in ("ndsafir", "unbiased"):
        one = unbiased(noise, inverse=inverse, max_iter=3, precision="float32")
        total = one.denoise((gain * counts).astype(np.uint16)).sum(dtype=np.float64)
        changes[inverse] = total / (gain * counts).sum() - 1
    assert abs(changes["unbiased"]) < 0.01
    assert changes["ndsafir"] / off > 1


def test_what_is_no_number_is_as_dark_as_can_be() -> None:
    """As ndsafir has it; and float32 has no way with it."""
    image = two_channels()
    image[0, 0, 2, 9, 9] = -1e9
    wanted = unbiased(NUMBERS).denoise(image)
    image[0, 0, 2, 9, 9] = np.nan
    np.testing.assert_array_equal(unbiased(NUMBERS).denoise(image), wanted)
    with pytest.raises(ValueError, match=r"set denoise\.precision to bitwise"):
        unbiased(NUMBERS, precision="float32").denoise(image)


def test_its_time_is_measured_with_the_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all voxels and channels."""
    inverted: list[int] = []

    def counted(values: np.ndarray, gain: float, offset: float) -> np.ndarray:
        inverted.append(values.size)
        return unbiased_inverse(values, gain, offset)

    monkeypatch.setattr(unbiased_module, "unbiased_inverse", counted)
    one = unbiased(NUMBERS)
    assert one.seconds_per_step(2) > 0
    smallest = 3 * 3 * 5
    assert inverted[:2] == [smallest] * 2
    assert len(inverted) > 2


def test_gaussian_noise_has_nothing_to_invert() -> None:
    section = Ndsafir(inverse="unbiased")
    for_any: dict[str, Any] = {"channels": 1, "threads": 1, "probed": None}
    section.denoiser(noise=PoissonGaussian(), **for_any)
    with pytest.raises(InputError, match=r"noise\.kind is gaussian") as refused:
        section.denoiser(noise=GaussianNoise(kind="gaussian"), **for_any)
    assert "Set noise.kind to poisson-gaussian, or denoise.inverse to" in str(
        refused.value
    )


def test_a_run_has_it_in_its_parameters_and_its_memory(tmp_path: Path) -> None:
    source = small_czi(tmp_path / "in.czi", (1, 1, 2, 32, 32))
    runs = [
        resolved(load(config_for(source, tmp_path / "out.zarr", denoise=section)))
        for section in ({}, {"inverse": "ndsafir"}, {"inverse": "unbiased"})
    ]
    usual, named, other = (run.denoising.parameters for run in runs)
    assert usual == named
    assert {k: v for k, v in other.items() if usual.get(k) != v} == {
        "denoise.inverse": "unbiased"
    }
    voxels = runs[0].denoising.grid.largest_read
    least, most = runs[0].denoising.memory, runs[2].denoising.memory
    assert least is not None
    assert most == least + 4 * voxels
