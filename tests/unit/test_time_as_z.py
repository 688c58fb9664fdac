"""Time points as planes: a movie denoised as a stack, block by block, to the bit.

The oracle is the installed ndsafir, on one thread, on the whole array with T and Z
swapped.  A green run would mean nothing if blocks held all time points, or if these
did not matter to each other: tests assert both.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from denoise_daisy.blockwise.fit import trim
from denoise_daisy.denoisers.base import Denoiser
from denoise_daisy.denoisers.ndsafir import Ndsafir
from denoise_daisy.denoisers.noise import PoissonGaussian
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import BlockGrid, Stencil
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.runs.warnings import warnings_of
from harness import config_for, load, small_czi, small_image, whole_image
from harness.prepared import resolved
from harness.properties import examples

NOISE = {"kind": "poisson-gaussian", "gains": [3.9, 3.1], "offsets": [-367.0, -9.0]}


def denoiser(channels: int = 2, **section: Any) -> Denoiser:
    gains, offsets = NOISE["gains"][:channels], NOISE["offsets"][:channels]
    return Ndsafir(**({"time_as_z": True} | section)).denoiser(
        noise=PoissonGaussian(gains=tuple(gains), offsets=tuple(offsets)),  # type: ignore[arg-type]
        channels=channels,
        threads=1,
        probed=None,
    )


def part(image: np.ndarray, roi: Roi) -> np.ndarray:
    t, z, y, x = roi.to_slices()
    return image[t, :, z, y, x]


@dataclass(frozen=True)
class Movie:
    """Its shape, parameters, and a block of it."""

    shape: tuple[int, ...]
    section: dict[str, Any]
    grid: BlockGrid
    block: tuple[int, ...]


@st.composite
def movies(draw: st.DrawFn) -> Movie:
    radius = {axis: draw(st.integers(0, 2)) for axis in "zyx"}
    section = {
        "patch": radius,
        "max_iter": draw(st.integers(1, 4)),
        "active_dimensions": draw(st.sampled_from(["zyx", "yx"])),
    }
    channels = draw(st.integers(1, 2))
    law = denoiser(channels, **section).stencil
    points = draw(st.integers(2 * radius["z"] + 1, 2 * law.reach[0] + 9))
    points = 1 if points == 2 else points
    y, x = (draw(st.integers(2 * radius[axis] + 3, 14)) for axis in "yx")
    begin = draw(st.integers(0, points - 1))
    end = draw(st.integers(begin + 1, points))
    cut = draw(st.integers(1, end - begin)), 1, draw(st.integers(1, y)), x
    grid = BlockGrid(
        Roi((0, 0, 0, 0), (points, 1, y, x)),
        Roi((begin, 0, 0, 0), (end - begin, 1, y, x)),
        Coordinate(cut),
        law.reach,
        law,
    )
    block = draw(st.sampled_from(list(grid.indices())))
    return Movie((points, channels, 1, y, x), section, grid, block)


@given(movies())
@examples(60)
def test_a_block_is_the_whole_movies_result_to_the_bit(movie: Movie) -> None:
    image = small_image(movie.shape)
    told = {"denoise": movie.section | {"time_as_z": True}}
    numbers = {n: NOISE[n][: movie.shape[1]] for n in ("gains", "offsets")}
    whole = whole_image(image, told | {"noise": NOISE | numbers})
    read, write = movie.grid.read_roi(movie.block), movie.grid.write_roi(movie.block)
    crop = np.ascontiguousarray(part(image, read))
    found = denoiser(movie.shape[1], **movie.section).denoise(crop)
    np.testing.assert_array_equal(trim(found, read, write), part(whole, write))


@pytest.mark.parametrize("radius", [2, 3])
def test_one_time_point_less_context_changes_the_result(radius: int) -> None:
    section = {"patch": {"z": radius}, "max_iter": 2}
    one = denoiser(1, **section)
    reach = one.stencil.reach[0]
    image = small_image((3 * reach + 16, 1, 1, 7, 7))
    whole = one.denoise(image)
    exact, less = (
        [
            np.array_equal(one.denoise(image[begin:end])[at - begin], whole[at])
            for at in range(len(image))
            for begin, end in [(max(0, at - context), at + context + 1)]
            if begin % one.stencil.stride[0] == 0
        ]
        for context in (reach, reach - 1)
    )
    assert all(exact)
    assert not all(less)


def test_patch_and_window_of_z_are_those_of_time() -> None:
    """And nothing is searched, or strode over, along z."""
    section: dict[str, Any] = {"patch": {"z": 2, "y": 1, "x": 3}, "max_iter": 4}
    plain = denoiser(time_as_z=False, **section)
    law, other = plain.stencil, denoiser(**section).stencil
    assert other == Stencil(
        *(
            Coordinate(sizes[1], sizes[0], *sizes[2:])
            for sizes in (law.stride, law.reach, law.smallest)
        )
    )
    assert (other.stride[1], other.reach[1], other.smallest[1]) == (1, 0, 1)
    shape, stack = (30, 1, 40, 50), (1, 30, 40, 50)
    assert denoiser(**section).steps(shape, 2) == plain.steps(stack, 2)
    assert plain.steps(shape, 2) != plain.steps(stack, 2)


def test_its_time_is_measured_as_that_of_a_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, ...]] = []
    one = denoiser(1, patch={"z": 1, "y": 1, "x": 1})
    real = type(one).denoise

    def watched(self: Any, image: np.ndarray) -> np.ndarray:
        seen.append((*image.shape, self.section.time_as_z))
        return real(self, image)

    monkeypatch.setattr(type(one), "denoise", watched)
    assert one.seconds_per_step(1) > 0
    assert {tuple(shape[:3]) + shape[5:] for shape in seen} >= {(1, 1, 8, False)}


@pytest.mark.parametrize(
    "section",
    [
        {"patch": {"t": 1, "y": 1}},
        {"active_dimensions": "tyx"},
        {"active_dimensions": "tzyx"},
    ],
)
def test_t_has_no_meaning_beside_it(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"set patch\.z and the z of active"):
        Ndsafir(**(section | {"time_as_z": True}))
    Ndsafir(**section)
    Ndsafir(patch={"t": 0, "z": 1}, time_as_z=True)


def test_a_stack_has_no_time_to_be_z() -> None:
    one = denoiser(1)
    one.check((7, 1, 20, 20))
    with pytest.raises(InputError, match="the image has 3 planes along z") as refused:
        one.check((7, 3, 20, 20))
    assert "Expected one, so that" in str(refused.value)
    assert "Set denoise.time_as_z to false." in str(refused.value)
    denoiser(1, time_as_z=False).check((7, 3, 20, 20))


def test_a_radius_too_large_for_the_time_points_is_refused() -> None:
    wide = denoiser(1, patch={"z": 3})
    wide.check((7, 1, 20, 20))
    wide.check((1, 1, 20, 20))
    with pytest.raises(InputError, match=r"patch\.z is 3, .* 6 voxels along t"):
        wide.check((6, 1, 20, 20))


CHUNKS = {"chunks": {"y": 8, "x": 8}, "shards": None}


def movie_of(folder: Path, shape: tuple[int, ...], **sections: Any) -> ResolvedRun:
    source = folder / "in.czi"
    if not source.exists():
        small_czi(source, shape)
    config = config_for(
        source,
        folder / "out.zarr",
        output=CHUNKS,
        noise=NOISE | {n: NOISE[n][: shape[1]] for n in ("gains", "offsets")},
        **sections,
    )
    return resolved(load(config))


LAYERS: dict[str, Any] = {"patch": {"z": 1, "y": 0, "x": 0}, "time_as_z": True}


def test_the_last_time_points_in_no_patch_are_warned_of_and_mirrored(
    tmp_path: Path,
) -> None:
    """In the words of the image's axes, and of the keys."""
    shape = (16, 1, 1, 9, 9)
    run = movie_of(tmp_path, shape, denoise=LAYERS)
    (warning,) = warnings_of(run, None)
    assert warning.startswith("Along t, layer 15 of 0 to 15 lies in no patch of")
    assert "(denoise.patch.z is 1)" in warning
    assert "Set denoise.patch.z to 0 or 2," in warning
    assert "the region input.roi.t may end at 15." in warning
    early = movie_of(tmp_path, shape, denoise=LAYERS, input={"roi": {"t": [0, 15]}})
    assert list(warnings_of(early, None)) == []
    every = movie_of(tmp_path, shape, denoise=LAYERS | {"cover": "all"})
    assert list(warnings_of(every, None)) == []
    assert every.denoising.grid.readable_roi.shape == (17, 1, 9, 9)


