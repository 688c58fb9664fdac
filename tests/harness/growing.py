"""Movies that grow, and runs of them whose blocks are done in this process."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from denoise_daisy.blockwise.process_block import process_block
from denoise_daisy.run_dir.ledger_lines import Entry, LedgerWriter
from denoise_daisy.runs import run_one
from denoise_daisy.runs.not_kept import delete_unneeded
from denoise_daisy.runs.preflight import Preflight, unneeded_stages
from harness.oracles import filter_config, go, speckles

OLD, NEW, MOST = 5, 8, 12
"""Time points."""


def movie(times: int) -> np.ndarray:
    """Of ``(t, y, x)``; a longer one begins with a shorter one."""
    return speckles((MOST, 1, 1, 40, 48))[:times, 0, 0]


def append(path: Path, planes: np.ndarray) -> Path:
    """Add pages to a TIFF, or make it."""
    for plane in planes:
        tifffile.imwrite(path, plane, append=path.exists(), metadata=None)
    return path


def lengthen(config: dict[str, Any], times: int = NEW) -> None:
    """Add the time points that a config's movie lacks."""
    path = Path(config["input"]["path"])
    with tifffile.TiffFile(path) as tif:
        there = len(tif.pages)
    append(path, movie(times)[there:])


def movie_config(folder: Path, source: Path, **sections: Any) -> dict[str, Any]:
    """A config of a movie, with its output in a folder that is made."""
    folder.mkdir(exist_ok=True)
    noise = {"noise": sections.pop("noise")} if "noise" in sections else {}
    config = filter_config(source, folder / "out.zarr", **sections) | noise
    config["input"] |= {"axes": "tyx"}
    return config


def go_here(config: dict[str, Any], **options: Any) -> str:
    """A start as any other, whose blocks are done by no workers, but here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_one, "_start", _do_blocks)
        return go(config, **options)


def _do_blocks(found: Preflight, epoch: int, *_: object) -> None:
    for stage in found.asked_stages:
        stage.load()
        folder = found.run.run_dir.ledger(stage.name)
        lines = LedgerWriter(folder, found.run.id, f"here-{epoch}", durable=False)
        for index in stage.grid.indices():
            if found.ledgers[stage.name].is_done(index):
                continue
            done = process_block(stage, index, durable=False, is_wanted=lambda: True)
            values = asdict(done)
            del values["is_left"]
            shape = tuple(stage.grid.block_shape)
            lines.append(Entry(index, shape, "done", epoch, "here", **values))
        lines.close()
        found.ledgers[stage.name].refresh()
    unneeded = unneeded_stages(found.run, found.ledgers, found.left_alone)
    delete_unneeded(found.run, found.ledgers, unneeded)


def written(output: Path) -> dict[str, bytes]:
    """All files of all arrays, and the tables, of a run; groups tell which it was."""
    files = {}
    for path in sorted(output.parent.rglob("*")):
        name = path.relative_to(output.parent)
        if not path.is_file() or name.parts[0].endswith(".run"):
            continue
        data = path.read_bytes()
        if path.name != "zarr.json" or json.loads(data)["node_type"] == "array":
            files[str(name)] = data
    return files
