"""What all benchmarks need: a process tree measured, this machine, a table."""

import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from demo_czi import BACKGROUND, GAIN, READOUT_STD

from denoise_daisy.machine import cores

OFFSET = READOUT_STD**2 - GAIN * BACKGROUND
"""The noise of demo_czi's images: variance = GAIN * mean + OFFSET."""

SAMPLE_SECONDS = 0.1

LIBRARIES = ("ndsafir", "daisy", "dask", "zarr", "numpy", "pylibCZIrw")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and all its children took."""

    wall_seconds: float
    cpu_seconds: float
    """User and system."""
    peak_mib: float
    """Of memory, all processes together."""


def measure(command: Sequence[str | Path], log: Path) -> Usage:
    """Run a program to its end; its output goes to `log`.

    Raises
    ------
    RuntimeError
        It failed; the message has the end of its output.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        peaks = [0]
        sampler = threading.Thread(target=_sample, args=(process.pid, peaks))
        sampler.start()
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    sampler.join()
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise RuntimeError(f"{list(map(str, command))} ended with code {code}:\n{tail}")
    cpu = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
    return Usage(wall, cpu, max(peaks) / 2**20)


def median(usages: Iterable[Usage]) -> Usage:
    """The median of each number by itself."""
    rows = [(u.wall_seconds, u.cpu_seconds, u.peak_mib) for u in usages]
    return Usage(*(statistics.median(column) for column in zip(*rows, strict=True)))


def _sample(pid: int, peaks: list[int]) -> None:
    """Note the memory of the tree now and then, until its root is gone."""
    try:
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            peaks.append(_memory([root, *root.children(recursive=True)]))
            time.sleep(SAMPLE_SECONDS)
    except psutil.NoSuchProcess:
        pass


def _memory(processes: Iterable[psutil.Process]) -> int:
    """Bytes of what each process has for itself, and of what the largest shares.

    That is their proportional set size, nearly, at a hundredth of its price.
    """
    own, shared = 0, 0
    for process in processes:
        try:
            memory = process.memory_info()
        except psutil.Error:
            continue
        # On Linux only; elsewhere libraries are counted once per process.
        file_pages = getattr(memory, "shared", 0)
        own += memory.rss - file_pages
        shared = max(shared, file_pages)
    return own + shared


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cores": cores(),
        "processor": _processor(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def program(config: Path, verb: str = "run") -> list[str | Path]:
    """The command line of this program."""
    return [sys.executable, "-m", "denoise_daisy", verb, config]


def config_for(
    source: Path, target: Path, channels: int, **sections: Any
) -> dict[str, Any]:
    """A config with the noise of demo_czi's images."""
    noise = {
        "kind": "poisson-gaussian",
        "gains": [GAIN] * channels,
        "offsets": [OFFSET] * channels,
    }
    return {
        "input": {"path": str(source)},
        "output": {"path": str(target), **sections.pop("output", {})},
        "noise": noise,
        **sections,
    }


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns under their names, the first to the left."""
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        first, *others = (
            cell.rjust(width) for cell, width in zip(row, widths, strict=True)
        )
        print("  ".join([row[0].ljust(len(first)), *others]).rstrip())
