"""An engine that is not ndsafir, bit by bit, is found out and not used.

Engines are spoiled here by numbers of the algorithm that are slightly off.
"""

import ctypes
import logging
import math
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from denoise_daisy.denoisers import (
    engine_trial,
    native_engine,
    ndsafir_engine,
)
from denoise_daisy.denoisers.engine_trial import stands_test, test_image, trusted
from denoise_daisy.denoisers.engines import MOST_SCRATCH, native_engines, scratch
from denoise_daisy.denoisers.native_engine import Precision, instruction_sets
from denoise_daisy.denoisers.native_numbers import CONSTANTS, Constants
from denoise_daisy.denoisers.ndsafir import Ndsafir, NdsafirDenoiser
from denoise_daisy.denoisers.ndsafir_engine import Algorithm, ndsafir_version
from denoise_daisy.denoisers.ndsafir_steps import elements_compared
from denoise_daisy.denoisers.noise import NoiseNumbers
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.geometry import AXES, largest_radius
from harness.engine_scenes import scene

GAUSSIAN = NoiseNumbers(noise_std=5.0)
PHOTONS = NoiseNumbers(gains=(2.0,), offsets=(-40.0,))
ITSELF = f"ndsafir {ndsafir_version()}"
FLOAT = np.dtype(np.float32)

ALL_STEPS = engine_trial.TEST_STEPS

make_image = partial(test_image, channels=1)
test_image.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _nothing_tested_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has begun; and smaller tests."""
    caches: list[Any] = [trusted, scratch]
    monkeypatch.setattr(engine_trial, "_distrusted", set())
    monkeypatch.setattr(engine_trial, "TEST_STEPS", ALL_STEPS / 10)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native_engine, "FOLDER", tmp_path)


def denoiser(
    *, threads: int = 1, noise: NoiseNumbers = GAUSSIAN, **section: Any
) -> NdsafirDenoiser:
    parameters = Ndsafir(**({"patch": {"z": 1, "y": 1, "x": 1}} | section))
    return NdsafirDenoiser(parameters, noise.kind, noise, threads, 1)


def spoil(
    monkeypatch: pytest.MonkeyPatch, *sets: str, name: str = "distance"
) -> Constants:
    """Have these sets of instructions compute with a number that is 1 % off."""
    off = replace(CONSTANTS, **{name: 1.01 * getattr(CONSTANTS, name)})
    real = native_engine.denoise

    def spoiled(*arguments: Any, instruction_set: str, **more: Any) -> np.ndarray:
        constants = off if instruction_set in sets else CONSTANTS
        return real(
            *arguments, instruction_set=instruction_set, constants=constants, **more
        )

    monkeypatch.setattr(native_engine, "denoise", spoiled)
    return off


def threads_of_ndsafir(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many it is called with from now on."""
    seen: list[int] = []
    real = ndsafir_engine.denoise

    def watched(image: Any, noise: Any, algorithm: Any, threads: int) -> np.ndarray:
        seen.append(threads)
        return real(image, noise, algorithm, threads)

    monkeypatch.setattr(ndsafir_engine, "denoise", watched)
    return seen


IMAGE = scene((1, 1, 4, 24, 30)).image


@pytest.mark.parametrize("precision", ["bitwise", "float32"])
def test_the_fastest_engine_is_used(precision: Precision) -> None:
    one = denoiser(precision=precision, threads=3)
    one.load(FLOAT)
    assert one.engine == f"{precision} engine, {instruction_sets()[0]}"
    assert one.repeats


