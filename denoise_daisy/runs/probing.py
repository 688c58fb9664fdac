"""A block of the run, denoised on this machine to see what that takes."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from denoise_daisy.errors import InputError
from denoise_daisy.resolved.run import ResolvedRun

MODULE = "denoise_daisy.worker.probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one block of the denoising took, in a process of its own."""

    block: tuple[int, ...]
    """Its position in the grid of blocks, ``(t, z, y, x)``."""
    seconds: float
    """Reading and encoding included."""
    start_seconds: float
    """What the process needed beside that: its libraries and its engine's test."""
    memory_bytes: int
    """Most that it has held."""
    voxel_bytes: int
    """What it would have written, uncompressed."""
    encoded_bytes: int
    """The same as it would lie on disk."""
    engine: str
    """What denoised it."""


def measure_block(run: ResolvedRun) -> Measured:
    """Denoise the block that reads most, as a worker would; nothing is written.

    Raises
    ------
    InputError
        That failed.
    """
    command = [sys.executable, "-m", MODULE, str(run.run_dir.path)]
    started = time.perf_counter()
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            answer = _answer(process, run.record(1).model_dump_json())
        finally:
            process.kill()
        if not answer:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").split("\n")
            raise _failed(process.wait(), [line for line in lines if line.strip()])
    took = json.loads(answer)
    whole = time.perf_counter() - started
    took["block"] = tuple(took["block"])
    return Measured(**took, start_seconds=max(0.0, whole - took["seconds"]))


def _answer(process: "subprocess.Popen[str]", record: str) -> str:
    """What it says to that, empty if it ends before."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("it has no pipes")
    try:
        process.stdin.write(f"{record}\n")
        process.stdin.flush()
    except BrokenPipeError:
        return ""
    return process.stdout.readline()


def _failed(code: int, said: list[str]) -> InputError:
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    last = f": {said[-1]}" if said else ""
    return InputError(
        f"The block that was to be measured could not be done ({how}{last}). A run"
        " would fail at it as well; correct that, make blocks smaller (blocks.shape,"
        " blocks.memory_gib), or leave --probe away."
    )
