"""A chain of tasks, and what file systems and people do to it while it runs."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import numpy as np
import psutil
from demo_czi import write_czi
from scipy import ndimage

from harness.hook import Hook
from harness.program import cli, config_for, here, ledger_lines, start, write_config

SHAPE = (1, 1, 8, 64, 64)

CHUNKS = {"z": 4, "y": 16, "x": 16}

BLOCK = {"z": 4, "y": 32, "x": 32}
"""8 blocks, each of which is one shard."""

TASKS: list[dict[str, Any]] = [
    {"kind": "smooth", "name": "soft", "sigma": {"z": 0.5, "y": 1, "x": 1}},
    {"kind": "threshold", "name": "bright", "input": "soft", "method": "otsu"},
    {"kind": "label", "name": "cells", "input": "bright", "table": "csv"},
]


def speckled(seed: int = 0) -> np.ndarray:
    """Bright objects all over, across all block borders, uint16."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=SHAPE), (0, 0, 1, 3, 3))
    image = 2000 + 600 * blobs / blobs.std() + rng.normal(0, 30, SHAPE)
    return np.clip(np.rint(image), 0, 65535).astype(np.uint16)


class Chain:
    """Denoise, smooth, threshold and label, in a folder of its own."""

    def __init__(
        self, folder: Path, image: np.ndarray | None = None, /, **sections: Any
    ) -> None:
        """`image` is the speckled one if there is none."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.output = folder / "out.zarr"
        self.run_dir = folder / "out.zarr.run"
        self.soft = folder / "out.soft.zarr"
        self.hook = Hook(folder / "hook")
        source = write_czi(folder / "in.czi", speckled() if image is None else image)
        config = config_for(
            source,
            self.output,
            output={"chunks": CHUNKS},
            blocks={"shape": BLOCK},
            workers={"kind": "local", "count": 2},
        )
        del config["noise"]
        config["denoise"] = {"kind": "median", "size": {"y": 3, "x": 3}}
        config["tasks"] = TASKS
        self.config = config | sections
        self.write(self.config)

    def write(self, config: dict[str, Any]) -> None:
        """Change the config file."""
        self.path = write_config(self.folder / "config.json", config)

    def env(self, fault: dict[str, Any] | None, slow: float) -> dict[str, str]:
        faults: dict[str, Any] = {"engine": "median", "sleep": slow}
        if fault:
            token = {"token": str(self.folder / f"struck-{time.monotonic_ns()}")}
            faults["call"] = token | {"after": 0} | fault
        return self.hook.env(faults)

    def cli(
        self,
        *words: str | Path,
        fault: dict[str, Any] | None = None,
        slow: float = 0,
    ) -> "CompletedProcess[str]":
        """The program with these words, to its end; it has no traceback."""
        if fault or "run" in words:
            end = cli(*words, env=self.env(fault, slow), timeout=240)
        else:
            end = here(*words)
        assert "Traceback (most recent" not in end.stderr, end.stderr
        assert end.returncode != 1, end.stderr
        return end

    def run(self, *options: str, **more: Any) -> "CompletedProcess[str]":
        return self.cli("run", self.path, *options, **more)

    def verify(self, **more: Any) -> "CompletedProcess[str]":
        return self.cli("verify", self.path, **more)

    def hold(self, **faults: Any) -> None:
        """Faults of a run that is `held`, from now on."""
        self.hook.set(engine="median", **faults)

    @contextmanager
    def running(
        self,
        fault: dict[str, Any] | None = None,
        slow: float = 0,
        *,
        held: bool = False,
    ) -> Iterator["Popen[str]"]:
        """A run in the background; nothing of it is left afterwards."""
        env = self.env(fault, slow) | ({"FAULTS": ""} if held else {})
        with start("run", self.path, env=env) as process:
            try:
                yield process
            finally:
                process.kill()
                for other in psutil.process_iter():
                    with suppress(psutil.Error):
                        if str(self.run_dir) in other.cmdline():
                            other.kill()

    def struck(self) -> bool:
        """Whether a fault has come to pass."""
        return any(self.folder.glob("struck-*"))

    def done(self, stage: str) -> list[tuple[int, ...]]:
        """Blocks as the ledger has them, one for each line that says done."""
        found = ledger_lines(self.output, stage)
        return sorted(tuple(x["block"]) for x in found if x["status"] == "done")

    def contents(self) -> dict[str, bytes]:
        """Every file of voxels and every table, by its path."""
        places = [self.output, self.soft, self.folder / "out.cells.csv"]
        files = [
            file
            for place in places
            for file in ([place] if place.is_file() else place.rglob("*"))
            if file.is_file() and file.name not in ("zarr.json", "METADATA.ome.xml")
        ]
        return {str(f.relative_to(self.folder)): f.read_bytes() for f in files}


def away(place: Path, seconds: float) -> None:
    """Move something away and back again, unless something else has come there."""
    aside = place.with_name(place.name + ".aside")
    try:
        place.rename(aside)
    except FileNotFoundError:
        return
    time.sleep(seconds)
    if place.exists():
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
    else:
        aside.rename(place)


def record_of(chain: Chain) -> dict[str, Any]:
    """What stands in run.json."""
    return dict(json.loads((chain.run_dir / "run.json").read_text()))
