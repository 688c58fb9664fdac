"""Blocks are cut for the time and the memory of those who do them, else refused.

How long a step takes is set here, so that the times are known.  The image is of 4 x 64
x 64 voxels, in files of 4 x 16 x 64.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from funlib.geometry import Coordinate

from denoise_daisy.__main__ import main
from denoise_daisy.blockwise.limits import Pace
from denoise_daisy.denoisers.base import Denoiser
from denoise_daisy.denoisers.ndsafir import Ndsafir, NdsafirDenoiser
from denoise_daisy.denoisers.ndsafir_steps import elements_compared
from denoise_daisy.denoisers.noise import NoiseNumbers
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.launchers.local import LocalWorkers
from denoise_daisy.launchers.lsf import LsfWorkers
from denoise_daisy.resolved.resolve import resolve, restore
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.preflight import Preflight, _check_blocks, preflight
from harness import config_for, load, small_czi, write_config
from harness.prepared import checked, resolved

MEDIAN = {"kind": "median", "size": {"y": 1, "x": 1}}
"""One step for each voxel."""

FUNCTION = {
    "kind": "function",
    "name": "own",
    "function": "math:floor",
    "dtype": "uint8",
    "channels": 1,
}


def asked_in(folder: Path, **sections: Any) -> dict[str, Any]:
    source = folder / "in.czi"
    if not source.exists():
        small_czi(source, (1, 1, 4, 64, 64))
    config = config_for(source, folder / "out.zarr")
    del config["noise"]
    config["output"] |= {"chunks": {"z": 4, "y": 16, "x": 64}, "shards": None}
    config |= {"denoise": MEDIAN, "workers": LOCAL}
    return config | sections


def takes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let a denoiser take so long for each voxel: a microsecond for each step."""
    monkeypatch.setattr(Denoiser, "seconds_per_step", lambda *_: 1e-6)

    def steps(_: Denoiser, shape: Sequence[int], channels: int) -> float:
        return math.prod(shape) * channels * seconds * 1e6

    monkeypatch.setattr(Denoiser, "steps", steps)


LOCAL = {"kind": "local", "count": 1}
SLURM = {"kind": "slurm", "count": 1}
LSF = {"kind": "lsf", "count": 1}

HOURS_OF_TIME = {
    "local": (LOCAL | {"block_timeout_minutes": 60}, 1),
    "by default": (LOCAL, 4),
    "slurm": (SLURM | {"time": "2:00:00"}, 2),
    "lsf": (LSF | {"walltime_minutes": 120}, 2),
    "timeout before walltime": (LSF | {"walltime_minutes": 999}, 4),
}


