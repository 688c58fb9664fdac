"""Runs on batch systems: an image of small frames, each a block."""

import contextlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from demo_czi import write_czi

from harness.clusters import Cluster
from harness.hook import MARK, Hook
from harness.images import ROOT, small_image, whole_image
from harness.program import (
    Run,
    config_for,
    environment,
    ledger_lines,
    output_of,
    processes_of,
    write_config,
)
from harness.waiting import wait_until

GONE_SECONDS = 60
"""Within that nothing of a run is left, however it ended."""

FOR_EVER = 600.0
"""Seconds that a block takes until it is let go."""

BRIGHTEST = 65535
"""What makes a frame's denoising fail."""


class Frames:
    """An image of small frames, each a block, and runs that denoise it."""

    def __init__(
        self,
        folder: Path,
        cluster: Cluster | None,
        stack: contextlib.ExitStack,
        *,
        frames: int,
        seconds: float = 0.0,
        marked: int | None = None,
        **workers: Any,
    ) -> None:
        """`seconds` is how long a block takes, `marked` the frame that fails."""
        self.folder, self.cluster, self._stack = folder, cluster, stack
        self.image = small_image((frames, 1, 2, 32, 32))
        if marked is not None:
            self.image[marked] = BRIGHTEST
        self.output = folder / "out.zarr"
        self.run_dir = folder / "out.zarr.run"
        self._hook = Hook(folder / "hook")
        self.set_seconds(seconds)
        self.env = cluster.env if cluster else {}
        path = f"{self._hook.folder}:{ROOT}"
        self.slow = self.env | {"PYTHONPATH": path}
        if cluster:
            workers = {
                "kind": cluster.kind,
                "memory_gib": 1,
                "environment": f"export PYTHONPATH={shlex.quote(path)}",
            } | workers
        else:
            self.env = self.slow
        self.config = config_for(
            write_czi(folder / "in.czi", self.image),
            self.output,
            output={"dtype": "float32"},
            blocks={"shape": {"t": 1}},
        ) | {"workers": workers}
        self.config_file = write_config(folder / "config.json", self.config)
        self._starts = 0

    def set_seconds(self, seconds: float) -> None:
        """How long blocks take from now on."""
        self._set(sleep=seconds)

    def let_go(self) -> None:
        """Let the blocks in work end; those that come are held."""
        self._set(free=self.blocks_begun())

    def _set(self, **faults: Any) -> None:
        self._hook.set(fail={str(BRIGHTEST - MARK): "exception"}, **faults)

    def start(self, *words: str) -> Run:
        """In the background; no process of it outlives the test."""
        self._starts += 1
        command = [*words] or [sys.executable, "-m", "denoise_daisy", "run"]
        log = self.folder / f"start-{self._starts}"
        run = Run([*command, str(self.config_file)], self.env, log)
        self.at_end(run)
        return run

    def at_end(self, run: Run) -> None:
        """Let no process of it outlive the test."""
        self._stack.callback(run.process.wait)
        self._stack.callback(run.process.kill)

    def lines(self, status: str) -> list[dict[str, Any]]:
        return [x for x in ledger_lines(self.output) if x["status"] == status]

    def done(self) -> int:
        return len({tuple(line["block"]) for line in self.lines("done")})

    def workers(self) -> set[str]:
        """Those that have done blocks."""
        return {line["worker"] for line in self.lines("done")}

    def begun(self) -> list[tuple[int, int]]:
        """Every denoising that was begun: block and process."""
        return self._hook.begun()

    def blocks_begun(self) -> int:
        return len(self.begun())

    def wait_for_begun(self, count: int) -> None:
        wait_until(lambda: self.blocks_begun() >= count, f"{count} blocks begun")

    def wait_for_done(self, count: int) -> None:
        wait_until(lambda: self.done() >= count, f"{count} blocks done")

    def wait_for_workers(self, count: int) -> None:
        wait_until(lambda: len(self.workers()) >= count, f"{count} workers at work")

    def told_to_leave(self) -> int:
        """How many workers have had a signal to leave after their block."""
        logs = (self.run_dir / "logs").glob(f"{self.config['workers']['kind']}-*.log")
        return sum("Leaving after" in log.read_text() for log in logs)

    def check_nothing_is_left(self) -> None:
        assert self.cluster
        queue = self.cluster.queue
        wait_until(
            lambda: not (queue() or processes_of(self.run_dir)),
            "an empty queue and no worker",
            GONE_SECONDS,
        )

    def check_result(self, *, failed: int = 0, killed: Sequence[str] = ()) -> None:
        """All is done, right, and no more blocks were counted as failed.

        `killed` are workers that had no time to tidy up.
        """
        assert self.done() == len(self.image)
        assert [line["error"] for line in self.lines("failed")][failed:] == []
        expected = whole_image(self.image, self.config)
        np.testing.assert_array_equal(output_of(self.output), expected)
        assert not list(self.output.rglob("*.partial"))
        left = {file.stem for file in (self.run_dir / "workers").iterdir()}
        assert left <= set(killed)


def submit(it: Frames, *options: str) -> Path:
    """Submit the scheduler as a job of its own; its log."""
    assert it.cluster
    done = subprocess.run(
        [ROOT / "scripts" / f"submit_{it.cluster.kind}", it.config_file, *options],
        env=environment(it.env) | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    log = Path(f"{it.config_file}.log")
    assert f"Log: {log}" in done.stdout
    wait_until(log.exists, "the scheduler's log")
    return log