@pytest.mark.parametrize("inverse", ["ndsafir", "unbiased"])
def test_all_blocks_of_a_run_are_the_whole_mirrored_movies_result(
    inverse: str, tmp_path: Path
) -> None:
    """Of two channels, with a region, cut along all axes."""
    shape = (16, 2, 1, 18, 20)
    section: dict[str, Any] = {
        "patch": {"z": 1, "y": 1, "x": 1},
        "max_iter": 2,
        "cover": "all",
        "inverse": inverse,
        "time_as_z": True,
    }
    run = movie_of(
        tmp_path,
        shape,
        denoise=section,
        input={"roi": {"t": [1, 16], "y": [3, 18]}},
        blocks={"shape": {"t": 4, "y": 8, "x": 16}},
    )
    padded = np.pad(small_image(shape), [(0, n) for n in (1, 0, 0, 1, 1)], "reflect")
    if inverse == "ndsafir":
        whole = whole_image(padded, {"denoise": section, "noise": NOISE})
    else:
        whole = denoiser(**section).denoise(padded)
    stage = run.denoising
    assert run.is_exact
    assert stage.grid.size == 4 * 2 * 2
    cut = 0
    for index in stage.grid.indices():
        block = stage.read_block(index)
        found = np.asarray(stage.compute(block))
        found = trim(found, block.read_roi, block.write_roi)
        np.testing.assert_array_equal(found, part(whole, block.write_roi))
        cut += block.read_roi.shape[0] < 17
    assert cut > stage.grid.size / 2


def test_blocks_span_time_points_where_there_is_memory(tmp_path: Path) -> None:
    """Chosen as along any axis with context; without, it is one time point each."""
    shape = (12, 1, 1, 16, 16)
    section = {"patch": {"z": 1, "y": 1, "x": 1}}
    runs = [
        movie_of(
            tmp_path,
            shape,
            denoise=section | {"time_as_z": time_as_z},
            blocks={"shape": "auto", "memory_gib": 4},
            workers={"count": 1},
        )
        for time_as_z in (True, False)
    ]
    together, apart = (run.denoising.grid.block_shape for run in runs)
    assert together == (12, 1, 16, 16)
    assert apart[0] == 1
    changed = {
        name: value
        for name, value in runs[0].denoising.parameters.items()
        if runs[1].denoising.parameters.get(name) != value
    }
    assert changed.pop("denoise.time_as_z") is True
    assert all(name.startswith("output.") for name in changed)
