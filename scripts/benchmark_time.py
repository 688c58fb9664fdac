"""How long runs take beside what the plan says, before and after it has measured."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_tools import config_for, measure, print_table, program
from demo_czi import add_noise, truth, write_czi


@dataclass(frozen=True, slots=True)
class Case:
    """A run of two workers."""

    name: str
    shape: tuple[int, ...]
    """``(t, c, z, y, x)``."""
    blocks: dict[str, int]
    """blocks.shape; an axis not named is not cut."""
    denoise: dict[str, Any]
    tasks: tuple[dict[str, Any], ...] = ()


DEEP = {"patch": {"z": 1, "y": 3, "x": 3}, "max_iter": 4}

SOFT = {"kind": "smooth", "name": "soft", "sigma": {"z": 1, "y": 2, "x": 2}}
MASK = {"kind": "threshold", "name": "mask", "method": "otsu"}

CASES = (
    Case("a volume", (1, 1, 48, 320, 320), {"y": 128}, DEEP),
    Case(
        "the same in float32",
        (1, 1, 48, 512, 512),
        {"y": 128},
        DEEP | {"precision": "float32"},
    ),
    Case(
        "ndsafir itself",
        (1, 1, 16, 256, 256),
        {"y": 128, "x": 128},
        {"patch": {"y": 3, "x": 3}, "engine": "ndsafir"},
    ),
    Case("planes, two channels", (16, 2, 1, 512, 512), {}, {"max_iter": 4}),
    Case("a median and tasks", (1, 1, 96, 640, 640), {"z": 32}, {}, (SOFT, MASK)),
)


def run(folder: Path) -> dict[str, Any]:
    """Run every case; print the table."""
    rows = []
    for i, case in enumerate(CASES):
        place = folder / str(i)
        place.mkdir()
        rows.append(_run_case(place, case))
    header = ("run of two workers", "planned s", "probed s", "s", "s / probed")
    table = [
        (
            row["case"],
            f"{row['planned']:.1f}",
            f"{row['probed']:.1f}",
            f"{row['seconds']:.1f}",
            f"{row['seconds'] / row['probed']:.2f}",
        )
        for row in rows
    ]
    print_table(header, table)
    return {"runs": rows}


def _run_case(folder: Path, case: Case) -> dict[str, Any]:
    image = add_noise(truth(case.shape))
    config = config_for(
        write_czi(folder / "image.czi", image, time_step_s=None),
        folder / "output.zarr",
        case.shape[1],
        denoise=case.denoise or {"kind": "median", "size": {"z": 3, "y": 5, "x": 5}},
        blocks={"shape": case.blocks},
        workers={"kind": "local", "count": 2},
        tasks=case.tasks,
    )
    if not case.denoise:
        del config["noise"]
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    planned, probed = _planned(file), _planned(file, "--probe")
    seconds = measure(program(file), folder / "run.log").wall_seconds
    return {
        "case": case.name,
        "planned": planned,
        "probed": probed,
        "seconds": seconds,
    }


def _planned(file: Path, *options: str) -> float:
    """Seconds that a run of the config is said to take."""
    command = [*program(file, "plan"), "--json", *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["time"]["hours"] * 3600)
