"""A run of twelve blocks with faults, each block told by its brightest voxel."""

import functools
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from denoise_daisy.run_dir.run_dir import find
from denoise_daisy.runs.verify import verify
from harness.hook import MARK, Hook
from harness.images import small_image, whole_image
from harness.program import (
    cli,
    config_for,
    ledger_lines,
    output_of,
    start,
    write_config,
)
from harness.waiting import wait_until

BLOCKS = (4, 3)
"""Blocks along y and x, of 32 x 32 voxels."""

ALL = set(range(12))

ORPHANS_LEAVE = 60
"""Seconds from the scheduler's death to that of its last worker, at most."""


class Trial:
    """A run with faults: its folder, its config, and what was computed so far."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        self.output = folder / "disk" / "out.zarr"
        self.run_dir = folder / "disk" / "out.zarr.run"
        self.size = 12
        self.hook = Hook(folder / "hook")
        (folder / "disk").mkdir()
        self.source = Path(shutil.copy2(source, folder / "in.czi"))
        defaults: dict[str, Any] = {
            "output": {"dtype": "float32", "chunks": {"y": 16, "x": 16}},
            "blocks": {"shape": {"y": 32, "x": 32}},
        }
        self.config = config_for(self.source, self.output, **defaults)
        self.change()

    def copy_to(self, folder: Path) -> "Trial":
        """The same in another folder, as if it had been run there."""
        twin = Trial(folder, self.source)
        shutil.copytree(self.output.parent, twin.output.parent, dirs_exist_ok=True)
        shutil.copy(self.hook.noted, twin.hook.noted)
        record = twin.record()
        record["config"]["input"]["path"] = str(twin.source)
        record["image"]["path"] = str(twin.source)
        (twin.run_dir / "run.json").write_text(json.dumps(record))
        return twin

    def change(self, **sections: Any) -> None:
        """Change the config file."""
        for name, values in sections.items():
            self.config[name] = self.config.get(name, {}) | values
        self.path = write_config(self.folder / "config.json", self.config)

    def cli(
        self, *words: str | Path, env: dict[str, str] | None = None, **faults: Any
    ) -> "subprocess.CompletedProcess[str]":
        return cli(*words, env=self.hook.env(faults) | (env or {}), timeout=480)

    def run(self, *options: str, **faults: Any) -> "subprocess.CompletedProcess[str]":
        """A run, to its end."""
        return self.cli("run", self.path, *options, **faults)

    @contextmanager
    def running(
        self, *options: str, env: dict[str, str] | None = None, **faults: Any
    ) -> Iterator["subprocess.Popen[str]"]:
        """A run in the background; nothing of it is left afterwards."""
        env = self.hook.env(faults) | (env or {})
        with start("run", self.path, *options, env=env) as process:
            try:
                yield process
            finally:
                process.kill()
                end(self.processes())

    def held(
        self, *options: str, env: dict[str, str] | None = None, **faults: Any
    ) -> AbstractContextManager["subprocess.Popen[str]"]:
        """The same with faults that `hook.set` changes while it runs."""
        self.hook.set(**faults)
        return self.running(*options, env={"FAULTS": ""} | (env or {}))

    def processes(self, kind: str = "denoise_daisy") -> list[psutil.Process]:
        """What is alive of this run."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if kind in words and any(str(self.folder) in word for word in words):
                found.append(process)
        if kind == "denoise_daisy":
            found += self.processes("denoise_daisy.worker")
        return found

    def workers(self) -> list[psutil.Process]:
        return self.processes("denoise_daisy.worker")

    def kill(self, scheduler: "subprocess.Popen[str]") -> None:
        """Kill the scheduler and its workers in the same moment."""
        workers = self.workers()
        scheduler.kill()
        end(workers)
        scheduler.wait()

    def wait_until_workers_left(self) -> None:
        wait_until(lambda: not self.workers(), "workers leave", ORPHANS_LEAVE)

    def begun(self) -> list[tuple[int, int]]:
        """Every denoising that was begun: block and process."""
        return self.hook.begun()

    def executions(self) -> "Counter[int]":
        """How often the denoising of each block was begun."""
        return Counter(block for block, _ in self.begun())

    def lines(self, status: str) -> list[dict[str, Any]]:
        return [line for line in ledger_lines(self.output) if line["status"] == status]

    def done(self) -> list[int]:
        """Blocks as the ledger has them, one for each line."""
        return sorted(flat(line["block"]) for line in self.lines("done"))

    def in_flight(self) -> dict[int, int]:
        """The block of each living process that is at work, by process."""
        last = {pid: block for block, pid in self.begun()}
        done = set(self.done())
        return {
            pid: block
            for pid, block in last.items()
            if block not in done and lives(pid)
        }

    def unfinished(self, pids: list[int]) -> list[int]:
        """What these processes, just killed, have begun last and not recorded."""
        last = {pid: block for block, pid in self.begun()}
        return [last[pid] for pid in pids if last[pid] not in self.done()]

    def wait_for_two_at_work(self) -> dict[int, int]:
        """Wait until two workers have a block each; which ones."""

        def two() -> dict[int, int]:
            found = self.in_flight()
            return found if len(found) == 2 else {}

        return wait_until(two, "two workers are at work")

    def wait_for_begun(self, count: int) -> None:
        """Wait until that many blocks were begun."""
        wait_until(lambda: len(self.begun()) >= count, f"{count} blocks are begun")

    def shard(self, block: int) -> Path:
        """The file of a block's output."""
        return self.output.joinpath("0/c/0/0/0", *map(str, divmod(block, BLOCKS[1])))

    def partials(self) -> list[Path]:
        return sorted((self.folder / "disk").rglob("*.partial"))

    def contents(self) -> dict[str, bytes]:
        """Every file of the output and the run directory."""
        files = (p for p in (self.folder / "disk").rglob("*") if p.is_file())
        return {str(p): p.read_bytes() for p in files}

    def log(self) -> str:
        return (self.run_dir / "logs" / "scheduler.log").read_text()

    def record(self) -> dict[str, Any]:
        """What stands in run.json."""
        return dict(json.loads((self.run_dir / "run.json").read_text()))

    def finish(self, expected: np.ndarray | None = None) -> list[int]:
        """A plain start, after which all must be well; the blocks that it computed."""
        before = len(self.begun())
        end = self.run()
        assert end.returncode == 0, end.stderr
        assert self.processes() == []
        assert self.partials() == []
        expected = oracle() if expected is None else expected
        np.testing.assert_array_equal(output_of(self.output), expected)
        said = verify(find(self.output))
        assert f"All {self.size} blocks are as they were written" in said
        return sorted(block for block, _ in self.begun()[before:])


def end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def lives(pid: int) -> bool:
    """Whether a process is there that is more than an exit code to be fetched."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def flat(index: list[int]) -> int:
    return index[2] * BLOCKS[1] + index[3]


def index(block: int) -> list[int]:
    return [0, 0, *divmod(block, BLOCKS[1])]


def marked_image() -> np.ndarray:
    """An image of 12 blocks, each of which has its number at its centre."""
    image = small_image((1, 1, 2, 128, 96))
    image[0, 0, :, 16::32, 16::32] = MARK + np.arange(12).reshape(BLOCKS)
    return image


@functools.cache
def oracle(**denoise: Any) -> np.ndarray:
    config = config_for(Path(), Path(), denoise=denoise)
    return whole_image(marked_image(), config)
