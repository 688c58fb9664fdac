"""The engine in C has the bits of ndsafir on one thread.

A green run would mean nothing if ndsafir left the images as they were, or if no patch
came near to being rejected: tests assert that these happen.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi
from hypothesis import given
from hypothesis import strategies as st

from denoise_daisy.blockwise.fit import trim
from denoise_daisy.denoisers.native_engine import Precision, instruction_sets
from denoise_daisy.denoisers.native_numbers import CONSTANTS
from denoise_daisy.denoisers.ndsafir_engine import Algorithm, calibrate
from denoise_daisy.denoisers.noise import NoiseNumbers
from denoise_daisy.geometry import BlockGrid, stencil
from denoise_daisy.images.czi import open_czi
from harness.czi_files import CELLS, LATTICE, MOSAIC
from harness.engine_scenes import Scene, random_scene, scene
from harness.properties import examples

TYX: dict[str, Any] = {"active_dimensions": "tzyx", "max_iter": 4}

SCENES = {
    "one voxel": scene((1, 1, 1, 1, 1), patch=(0, 0, 0, 0)),
    "one patch": scene((3, 1, 3, 5, 5), patch=(1, 1, 2, 2)),
    "no patch but one voxel": scene((1, 1, 3, 12, 33), patch=(0, 0, 0, 0)),
    "nobody searched along z": scene((1, 1, 6, 20, 20), active_dimensions="yx"),
    "time searched": scene((5, 1, 1, 14, 14), patch=(1, 0, 1, 1), **TYX),
    "long patches in time": scene((7, 1, 3, 9, 9), patch=(2, 1, 1, 1), **TYX),
    "ends of z, twice": scene((5, 1, 7, 9, 9), patch=(2, 2, 1, 1), max_iter=2),
    "last layers in no patch": scene((2, 1, 8, 10, 10), patch=(0, 1, 1, 1)),
    "two channels": scene((1, 2, 3, 21, 33), patch=(0, 1, 1, 3)),
    "wide: several tiles": scene((1, 1, 2, 12, 700), patch=(0, 0, 2, 2), max_iter=2),
    "tall: several tiles": scene((1, 1, 2, 700, 12), patch=(0, 0, 2, 2), max_iter=2),
    "wider patches than vectors": scene((1, 1, 1, 40, 40), patch=(0, 0, 9, 12)),
    "one tile and a patch": scene((1, 1, 1, 15, 99), patch=(0, 0, 1, 2), max_iter=2),
    "five iterations": scene((1, 1, 1, 34, 34), patch=(0, 0, 1, 1), max_iter=5),
    "many near the threshold": scene(told=3.0),
    "few near the threshold": scene(told=3.5),
    "some like nothing": scene(told=1.5),
    "like nothing": scene(told=0.3),
    "all but free of noise": scene(told=1e-6),
    "constant": scene((1, 2, 3, 20, 20), real=0.0, told=5.0),
}


@examples(60)
@given(st.integers(0, 2**40))
def test_random_scenes_are_denoised_to_the_bit(seed: int) -> None:
    one = random_scene(seed)
    wanted = one.by_ndsafir()
    for found in one.by_each("bitwise"):
        np.testing.assert_array_equal(found, wanted)


def test_most_random_scenes_are_denoised_at_all() -> None:
    scenes = [random_scene(seed) for seed in range(80)]
    denoised = [s for s in scenes if (s.by_engine() != s.image).mean() > 0.5]
    shapes = [s.image.shape for s in denoised]
    assert len(denoised) > 40
    assert sum(max(shape) >= 150 for shape in shapes) >= 8
    assert {str(s.image.dtype) for s in denoised} == {"uint8", "uint16", "float32"}
    assert {s.noise.kind for s in denoised} == {"gaussian", "poisson-gaussian"}
    assert {s.algorithm.max_iter for s in denoised} == {1, 2, 3, 4, 5}
    assert {shape[1] for shape in shapes} == {1, 2}


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_denoised_to_the_bit(name: str) -> None:
    wanted = SCENES[name].by_ndsafir()
    assert np.isfinite(wanted).all()
    for instructions in instruction_sets():
        for threads in (1, 2, 16):
            found = SCENES[name].by_engine("bitwise", instructions, threads)
            np.testing.assert_array_equal(found, wanted)


def test_the_scenes_really_lie_near_the_threshold() -> None:
    """Where it is 2 % lower, most voxels come out differently, or some."""
    lower = replace(CONSTANTS, limit=0.98 * CONSTANTS.limit)
    shares = {}
    for name in ("many near the threshold", "few near the threshold"):
        one = SCENES[name]
        changed = one.by_engine(constants=lower) != one.by_engine()
        shares[name[:4]] = changed.mean()
    assert shares["many"] > 0.5
    assert 0.02 < shares["few "] < 0.5


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e18, 1e30, 1e36])
@pytest.mark.parametrize("told", [5.0, 5.0 * 1e-3])
def test_very_small_and_very_large_numbers_have_the_same_bits(
    scale: float, told: float
) -> None:
    one = scene((1, 1, 3, 20, 40))
    image = one.image * np.float32(scale)
    for noise_std in (told, told * scale):
        that = replace(one, image=image, noise=NoiseNumbers(noise_std=noise_std))
        wanted = that.by_ndsafir()
        assert np.isfinite(wanted).all()
        for found in that.by_each("bitwise"):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("pvalue", [1e-6, 0.01, 0.3, 0.5, 0.6, 0.8, 0.9, 0.999])
def test_each_pvalue_has_ndsafirs_own_rounding(pvalue: float) -> None:
    """It is a float32: above 0.5, for small patches, all bits hang on that."""
    for patch in ((0, 0, 0, 1), (0, 0, 1, 1), (0, 1, 1, 1)):
        one = scene((1, 1, 4, 20, 20), patch=patch, max_iter=1, pvalue=pvalue)
        that = replace(one, noise=NoiseNumbers(noise_std=15.0))
        wanted = that.by_ndsafir()
        assert not np.array_equal(wanted, that.image)
        np.testing.assert_array_equal(that.by_engine(), wanted)


@given(st.floats(0.05, 9), st.floats(-3, 3), st.integers(0, 1000))
@examples(100)
def test_the_transform_has_ndsafirs_own_roundings(
    gain: float, dark: float, seed: int
) -> None:
    """Two time points, and patches of three: ndsafir transforms there and back."""
    rng = np.random.default_rng(seed)
    image = (gain * rng.uniform(0, 30, (2, 1, 1, 20, 20))).astype(np.float32)
    noise = NoiseNumbers(gains=(gain,), offsets=(dark * gain * gain,))
    one = Scene(image, noise, Algorithm((1, 0, 0, 0), "zyx", 1, 0.1))
    np.testing.assert_array_equal(one.by_engine(), one.by_ndsafir())


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("precision", ["bitwise", "float32"])
def test_an_image_smaller_than_a_patch_is_left_as_it_is(
    axis: int, precision: Precision
) -> None:
    """The program refuses it; nothing may be written where the image is not."""
    shape = [3, 1, 3, 20, 20]
    shape[axis if axis == 0 else axis + 1] = 2
    patch = tuple(int(i == axis) for i in range(4))
    one = scene(tuple(shape), patch=patch)
    np.testing.assert_array_equal(one.by_engine(precision, threads=3), one.image)


@pytest.mark.parametrize("layout", ["F", "strided"])
def test_an_image_of_any_layout_is_denoised_and_left_as_it_is(layout: str) -> None:
    one = scene((1, 2, 3, 20, 24))
    image = np.asfortranarray(one.image)
    if layout == "strided":
        image = np.repeat(one.image, 2, axis=4)[..., ::2]
    assert not image.flags.c_contiguous
    that = replace(one, image=image)
    np.testing.assert_array_equal(that.by_engine(), one.by_ndsafir())
    np.testing.assert_array_equal(image, one.image)


@pytest.mark.parametrize(
    ("name", "scene_of_file"), [(CELLS, None), (LATTICE, None), (MOSAIC, 0)]
)
def test_a_real_image_is_denoised_to_the_bit(
    name: str, scene_of_file: int | None, real_czi: Callable[[str], Path]
) -> None:
    opened = open_czi(str(real_czi(name)), scene_of_file)
    image = opened[:1, :, :, 20:80, 10:90]
    algorithm = Algorithm((0, 1, 2, 3), "zyx", 3, 0.1)
    third = NoiseNumbers(noise_std=float(image.std()) / 3)
    for noise in (calibrate(image[0], "poisson-gaussian"), third):
        one = Scene(image, noise, algorithm, 2)
        wanted = one.by_ndsafir()
        assert (wanted != image).mean() > 0.5
        for found in one.by_each("bitwise"):
            np.testing.assert_array_equal(found, wanted)


BLOCKS = {
    "a volume": scene((2, 1, 9, 40, 44), patch=(0, 1, 1, 2), max_iter=2),
    "bright spots": scene((1, 2, 9, 40, 44), patch=(0, 1, 2, 1), max_iter=2),
    "a flat image": scene((1, 1, 1, 120, 110), patch=(0, 0, 3, 2), max_iter=3),
    "near the threshold": scene((1, 1, 5, 60, 62), patch=(0, 0, 1, 2), told=3.0),
}
spots = BLOCKS["bright spots"].image.ravel()
spots[np.random.default_rng(0).choice(spots.size, spots.size // 100)] = 1e12


@pytest.mark.parametrize("precision", ["bitwise", "float32"])
@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_the_whole_images_result_to_the_bit(
    name: str, precision: Precision
) -> None:
    """On other threads, another set of instructions, in other tiles."""
    one = BLOCKS[name]
    whole = one.by_engine(precision)
    t, _, *others = whole.shape
    everything = Roi((0, 0, 0, 0), (t, *others))
    algorithm = one.algorithm
    law = stencil(
        Coordinate(algorithm.patch), algorithm.active_dimensions, algorithm.max_iter
    )
    grid = BlockGrid(everything, everything, Coordinate(1, 4, 17, 19), law.reach, law)
    cut = 0
    for number, index in enumerate(grid.indices()):
        read, write = grid.read_roi(index), grid.write_roi(index)
        cut += read.shape[2] < everything.shape[2]
        crop = replace(one, image=np.ascontiguousarray(part(one.image, read)))
        instructions = instruction_sets()[number % len(instruction_sets())]
        found = trim(crop.by_engine(precision, instructions, 3), read, write)
        np.testing.assert_array_equal(found, part(whole, write))
    assert cut > 4


def part(voxels: np.ndarray, roi: Roi) -> np.ndarray:
    t, z, y, x = roi.to_slices()
    return voxels[t, :, z, y, x]
