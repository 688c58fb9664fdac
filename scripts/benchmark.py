"""Measure speed, memory and resume of this program; needs the benchmark extra.

scripts/benchmark           against whole-image ndsafir and the dask ways
scripts/benchmark engine    the engine in C against ndsafir: time, and differences
scripts/benchmark memory    a worker's peak against what `plan` says, by stage
scripts/benchmark time      how long runs take against what `plan` says
scripts/benchmark resume    the start on a ledger of a million finished blocks
scripts/benchmark label     labelling of 10^9 voxels, and the memory of every process
scripts/benchmark calibration    of the noise: methods on volumes whose noise is known
scripts/benchmark survey    `calibrate` of 202 GB: its time and memory
scripts/benchmark images    many images in one run, beside the sum of their computing
scripts/benchmark reading   bytes read of a CZI per byte that planned blocks want
"""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import benchmark_calibration
import benchmark_engine
import benchmark_images
import benchmark_label
import benchmark_memory
import benchmark_reading
import benchmark_real_noise
import benchmark_resume
import benchmark_speed
import benchmark_survey
import benchmark_time
from benchmark_tools import machine

SPEED_SHAPE = (32, 384, 384)

BY_FOLDER: dict[str, Any] = {
    "memory": benchmark_memory,
    "time": benchmark_time,
    "survey": benchmark_survey,
    "images": benchmark_images,
}
"""Modes that have no options."""


def main() -> None:
    """Run one mode and print its table; all of it as JSON, too, where asked for."""
    options = _parser().parse_args()
    shape = options.shape and tuple(map(int, options.shape.split("x")))
    repeat: int | None = options.repeat
    # Leave no process and no file behind, whoever stops this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    before = machine()
    facts: dict[str, Any] = {"machine": before, "arguments": sys.argv[1:]}
    print("; ".join(f"{name}: {value}" for name, value in before.items()))
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.folder) as folder:
        if options.mode == "speed":
            found = benchmark_speed.run(
                Path(folder), shape or SPEED_SHAPE, options.iterations, repeat or 1
            )
        elif options.mode == "engine":
            found = benchmark_engine.run(
                repeat or benchmark_engine.ROUNDS, every_set=options.every_set
            )
        elif options.mode in BY_FOLDER:
            found = BY_FOLDER[options.mode].run(Path(folder))
        elif options.mode == "label":
            found = benchmark_label.run(Path(folder), shape)
        elif options.mode == "calibration":
            if options.files:
                found = benchmark_real_noise.run(options.files)
            else:
                found = benchmark_calibration.run(options.seeds)
        elif options.mode == "reading":
            found = benchmark_reading.run(Path(folder), options.files)
        else:
            found = benchmark_resume.run(Path(folder), repeat or 1)
    facts["machine at the end"] = machine()
    if options.json:
        options.json.write_text(json.dumps(facts | found, indent=2) + "\n")
    sys.exit(found.get("failed"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes = ("speed", "engine", "resume", "label", "calibration")
    parser.add_argument(
        "mode", nargs="?", choices=(*modes, *BY_FOLDER, "reading"), default="speed"
    )
    parser.add_argument(
        "--shape", help="z y x, of speed (default 32x384x384) and label"
    )
    parser.add_argument("--iterations", type=int, default=3, help="default %(default)s")
    parser.add_argument(
        "--repeat",
        type=int,
        help="rounds (default 1): medians are told; of engine (default 3) the best",
    )
    parser.add_argument(
        "--every-set", action="store_true", help="engine: every instruction set"
    )
    parser.add_argument(
        "--seeds",
        choices=benchmark_calibration.SETS,
        default="judge",
        help="calibration: volumes to tune on, or the 40 that judge (default)",
    )
    parser.add_argument(
        "--files",
        type=Path,
        metavar="FOLDER",
        help="calibration, reading: real CZI files",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    parser.add_argument("--folder", type=Path, help="where temporary files go")
    return parser


if __name__ == "__main__":
    main()
