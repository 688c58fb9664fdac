"""What can go wrong in a chain costs no more than it must, and is said.

Real runs with a function task beside the denoising.  A green run would mean nothing if
the denoising were redone in between: its ledger's lines are counted each time.
"""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import zarr

from denoise_daisy import status
from harness import (
    ROOT,
    cli,
    config_for,
    here,
    ledger_lines,
    output_of,
    small_czi,
    start,
    wait_until,
    write_config,
)
from harness.waiting import PATIENCE, wait_for_next_server

SHAPE = (2, 1, 8, 40, 70)
BLOCKS = {"z": 4, "y": 32, "x": 32}

GOOD = "def double(block, context):\n    return block * 2.0\n"
BAD = """
import time
from pathlib import Path

calls = 0

def double(block, context):
    global calls
    calls += 1
    while calls > 5 and not Path(__file__).with_name("go").exists():
        time.sleep(0.05)
    raise ValueError('not today')
"""
"""With one worker, the sixth block is held until a file is there."""


class Run:
    """A run of a fast denoiser and a function, in a folder of its own."""

    def __init__(self, folder: Path, source: Path, code: str) -> None:
        self.folder, self.output = folder, folder / "out.zarr"
        self.module = folder / "mine.py"
        self.module.write_text(code)
        config = config_for(
            source,
            self.output,
            output={"chunks": BLOCKS},
            blocks={"shape": BLOCKS},
            workers={"count": 1},
        )
        del config["noise"]
        config["denoise"] = {"kind": "median", "size": {"y": 3, "x": 3}}
        config["tasks"] = [
            {
                "kind": "function",
                "name": "twice",
                "function": "mine:double",
                "dtype": "float32",
                "channels": 1,
                "max_retries": 0,
            },
            {"kind": "threshold", "name": "bright", "input": "twice", "value": 900},
        ]
        self.config = config
        self.path = write_config(folder / "config.json", config)

    def start(self, *words: str) -> tuple[int, str]:
        end = cli("run", self.path, *words)
        assert "Traceback (most recent" not in end.stderr
        return end.returncode, end.stdout + end.stderr

    def lines(self, stage: str, status: str = "done") -> list[tuple[int, ...]]:
        found = ledger_lines(self.output, stage)
        return [tuple(line["block"]) for line in found if line["status"] == status]

    @property
    def twice(self) -> Path:
        return self.folder / "out.twice.zarr"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    source = small_czi(tmp_path / "in.czi", SHAPE)
    return lambda code=GOOD: Run(tmp_path, source, code)


def test_the_run_goes_on_without_a_task_of_which_everything_fails(
    run: Callable[..., Run],
) -> None:
    it = run(BAD)
    with start("run", it.path) as scheduler:
        wait_for_next_server(it.output.with_name("out.zarr.run"))
        (it.folder / "go").touch()
        said = "".join(scheduler.communicate(timeout=PATIENCE))
    assert scheduler.returncode == 3, said
    assert "Traceback (most recent" not in said
    assert "The run goes on without twice" in said
    assert "ValueError: not today" in said
    assert len(it.lines("denoise")) == 24
    attempts = Counter(it.lines("twice", "failed"))
    assert 5 <= len(attempts) < 24
    assert it.lines("bright") == []
    found = status(it.output)
    assert found.state == "failed"
    twice, bright = found.stages[1:]
    assert (twice.left, bright.left, bright.orphaned) == (0, 0, 24)
    assert twice.given_up in said
    assert not bright.given_up

    it.module.write_text(GOOD)
    code, said = it.start()
    assert code == 0, said
    assert len(it.lines("denoise")) == len(it.lines("bright")) == 24
    assert (output_of(it.twice) == 2.0 * output_of(it.output)).all()


