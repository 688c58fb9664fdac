"""Layers that lie in no patch of ndsafir, what is said of them, and their mirroring.

They are held against the installed ndsafir, voxel by voxel.  Of mirrored layers the
oracle is ndsafir on the whole image as numpy pads it; each case says how many there
are, and a green run means nothing if one block spanned the image.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import truth
from funlib.geometry import Coordinate, Roi
from hypothesis import example, given
from hypothesis import strategies as st

from denoise_daisy.blockwise.fit import trim
from denoise_daisy.blockwise.sources import Raw
from denoise_daisy.denoisers.ndsafir import Ndsafir, NdsafirDenoiser
from denoise_daisy.denoisers.ndsafir_layers import (
    far_end_strips,
    layer_warnings,
    mirrored_layers,
    uncovered_layers,
)
from denoise_daisy.denoisers.noise import NoiseNumbers
from denoise_daisy.images.image import roi_of
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.runs.warnings import warnings_of
from harness import config_for, load, small_czi, small_image, whole_image
from harness.images import MemoryImage
from harness.prepared import resolved
from harness.properties import examples


def in_no_patch(patch: tuple[int, ...], extent: tuple[int, ...]) -> np.ndarray:
    """The voxels that `uncovered_layers` and `far_end_strips` tell of."""
    left = np.zeros(extent, bool)
    for fill, counts in ((True, uncovered_layers), (False, far_end_strips)):
        for axis, count in enumerate(counts(patch, extent)):
            n = extent[axis]
            left.swapaxes(0, axis)[max(0, n - count) : n] = fill
    return left


def left_by_ndsafir(
    patch: tuple[int, ...], extent: tuple[int, ...], seed: int
) -> np.ndarray:
    """The voxels of ``(t, z, y, x)`` that ndsafir returns as they were put in.

    Of two images, as a voxel in a million comes back as it was by chance.
    """
    radii = Ndsafir.model_validate({"patch": dict(zip("tzyx", patch, strict=True))})
    t, z, y, x = extent
    rng = np.random.default_rng(seed)
    is_same = np.ones(extent, bool)
    for max_iter in (1, 2):
        image = rng.normal(100, 10, (t, 1, z, y, x)).astype(np.float32)
        noise = NoiseNumbers(noise_std=30.0)
        given = {"max_iter": max_iter, "engine": "ndsafir"}
        section = radii.model_copy(update=given)
        result = NdsafirDenoiser(section, noise.kind, noise, 1, 1).denoise(image)
        is_same &= (result == image)[:, 0]
    return is_same


@st.composite
def patches_and_extents(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What ndsafir survives; two patches side by side at least, or it finds none."""
    patch, extent = [], []
    for axis, most in zip("tzyx", (4, 3, 3, 3), strict=True):
        p = draw(st.integers(0, most))
        least = 2 * p + 1 if axis in "tz" else 2 * p + 2
        n = draw(st.integers(least, least + (5 if axis == "t" else 7)))
        if axis in "tz" and draw(st.integers(0, 3)) == 0:
            n = 1
        patch.append(p)
        extent.append(n)
    return tuple(patch), tuple(extent)


@examples(200)
@given(patches_and_extents(), st.integers(0, 1000))
@example(((0, 1, 0, 0), (1, 6, 9, 9)), 0)
@example(((0, 1, 1, 1), (1, 8, 9, 10)), 0)
@example(((0, 1, 3, 3), (1, 8, 20, 20)), 0)
@example(((2, 1, 0, 0), (8, 8, 9, 9)), 0)
@example(((2, 0, 0, 0), (8, 1, 9, 9)), 0)
@example(((4, 0, 1, 1), (12, 4, 8, 8)), 0)
def test_layers_in_no_patch_are_those_that_ndsafir_leaves(
    case: tuple[tuple[int, ...], tuple[int, ...]], seed: int
) -> None:
    """Bit for bit as put in, and every other voxel is not."""
    left = in_no_patch(*case)
    np.testing.assert_array_equal(left_by_ndsafir(*case, seed), left)
    if not left.any():
        assert not any(uncovered_layers(*case))


