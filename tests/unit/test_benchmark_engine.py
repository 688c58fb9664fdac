"""What `scripts/benchmark engine` says of engines, and of one that errs."""

from collections.abc import Iterator

import benchmark_engine
import numpy as np
import pytest
from benchmark_engine import Case

from denoise_daisy.denoisers.engines import Engine
from denoise_daisy.denoisers.native_engine import Precision
from denoise_daisy.denoisers.ndsafir_engine import Algorithm, denoise
from denoise_daisy.denoisers.noise import NoiseNumbers

SMALL = Case("small", (1, 2, 1, 24, 20), (0, 0, 1, 1), "yx", 1)

WRONG = {"bitwise": 0.0, "float32": 0.25}
"""What is added to one voxel of ndsafir's result."""


def stand_ins(precision: Precision, _: Algorithm, _channels: int) -> Iterator[Engine]:
    """Two instruction sets of an engine that is ndsafir, but for a voxel."""

    def compute(
        image: np.ndarray, noise: NoiseNumbers, algorithm: Algorithm, _: int
    ) -> np.ndarray:
        result = denoise(image, noise, algorithm, 1)
        result[0, 1, 0, 3, 4] += WRONG[precision]
        return result

    for instructions in ("fast", "slow"):
        name = f"{precision} engine, {instructions}"
        yield Engine(name, 24, compute, instructions)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_engine, "CASES", (SMALL,))
    monkeypatch.setattr(benchmark_engine, "native_engines", stand_ins)
    monkeypatch.setattr(benchmark_engine, "cores", lambda: 3)


def test_differences_of_float32_are_told_and_fail_nothing() -> None:
    found = benchmark_engine.run(2, every_set=False)
    assert "failed" not in found
    (case,) = found["cases"]
    told = [(row["engine"].split(", ")[0], row["threads"]) for row in case["rows"]]
    engines = (told[0][0], "bitwise engine", "float32 engine")
    assert told == [(engine, threads) for threads in (1, 3) for engine in engines]
    assert told[0][0].startswith("ndsafir")
    for row in case["rows"]:
        if row["engine"].startswith("float32"):
            assert row["differing"] == 1
            assert row["largest_difference"] == pytest.approx(0.25, abs=1e-4)
            rms = 0.25 / np.sqrt(2 * 24 * 20)
            assert row["rms_difference"] == pytest.approx(rms, rel=1e-3)
        elif row["threads"] == 1 or "bitwise" in row["engine"]:
            assert row["differing"] == row["largest_difference"] == 0


def test_one_other_voxel_of_bitwise_fails_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(WRONG, "bitwise", 0.25)
    found = benchmark_engine.run(1, every_set=False)
    assert found["failed"] == (
        "The bitwise engine differs from ndsafir in 1 voxels of an image."
    )


def test_every_instruction_set_is_measured_on_request() -> None:
    (case,) = benchmark_engine.run(1, every_set=True)["cases"]
    names = [row["engine"] for row in case["rows"] if row["threads"] == 1]
    assert names[1:] == [
        f"{precision} engine, {instructions}"
        for precision in ("bitwise", "float32")
        for instructions in ("fast", "slow")
    ]


def test_without_an_engine_there_is_nothing_to_measure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(benchmark_engine, "native_engines", lambda *_: iter(()))
    monkeypatch.setattr(benchmark_engine, "why_not", lambda *_: "it is not there")
    with pytest.raises(SystemExit, match=r"no engine to measure: it is not there\."):
        benchmark_engine.run(1, every_set=False)
