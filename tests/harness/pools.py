"""Runs on batch systems: functions after the denoising, with workers of their own."""

import contextlib
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np

from harness.clusters import Cluster
from harness.frames import GONE_SECONDS
from harness.images import small_czi
from harness.program import (
    Run,
    config_for,
    ledger_lines,
    output_of,
    processes_of,
    write_config,
)
from harness.waiting import wait_until

STEPS = """
import pathlib, time

def add(block, context):
    began, seconds = time.monotonic(), pathlib.Path(__file__).with_name("seconds")
    while time.monotonic() - began < float(seconds.read_text()):
        time.sleep(0.05)
    return block + context.params["number"]
"""

NAMES = ("one", "one-1")
"""Of tasks; the one is the beginning of the other."""


class Pools:
    """Frames, each a block, denoised by one local worker, and functions after that."""

    def __init__(
        self,
        folder: Path,
        stack: contextlib.ExitStack,
        cluster: Cluster | None,
        workers: dict[str, dict[str, Any] | None],
        frames: int,
    ) -> None:
        """`workers` are those of each function, by its name; None: the run's."""
        self.folder, self.cluster, self._stack = folder, cluster, stack
        self.workers, self.frames = workers, frames
        self.output = folder / "out.zarr"
        self.run_dir = folder / "out.zarr.run"
        (folder / "steps.py").write_text(STEPS)
        self.set_seconds(0)
        if cluster:
            given = {"kind": cluster.kind, "memory_gib": 1}
            workers = {n: own and given | own for n, own in workers.items()}
        common = {
            "kind": "function",
            "function": "steps:add",
            "folder": str(folder),
            "dtype": "float32",
            "channels": 1,
        }
        config = config_for(
            small_czi(folder / "in.czi", (frames, 1, 2, 32, 32)),
            self.output,
            blocks={"shape": {"t": 1}},
            workers={"count": 1},
        ) | {
            "tasks": [
                {**common, "name": name, "params": {"number": i + 1}, "workers": own}
                for i, (name, own) in enumerate(workers.items())
            ],
        }
        del config["noise"]
        self.config_file = write_config(folder / "config.json", config)
        self.env = cluster.env if cluster else {}
        self._starts = itertools.count()

    def set_seconds(self, seconds: float) -> None:
        """How long a function takes from now on."""
        partial = self.folder / "seconds.partial"
        partial.write_text(str(seconds))
        partial.replace(self.folder / "seconds")

    def start(self, *words: str) -> Run:
        """`run` in the background."""
        command = [sys.executable, "-m", "denoise_daisy", "run", *words]
        log = self.folder / f"start-{next(self._starts)}"
        run = Run([*command, str(self.config_file)], self.env, log)
        self._stack.callback(run.process.wait)
        self._stack.callback(run.process.kill)
        return run

    def done_by(self, stage: str) -> list[str]:
        """The worker of each block that is done."""
        lines = ledger_lines(self.output, stage)
        return [line["worker"] for line in lines if line["status"] == "done"]

    def wait_until_hands_are_wanted(self, run: Run) -> None:
        wait_until(
            lambda: len(self.done_by("denoise")) == self.frames or not run.is_alive,
            "everything denoised",
        )
        assert run.is_alive, run.said

    def check_nothing_is_left(self) -> None:
        queue = self.cluster.queue if self.cluster else list
        wait_until(
            lambda: not (queue() or processes_of(self.run_dir)),
            "an empty queue and no worker",
            GONE_SECONDS,
        )

    def check_result(self) -> None:
        """Every block was done once, by whom it should be, and is right."""
        denoised = output_of(self.output)
        for name, own in {"denoise": None, **self.workers}.items():
            assert len(self.done_by(name)) == self.frames
            whose = {who.split("-")[0] for who in self.done_by(name)}
            assert (whose == {"local"}) == (own is None)
        for i, name in enumerate(self.workers):
            found = output_of(self.output.with_name(f"out.{name}.zarr"))
            np.testing.assert_array_equal(found, denoised.astype(np.float32) + i + 1)
        stages = ("denoise", *self.workers)
        lines = [x for stage in stages for x in ledger_lines(self.output, stage)]
        assert [x["error"] for x in lines if x["status"] == "failed"] == []
        assert not list((self.run_dir / "workers").iterdir())