@pytest.mark.parametrize(
    ("patch", "extent", "layers"),
    [
        ((0, 0, 3, 3), (2, 64, 64, 64), (0, 0, 0, 0)),
        ((0, 1, 1, 1), (1, 16, 32, 33), (0, 1, 1, 0)),
        ((0, 1, 0, 0), (1, 4, 9, 9), (0, 0, 0, 0)),
        ((0, 1, 0, 0), (1, 1, 9, 9), (0, 0, 0, 0)),
        ((3, 0, 3, 3), (12, 9, 40, 40), (2, 0, 0, 0)),
        ((3, 1, 3, 3), (12, 8, 40, 40), (2, 0, 0, 0)),
        ((3, 1, 3, 3), (12, 1, 40, 40), (0, 0, 0, 0)),
        ((1, 0, 3, 3), (12, 9, 40, 40), (0, 0, 0, 0)),
    ],
)
def test_layers_in_no_patch(
    patch: tuple[int, ...], extent: tuple[int, ...], layers: tuple[int, ...]
) -> None:
    assert uncovered_layers(patch, extent) == layers


@pytest.mark.parametrize(
    ("patch", "extent", "words"),
    [
        (
            (0, 1, 1, 0),
            (1, 16, 9, 9),
            (
                "Along z, layer 15 of 0 to 15 lies in no patch",
                "(denoise.patch.z is 1) and stays as noisy as it was",
                'Set denoise.patch.z to 0 or 2, or set denoise.cover to "all",',
                "or leave it out: the region input.roi.z may end at 15.",
            ),
        ),
        (
            (4, 0, 0, 3),
            (12, 4, 9, 40),
            (
                "Along t, layers 9 to 11 of 0 to 11 lie in no patch",
                "(denoise.patch.t is 4) and stay mostly as noisy as they were",
                "Set denoise.patch.t to 0 or 1,",
                "input.roi.t may end at 9.",
            ),
        ),
        (
            (0, 0, 0, 1),
            (1, 1, 9, 4),
            ("Along x, layer 3 of 0 to 3", "Set denoise.patch.x to 0, or"),
        ),
    ],
)
def test_a_layer_in_no_patch_is_said_where_it_is_written(
    patch: tuple[int, ...], extent: tuple[int, ...], words: tuple[str, ...]
) -> None:
    (warning,) = layer_warnings(patch, extent, extent)
    for word in words:
        assert word in warning
    layers = uncovered_layers(patch, extent)
    (axis,) = np.flatnonzero(layers)
    for short in range(1, layers[axis] + 1):
        end = [n - short * (i == axis) for i, n in enumerate(extent)]
        said = list(layer_warnings(patch, extent, end))
        assert len(said) == (short < layers[axis])
    advice = re.search(r"to ([\d or]+),", warning)
    assert advice is not None
    for radius in re.findall(r"\d", advice[1]):
        other = [int(radius) if i == axis else p for i, p in enumerate(patch)]
        assert uncovered_layers(other, extent)[axis] == 0


@examples(100)
@given(patches_and_extents(), st.integers(0, 1000))
@example(((3, 0, 0, 0), (11, 2, 8, 8)), 0)
@example(((4, 1, 1, 1), (14, 8, 8, 10)), 0)
def test_with_the_mirrored_layers_ndsafir_leaves_nothing_and_with_fewer_it_does(
    case: tuple[tuple[int, ...], tuple[int, ...]], seed: int
) -> None:
    patch, extent = case
    layers = mirrored_layers(patch, extent)
    padded = [n + more for n, more in zip(extent, layers, strict=True)]
    assert not left_by_ndsafir(patch, tuple(padded), seed).any()
    for axis, most in enumerate(layers):
        assert 0 <= most < extent[axis]
        for fewer in range(most):
            padded[axis] = extent[axis] + fewer
            assert left_by_ndsafir(patch, tuple(padded), seed).any()
        padded[axis] = extent[axis] + most


@dataclass(frozen=True)
class Mirrored:
    """An image, of which layers are mirrored, cut into blocks."""

    extent: tuple[int, ...]
    """Of ``(t, z, y, x)``."""
    patch: dict[str, int]
    layers: tuple[int, ...]
    """Mirrored along ``(t, z, y, x)``."""
    block: dict[str, int]
    roi: dict[str, list[int]] = field(default_factory=dict)
    context: Any = "exact"
    max_iter: int = 2

    @property
    def image(self) -> np.ndarray:
        t, z, y, x = self.extent
        return small_image((t, 1, z, y, x))

    @property
    def padded(self) -> np.ndarray:
        t, z, y, x = ((0, n) for n in self.layers)
        return np.pad(self.image, (t, (0, 0), z, y, x), mode="reflect")

    def config(self, folder: Path, **denoise: Any) -> dict[str, Any]:
        source = folder / "in.czi"
        if not source.exists():
            small_czi(source, self.image.shape)
        return config_for(
            source,
            folder / "out.zarr",
            input={"roi": self.roi},
            output={"chunks": {"z": 1, "y": 1, "x": 1}, "shards": None},
            denoise={"patch": self.patch, "max_iter": self.max_iter, "cover": "all"}
            | denoise,
            blocks={"shape": self.block, "context": self.context},
        )


