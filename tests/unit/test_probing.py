"""A block that is denoised to be measured: as a run does it, and nothing is written."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy import plan, run
from denoise_daisy.errors import InputError
from denoise_daisy.runs import probing
from denoise_daisy.runs.plan_hours import Clock
from denoise_daisy.runs.probing import Measured, measure_block
from harness import cli, config_for, load, small_czi, write_config
from harness.prepared import resolved


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Of three blocks, the second of which reads most."""
    return config_for(
        small_czi(tmp_path / "in.czi", (1, 1, 4, 96, 64)),
        tmp_path / "out.zarr",
        output={"chunks": {"z": 4, "y": 32, "x": 64}},
        blocks={"shape": {"y": 32}},
    )


def test_a_block_is_measured_and_nothing_is_written(
    config: dict[str, Any], tmp_path: Path
) -> None:
    path = write_config(tmp_path / "config.json", config)
    before = sorted(tmp_path.rglob("*"))
    answer = cli("plan", path, "--probe", "--json")
    assert answer.returncode == 0, answer.stderr
    assert sorted(tmp_path.rglob("*")) == before
    told = json.loads(answer.stdout)
    took = told["measured"]
    assert took["block"] == [0, 0, 1, 0]
    assert took["voxel_bytes"] == 4 * 32 * 64 * 2
    assert 0 < took["encoded_bytes"] < took["voxel_bytes"]
    # It is a process like a worker's: with its libraries, and without the plan's.
    # What Python itself takes differs by some MiB from one process to the next.
    most = told["blocks"]["memory_bytes"] + (4 << 20)
    assert 100 << 20 < took["memory_bytes"] < most
    assert told["blocks"]["seconds"] == pytest.approx(took["seconds"])
    share = took["encoded_bytes"] / took["voxel_bytes"]
    assert told["output"]["compressed_bytes"] == pytest.approx(share * 96 * 64 * 4 * 2)
    assert answer.stderr.startswith("Denoising a block of 1 x 4 x ")


def test_the_block_is_the_one_that_a_run_writes(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """The same bytes: its file is as long."""
    took = measure_block(resolved(load(config)))
    run(load(config), say=lambda _: None)
    file = tmp_path / "out.zarr/0/c/0/0/0/1/0"
    assert took.encoded_bytes == file.stat().st_size


def test_what_was_measured_is_said_and_decides_the_hours(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    took = Measured(
        block=(0, 0, 1, 0),
        seconds=60.0,
        start_seconds=0.0,
        memory_bytes=300 << 20,
        voxel_bytes=1000,
        encoded_bytes=250,
        engine="an engine",
    )
    monkeypatch.setattr("denoise_daisy.runs.planning.measure_block", lambda _: took)
    said: list[str] = []
    found = plan(load(config), probe=True, say=said.append)
    [line] = [x for x in str(found).splitlines() if x.startswith("measured")]
    assert line == (
        "measured block [0, 0, 1, 0] took 60 s and 0.29 GiB; time, hours and size are"
        " from that"
    )
    assert found.blocks.seconds == pytest.approx(60)
    # Two blocks of the same patches at the ends, which read less, for two workers.
    assert 2 * 30 < found.time.hours * 3600 < 2 * 60
    assert found.output.compressed_bytes == 96 * 64 * 4 * 2 // 4
    assert len(said) == 1


def test_a_block_that_fails_is_told_with_its_reason(
    config: dict[str, Any], tmp_path: Path
) -> None:
    found = resolved(load(config))
    (tmp_path / "in.czi").unlink()
    with pytest.raises(InputError) as refused:
        measure_block(found)
    text = str(refused.value)
    assert text.startswith("The block that was to be measured could not be done (exit")
    assert "in.czi" in text
    assert "leave --probe away" in text


def test_a_process_that_dies_at_once_is_told(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it has read what it is to do."""
    monkeypatch.setattr(probing, "MODULE", "antigravity_of_no_such_name")
    with pytest.raises(InputError, match=r"exit code 1: .*No module named"):
        measure_block(resolved(load(config)))


def test_the_process_leaves_when_nobody_waits_for_it(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """Its standard input has ended, and its block takes ten minutes."""
    record = resolved(load(config)).record(1).model_dump_json()
    code = (
        "import sys, time\n"
        "from denoise_daisy.worker import probe\n"
        "probe.probe = lambda _: time.sleep(600)\n"
        "probe.main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out.zarr.run")],
        input=f"{record}\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_a_clock_counts_what_was_measured_instead_of_what_was_expected(
    config: dict[str, Any],
) -> None:
    stage = resolved(load(config)).denoising
    clock = Clock()
    shape = stage.grid.largest_shape
    expected = clock.seconds(stage, shape)
    assert expected is not None
    took = Measured(
        block=(0, 0, 0, 0),
        seconds=3 * expected,
        start_seconds=7.0,
        memory_bytes=1,
        voxel_bytes=1,
        encoded_bytes=1,
        engine="",
    )
    told = clock.set_by(took, stage)
    assert told.seconds(stage, shape) == pytest.approx(3 * expected)
    assert told.factor == pytest.approx(3)
    assert told.start_seconds == 7.0
