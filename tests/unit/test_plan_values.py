"""What a plan says as values, as text and as JSON."""

import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from demo_czi import write_czi

from denoise_daisy import plan, run
from denoise_daisy.blockwise.block_shape import WORKER_BYTES
from denoise_daisy.blockwise.limits import Pace
from denoise_daisy.denoisers.median import MedianDenoiser
from denoise_daisy.images.formats import open_image
from denoise_daisy.launchers import local
from denoise_daisy.resolved import resolve
from denoise_daisy.runs import alternatives
from denoise_daisy.runs.plan import Alternative, Plan
from harness import config_for, here, load, small_czi, small_image, write_config
from harness.images import MemoryImage

GIB = 1 << 30

START = 6.5 / 3600
"""Hours until the first block."""

MEDIAN = {"kind": "median", "size": {"y": 3, "x": 5}}

SOFT = {"kind": "smooth", "name": "soft", "sigma": {"y": 1}}
CELLS = {"kind": "label", "name": "cells", "input": "mask"}
MASK = {"kind": "threshold", "name": "mask", "input": "raw", "value": 120}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """A run of three blocks by two workers: two time points, one of ten planes."""
    values = config_for(
        small_czi(tmp_path / "in.czi", (3, 1, 4, 40, 32)),
        tmp_path / "out.zarr",
        output={"chunks": {"y": 40, "x": 32}},
        blocks={"shape": {}},
    )
    del values["noise"]
    return values | {"denoise": MEDIAN}


