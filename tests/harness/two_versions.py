"""The same small run as OME-Zarr 0.5 and as 0.4, with masks, labels and levels."""

from pathlib import Path
from typing import Any

from demo_czi import write_czi

from harness.oracles import filter_config, speckles
from harness.program import cli, write_config

SHAPE = (2, 2, 6, 40, 44)

BEGIN = (1, 0, 1, 5, 7)
"""Of what is denoised, in the image that is in the file."""

ROI = {
    axis: [begin, begin + n]
    for axis, begin, n in zip("tczyx", BEGIN, SHAPE, strict=True)
    if axis != "c"
}

TASKS: list[dict[str, Any]] = [
    {"kind": "smooth", "name": "soft", "sigma": {"y": 1.0, "x": 1.0}},
    {"kind": "threshold", "name": "bright", "value": 2100, "channel": 1},
    {"kind": "threshold", "name": "both", "value": 2100},
    {"kind": "label", "name": "cells", "input": "bright", "table": "csv"},
    {"kind": "pyramid", "name": "levels", "levels": 1},
    *(
        {"kind": "pyramid", "name": f"coarse_{name}", "input": name, "levels": 1}
        for name in ("soft", "bright", "both", "cells")
    ),
]


def both_runs(folder: Path) -> Path:
    """The same run twice, as 0.5 and, in two starts, as 0.4."""
    whole = tuple(n + begin for n, begin in zip(SHAPE, BEGIN, strict=True))
    source = write_czi(folder / "in.czi", speckles(whole))
    for version in ("0.5", "0.4"):
        config = filter_config(
            source,
            folder / version / "out.zarr",
            tasks=TASKS,
            input={"roi": ROI},
            output={"ome_version": version},
            blocks={"shape": {"y": 16}},
        )
        (folder / version).mkdir()
        write_config(folder / version / "config.json", config)
        if version == "0.4":
            first = cli("run", folder / "0.4/config.json", "--task", "denoise")
            assert first.returncode == 0, first.stderr
        done = cli("run", folder / version / "config.json")
        assert done.returncode == 0, done.stderr
    return folder