@pytest.mark.parametrize("precision", ["bitwise", "float32"])
def test_one_that_differs_gives_way_to_the_next(
    precision: Precision,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fastest, *_, last = instruction_sets()
    if fastest == last:
        pytest.skip("this processor has no two sets of instructions")
    others = instruction_sets()[:-1]
    spoil(monkeypatch, *others)
    monkeypatch.setattr(native_engine, "processor", lambda: "Some Brand 9000")
    one = denoiser(precision=precision)
    assert one.engine == f"{precision} engine, {fastest}"
    one.load(FLOAT)
    assert one.engine == f"{precision} engine, {last}"
    said = [record.message for record in caplog.records]
    assert len(said) == len(others)
    for name, text in zip(others, said, strict=True):
        assert f"Not used: the {precision} engine, {name}." in text
        what = "bits" if precision == "bitwise" else "result"
        assert (
            f"On this processor (Some Brand 9000) it does not give the {what}" in text
        )
        assert f"of {ITSELF}." in text
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_ndsafir_itself_is_left_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = scene((1, 1, 4, 24, 30), patch=(0, 1, 1, 1)).by_ndsafir()
    spoil(monkeypatch, *instruction_sets())
    seen = threads_of_ndsafir(monkeypatch)
    one = denoiser(threads=4)
    one.load(FLOAT)
    seen.clear()
    np.testing.assert_array_equal(one.denoise(IMAGE), wanted)
    assert seen == [1]
    assert one.engine == ITSELF
    assert (one.bytes_per_voxel, one.process_bytes) == (28, 0)
    assert one.repeats
    assert one._choice.threads_used == 1


def test_one_asked_for_ndsafir_has_it_on_all_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = denoiser(threads=2, engine="ndsafir")
    seen = threads_of_ndsafir(monkeypatch)
    one.load(FLOAT)
    one.denoise(IMAGE)
    assert seen == [2]
    assert one.engine == ITSELF
    assert not one.repeats


def test_float32_is_refused_where_no_engine_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, *instruction_sets())
    one = denoiser(precision="float32")
    with pytest.raises(RefusedError, match="each was tested and differs") as refused:
        one.load(FLOAT)
    assert "start over with denoise.precision bitwise" in str(refused.value)
    assert platform.node() in str(refused.value)


def test_exponentials_that_are_off_by_a_bit_are_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even where the bits of the test's image are right."""
    real = native_engine.exponentials

    def spoiled(numbers: np.ndarray, instruction_set: str) -> np.ndarray:
        found = real(numbers, instruction_set)
        found[-1] = np.nextafter(found[-1], 1)
        return found

    monkeypatch.setattr(native_engine, "exponentials", spoiled)
    one = denoiser()
    one.load(FLOAT)
    assert one.engine == ITSELF


def test_exponentials_are_those_of_the_c_library() -> None:
    """As far as they count: below -500 the engine has 0."""
    numbers = -np.random.default_rng(1).uniform(0, 500, 1 << 15)
    numbers[:5] = [0.0, -1e-300, -math.log(2), -499.99, -1e-9]
    for name in instruction_sets():
        found = native_engine.exponentials(numbers, name)
        assert found.tolist() == [math.exp(x) for x in numbers]