@pytest.mark.parametrize("name", HOURS_OF_TIME)
@pytest.mark.parametrize(("rows", "quarters"), [(64, 0.99), (32, 1.01), (16, 3.99)])
def test_a_block_is_cut_for_a_quarter_of_the_time(
    name: str,
    rows: int,
    quarters: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole image takes so many times that quarter."""
    workers, hours = HOURS_OF_TIME[name]
    takes(monkeypatch, quarters * hours * 900 / (4 * 64 * 64))
    run = resolved(load(asked_in(tmp_path, workers=workers)))
    assert run.denoising.grid.block_shape == (1, 4, rows, 64)


def test_where_all_take_longer_the_quickest_is_taken_that_has_time_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of the image in just an hour."""
    workers = LOCAL | {"block_timeout_minutes": 60}
    config = load(asked_in(tmp_path, workers=workers))
    takes(monkeypatch, 3599 / (4 * 16 * 64))
    assert resolved(config).denoising.grid.block_shape == (1, 4, 16, 64)
    takes(monkeypatch, 3601 / (4 * 16 * 64))
    with pytest.raises(InputError) as refused:
        resolved(config)
    said = str(refused.value)
    assert "The smallest block, of 1x4x16x64 voxels" in said
    assert "takes about 60 min (measured on this machine)" in said
    assert "workers.block_timeout_minutes gives it 60 min" in said
    assert "output.chunks" in said


@pytest.mark.parametrize(
    ("workers", "key"),
    [
        (LOCAL | {"block_timeout_minutes": 60}, "workers.block_timeout_minutes"),
        (LSF | {"walltime_minutes": 60}, "workers.walltime_minutes"),
        (SLURM | {"time": "1:00:00"}, "workers.time"),
    ],
)
def test_blocks_that_were_asked_for_are_refused_beyond_the_whole_time(
    workers: dict[str, Any], key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = asked_in(tmp_path, workers=workers, blocks={"shape": {}})
    monkeypatch.setattr(
        "denoise_daisy.launchers.batch.BatchLauncher.check", lambda _: None
    )
    takes(monkeypatch, 3599 / (4 * 64 * 64))
    assert not checked(load(values)).is_done
    takes(monkeypatch, 7201 / (4 * 64 * 64))
    with pytest.raises(InputError) as refused:
        checked(load(values))
    said = str(refused.value)
    assert (
        f"A block takes about 2.0 h (measured on this machine), but {key}"
        in said.replace("120 min", "2.0 h")
    )
    assert "blocks.shape" in said


def test_a_run_keeps_its_blocks_as_long_as_there_is_time_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(asked_in(tmp_path))
    takes(monkeypatch, 0.0)
    record = resolved(config).record(1)
    takes(monkeypatch, 4 * 3599 / (4 * 64 * 64))
    kept = resolve(config, record, "another").denoising.grid
    assert kept.block_shape == (1, 4, 64, 64)
    takes(monkeypatch, 4 * 3601 / (4 * 64 * 64))
    cut = resolve(config, record, "another").denoising.grid
    assert cut.block_shape == (1, 4, 16, 64)


def test_time_is_measured_only_where_it_matters_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A microsecond for each step is more than any machine takes: 16 ms for all."""
    measured: list[Denoiser] = []

    def measure(denoiser: Denoiser, _: int) -> float:
        measured.append(denoiser)
        return 1e-9

    monkeypatch.setattr(Denoiser, "seconds_per_step", measure)
    for seconds, times in ((4 * 0.017, 0), (4 * 0.016, 1)):
        limits = LOCAL | {"block_timeout_minutes": seconds / 60}
        config = load(asked_in(tmp_path, workers=limits))
        run = resolved(config)
        assert run.denoising.grid.block_shape == (1, 4, 64, 64)
        assert len(measured) == times
    write_config(tmp_path / "config.json", config.recorded)
    run.run_dir.path.mkdir()
    restore(run.record(1), RunDir(run.run_dir.path))
    assert len(measured) == 1


# Memory.


def test_a_run_that_is_not_exact_keeps_its_blocks_whatever_the_memory(
    tmp_path: Path,
) -> None:
    """Other blocks would be other bytes: it is the memory that has to be given."""
    values = asked_in(tmp_path, workers=LOCAL | {"threads_per_worker": 2})
    itself = {"engine": "ndsafir"}
    values["denoise"] = {"patch": {"y": 1, "x": 1}, "max_iter": 1} | itself
    values["noise"] = {"kind": "gaussian", "noise_std": 9.0}
    first = resolved(load(values))
    assert not first.is_exact
    # In which all of the image would be in other blocks.
    less = {"blocks": {"memory_gib": (first.memory - 1) / (1 << 30)}}
    with pytest.raises(InputError, match=r"A block, .* Raise blocks.memory_gib"):
        preflight(load(values | less), first.record(1), new_id="another")
    again = resolve(load(values | less), first.record(1), "another")
    assert again.denoising.grid.block_shape == first.denoising.grid.block_shape
    # A shape that the user sets is the user's.
    with pytest.raises(RefusedError, match=r"blocks\.shape was"):
        preflight(
            load(values | {"blocks": {"shape": {"y": 16}}}),
            first.record(1),
            new_id="another",
        )


SOFT = {"kind": "smooth", "name": "soft", "sigma": {"y": 1}, "input": "raw"}
MASK = {"kind": "threshold", "name": "mask", "value": 300}
CELLS = {"kind": "label", "name": "cells", "input": "mask"}
BASE = (200 + 24) << 20


@pytest.mark.parametrize(("more", "rows"), [(0, 64), (-1, 32)])
def test_a_tasks_blocks_fit_the_memory_of_its_own_workers(
    more: int, rows: int, tmp_path: Path
) -> None:
    """Of pieces 15 bytes, and one of the mask, of ids 9; the run's have plenty."""
    need = BASE + 4 * 64 * 64 * 16
    own = LSF | {"memory_gib": (need + more) / (1 << 30)}
    values = asked_in(tmp_path, tasks=[MASK, CELLS | {"workers": own}])
    stages = {stage.name: stage for stage in resolved(load(values)).stages}
    assert stages["mask"].grid.block_shape == (1, 4, 64, 64)
    for name, each in (("cells.pieces", 16), ("cells", 10)):
        assert stages[name].grid.block_shape == (1, 4, rows, 64)
        assert stages[name].memory == BASE + 4 * rows * 64 * each


@pytest.mark.parametrize(
    ("own", "advice"),
    [
        (LSF | {"memory_gib": 0.2}, "Raise workers.memory_gib of task 'cells'"),
        (LOCAL | {"count": 90_000}, "Lower workers.count of task 'cells'"),
    ],
)
@pytest.mark.parametrize("shape", [{}, {"shape": {"y": 32}}])
def test_a_task_that_its_workers_have_no_memory_for_is_refused(
    own: dict[str, Any], advice: str, shape: dict[str, Any], tmp_path: Path
) -> None:
    task = CELLS | {"workers": own, "blocks": shape}
    with pytest.raises(InputError, match=f"needs 0.22 GiB.*{advice}"):
        checked(load(asked_in(tmp_path, tasks=[MASK, task])))


@pytest.mark.parametrize(("dtype", "each"), [("uint8", 12), ("float32", 24)])
def test_finding_a_threshold_takes_the_memory_of_its_samples(
    dtype: str, each: int, tmp_path: Path
) -> None:
    """Of so small an image, all; measured: 12 bytes a voxel, 16 for uint16, 24."""
    found = {"kind": "threshold", "name": "bright", "method": "li"}
    values = asked_in(tmp_path, tasks=[found])
    values["output"] |= {"dtype": dtype}
    [stage] = [s for s in resolved(load(values)).stages if s.name == "bright.value"]
    assert stage.memory == BASE + 4 * 64 * 64 * each


def test_nobody_is_told_to_cut_what_can_not_be_cut(tmp_path: Path) -> None:
    """The samples of a whole image are one block, whatever blocks.shape says."""
    own = LSF | {"memory_gib": (BASE + 4 * 64 * 64 * 8) / (1 << 30)}
    found = {"kind": "threshold", "name": "bright", "method": "li", "workers": own}
    refused = r"of bright\.value, .* of task 'bright', or leave task 'bright' out\."
    with pytest.raises(InputError, match=refused):
        checked(load(asked_in(tmp_path, tasks=[found])))


def test_levels_that_were_cut_for_more_memory_can_only_be_cut_anew(
    tmp_path: Path,
) -> None:
    run = resolved(load(asked_in(tmp_path, tasks=[MASK])))
    level = replace(run.denoising, name="pyramid.1", task="pyramid", memory=1 << 60)
    level = replace(level, parameters={"kind": "pyramid"})
    ledgers: Any = {level.name: SimpleNamespace(done=np.zeros(1, bool))}
    found = Preflight(
        replace(run, stages=(run.denoising, level)),
        None,
        ledgers,
        {},
        (level.name,),
        (),
    )
    with pytest.raises(InputError, match=r"or start over with --overwrite\."):
        _check_blocks(found)


def test_a_tasks_blocks_are_cut_for_the_time_of_its_own_workers(
    tmp_path: Path,
) -> None:
    """Pieces are said to take 0.8 us a voxel: 13.1 ms for all, 3.3 ms for a file."""
    for milliseconds, rows in ((53, 64), (52, 32)):
        own = LOCAL | {"block_timeout_minutes": milliseconds / 60_000}
        values = asked_in(tmp_path, tasks=[MASK, CELLS | {"workers": own}])
        run = resolved(load(values))
        assert run.stages[-1].grid.block_shape == (1, 4, rows, 64)
    own = LOCAL | {"block_timeout_minutes": 3 / 60_000}
    values = asked_in(tmp_path, tasks=[MASK, CELLS | {"workers": own}])
    key = "workers.block_timeout_minutes of task 'cells'"
    with pytest.raises(InputError, match=f"block of task 'cells'.*{key} gives it"):
        resolved(load(values))


def test_a_plan_tells_memory_and_time_of_every_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    takes(monkeypatch, 600 / (4 * 64 * 64))
    tasks = [SOFT, MASK, CELLS, FUNCTION]
    path = write_config(tmp_path / "config.json", asked_in(tmp_path, tasks=tasks))
    assert main(["plan", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0].rstrip(":"): line for line in lines if line}
    assert rows["time"] == "time     about 10 min per block, on this machine"
    for name in ("soft", "mask", "cells.pieces", "cells"):
        assert "0.22 GiB per worker at most, about 0.1 s per block" in rows[name]
    for name in ("cells.union", "own"):
        assert "memory and time of a block not known beforehand" in rows[name]


# What ndsafir's time is said to be.


def test_the_steps_of_ndsafir_are_those_worked_out_by_hand() -> None:
    """8 centres on y and on x each for radius 1 on 16 voxels: 1, 3, ... and 14 places.

    First 3 x 3 neighbours, then 5 x 5; z is searched by one plane in the second.
    """
    assert elements_compared((0, 0, 1, 1), "yx", 1, (1, 1, 17, 17)) == 9 * 64 * 9
    assert elements_compared((0, 0, 1, 1), "yx", 2, (1, 1, 17, 17)) == 9 * 64 * 34
    deep = elements_compared((0, 0, 1, 1), "zyx", 2, (1, 5, 17, 17))
    assert deep == 9 * 5 * 64 * (9 + 25 * 3)
    # With radius 2, 5 centres along each axis of 17, and 13 places at each far end.
    ends = elements_compared((0, 0, 2, 2), "yx", 1, (1, 1, 17, 17))
    assert ends == 25 * (25 + 13 + 13) * 9
    # A window is no larger than there are places: 3 x 3 of them.
    small = elements_compared((0, 0, 1, 1), "yx", 3, (1, 1, 5, 5))
    assert small == 9 * 4 * 9 * 3


@pytest.mark.parametrize("engine", ["ndsafir", "auto"])
@pytest.mark.parametrize(
    ("section", "shape"),
    [
        ({"patch": {"y": 9, "x": 9}, "max_iter": 2}, (1, 1, 96, 96)),
        ({"patch": {"z": 1, "y": 2, "x": 2}, "max_iter": 4}, (1, 6, 40, 40)),
    ],
)
def test_an_image_takes_about_as_long_as_a_trial_says(
    section: dict[str, Any], shape: tuple[int, ...], engine: str
) -> None:
    """Within a factor of three, of the processor's time.

    Others may take some of it, so that the least of three counts.
    """
    asked = Ndsafir.model_validate(section | {"engine": engine})
    noise = NoiseNumbers(noise_std=10.0)
    denoiser = NdsafirDenoiser(asked, "gaussian", noise, 1, 1)
    image = np.random.default_rng(0).normal(100, 10, (shape[0], 1, *shape[1:]))

    def taken() -> float:
        began = time.process_time()
        denoiser.denoise(image.astype(np.float32))
        return time.process_time() - began

    said = min(denoiser.pace(1).seconds(shape) for _ in range(3))
    took = min(taken() for _ in range(3))
    assert took / 3 < said < 3 * took


def test_the_trial_of_ndsafir_is_quick_whatever_its_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps are counted, not seconds: a hundred million take it less than a second."""
    tried: list[float] = []

    def timed(denoiser: NdsafirDenoiser, channels: int) -> float:
        tried.append(denoiser.steps((1, 8, 48, 48), channels))
        return 1.0

    monkeypatch.setattr("denoise_daisy.denoisers.ndsafir.timed", timed)
    large = {"patch": dict.fromkeys("tzyx", 100), "max_iter": 10}
    section = Ndsafir.model_validate(large | {"active_dimensions": "tzyx"})
    denoiser = NdsafirDenoiser(section, "gaussian", None, 1, 1)
    denoiser.seconds_per_step(1)
    assert tried[0] < 3e8


def test_what_is_known_to_be_quick_is_not_tried() -> None:
    def trial() -> float:
        raise AssertionError

    assert Pace(math.prod, trial).is_within(Coordinate(1, 10, 10, 10), 1.1e-3)
    with pytest.raises(AssertionError):
        Pace(math.prod, trial).is_within(Coordinate(1, 10, 10, 10), 0.9e-3)


def test_the_keys_are_those_of_the_workers_that_have_the_limit() -> None:
    local = LocalWorkers(count=1, block_timeout_minutes=3).limits(2.0, "")
    assert (local.memory, local.seconds) == (2 << 30, 180)
    assert local.more_memory == "Raise blocks.memory_gib, lower workers.count"
    lsf = LsfWorkers(kind="lsf", count=1, memory_gib=3, walltime_minutes=2)
    own = lsf.limits("auto", "cells")
    assert (own.memory, own.seconds) == (3 << 30, 120)
    assert own.seconds_key == "workers.walltime_minutes of task 'cells'"
