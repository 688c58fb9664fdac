"""What several tests need: images, runs of the real program, and the oracle."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ndsafir
import numpy as np
import psutil
import zarr
from demo_czi import add_noise, truth, write_czi

from denoise_daisy.config import Config

ROOT = Path(__file__).parent.parent

REAL_DATA = Path(
    os.environ.get("DENOISE_DAISY_REAL_DATA", ROOT.parent / "shared" / "data" / "czi")
)
"""Folder of real CZI files; they are no part of this repository."""

GAINS, OFFSETS = 3.92, -367.0
"""The noise of `small_image`: readout variance 25 - gain * background 100."""


def small_image(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """A noisy uint16 image of ``(t, c, z, y, x)``."""
    return add_noise(truth(shape, seed), seed)


def small_czi(path: Path, shape: tuple[int, ...], seed: int = 0) -> Path:
    """A CZI of `small_image`."""
    return write_czi(path, small_image(shape, seed))


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
        env=os.environ | (env or {}),
        check=False,
        **kwargs,
    )


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
        env=os.environ | (env or {}),
        start_new_session=True,
    )


def processes_of(run_dir: Path) -> list[str]:
    """Command lines of a run's workers, wherever they were started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if str(run_dir) in words:
                found.append(shlex.join(words))
    return found


def output_of(output: Path) -> np.ndarray:
    """All voxels of an output, ``(t, c, z, y, x)``."""
    return np.asarray(zarr.open_array(output / "0", mode="r")[...])


def ledger_lines(output: Path, task: str = "denoise") -> Iterator[dict[str, Any]]:
    """Every whole line of an output's ledger."""
    folder = output.with_name(output.name + ".run") / "ledger" / task
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_bytes().split(b"\n")[:-1]:
            yield json.loads(line)


def whole_image(image: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """The oracle: ndsafir on the whole image of ``(t, c, z, y, x)``, on one thread."""
    denoise, noise = config.get("denoise", {}), config["noise"]
    patch = denoise.get("patch", {"y": 3, "x": 3})
    parameters = {
        "axes": "TCZYX",
        "patch": [patch.get(axis, 0) for axis in "tczyx"],
        "active_dimensions": denoise.get("active_dimensions", "zyx"),
        "max_iter": denoise.get("max_iter", 3),
        "pvalue": denoise.get("pvalue", 0.1),
        "nthreads": 1,
    }
    if noise["kind"] == "gaussian":
        return ndsafir.denoise_gaussian(
            image, noise_std=noise["noise_std"], **parameters
        )
    return ndsafir.denoise_poisson_gaussian(
        image, gains=noise["gains"], offsets=noise["offsets"], **parameters
    )