def undo(folder: Path, but: int) -> None:
    """Leave so many blocks of the denoising done."""
    files = sorted((folder / "out.zarr.run/ledger/denoise").glob("*.jsonl"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    for file in files:
        file.unlink()
    files[0].write_text("".join(f"{line}\n" for line in lines[:but]))


def row(said: object, name: str) -> str:
    [line] = [x for x in str(said).splitlines() if x.startswith(f"{name:<8} ")]
    return line[9:]


def test_a_plan_tells_the_images_scale_and_the_denoisers_settings(
    config: dict[str, Any],
) -> None:
    found = plan(load(config))
    assert found.image.voxel_size_um == pytest.approx((0.3, 0.145, 0.145))
    assert found.image.time_step_s == 30
    assert row(found, "voxels") == "0.3 x 0.145 x 0.145 um (z y x), time step 30 s"
    assert found.denoiser.settings == MEDIAN
    assert row(found, "denoise") == "median: size y 3 x 5"


def test_a_plan_tells_what_ndsafir_is_told(config: dict[str, Any]) -> None:
    said = plan(load(config | {"denoise": {"patch": {"z": 1, "y": 2}, "max_iter": 2}}))
    assert row(said, "denoise") == (
        "ndsafir: patch z 1 y 2, active_dimensions zyx, max_iter 2, pvalue 0.1,"
        " precision bitwise, engine auto, cover ndsafir,"
        " inverse ndsafir, time_as_z False"
    )
    assert said.denoiser.is_calibrated_now
    assert set(said.denoiser.noise or {}) == {"gains", "offsets", "noise_std"}


def test_a_plan_tells_the_grey_levels_of_each_channel(tmp_path: Path) -> None:
    """So small an image is sampled whole; a median needs no samples."""
    shape = (1, 2, 4, 64, 64)
    source = small_czi(tmp_path / "in.czi", shape)
    config = config_for(source, tmp_path / "out.zarr", noise_channels=2)
    first, second = ((int(c.min()), int(c.max())) for c in small_image(shape)[0])
    said = plan(load(config))
    assert said.image.grey_levels == (first, second)
    a, b = said.image.channels
    assert row(said, "levels") == (
        f"{a} {first[0]} to {first[1]}, {b} {second[0]} to {second[1]} (in samples)"
    )
    del config["noise"]
    said = plan(load(config | {"denoise": MEDIAN}))
    assert said.image.grey_levels == ()
    assert "levels" not in str(said)


def test_a_movie_without_times_and_sizes_says_so(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = MemoryImage(small_image((3, 1, 4, 40, 32)))
    image.path = "in.czi"  # type: ignore[attr-defined]
    monkeypatch.setattr(resolve, "open_image", lambda _: image)
    said = plan(load(config))
    assert row(said, "voxels") == "? x ? x ? um (z y x), time step ?"


def steady(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The median takes so many seconds for a voxel that it reads."""
    pace = Pace.known(seconds)
    monkeypatch.setattr(MedianDenoiser, "pace", lambda *_: pace)
    monkeypatch.setattr("denoise_daisy.runs.plan_hours.IO_SECONDS", 0.0)


def test_hours_are_those_of_blocks_shared_by_workers(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three blocks of 5120 voxels, for two workers of one thread, then of four."""
    steady(monkeypatch, 1.0)
    config["workers"] |= {"block_timeout_minutes": 1e6}
    time = plan(load(config)).time
    assert time.hours == pytest.approx(2 * 5120 / 3600 + START)
    assert time.hours_left == pytest.approx(time.hours)
    assert time.core_hours == pytest.approx(3 * 5120 / 3600)
    config["workers"]["threads_per_worker"] = 4
    again = plan(load(config)).time
    assert again.hours == pytest.approx(time.hours)
    assert again.core_hours == pytest.approx(4 * time.core_hours)


def test_what_follows_is_counted_and_what_is_not_known_is_named(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    steady(monkeypatch, 1e-3)
    found = plan(load(config | {"tasks": [MASK, CELLS]}))
    by_task = found.time.core_hours_by_task
    assert set(by_task) == {"denoise", "mask", "cells"}
    assert sum(by_task.values()) == pytest.approx(found.time.core_hours)
    assert by_task["denoise"] == pytest.approx(3 * 5.120 / 3600)
    assert found.time.not_known == ("cells.union",)
    assert row(found, "hours").endswith("not known beforehand: cells.union")
    only = plan(load(config | {"tasks": [MASK, CELLS]}), tasks=["denoise"])
    assert only.time.core_hours == pytest.approx(by_task["denoise"])
    assert only.time.not_known == ()


def test_workers_of_its_own_work_beside_the_runs(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longer of the two tells when all is done."""
    steady(monkeypatch, 1e-3)
    config["workers"] |= {"count": 1}
    beside = {**SOFT, "workers": {"kind": "local", "count": 1}}
    alone = plan(load(config))
    both = plan(load(config | {"tasks": [beside]}))
    after = plan(load(config | {"tasks": [SOFT]}))
    assert both.time.hours == pytest.approx(alone.time.hours)
    assert after.time.hours > alone.time.hours
    assert both.time.core_hours > alone.time.core_hours


def test_what_is_left_is_less_once_something_is_done(
    config: dict[str, Any], tmp_path: Path
) -> None:
    run(load(config), say=lambda _: None)
    undo(tmp_path, but=2)
    found = plan(load(config))
    assert (found.blocks.done, found.blocks.count) == (2, 3)
    left, whole = found.time.hours_left - START, found.time.hours - START
    assert left == pytest.approx(whole / 3)
    assert re.fullmatch(r"1 blocks, about [\d.]+ s", row(found, "left"))


def test_of_a_run_that_is_done_there_is_nothing_to_choose_or_to_try(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(load(config), say=lambda _: None)
    found = plan(load(config))
    assert found.time.hours_left == 0
    assert found.alternatives == ()
    assert found.output.compressed_bytes is None


def test_json_has_every_field_by_its_name(
    config: dict[str, Any], tmp_path: Path
) -> None:
    path = write_config(tmp_path / "config.json", config | {"tasks": [SOFT]})
    answer = here("plan", path, "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    told = json.loads(answer.stdout)
    found = plan(load(config | {"tasks": [SOFT]}))
    _same_fields(found, told)
    assert told["blocks"]["count"] == 3
    assert told["image"]["region"] == [[0, 3], [0, 4], [0, 40], [0, 32]]
    assert told["stages"][0]["own_workers"] is None
    text = here("plan", path).stdout
    assert (
        row(text, "blocks") == "3 (3 x 1 x 1 x 1) of 1 x 4 x 40 x 32 voxels (t z y x)"
    )


def _same_fields(value: Any, told: Any) -> None:
    if is_dataclass(value):
        assert set(told) == {field.name for field in fields(value)}
        for field in fields(value):
            _same_fields(getattr(value, field.name), told[field.name])
    elif isinstance(value, tuple):
        for mine, theirs in zip(value, told, strict=True):
            _same_fields(mine, theirs)


def test_every_field_of_a_plan_is_one_that_a_reader_knows(
    config: dict[str, Any],
) -> None:
    """Numbers that are none would be no JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(plan(load(config)).json(), parse_constant=refuse)


def test_the_size_on_disk_is_about_what_is_written(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """Of integers, and of floats, which take more."""
    for dtype in ("input", "float32"):
        output = tmp_path / f"{dtype}.zarr"
        config["output"] |= {"path": str(output), "dtype": dtype}
        about = plan(load(config)).output.compressed_bytes
        run(load(config), say=lambda _: None)
        files = [f for f in (output / "0" / "c").rglob("*") if f.is_file()]
        assert about == pytest.approx(sum(f.stat().st_size for f in files), rel=0.1)


# What other settings would change.

MEMORY = (WORKER_BYTES + (12 << 20)) / GIB
"""GiB that a worker has, for a fifth of the image with its context."""

TWICE = f"{2 * MEMORY:.3g}"


@pytest.fixture
def large(tmp_path: Path) -> dict[str, Any]:
    """Of 16 chunks along y; a worker has memory for few at once."""
    return config_for(
        small_czi(tmp_path / "in.czi", (1, 1, 8, 1024, 256)),
        tmp_path / "out.zarr",
        output={"chunks": {"z": 8, "y": 64, "x": 256}, "shards": None},
        denoise={"patch": {"y": 1, "x": 1}, "max_iter": 3},
        workers={"count": 2},
        blocks={"memory_gib": MEMORY},
    )


def told(config: dict[str, Any], setting: str) -> dict[str, Any]:
    """A config in which that was set."""
    [(section, values)] = json.loads(f"{{{setting}}}").items()
    return config | {section: config.get(section, {}) | values}


def test_other_settings_come_to_what_a_plan_with_them_says(
    large: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "cores", lambda: 4)
    monkeypatch.setattr(alternatives, "free_memory", lambda: 64 * GIB)
    large["workers"]["count"] = "auto"
    found = plan(load(large))
    settings = [other.setting for other in found.alternatives]
    assert settings == [
        f'"blocks": {{"memory_gib": {TWICE}}}',
        '"workers": {"threads_per_worker": "auto"}',
        '"denoise": {"precision": "float32"}',
    ]
    for other in found.alternatives:
        _is_as_said(other, plan(load(told(large, other.setting))))


def _is_as_said(other: Alternative, found: Plan) -> None:
    assert other.blocks == found.blocks.count
    assert other.read_factor == found.blocks.read_factor
    assert other.workers == found.workers.count
    assert other.memory_bytes == found.blocks.memory_bytes


def test_a_machine_is_not_asked_for_more_memory_than_it_has(
    large: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers, each of twice the memory, have four fifths of what is free."""
    enough = int(4 * MEMORY * GIB / 0.8)
    monkeypatch.setattr(alternatives, "free_memory", lambda: int(0.99 * enough))
    settings = [other.setting for other in plan(load(large)).alternatives]
    assert not [s for s in settings if "memory" in s]
    monkeypatch.setattr(alternatives, "free_memory", lambda: int(1.01 * enough))
    settings = [other.setting for other in plan(load(large)).alternatives]
    assert f'"blocks": {{"memory_gib": {TWICE}}}' in settings


def test_jobs_are_asked_for_more_memory(large: dict[str, Any]) -> None:
    large |= {"workers": {"kind": "lsf", "count": 2, "memory_gib": MEMORY}}
    large["blocks"] = {}
    found = plan(load(large))
    settings = [other.setting for other in found.alternatives]
    assert f'"workers": {{"memory_gib": {TWICE}}}' in settings
    for other in found.alternatives:
        _is_as_said(other, plan(load(told(large, other.setting))))


def test_what_changes_nothing_is_no_alternative(large: dict[str, Any]) -> None:
    """Blocks of one shape whatever the memory, float32 already, one thread for all."""
    large["blocks"] = {"shape": {"y": 128}, "memory_gib": 1}
    large["denoise"] |= {"precision": "float32"}
    large["workers"] = {"kind": "local", "count": 64, "threads_per_worker": 1}
    assert plan(load(large)).alternatives == ()


def test_a_run_that_has_begun_keeps_its_precision(
    large: dict[str, Any], tmp_path: Path
) -> None:
    large["blocks"] = {"shape": {"y": 512}}
    run(load(large), say=lambda _: None)
    undo(tmp_path, but=1)
    settings = [other.setting for other in plan(load(large)).alternatives]
    assert not [s for s in settings if "precision" in s]


def test_the_image_is_opened_once_for_all_settings(
    large: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    def noted(section: Any) -> Any:
        opened.append(section)
        return open_image(section)

    monkeypatch.setattr(resolve, "open_image", noted)
    assert plan(load(large)).alternatives
    assert len(opened) == 1


def test_blocks_that_are_left_as_they_are_take_no_hours(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of three time points is dark: a third is saved, and said to be."""
    steady(monkeypatch, 1.0)
    image = small_image((3, 1, 4, 40, 32))
    image[0] = 1
    write_czi(tmp_path / "dark.czi", image)
    config["workers"] |= {"block_timeout_minutes": 1e6}
    config["input"] = {"path": str(tmp_path / "dark.czi")}
    all_of_it = plan(load(config)).time
    config["blocks"] |= {"skip": {"below": 2}}
    found = plan(load(config))
    assert found.time.core_hours == pytest.approx(all_of_it.core_hours * 2 / 3)
    assert row(found, "skip").endswith(f"saves {5120 / 3600:.3g} of 4.27 core hours")