def test_what_lies_at_a_tasks_place_is_left_alone(run: Callable[..., Run]) -> None:
    it = run()
    zarr.open_group(it.twice, mode="a", zarr_format=3)
    (it.twice / "mine.txt").write_text("keep")
    for words in ((), ("--overwrite",)):
        end = here("run", it.path, *words)
        assert end.returncode == 4
        assert "out.twice.zarr" in end.stderr
        assert "'twice'" in end.stderr
    assert sorted(p.name for p in it.twice.iterdir()) == ["mine.txt", "zarr.json"]
    assert not it.output.exists()


def test_an_overwrite_that_was_cut_short_is_tried_again(
    run: Callable[..., Run],
) -> None:
    it = run()
    assert it.start()[0] == 0
    (it.folder / "out.zarr.run" / "run.json").unlink()
    assert here("run", it.path).returncode == 4
    code, said = it.start("--overwrite")
    assert code == 0, said
    assert len(it.lines("denoise")) == len(it.lines("twice")) == 24


def test_the_output_of_one_task_can_be_made_again(run: Callable[..., Run]) -> None:
    it = run()
    assert it.start()[0] == 0
    before = output_of(it.twice)
    shutil.rmtree(it.twice)
    end = here("run", it.path)
    assert end.returncode == 4
    ledger = it.folder / "out.zarr.run" / "ledger" / "twice"
    assert str(ledger) in end.stderr
    shutil.rmtree(ledger)
    code, said = it.start()
    assert code == 0, said
    assert len(it.lines("denoise")) == len(it.lines("bright")) == 24
    assert len(it.lines("twice")) == 24
    assert (output_of(it.twice) == before).all()


def test_a_function_that_is_gone_is_refused_but_its_run_can_be_looked_at(
    run: Callable[..., Run],
) -> None:
    it = run()
    assert it.start()[0] == 0
    it.module.unlink()
    code, said = it.start()
    assert code == 2
    assert "'mine'" in said
    assert "twice: 24 done" in here("status", it.output).stdout
    assert here("verify", it.output).returncode == 0


def test_code_that_changes_during_a_run_does_none_of_its_blocks(
    run: Callable[..., Run],
) -> None:
    """The worker comes, by hand, after the change; so it is certain to be late."""
    it = run()
    it.config["workers"]["count"] = 0
    write_config(it.path, it.config)
    scheduler = start("run", it.path)
    run_dir = it.folder / "out.zarr.run"
    try:
        wait_until((run_dir / "connection.json").exists, "a scheduler is there")
        it.module.write_text(GOOD.replace("2.0", "3.0"))
        script = ROOT / "workers" / "block_worker.py"
        worker = [sys.executable, str(script), str(run_dir)]
        subprocess.run(worker, check=False, capture_output=True, timeout=240)
        said = "".join(scheduler.communicate(timeout=PATIENCE))
    finally:
        scheduler.kill()
    assert scheduler.returncode == 3, said
    assert "has changed since the run was started" in said
    assert len(it.lines("denoise")) == 24
    assert it.lines("twice") == it.lines("bright") == []

    it.config["workers"]["count"] = 1
    write_config(it.path, it.config)
    code, said = it.start()
    assert code == 0, said
    assert "Task twice is done again" in said
    assert len(it.lines("denoise")) == 24
    assert (output_of(it.twice) == 3.0 * output_of(it.output)).all()


def test_a_changed_task_that_is_not_asked_for_keeps_what_it_has(
    run: Callable[..., Run],
) -> None:
    it = run()
    assert it.start()[0] == 0
    it.config["tasks"][1]["value"] = 1000
    it.config["tasks"].append({"kind": "smooth", "name": "soft", "sigma": {"y": 1}})
    write_config(it.path, it.config)
    code, said = it.start("--task", "soft")
    assert code == 0, said
    assert "bright" not in said
    record = json.loads((it.folder / "out.zarr.run" / "run.json").read_text())
    assert record["stages"]["bright"]["parameters"]["value"] == 900
    code, said = it.start()
    assert code == 0, said
    assert "Task bright is done again: value was 900.0, is 1000.0" in said
    assert len(it.lines("denoise")) == len(it.lines("twice")) == 24