def of_z(planes: int, block: int, **more: Any) -> Mirrored:
    layers = (0, 1, 0, 0)
    return Mirrored((1, planes, 7, 9), {"z": 1}, layers, {"z": block}, **more)


def of_t(points: int, radius: int, layers: int, block: int, **more: Any) -> Mirrored:
    extent = (points, 2, 7, 8)
    return Mirrored(extent, {"t": radius}, (layers, 0, 0, 0), {"t": block}, **more)


MIRRORED = {
    "planes one by one": of_z(16, 1),
    "blocks that end with the image": of_z(16, 4),
    "a last block of one plane": of_z(16, 5),
    "one iteration": of_z(16, 3, max_iter=1),
    "a block that ends before the last plane": of_z(8, 7),
    "few planes": of_z(6, 2),
    "a region that ends near the last plane": of_z(16, 3, roi={"z": [3, 14]}),
    "a region that ends just before it": of_z(16, 4, roi={"z": [7, 15]}),
    "a region far from it": of_z(16, 2, roi={"z": [2, 7]}),
    "y and x": Mirrored(
        (1, 2, 24, 18), {"y": 1, "x": 1}, (0, 0, 1, 1), {"y": 5, "x": 17}
    ),
    "y, one line each": Mirrored((1, 1, 26, 7), {"y": 1}, (0, 0, 1, 0), {"y": 1}),
    "x and z": Mirrored(
        (1, 8, 7, 20), {"z": 1, "x": 1}, (0, 1, 0, 1), {"z": 4, "x": 6}
    ),
    "time": of_t(22, 2, 1, 3),
    "time, two layers": of_t(26, 3, 2, 4, max_iter=1),
    "time, two layers behind a point": of_t(11, 3, 2, 1),
    "time with strips": Mirrored(
        (11, 8, 12, 12), {"t": 3, "z": 1, "y": 3, "x": 3}, (2, 0, 0, 0), {"t": 3}
    ),
    "nothing to mirror": Mirrored((1, 7, 9, 9), {"z": 1}, (0, 0, 0, 0), {"z": 3}),
}


def blocks_of(run: ResolvedRun, padded: np.ndarray) -> np.ndarray:
    """All that the blocks write, put together; what they read is the padded image's."""
    stage = run.denoising
    result = np.full((padded.shape[1], *stage.grid.volume.shape), np.nan, np.float32)
    for index in stage.grid.indices():
        block = stage.read_block(index)
        t, z, y, x = block.read_roi.to_slices()
        np.testing.assert_array_equal(block.arrays[0], padded[t, :, z, y, x])
        there = block.write_roi - stage.grid.volume.begin
        part = trim(np.asarray(stage.compute(block)), block.read_roi, block.write_roi)
        result[:, *there.to_slices()] = np.moveaxis(part, 1, 0)
    return np.moveaxis(result, 0, 1)


@pytest.mark.parametrize("name", MIRRORED)
def test_blocks_are_the_mirrored_images_result_to_the_bit(
    name: str, tmp_path: Path
) -> None:
    case = MIRRORED[name]
    config = case.config(tmp_path)
    run = resolved(load(config))
    assert run.denoising.grid.size > 1
    assert run.is_exact
    t, z, y, x = run.denoising.grid.volume.to_slices()
    whole = whole_image(case.padded, config)[t, :, z, y, x]
    np.testing.assert_array_equal(blocks_of(run, case.padded), whole)
    plain = whole_image(case.image, config)[t, :, z, y, x]
    is_near = any(case.layers) and name != "a region far from it"
    assert np.array_equal(whole, plain) != is_near


