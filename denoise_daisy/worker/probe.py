"""A block of the denoising as a worker does it, but written nowhere.

`python -m denoise_daisy.worker.probe RUN_DIR` gets a line on its standard input, the
record of a run that need not have begun, and answers with a line of JSON, a `Probed`.
It leaves when its standard input ends.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.geometry import Index
from denoise_daisy.machine import peak_memory
from denoise_daisy.outputs.encoding import encoded_bytes
from denoise_daisy.resolved.resolve import restore
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.worker.process import use_one_core


@dataclass(frozen=True, slots=True)
class Probed:
    """What a block took."""

    block: Index
    """Its position in the grid of blocks, ``(t, z, y, x)``."""
    seconds: float
    """From reading to what would be written."""
    memory_bytes: int
    """Most that the process has held."""
    voxel_bytes: int
    """What it would write, uncompressed."""
    encoded_bytes: int
    """The same as it would lie on disk."""
    engine: str
    """What denoised it, in words."""


def probe(run: ResolvedRun) -> Probed:
    """Do the block that reads most, of several the one nearest to the middle."""
    stage, index = run.denoising, run.denoising.grid.largest_index
    run.denoiser.load(run.image.dtype)
    # Opening the image, for the first read, is no block's time.
    stage.sources[0].read(Roi(stage.grid.read_roi(index).begin, (1, 1, 1, 1)))
    started = time.perf_counter()
    block = stage.read_block(index)
    content = stage.target.content(block, stage.compute(block))
    del block
    voxels = np.asarray(content.data)
    encoded = encoded_bytes(voxels, run.array.layout)
    return Probed(
        block=index,
        seconds=time.perf_counter() - started,
        memory_bytes=peak_memory(),
        voxel_bytes=voxels.nbytes,
        encoded_bytes=encoded,
        engine=run.denoiser.engine,
    )


def main(arguments: Sequence[str]) -> None:
    """Do what standard input asks for."""
    use_one_core()
    record = RunRecord.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    run = restore(record, RunDir(Path(arguments[0])))
    sys.stdout.write(f"{json.dumps(asdict(probe(run)))}\n")


def _leave_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