@pytest.mark.parametrize("content", [b"", b"no library at all" * 999])
def test_a_library_that_can_not_be_loaded_is_not_used(
    content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fastest, *others = instruction_sets()
    for name in others:
        shutil.copy(native_engine._path(name), tmp_path)
    (tmp_path / f"engine-{fastest}.so").write_bytes(content)
    monkeypatch.setattr(native_engine, "FOLDER", tmp_path)
    one = denoiser()
    one.load(FLOAT)
    assert one.engine == f"bitwise engine, {others[0]}" if others else ITSELF


def test_a_library_of_other_sources_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nor asked for anything: it would take one number for another."""

    class Longer(native_engine._Settings):
        _fields_ = [("more", ctypes.c_double)]

    for name in instruction_sets():
        shutil.copy(native_engine._path(name), tmp_path)
    monkeypatch.setattr(native_engine, "FOLDER", tmp_path)
    monkeypatch.setattr(native_engine, "_Settings", Longer)
    one = denoiser()
    one.load(FLOAT)
    assert one.engine == ITSELF


@pytest.mark.usefixtures("no_engine")
def test_where_there_is_no_engine_that_is_said_early() -> None:
    one = denoiser(threads=4)
    shape = (1, 4, 24, 30)
    one.check(shape)
    (said,) = one._choice.warnings()
    assert "ndsafir itself denoises, on one of 4 threads, and takes several" in said
    assert "it is not there" in said
    (said,) = denoiser()._choice.warnings()
    assert "ndsafir itself denoises, and takes several" in said
    assert one.engine == ITSELF
    assert (one.bytes_per_voxel, one.process_bytes) == (28, 0)
    one.load(FLOAT)


@pytest.mark.usefixtures("no_engine")
def test_float32_without_an_engine_is_refused_early() -> None:
    one = denoiser(precision="float32")
    with pytest.raises(InputError, match=r"it is not there.*precision to bitwise"):
        one.check((1, 4, 24, 30))
    with pytest.raises(RefusedError, match="it is not there"):
        one.load(FLOAT)


BEYOND: dict[str, tuple[dict[str, Any], str]] = {
    "pvalue 0": ({"pvalue": 0.0}, "denoise.pvalue is 0"),
    "pvalue 1": ({"pvalue": 1.0}, "denoise.pvalue is 1"),
    "large patches": ({"patch": {"z": 9, "y": 60, "x": 60}}, "needs much memory"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_what_the_engine_can_not_do_is_left_to_ndsafir(name: str) -> None:
    section, why = BEYOND[name]
    one = denoiser(threads=2, **section)
    shape = (1, 100, 200, 200)
    assert one.engine == ITSELF
    (said,) = one._choice.warnings()
    assert why in said
    with pytest.raises(InputError, match=why):
        denoiser(precision="float32", **section).check(shape)


@pytest.mark.parametrize("pvalue", [0.0, 1.0])
def test_a_pvalue_without_quantile_has_ndsafirs_result(pvalue: float) -> None:
    wanted = scene((1, 1, 4, 24, 30), patch=(0, 1, 1, 1), pvalue=pvalue).by_ndsafir()
    found = denoiser(threads=2, pvalue=pvalue).denoise(IMAGE)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_left_to_ndsafir_on_one_thread(
    wrong: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scene((1, 1, 4, 24, 30), patch=(0, 1, 1, 1))
    one.image[0, 0, 2, 12, 13] = wrong
    wanted = one.by_ndsafir()
    that = denoiser(threads=2)
    that.load(FLOAT)
    with monkeypatch.context() as patch:
        seen = threads_of_ndsafir(patch)
        found = that.denoise(one.image)
    assert seen == [1]
    np.testing.assert_array_equal(found, wanted)
    assert that.engine != ITSELF


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_float32_has_no_way_with_what_is_no_number(wrong: float) -> None:
    """Its bits would hang on what else is in the block."""
    one = scene((1, 1, 4, 24, 30), patch=(0, 1, 1, 1))
    one.image[0, 0, 2, 12, 13] = wrong
    with pytest.raises(ValueError, match=r"set denoise\.precision to bitwise"):
        denoiser(precision="float32").denoise(one.image)


def test_each_process_tests_once_for_all_that_matters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tested: list[Any] = []

    def counted(*arguments: Any) -> bool:
        tested.append(arguments)
        return stands_test(*arguments)

    monkeypatch.setattr(engine_trial, "stands_test", counted)
    for _ in range(2):
        one = denoiser()
        one.load(FLOAT)
        one.denoise(IMAGE)
    denoiser(threads=3).denoise(IMAGE)
    assert len(tested) == 1
    denoiser(pvalue=0.2).load(FLOAT)
    denoiser(noise=PHOTONS).load(FLOAT)
    denoiser(precision="float32").load(FLOAT)
    denoiser().denoise(IMAGE.astype(np.uint16))
    assert len(tested) == 5


def test_with_the_unbiased_inverse_its_gaussian_mode_is_tested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once for images of all types, and without ndsafir's transform."""
    tested: list[Any] = []

    def watched(engine: Any, *arguments: Any) -> bool:
        tested.append(arguments[2:])
        return stands_test(engine, *arguments)

    monkeypatch.setattr(engine_trial, "stands_test", watched)
    with monkeypatch.context() as patch:
        spoil(patch, *instruction_sets(), name="photon_variance")
        one = denoiser(noise=PHOTONS, inverse="unbiased")
        one.load(np.dtype(np.uint16))
        one.denoise(IMAGE)
        assert one.engine != ITSELF
    assert tested == [(NoiseNumbers(noise_std=1.0), 1, FLOAT)]
    trusted.cache_clear()
    spoil(monkeypatch, *instruction_sets())
    one.load(np.dtype(np.uint16))
    assert one.engine == ITSELF


def test_ndsafir_has_no_float32() -> None:
    with pytest.raises(ValidationError, match="ndsafir itself has no other"):
        Ndsafir(engine="ndsafir", precision="float32")


# The test itself

SEEN = [
    *((GAUSSIAN, name) for name in ("distance", "first_variance", "mixed_part")),
    *((PHOTONS, name) for name in ("slope", "photon_variance", "inverse_quarter")),
    (PHOTONS, "inverse_shift"),
]


@pytest.mark.parametrize("precision", ["bitwise", "float32"])
@pytest.mark.parametrize(("noise", "name"), SEEN)
def test_a_number_that_is_one_per_cent_off_is_found_out(
    noise: NoiseNumbers,
    name: str,
    precision: Precision,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    algorithm = Algorithm((0, 1, 1, 1), "zyx", 2, 0.1)

    def stands() -> bool:
        engine = next(native_engines(precision, algorithm, 1))
        return stands_test(engine, precision, algorithm, noise, 1, FLOAT)

    assert name in {field.name for field in fields(Constants)}
    assert stands()
    spoil(monkeypatch, *instruction_sets(), name=name)
    assert not stands()


COMMON = {
    "default": Algorithm((0, 0, 3, 3), "zyx", 3, 0.1),
    "volume": Algorithm((0, 1, 3, 3), "zyx", 4, 0.1),
    "movie": Algorithm((1, 0, 2, 2), "tzyx", 4, 0.1),
}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("noise", [GAUSSIAN, PHOTONS])
@pytest.mark.parametrize("name", COMMON)
def test_it_has_an_image_as_large_as_there_is_time_for(
    name: str, noise: NoiseNumbers, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_trial, "TEST_STEPS", ALL_STEPS)
    algorithm = COMMON[name]
    image = make_image(algorithm, noise, dtype=np.dtype(dtype))
    assert image.dtype == dtype
    t, channels, *others = image.shape
    assert channels == 1
    for axis, radius, n in zip(AXES, algorithm.patch, (t, *others), strict=True):
        largest = largest_radius(axis, n)
        assert largest is None or radius <= largest
    steps = elements_compared(
        algorithm.patch, algorithm.active_dimensions, algorithm.max_iter, (t, *others)
    )
    assert ALL_STEPS / 30 < steps <= ALL_STEPS
    reference = ndsafir_engine.denoise(image, noise, algorithm, 1)
    assert (reference != image).mean() > 0.8
    assert len(np.unique(image)) > 30


@pytest.mark.parametrize("precision", ["bitwise", "float32"])
@pytest.mark.parametrize("name", ["default", "volume"])
def test_it_takes_little_time(
    name: str, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the processor: 0.3 seconds for ndsafir, twice that for float32."""
    monkeypatch.setattr(engine_trial, "TEST_STEPS", ALL_STEPS)
    ndsafir_engine.load_ndsafir()
    started = time.process_time()
    trusted(precision, COMMON[name], GAUSSIAN, 1, FLOAT)
    assert time.process_time() - started < 2


def test_patches_within_the_bound_are_the_engines() -> None:
    section, _ = BEYOND["large patches"]
    patch = (0, *section["patch"].values())
    assert scratch(Algorithm(patch, "zyx", 3, 0.1), 1) > MOST_SCRATCH
    assert scratch(COMMON["default"], 1) < 8 << 20
    assert scratch(COMMON["volume"], 2) < MOST_SCRATCH / 4


def test_its_image_is_no_plane_where_darkness_is_below_zero() -> None:
    """An unsigned image would hold nothing but zeros."""
    algorithm = Algorithm((0, 0, 1, 1), "yx", 1, 0.1)
    noise = NoiseNumbers(gains=(2.0,), offsets=(2.0 * 900,))
    for dtype in ("uint8", "uint16"):
        image = make_image(algorithm, noise, dtype=np.dtype(dtype))
        assert np.unique(image).size > 20