@pytest.mark.parametrize(
    "case",
    [
        of_z(16, 5, context={"z": 0}),
        of_z(16, 15, context={"z": 0, "y": 0, "x": 0}),
        of_t(26, 3, 2, 1, context={"t": 0}),
        of_t(26, 3, 2, 1, context={"t": 1}),
    ],
    ids=lambda case: f"{case.block} {case.context}",
)
def test_the_last_block_of_little_context_is_denoised_to_its_end(
    case: Mirrored, tmp_path: Path
) -> None:
    """It is large enough for ndsafir, which would crash or leave it as it was."""
    run = resolved(load(case.config(tmp_path)))
    assert not run.is_exact
    change = np.abs(blocks_of(run, case.padded) - case.image)
    (axis,) = np.flatnonzero(case.layers)
    last = np.moveaxis(change[:, 0], axis, 0)[-1]
    assert np.isfinite(change).all()
    assert np.mean(last < 1) < 0.2


def test_any_part_of_a_padded_image_is_read_as_it_is() -> None:
    """Even one that holds mirrored layers alone; these are as many as can be."""
    voxels = np.arange(16, dtype=np.uint16).reshape(2, 2, 1, 1, 4)
    padded = voxels[[0, 1, 0]][..., [0, 1, 2, 3, 2, 1, 0]]
    source = Raw(MemoryImage(voxels), Coordinate(1, 0, 0, 3))
    assert source.roi == Roi((0, 0, 0, 0), (3, 1, 1, 7))
    for begin in np.ndindex(*source.roi.shape):
        for shape in np.ndindex(*(source.roi.end - Coordinate(begin))):
            roi = Roi(begin, Coordinate(shape) + 1)
            t, z, y, x = roi.to_slices()
            np.testing.assert_array_equal(source.read(roi), padded[t, :, z, y, x])


def test_a_context_of_all_layers_mirrored_ones_as_well_is_exact(tmp_path: Path) -> None:
    """The law asks for 13 time points, 11 are there and 2 are mirrored."""
    case = of_t(11, 3, 2, 4, context={"t": 20})
    assert resolved(load(case.config(tmp_path))).is_exact
    less = of_t(11, 3, 2, 4, context={"t": 12})
    missing = resolved(load(less.config(tmp_path))).missing_context
    assert missing == {"t": (12, 13)}


def test_mirrored_layers_need_no_warning(tmp_path: Path) -> None:
    case = of_z(16, 4)
    assert list(warnings_of(resolved(load(case.config(tmp_path))), None)) == []
    left = resolved(load(case.config(tmp_path, cover="ndsafir")))
    (warning,) = warnings_of(left, None)
    assert warning.startswith("Along z, layer 15 of 0 to 15 lies in no patch")
    assert left.denoising.grid.readable_roi == roi_of(left.image)


@pytest.mark.parametrize("cover", ["ndsafir", "all"])
def test_the_last_layers_are_as_clean_as_the_others_once_all_is_covered(
    cover: str, tmp_path: Path
) -> None:
    layers = (0, 1, 1, 1) if cover == "all" else (0, 0, 0, 0)
    patch = {"z": 1, "y": 1, "x": 1}
    case = Mirrored((1, 8, 48, 48), patch, layers, {"z": 8}, max_iter=3)
    run = resolved(load(case.config(tmp_path, cover=cover)))
    error = (blocks_of(run, case.padded) - truth(case.image.shape, 0))[0, 0]
    for axis in range(3):
        rest = np.moveaxis(error, axis, 0).std(axis=(1, 2))
        assert (rest[-1] < 1.3 * rest[:-1].max()) == (cover == "all")


def test_only_the_denoising_sees_mirrored_layers(tmp_path: Path) -> None:
    """A task that reads the image reads just that, and is not done again."""
    case = of_z(16, 4)
    soft = {"kind": "smooth", "name": "soft", "input": "raw", "sigma": {"z": 1}}
    found = {}
    for cover in ("ndsafir", "all"):
        config = case.config(tmp_path, cover=cover) | {"tasks": [soft]}
        run = resolved(load(config))
        (stage,) = (stage for stage in run.stages if stage.name == "soft")
        (source,) = stage.sources
        assert source.roi == stage.grid.readable_roi == roi_of(run.image)
        assert run.denoising.grid.volume == roi_of(run.image)
        assert run.array.layout.shape == run.image.shape
        found[cover] = stage.fingerprint, run.denoising.fingerprint
    assert found["all"][0] == found["ndsafir"][0]
    assert found["all"][1] != found["ndsafir"][1]
