"""The tiling law holds for the ndsafir that is installed, to the bit.

Each case is one image, denoised whole and denoised as a block with the context that
`geometry.BlockGrid` asks for.  A green run would mean nothing if blocks read the whole
image, or if images were so smooth that context did not matter: one test asserts how
many cases really had their context cut, and another that less context, or context off
the patch grid, does change the result.
"""

import resource
import signal
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.fit import trim
from denoise_daisy.denoisers.ndsafir import Ndsafir, NdsafirDenoiser
from denoise_daisy.denoisers.ndsafir_engine import (
    CHECKED_VERSIONS,
    check_version,
    ndsafir_version,
)
from denoise_daisy.denoisers.noise import NoiseNumbers
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES, BlockGrid, Index, largest_radius
from denoise_daisy.sections import SpaceTime
from harness.forks import in_own_process

CASES = 90

VOXELS = {1: 60_000, 2: 60_000, 3: 40_000, 4: 14_000, 5: 9_000}
"""Most voxels of a case's image by number of iterations, for the time it takes."""


@dataclass(frozen=True)
class Case:
    """An image, the parameters, and blocks of it."""

    shape: tuple[int, ...]
    """Of ``(t, c, z, y, x)``."""
    parameters: Ndsafir
    noise: NoiseNumbers
    grid: BlockGrid
    blocks: tuple[Index, ...]

    @property
    def image(self) -> np.ndarray:
        seed = sum(self.shape)
        rng = np.random.default_rng(seed)
        wave = sum(np.sin(i / 3.0 + a) for a, i in enumerate(np.indices(self.shape)))
        return rng.poisson(60 + 5 * wave).astype(np.uint16)

    def cuts(self) -> set[tuple[str, str]]:
        """Axis and side where a block's context, not the image's border, ends it."""
        found = set()
        for block in self.blocks:
            read = self.grid.read_roi(block)
            for i, axis in enumerate(AXES):
                if read.begin[i] > 0:
                    found.add((axis, "begin"))
                if read.end[i] < self.grid.readable_roi.end[i]:
                    found.add((axis, "end"))
        return found


def told(parameters: Ndsafir, noise: NoiseNumbers) -> NdsafirDenoiser:
    """The denoiser: ndsafir itself on one thread, told of the noise."""
    itself = parameters.model_copy(update={"engine": "ndsafir"})
    return NdsafirDenoiser(itself, noise.kind, noise, 1, 1)


def untold(parameters: Ndsafir) -> NdsafirDenoiser:
    return told(parameters, NoiseNumbers(noise_std=1.0))


def extents(rng: np.random.Generator, parameters: Ndsafir) -> Coordinate | None:
    """One axis longer than its reach, the others short; None where that is too much."""
    law = untold(parameters).stencil
    shape = [1, 1, 0, 0]
    for i, radius in enumerate(untold(parameters).section.algorithm.patch):
        if i >= 2 or rng.random() < 0.6:
            shape[i] = 2 * radius + 1 + int(rng.integers(i >= 2, 5))
    long = rng.choice(4, size=int(rng.choice([1, 2], p=[0.75, 0.25])), replace=False)
    for i in long:
        shape[i] = int(law.reach[i] * rng.uniform(1.4, 2.2) + rng.integers(5, 14))
    shape[0] = min(shape[0], 13)
    fits = np.prod(shape) <= VOXELS[parameters.max_iter]
    return Coordinate(shape) if fits else None


