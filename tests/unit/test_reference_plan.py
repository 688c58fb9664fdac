"""The README's table of the light-sheet movie is what `plan` says of such an image."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy import plan
from denoise_daisy.denoisers.native_engine import instruction_sets
from denoise_daisy.denoisers.ndsafir import NdsafirDenoiser
from denoise_daisy.resolved import resolve
from denoise_daisy.runs import planning, preflight
from denoise_daisy.runs.plan import Plan
from harness import ROOT, config_for, load
from harness.reference import DENOISE, ReferenceImage

ROW = re.compile(
    r"^\| (?P<workers>\d+) of (?P<gib>\d+) GiB, (?P<cores>\d+) cores? each \|"
    r" (?P<blocks>\d+) of (?P<shape>[\d x]+) \| (?P<factor>[\d.]+) \|"
    r" (?P<files>\d+) \| (?P<bitwise>\d+) \| (?P<float32>\d+) \|$",
    re.MULTILINE,
)

ROWS = [m.groupdict() for m in ROW.finditer((ROOT / "README.md").read_text("utf-8"))]

STEP = {"bitwise": 5.1e-10, "float32": 1.6e-10}
"""Seconds of a step on one core: of Zen 3 with AVX2, where nothing else was at work."""

pytestmark = pytest.mark.skipif(
    not instruction_sets(), reason="the engine in C is not there"
)


def planned(
    row: dict[str, str], precision: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Plan:
    """For these workers, on a machine of that speed with much disk."""

    def step(denoiser: NdsafirDenoiser, _: int) -> float:
        return STEP[denoiser.section.precision] / denoiser.threads

    monkeypatch.setattr(NdsafirDenoiser, "seconds_per_step", step)
    monkeypatch.setattr(resolve, "open_image", lambda _: ReferenceImage())
    for module in (preflight, planning):
        monkeypatch.setattr(module, "free_disk", lambda _: (1 << 50, None))
    # These come to nothing: of zeros, and of what is another test's subject.
    monkeypatch.setattr(planning, "compressed_bytes", lambda _: None)
    monkeypatch.setattr(planning, "alternatives", lambda *_: ())
    config: dict[str, Any] = config_for(
        folder / "reference.czi",
        folder / "out.zarr",
        denoise=DENOISE | {"precision": precision},
    )
    config["workers"] = {
        "kind": "lsf",
        "count": int(row["workers"]),
        "cores": int(row["cores"]),
        "memory_gib": int(row["gib"]),
    }
    return plan(load(config))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['gib']} GiB")
def test_the_readmes_numbers_are_those_of_the_plan(
    row: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = planned(row, "bitwise", tmp_path, monkeypatch)
    assert found.blocks.count == int(row["blocks"])
    assert " x ".join(map(str, found.blocks.shape)) == row["shape"]
    assert f"{found.blocks.read_factor:.2f}" == row["factor"]
    stages = sum(stage.files for stage in found.stages)
    assert found.output.files + stages == int(row["files"])
    assert found.blocks.memory_bytes <= int(row["gib"]) << 30
    assert f"{found.time.core_hours:.0f}" == row["bitwise"]
    faster = planned(row, "float32", tmp_path, monkeypatch)
    assert replace(faster.blocks, seconds=0) == replace(found.blocks, seconds=0)
    assert f"{faster.time.core_hours:.0f}" == row["float32"]


def test_the_readme_has_workers_of_three_sizes_with_the_same_cores_together() -> None:
    assert [int(row["gib"]) for row in ROWS] == [4, 16, 64]
    assert {int(row["workers"]) * int(row["cores"]) for row in ROWS} == {128}
