"""What a ledger of a million blocks costs `status` and a new start; few are left."""

import contextlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from benchmark_tools import config_for, print_table, program
from demo_czi import write_czi

from denoise_daisy.config import Config
from denoise_daisy.resolved.resolve import resolve
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.run_dir import RunDir

SHAPE = (25_000, 1, 1, 16, 40)
"""Planes of 40 blocks of 4 x 4 voxels: a million blocks."""

BLOCK = {"t": 1, "c": 1, "z": 1, "y": 4, "x": 4}

LEFT = 8
"""Blocks that are not done, spread over the image."""

GOALS = {"seconds": 5.0, "mib": 500.0, "status": 3.0}

EVENTS = (
    "server_listening",
    "first_block_handed_out",
    "first_block_finished",
    "end_of_the_run",
)

WAIT_SECONDS = 300.0


def run(folder: Path, repeat: int) -> dict[str, Any]:
    """Make the run, then start it as often as asked for; print the figures."""
    config = _write_config(folder)
    resolved = resolve(Config.load(config), None, "benchmark")
    run_dir = resolved.run_dir
    _first_start(config, run_dir)
    lines = _fill_ledger(resolved, run_dir)
    ledger = run_dir.ledger("denoise")
    before = {file: file.stat().st_size for file in ledger.iterdir()}
    rounds = []
    for _ in range(repeat):
        told = _status_seconds(config)
        rounds.append({"status_seconds": told, **_resume(config, run_dir)})
        for file in ledger.iterdir():
            if file in before:
                os.truncate(file, before[file])
            else:
                file.unlink()
    mib = sum(before.values()) / 2**20
    print(f"{resolved.denoising.grid.size} blocks, {LEFT} left; ledger {mib:.0f} MiB")
    found = {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}
    _print_events(found)
    print(f"Goal: status in {GOALS['status']:g} s: {found['status_seconds']:.2f} s")
    print(f"Goal: first block handed out within {GOALS['seconds']:g} s")
    print(f"Goal: scheduler's peak {GOALS['mib']:g} MiB: {found['peak_mib']:.0f} MiB")
    return {
        "blocks": resolved.denoising.grid.size,
        "lines": lines,
        **found,
        "rounds": rounds,
    }


def _print_events(found: dict[str, float]) -> None:
    rows = []
    for event in EVENTS:
        cpu = found.get(f"{event}_cpu_seconds")
        wall = f"{found[f'{event}_seconds']:.2f}"
        rows.append((event.replace("_", " "), wall, f"{cpu:.2f}" if cpu else ""))
    print_table(("from the start to", "wall s", "CPU s"), rows)


def _write_config(folder: Path) -> Path:
    image = np.random.default_rng(0).integers(80, 120, SHAPE, np.uint8)
    source = write_czi(folder / "planes.czi", image, time_step_s=None)
    config = config_for(
        source,
        folder / "output.zarr",
        1,
        output={"chunks": BLOCK, "shards": None},
        denoise={"patch": {"y": 1, "x": 1}, "max_iter": 1, "active_dimensions": "yx"},
        blocks={"shape": {a: n for a, n in BLOCK.items() if a != "c"}},
    )
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def _first_start(config: Path, run_dir: RunDir) -> None:
    """Let the program begin the run itself, and stop it after some blocks."""
    process = _start(config)
    try:
        _wait_for(process, lambda: any(_new_lines(run_dir, {})))
        process.send_signal(signal.SIGINT)
        process.wait(WAIT_SECONDS)
    finally:
        process.kill()


def _fill_ledger(run: ResolvedRun, run_dir: RunDir) -> int:
    """Lines for all blocks but a few, made from the run's own; how many."""
    left = set(np.linspace(0, run.denoising.grid.size - 1, LEFT).astype(int))
    files = [f for f in run_dir.ledger("denoise").iterdir() if f.stat().st_size]
    chunks = run.output / "0" / "c"
    streams = []
    for file in files:
        line = json.loads(file.read_text().splitlines()[0])
        before, _, after = json.dumps(line | {"block": "?"}).partition('"?"')
        streams.append(
            (file.open("w"), before.replace(" ", ""), after.replace(" ", ""))
        )
    count = 0
    turns = itertools.cycle(streams)
    for flat, index in enumerate(run.denoising.grid.indices()):
        if flat not in left:
            stream, before, after = next(turns)
            stream.write(f"{before}[{','.join(map(str, index))}]{after}\n")
            count += 1
            t, z, y, x = index
            # The end of a run looks for the files of all done blocks.
            file = chunks / f"{t}/0/{z}/{y}/{x}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    for stream, _, _ in streams:
        stream.close()
    return count


def _status_seconds(config: Path) -> float:
    """How long it takes to say how far the run is."""
    started = time.perf_counter()
    words = [sys.executable, "-m", "denoise_daisy", "status", str(config)]
    subprocess.run(words, check=True, stdout=sys.stderr)
    return time.perf_counter() - started


def _resume(config: Path, run_dir: RunDir) -> dict[str, float]:
    """Seconds from the start to what happens, and the scheduler's peak memory."""
    sizes = {f: f.stat().st_size for f in run_dir.ledger("denoise").iterdir()}
    started = time.time()
    process = _start(config)
    try:
        connection = run_dir.path / "connection.json"
        _wait_for(process, connection.exists)
        listening, to_listen = time.time() - started, _cpu_seconds(process.pid)
        lines: list[str] = []

        def a_block_finished() -> bool:
            lines.extend(_new_lines(run_dir, sizes))
            return bool(lines)

        _wait_for(process, a_block_finished)
        finished, to_finish = time.time() - started, _cpu_seconds(process.pid)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _peak_kib(process.pid))
            time.sleep(0.05)
        ended = time.time() - started
    finally:
        process.kill()
    if process.returncode:
        raise RuntimeError(f"The run ended with code {process.returncode}.")
    first = json.loads(lines[0])
    return {
        "server_listening_seconds": listening,
        "first_block_handed_out_seconds": finished - first["seconds"],
        "first_block_finished_seconds": finished,
        "end_of_the_run_seconds": ended,
        "server_listening_cpu_seconds": to_listen,
        "first_block_finished_cpu_seconds": to_finish,
        "peak_mib": peak / 1024,
    }


def _start(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*map(str, program(config))],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
    )


def _new_lines(run_dir: RunDir, sizes: dict[Path, int]) -> Iterator[str]:
    """Whole ledger lines beyond the sizes that files had."""
    folder = run_dir.ledger("denoise")
    for file in folder.iterdir() if folder.exists() else ():
        with file.open("rb") as stream:
            stream.seek(sizes.get(file, 0))
            yield from (line.decode() for line in stream.read().split(b"\n")[:-1])


def _wait_for(process: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("The program ended, or hung, before its first block.")
        time.sleep(0.01)


def _cpu_seconds(pid: int) -> float:
    """Processor seconds of the scheduler and its living workers so far."""
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _peak_kib(pid: int) -> int:
    """Most memory that a process has held so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0