def blocks_of(rng: np.random.Generator, shape: Coordinate) -> tuple[Roi, Coordinate]:
    """A region of an image of that shape, and a block shape to cut it."""
    begin, end, block = [], [], []
    for n in shape:
        whole = rng.random() < 0.5
        begin.append(0 if whole else int(rng.integers(0, n)))
        end.append(n if whole else int(rng.integers(begin[-1] + 1, n + 1)))
        extent = end[-1] - begin[-1]
        block.append(int(rng.integers(1, max(2, extent // 2 + 1))))
    region = Roi(begin, [e - b for b, e in zip(begin, end, strict=True)])
    return region, Coordinate(block)


@cache
def case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    while True:
        parameters = Ndsafir(
            patch={
                "t": int(rng.choice(3, p=[0.5, 0.4, 0.1])),
                "z": int(rng.choice(4, p=[0.45, 0.35, 0.15, 0.05])),
                "y": int(rng.choice(4, p=[0.2, 0.4, 0.3, 0.1])),
                "x": int(rng.choice(4, p=[0.2, 0.4, 0.3, 0.1])),
            },
            active_dimensions=str(rng.choice(["zyx", "yx", "tzyx", "tyx"])),
            max_iter=int(rng.choice([1, 2, 3, 4, 5], p=[0.2, 0.3, 0.3, 0.15, 0.05])),
            pvalue=float(rng.choice([0.1, 0.1, 0.01, 0.5])),
        )
        shape = extents(rng, parameters)
        if shape is not None:
            break
    channels = int(rng.integers(1, 3))
    noise = NoiseNumbers(noise_std=float(rng.uniform(7, 12)))
    if rng.random() < 0.6:
        noise = NoiseNumbers(gains=(1.1, 0.9)[:channels], offsets=(-3.0, 2)[:channels])
    region, block = blocks_of(rng, shape)
    law = untold(parameters).stencil
    grid = BlockGrid(Roi((0, 0, 0, 0), shape), region, block, law.reach, law)
    flat = rng.choice(grid.size, size=min(2, grid.size), replace=False)
    blocks = tuple(tuple(map(int, np.unravel_index(i, grid.shape))) for i in flat)
    t, z, y, x = shape
    return Case((t, channels, z, y, x), parameters, noise, grid, blocks)


def part(image: np.ndarray, roi: Roi) -> np.ndarray:
    t, z, y, x = roi.to_slices()
    return image[t, :, z, y, x]


def block_result(case: Case, image: np.ndarray, read: Roi, write: Roi) -> np.ndarray:
    crop = np.ascontiguousarray(part(image, read))
    return trim(told(case.parameters, case.noise).denoise(crop), read, write)


@pytest.mark.parametrize("seed", range(CASES))
def test_a_block_is_the_whole_images_result_to_the_bit(seed: int) -> None:
    this = case(seed)
    image = this.image
    whole = told(this.parameters, this.noise).denoise(image)
    assert not np.array_equal(whole, image)
    for index in this.blocks:
        read, write = this.grid.read_roi(index), this.grid.write_roi(index)
        np.testing.assert_array_equal(
            block_result(this, image, read, write), part(whole, write)
        )


def test_the_cases_really_have_their_context_cut() -> None:
    cases = [case(seed) for seed in range(CASES)]
    sides = Counter(side for this in cases for side in this.cuts())
    searched = {
        axis: sum(
            this.grid.stencil.reach[i] > 1
            and bool({(axis, "begin"), (axis, "end")} & this.cuts())
            for this in cases
        )
        for i, axis in enumerate(AXES)
    }
    assert sum(bool(this.cuts()) for this in cases) > 0.8 * CASES
    assert all(sides[axis, side] >= 8 for axis in AXES for side in ("begin", "end"))
    assert all(searched[axis] >= (2 if axis == "t" else 8) for axis in AXES), searched


def test_the_cases_cover_the_parameters() -> None:
    cases = [case(seed) for seed in range(CASES)]
    assert {this.parameters.max_iter for this in cases} == {1, 2, 3, 4, 5}
    assert {this.parameters.active_dimensions for this in cases} == {
        "zyx",
        "yx",
        "tzyx",
        "tyx",
    }
    assert {this.noise.noise_std is None for this in cases} == {True, False}
    assert {this.shape[1] for this in cases} == {1, 2}
    most_of: dict[SpaceTime, int] = {"t": 2, "z": 3, "y": 3, "x": 3}
    for axis, most in most_of.items():
        radii = {this.parameters.patch[axis] for this in cases}
        assert radii == set(range(most + 1)), axis


def crafted(axis: SpaceTime, radius: int, max_iter: int) -> Case:
    """A long image along one axis, cut along it into blocks of one voxel."""
    i = AXES.index(axis)
    parameters = Ndsafir(patch={axis: radius}, max_iter=max_iter)
    law = untold(parameters).stencil
    shape = [1, 7, 7, 7] if axis == "z" else [1, 1, 6, 6]
    shape[i] = 3 * law.reach[i] + 16
    block = Coordinate(1 if n == i else shape[n] for n in range(4))
    image = Roi((0, 0, 0, 0), shape)
    grid = BlockGrid(image, image, block, law.reach, law)
    t, z, y, x = shape
    noise = NoiseNumbers(noise_std=8.0)
    return Case((t, 1, z, y, x), parameters, noise, grid, tuple(grid.indices()))


def wrong_blocks(this: Case, context: Coordinate, shift: Coordinate) -> int:
    """Blocks with another result, when they read that context and begin off by that."""
    image = this.image
    whole = told(this.parameters, this.noise).denoise(image)
    grid = replace(this.grid, context=context)
    wrong = 0
    for index in this.blocks:
        read, write = grid.read_roi(index), grid.write_roi(index)
        begin = Coordinate(
            max(0, b - s) for b, s in zip(read.begin, shift, strict=True)
        )
        read = Roi(begin, read.end - begin)
        result = block_result(this, image, read, write)
        wrong += not np.array_equal(result, part(whole, write))
    return wrong


@pytest.mark.parametrize(
    ("axis", "radius", "max_iter"),
    [
        *(("y", radius, n) for radius in (0, 1) for n in (1, 2, 3)),
        *(("x", radius, n) for radius in (0, 1) for n in (1, 2, 3)),
        *(("z", radius, n) for radius in (2, 3) for n in (2, 3)),
    ],
)
def test_one_voxel_less_context_changes_the_result(
    axis: SpaceTime, radius: int, max_iter: int
) -> None:
    this = crafted(axis, radius, max_iter)
    reach, i = this.grid.stencil.reach, AXES.index(axis)
    less = Coordinate(r - (n == i) for n, r in enumerate(reach))
    still = Coordinate(0, 0, 0, 0)
    assert wrong_blocks(this, reach, still) == 0
    assert wrong_blocks(this, less, still) > 0


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_one_iteration_in_z_needs_more_than_the_patches_themselves(radius: int) -> None:
    """A stack of fewer than two patches, 4 p + 2 planes, is another matter throughout.

    With two iterations or more the context makes every crop long enough.
    """
    this = crafted("z", radius, 1)
    still = Coordinate(0, 0, 0, 0)
    reach = this.grid.stencil.reach
    assert wrong_blocks(this, reach, still) == 0
    patches = Coordinate(reach[0], 2 * radius + 1, *reach[2:])
    assert wrong_blocks(this, patches, still) > 0


@pytest.mark.parametrize("axis", "zyx")
@pytest.mark.parametrize("radius", [1, 2])
def test_context_off_the_patch_grid_changes_the_result(
    axis: SpaceTime, radius: int
) -> None:
    """More context does not make up for a begin between two patches."""
    this = crafted(axis, radius, 2)
    reach, i = this.grid.stencil.reach, AXES.index(axis)
    stride = this.grid.stencil.stride[i]
    for distance in range(1, stride + 1):
        shift = Coordinate(distance if n == i else 0 for n in range(4))
        wrong = wrong_blocks(this, reach, shift)
        assert (wrong > 0) == (distance != stride), distance


def outcome(shape: tuple[int, ...], patch: dict[SpaceTime, int]) -> str:
    """What becomes of noise of ``(t, z, y, x)``, if this process lives on."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    t, z, y, x = shape
    image = np.random.default_rng(0).poisson(50, (t, 1, z, y, x)).astype(np.uint16)
    result = told(Ndsafir(patch=patch), NoiseNumbers(noise_std=7.0)).denoise(image)
    assert np.isfinite(result).all()
    return "denoised" if np.mean(result != image) > 0.5 else "left as it was"


def what_happens(shape: tuple[int, ...], patch: dict[SpaceTime, int]) -> str:
    """What ndsafir does to such an image, in its own process."""
    found, code = in_own_process(outcome, shape, patch)
    if code in {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS}:
        return "died"
    assert code == 0
    return str(found)


def extent_of(axis: SpaceTime, voxels: int) -> tuple[int, ...]:
    """An image of so many voxels along an axis, roomy along the others."""
    roomy = zip(AXES, (1, 3, 24, 24), strict=True)
    return tuple(voxels if a == axis else n for a, n in roomy)


@pytest.mark.parametrize(
    ("axis", "extent", "beyond"),
    [
        *(("t", n, "left as it was") for n in (2, 4, 5)),
        *((axis, 2, "left as it was") for axis in "zyx"),
        *((axis, n, "died") for axis in "zyx" for n in (4, 7)),
    ],
)
def test_the_largest_radius_is_the_last_that_denoises(
    axis: SpaceTime, extent: int, beyond: str
) -> None:
    """Beyond it ndsafir dies, or silently returns the image as it was."""
    largest = largest_radius(axis, extent)
    assert largest is not None
    shape = extent_of(axis, extent)
    assert what_happens(shape, {axis: largest}) == "denoised"
    assert what_happens(shape, {axis: largest + 1}) == beyond
    untold(Ndsafir(patch={axis: largest})).check(shape)
    with pytest.raises(InputError, match=f"denoise.patch.{axis} is {largest + 1}"):
        untold(Ndsafir(patch={axis: largest + 1})).check(shape)


@pytest.mark.parametrize(
    ("axis", "below"), [("t", "left as it was"), ("z", "died"), ("y", "died")]
)
def test_the_smallest_extent_is_the_first_that_is_denoised(
    axis: SpaceTime, below: str
) -> None:
    smallest = untold(Ndsafir(patch={axis: 2})).stencil.smallest[AXES.index(axis)]
    assert what_happens(extent_of(axis, smallest), {axis: 2}) == "denoised"
    assert what_happens(extent_of(axis, smallest - 1), {axis: 2}) == below


@pytest.mark.parametrize("axis", "zt")
def test_one_plane_and_one_time_point_take_any_radius(axis: SpaceTime) -> None:
    assert largest_radius(axis, 1) is None
    assert what_happens(extent_of(axis, 1), {axis: 4}) == "denoised"


def test_the_law_was_checked_with_the_installed_version() -> None:
    assert ndsafir_version() in CHECKED_VERSIONS
    check_version()
