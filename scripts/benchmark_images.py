"""Many images in one run, beside the sum of the time that their blocks take."""

import csv
import json
from pathlib import Path
from typing import Any

from benchmark_tools import config_for, measure, print_table, program
from demo_czi import add_noise, truth, write_czi

IMAGES = 96

SHAPE = (1, 1, 16, 128, 128)
"""Of each, ``(t, c, z, y, x)``: one block."""

WORKERS = 2

MOST, START_SECONDS = 1.15, 5.0
"""Goal: at most so many times the sum of the blocks' seconds, shared among the workers,
and so much for the start."""


def run(folder: Path) -> dict[str, Any]:
    """Denoise them all in one run; print the figures."""
    (folder / "in").mkdir()
    for i in range(IMAGES):
        noisy = add_noise(truth(SHAPE, seed=i), seed=i)
        write_czi(folder / "in" / f"image_{i}.czi", noisy)
    config = config_for(
        folder / "in" / "*.czi",
        folder / "out",
        1,
        denoise={"patch": {"z": 1, "y": 3, "x": 3}, "max_iter": 4},
        workers={"kind": "local", "count": WORKERS},
    )
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    usage = measure(program(file), folder / "log")
    with (folder / "out.run" / "images.csv").open() as table:
        rows = list(csv.DictReader(table))
    seconds = sum(float(row["seconds"]) for row in rows)
    goal = MOST * seconds / WORKERS + START_SECONDS
    print_table(
        ("images", "done", "blocks' s", "wall s", "goal s", "CPU s", "peak MiB"),
        [
            (
                str(IMAGES),
                str(sum(row["status"] == "done" for row in rows)),
                f"{seconds:.1f}",
                f"{usage.wall_seconds:.1f}",
                f"{goal:.1f}",
                f"{usage.cpu_seconds:.1f}",
                f"{usage.peak_mib:.0f}",
            )
        ],
    )
    return {
        "images": IMAGES,
        "seconds_of_blocks": seconds,
        "wall_seconds": usage.wall_seconds,
        "goal_seconds": goal,
        "failed": "too slow" if usage.wall_seconds > goal else None,
    }
