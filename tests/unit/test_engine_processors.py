"""Which sets of instructions a processor has, by what Linux tells of it."""

import shutil
from pathlib import Path

import pytest

from denoise_daisy.denoisers import native_engine
from denoise_daisy.denoisers.native_engine import instruction_sets, processor

V2 = "fpu sse sse2 ssse3 sse4_1 sse4_2 popcnt cx16 lahf_lm"
V3 = f"{V2} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"
V4 = f"{V3} avx512f avx512dq avx512cd avx512bw avx512vl"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an engine for each set of instructions, which runs anywhere."""
    for name in native_engine.INSTRUCTIONS:
        shutil.copy(native_engine._path("x86-64"), tmp_path / f"engine-{name}.so")
    monkeypatch.setattr(native_engine, "FOLDER", tmp_path)
    return tmp_path


def tell(built: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    cpu = built / "cpuinfo"
    cpu.write_text(text)
    monkeypatch.setattr(native_engine, "CPU", cpu)


def cpuinfo(flags: str) -> str:
    one = f"vendor_id\t: Some\nmodel name\t: Some Brand: 9000\nflags\t\t: {flags}\n"
    return "".join(f"processor\t: {i}\n{one}vmx flags\t: ept\n\n" for i in range(2))


@pytest.mark.parametrize(
    ("flags", "sets"),
    [
        (V4, ("x86-64-v4", "x86-64-v3", "x86-64")),
        (V4.replace("avx512vl", ""), ("x86-64-v3", "x86-64")),
        (V3, ("x86-64-v3", "x86-64")),
        (V3.replace(" fma", ""), ("x86-64",)),
        (V2, ("x86-64",)),
        ("", ("x86-64",)),
    ],
)
def test_a_processor_has_what_its_flags_name_the_fastest_first(
    flags: str, sets: tuple[str, ...], built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(built, monkeypatch, cpuinfo(flags))
    assert instruction_sets() == sets
    assert processor() == "Some Brand: 9000"


def test_what_was_not_built_is_not_there(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(built, monkeypatch, cpuinfo(V4))
    (built / "engine-x86-64-v3.so").unlink()
    assert instruction_sets() == ("x86-64-v4", "x86-64")


def test_of_a_processor_that_tells_nothing_the_least_is_taken(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_engine, "CPU", built / "not there")
    assert instruction_sets() == ("x86-64",)
    assert processor()
