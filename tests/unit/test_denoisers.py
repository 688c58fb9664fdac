"""Every denoiser keeps what the seam promises for it.

To hold a new one to it, add a case.  A green run would mean nothing if blocks read the
whole image, or if a changed setting gave another object by chance: blocks are checked
to be cut, and each setting's other value is written down.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi
from pydantic import TypeAdapter

from denoise_daisy.blockwise.fit import convert, trim
from denoise_daisy.denoisers import Denoise
from denoise_daisy.denoisers.base import Denoiser
from denoise_daisy.denoisers.ndsafir import NdsafirDenoiser
from denoise_daisy.denoisers.noise import GaussianNoise, PoissonGaussian
from denoise_daisy.geometry import BlockGrid
from denoise_daisy.machine import peak_memory
from harness.forks import in_own_process

SHAPE = (2, 2, 9, 44, 40)
"""Of the image, ``(t, c, z, y, x)``."""


@dataclass(frozen=True)
class Case:
    """The section of a denoiser, and another value of each of its settings."""

    section: dict[str, Any]
    others: dict[str, Any]


CASES = {
    "ndsafir": Case(
        {"kind": "ndsafir", "patch": {"z": 1, "y": 1, "x": 1}, "max_iter": 2},
        {
            "patch": {"z": 1, "y": 1, "x": 2},
            "active_dimensions": "yx",
            "max_iter": 1,
            "pvalue": 0.2,
            "cover": "all",
            "precision": "float32",
            "inverse": "unbiased",
            "time_as_z": True,
            "engine": "ndsafir",
        },
    ),
    "median": Case(
        {"kind": "median", "size": {"z": 2, "y": 3, "x": 5}}, {"size": {"y": 3, "x": 5}}
    ),
    "gaussian": Case(
        {"kind": "gaussian", "sigma": {"z": 0.5, "y": 1, "x": 2}},
        {"sigma": {"z": 0.5, "y": 1, "x": 2.5}},
    ),
}

SECTIONS = {name: case.section for name, case in CASES.items()}

UNBIASED = {
    f"unbiased, {engine}": SECTIONS["ndsafir"]
    | {"inverse": "unbiased", "engine": engine}
    for engine in ("auto", "ndsafir")
}


def denoiser_of(
    section: dict[str, Any], *, threads: int = 1, channels: int = SHAPE[1]
) -> Denoiser:
    denoise: Any = TypeAdapter(Denoise).validate_python(section)
    noise = PoissonGaussian(gains=(1.1, 0.9)[:channels], offsets=(-9.0, 2)[:channels])
    made: Denoiser = denoise.denoiser(
        noise=noise, channels=channels, threads=threads, probed=None
    )
    return made


def image() -> np.ndarray:
    rng = np.random.default_rng(5)
    wave = sum(np.sin(i / 4.0 + a) for a, i in enumerate(np.indices(SHAPE)))
    return rng.poisson(90 + 8 * wave).astype(np.uint16)


def spikes() -> np.ndarray:
    """A float32 image in which few voxels are so bright that sums forget the others."""
    rng = np.random.default_rng(6)
    bright = rng.random(SHAPE) < 0.01
    return np.where(bright, 1e12, image() / 7).astype(np.float32)


def part(voxels: np.ndarray, roi: Roi) -> np.ndarray:
    t, z, y, x = roi.to_slices()
    return voxels[t, :, z, y, x]


@pytest.mark.parametrize("make", [image, spikes])
@pytest.mark.parametrize("name", SECTIONS | UNBIASED)
def test_blocks_are_the_whole_images_result_to_the_bit(
    name: str, make: Callable[[], np.ndarray]
) -> None:
    denoiser = denoiser_of((SECTIONS | UNBIASED)[name])
    voxels = make()
    whole = denoiser.denoise(voxels)
    assert whole.shape == voxels.shape
    assert not np.array_equal(whole, voxels)
    everything = Roi((0, 0, 0, 0), (SHAPE[0], *SHAPE[2:]))
    law = denoiser.stencil
    grid = BlockGrid(everything, everything, Coordinate(1, 4, 11, 9), law.reach, law)
    cut = 0
    for index in grid.indices():
        read, write = grid.read_roi(index), grid.write_roi(index)
        crop = np.ascontiguousarray(part(voxels, read))
        result = trim(denoiser.denoise(crop), read, write)
        np.testing.assert_array_equal(result, part(whole, write))
        cut += read.shape[2] < everything.shape[2]
    assert cut


@pytest.mark.parametrize("name", CASES)
def test_every_setting_is_in_the_parameters(name: str) -> None:
    """But the engine: all have the same bits."""
    case = CASES[name]
    fields = type(TypeAdapter(Denoise).validate_python(case.section)).model_fields
    assert case.others.keys() == fields.keys() - {"kind"}
    before = denoiser_of(case.section).parameters
    for field, value in case.others.items():
        after = denoiser_of(case.section | {field: value}).parameters
        changed = {k for k in {**before, **after} if before.get(k) != after.get(k)}
        assert changed == ({f"denoise.{field}"} - {"denoise.engine"})


def test_no_two_denoisers_have_the_same_parameters() -> None:
    kinds = [
        denoiser_of(case.section).parameters["denoise.kind"] for case in CASES.values()
    ]
    assert kinds == list(CASES)


@pytest.mark.parametrize(
    ("section", "package"),
    [
        (CASES["ndsafir"].section | {"engine": "ndsafir"}, "ndsafir"),
        (CASES["median"].section, "scipy"),
        (CASES["gaussian"].section, "scipy"),
    ],
)
def test_each_names_its_engine_without_loading_it(
    section: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # an import raises ImportError
    engine = denoiser_of(section).engine
    assert engine == f"{package} {version(package)}"


@pytest.mark.parametrize("name", CASES)
def test_one_that_repeats_gives_the_same_bytes_every_time(name: str) -> None:
    denoiser = denoiser_of(CASES[name].section)
    assert denoiser.repeats
    first, second = (denoiser.denoise(image()).tobytes() for _ in range(2))
    assert first == second


def test_only_ndsafir_itself_is_inexact_with_several_threads() -> None:
    sections = {name: case.section for name, case in CASES.items()}
    sections["itself"] = CASES["ndsafir"].section | {"engine": "ndsafir"}
    for name, section in sections.items():
        assert denoiser_of(section, threads=1).repeats
        assert denoiser_of(section, threads=2).repeats is (name != "itself")


@pytest.mark.parametrize("precision", ["bitwise", "float32"])
def test_several_threads_give_the_bytes_of_one(precision: str) -> None:
    section = CASES["ndsafir"].section | {"precision": precision}
    one, two, five = (
        denoiser_of(section, threads=n).denoise(image()) for n in (1, 2, 5)
    )
    np.testing.assert_array_equal(two, one)
    np.testing.assert_array_equal(five, one)


@pytest.mark.parametrize("name", CASES)
def test_the_time_is_measured_and_grows_with_channels_and_voxels(name: str) -> None:
    """Twice as long a volume, in twice as many channels: all within a third."""
    denoiser = denoiser_of(CASES[name].section)
    pace = denoiser.pace(1)
    assert 1e-11 < pace.seconds_per_step < 1e-3
    one, four = (denoiser.steps((1, 9, 90, n * 90), n) for n in (1, 2))
    assert 3 < four / one < 4.5


def measured(section: dict[str, Any], dtype: str) -> float:
    """Bytes that each voxel takes in this process, all being loaded."""
    denoiser = denoiser_of(section, channels=1)
    convert(denoiser.denoise(np.ones((1, 1, 9, 16, 16), np.uint16)), "uint8")
    large = np.full((1, 1, 24, 400, 500), 300, dtype)
    before = peak_memory()
    convert(denoiser.denoise(large), "uint8")
    return (peak_memory() - before) / large.size


@pytest.mark.parametrize("name", SECTIONS | UNBIASED)
def test_the_memory_per_voxel_is_what_was_said(name: str) -> None:
    """At most, and not far below: blocks would be smaller than they could be.

    All voxels are clipped on the way to the output's type, which takes most.
    """
    section = (SECTIONS | UNBIASED)[name]
    section = section | ({"max_iter": 1} if "max_iter" in section else {})
    taken = []
    for dtype in ("uint16", "float32"):
        each, code = in_own_process(measured, section, dtype)
        assert code == 0
        taken.append(each)
    said = denoiser_of(section).bytes_per_voxel
    assert 0.75 * said < max(taken) < 1.05 * said, taken


def test_the_noise_is_asked_for_by_those_that_need_it_only() -> None:
    needs = {}
    for name, case in CASES.items():
        denoise: Any = TypeAdapter(Denoise).validate_python(case.section)
        unknown = GaussianNoise(kind="gaussian")
        made = denoise.denoiser(noise=unknown, channels=1, threads=1, probed=None)
        needs[name] = (made.needs_probing, denoise.knows_noise)
    knows = denoiser_of(CASES["ndsafir"].section)
    assert isinstance(knows, NdsafirDenoiser)
    told = replace(knows, noise=None)
    with pytest.raises(ValueError, match="probe the image first"):
        told.denoise(image())
    assert needs == {
        "ndsafir": (True, True),
        "median": (False, False),
        "gaussian": (False, False),
    }
