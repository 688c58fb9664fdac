"""Running the real program, and reading what it leaves."""

import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import zarr

from denoise_daisy.__main__ import main
from denoise_daisy.config import Config
from harness.waiting import SHORT_WAITS

GAINS, OFFSETS = 3.92, -367.0
"""The noise of `small_image`: readout variance 25 - gain * background 100."""


def config_for(source: Path, target: Path, /, **sections: Any) -> dict[str, Any]:
    """A config as in a file; the noise is given, so that no run has to calibrate."""
    channels = sections.pop("noise_channels", 1)
    config: dict[str, Any] = {
        "input": {"path": str(source)},
        "output": {"path": str(target)},
        "noise": {
            "kind": "poisson-gaussian",
            "gains": [GAINS] * channels,
            "offsets": [OFFSETS] * channels,
        },
        "denoise": {"patch": {"y": 1, "x": 1}, "max_iter": 2},
        "workers": {"kind": "local", "count": 2},
    }
    for name, values in sections.items():
        config[name] = config.get(name, {}) | values if name != "noise" else values
    return config


def write_config(path: Path, config: dict[str, Any]) -> Path:
    path.write_text(json.dumps(config))
    return path


def load(config: dict[str, Any]) -> Config:
    """A config without a file."""
    return Config.parse(json.dumps(config).encode(), name="test", folder=Path("/"))


def environment(env: dict[str, str] | None = None) -> dict[str, str]:
    """That of a run: waits are short unless `env` says otherwise."""
    return os.environ | SHORT_WAITS | (env or {})


def cli(
    *words: str | Path,
    timeout: float = 300,
    env: dict[str, str] | None = None,
    **kwargs: Any,
) -> "subprocess.CompletedProcess[str]":
    """`python -m denoise_daisy` with these words, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "denoise_daisy", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        env=environment(env),
        check=False,
        **kwargs,
    )


def here(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    """The same in this process, where warnings go to the log of pytest alone."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main([*map(str, words)])
    return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())


def start(
    *words: str | Path, env: dict[str, str] | None = None
) -> "subprocess.Popen[str]":
    """`python -m denoise_daisy` in the background, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "denoise_daisy", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment(env),
        start_new_session=True,
    )


class Run:
    """`denoise-daisy run` in the background, with what it says in a file."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment(env),
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self.is_alive, self.said
        self.process.send_signal(number)

    def wait(self, seconds: float = 240) -> int:
        """The exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"still there after {seconds} s: {self.said}"
            ) from None

    def finish(self, seconds: float = 240) -> None:
        assert self.wait(seconds) == 0, self.said


def processes_of(run_dir: Path) -> list[str]:
    """Command lines of a run's workers, wherever they were started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if str(run_dir) in words:
                found.append(shlex.join(words))
    return found


def voxels_of(array: Path) -> np.ndarray:
    """All voxels of an array, with c, which labels of one channel lack on disk."""
    voxels = np.asarray(zarr.open_array(array, mode="r")[...])
    return voxels[:, np.newaxis] if voxels.ndim == 4 else voxels


def output_of(output: Path) -> np.ndarray:
    """All voxels of an output, ``(t, c, z, y, x)``."""
    return voxels_of(output / "0")


def ome_of(group: Path) -> dict[str, Any]:
    """The OME metadata of a group."""
    attributes: dict[str, Any] = zarr.open_group(group, mode="r").attrs.asdict()
    return dict(attributes.get("ome", attributes))


def ledger_lines(output: Path, task: str = "denoise") -> Iterator[dict[str, Any]]:
    """Every whole line of an output's ledger."""
    folder = output.with_name(output.name + ".run") / "ledger" / task
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_bytes().split(b"\n")[:-1]:
            yield json.loads(line)
