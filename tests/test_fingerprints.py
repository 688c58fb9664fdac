"""Which change of a config, or of a version, throws away what is done, and which not.

> refused: the output belongs to a run with other settings or another input (each
> differing field is named)
> Should a task be changed, it and what reads it are done anew, and nothing else.

Every field of the config stands in a table here, with a change of it and what becomes
of a run that was begun before.  A fingerprint that lacks a fact would be green in all
other tests: the run would go on over blocks of other settings.  One with a fact too
many would throw away weeks of work for a longer walltime.  Each change is held to the
words that name it, and to the stages that it costs; a change that never reached the
config, and a field that the table lacks, are red.
"""

import importlib.metadata
import json
import shutil
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pylibCZIrw import czi
from support import small_czi, small_image

from denoise_daisy import job, run
from denoise_daisy.checks import Plan, check_settings
from denoise_daisy.config import Config
from denoise_daisy.errors import RefusedError
from denoise_daisy.scheduler import Scheduler

SHAPE = (2, 2, 4, 64, 48)
"""Of each of the two scenes of the image, (t, c, z, y, x)."""

CODE = """
def double(block, context):
    return block * 2


def triple(block, context):
    return block * 3


def begin(params):
    return None


def end(state):
    return None
"""


@dataclass(frozen=True)
class Refused:
    """The start is refused, and the message has these words."""

    words: str


@dataclass(frozen=True)
class Anew:
    """Just these stages are done anew: by name, what of them was something else.

    Nothing where only what they read was.
    """

    stages: dict[str, str]


@dataclass(frozen=True)
class GoesOn:
    """All that was done still counts; these stages had not been there."""

    new: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnotherRun:
    """It has nothing to do with the one before."""


Effect = Refused | Anew | GoesOn | AnotherRun


@dataclass(frozen=True)
class Change:
    """A value put into the config of a run, at a place such as "tasks.soft.sigma"."""

    run: str
    place: str
    value: Any
    effect: Effect


POISSON = {"kind": "poisson-gaussian", "gains": [3.9, 3.9], "offsets": [-367, -367]}

NDSAFIR = {"kind": "ndsafir", "patch": {"y": 1, "x": 1}, "max_iter": 2}

MEDIAN = {"kind": "median", "size": {"y": 3, "x": 3}}

GAUSSIAN = {"kind": "gaussian", "sigma": {"y": 1.0}}

SLURM = {"kind": "slurm", "count": 2}

LSF = {"kind": "lsf", "count": 2}

LOCAL = {"kind": "local", "count": 1}

LEVELS = {"kind": "pyramid", "name": "levels", "levels": 1, "method": "mean"}

SOFT = {"kind": "smooth", "name": "soft", "sigma": {"y": 1.0}}

BRIGHT = {
    "kind": "threshold",
    "name": "bright",
    "input": "soft",
    "value": 500.0,
    "channel": 0,
}

FOUND = {"kind": "threshold", "name": "found", "input": "soft", "method": "otsu"}

CELLS = {"kind": "label", "name": "cells", "input": "bright", "table": "csv"}

TWICE = {
    "kind": "function",
    "name": "twice",
    "function": "own:double",
    "folder": "code",
    "dtype": "uint16",
    "channels": 2,
}

BOTH = TWICE | {"name": "both", "input": ["denoised", "raw"]}

TASKS = [SOFT, BRIGHT, FOUND, CELLS, TWICE, BOTH, LEVELS]

RUNS: dict[str, dict[str, Any]] = {
    "median": {"denoise": MEDIAN, "tasks": TASKS},
    "gaussian": {"denoise": GAUSSIAN, "tasks": [SOFT]},
    "no shards": {
        "denoise": MEDIAN,
        "tasks": [SOFT, BRIGHT, CELLS],
        "output": {"shards": None},
    },
    "ndsafir": {"denoise": NDSAFIR, "noise": POISSON, "tasks": TASKS},
    "calibrated": {"denoise": NDSAFIR},
    "gaussian noise": {
        "denoise": NDSAFIR,
        "noise": {"kind": "gaussian", "noise_std": 20.0},
    },
    "little context": {
        "denoise": NDSAFIR,
        "noise": POISSON,
        "blocks": {"context": {"z": 1, "y": 2, "x": 2}},
    },
    "two threads": {
        "denoise": NDSAFIR,
        "noise": POISSON,
        "workers": {"threads_per_worker": 2},
    },
    "slurm": {"denoise": MEDIAN, "workers": SLURM},
    "slurm, ndsafir": {"denoise": NDSAFIR, "noise": POISSON, "workers": SLURM},
    "lsf": {"denoise": MEDIAN, "workers": LSF},
    "lsf, ndsafir": {"denoise": NDSAFIR, "noise": POISSON, "workers": LSF},
}
"""What the config of each run has beside the usual."""


def config_of(name: str) -> dict[str, Any]:
    """The config of a run, whose paths count from the tests' folder."""
    config: dict[str, Any] = {
        "input": {"path": "in.czi", "scene": 0},
        "output": {"path": f"{name}.zarr", "chunks": {"z": 4, "y": 16, "x": 16}},
        "blocks": {"shape": {"y": 32}, "memory_gib": 2},
        "workers": LOCAL,
    }
    for section, values in RUNS[name].items():
        is_whole = section == "tasks" or "kind" in values
        config[section] = values if is_whole else config[section] | values
    return deepcopy(config)


def put(config: dict[str, Any], place: str, value: Any) -> None:
    """Set a value, in a list in what has that name."""
    *path, key = place.split(".")
    found: Any = config
    for part in path:
        if isinstance(found, list):
            (found,) = [item for item in found if item["name"] == part]
        else:
            found = found.setdefault(part, {})
    if isinstance(found, list):
        names = [item["name"] for item in found]
        found[names.index(key)] = value
    else:
        found[key] = value


GOES_ON = GoesOn()

OF_CELLS = ("cells.pieces", "cells.union", "cells", "cells.table")


def anew(why: str, *stages: str) -> Anew:
    return Anew(dict.fromkeys(stages, why))


def soft_anew(why: str) -> Anew:
    """With all that reads it, right away or not."""
    readers = ("bright", "found", "found.value", *OF_CELLS)
    return Anew({"soft": why} | dict.fromkeys(readers, ""))


def bright_anew(why: str) -> Anew:
    return Anew({"bright": why} | dict.fromkeys(OF_CELLS, ""))


INEXACT = Refused("exact was True, is False")

CUT = "block_shape was [1, 4, 32, 48], is [1, 4, 16, 48]"

OTHER_BLOCKS = Refused("blocks.shape was [1, 4, 32, 48], is [1, 4, 64, 48]")

Fields = dict[str, tuple[Any, Effect] | Change | None]
"""Of a section: the new value of each field, and what that leads to.

The new value of a kind is that of the whole section.  None: a section with fields of
its own.
"""

ANY_WORKERS: Fields = {
    "block_timeout_minutes": (5, GOES_ON),
    "max_retries": (9, GOES_ON),
    "count": (7, GOES_ON),
}

ANY_JOBS: Fields = ANY_WORKERS | {
    "kind": (LOCAL, GOES_ON),
    "memory_gib": (6, GOES_ON),
    "environment": ("module load python", GOES_ON),
    "host": ("head", GOES_ON),
    "extra_args": (["--nice"], GOES_ON),
}

ANY_TASK: Fields = {
    "blocks": None,
    "workers": (LOCAL, GOES_ON),
    "max_retries": (9, GOES_ON),
}

TABLE: dict[str, tuple[str, str, Fields]] = {
    "Config": (
        "gaussian",
        "",
        {
            "input": None,
            "output": None,
            "noise": None,
            "denoise": None,
            "blocks": None,
            "workers": None,
            "tasks": ([TWICE, SOFT], GoesOn(("twice",))),
        },
    ),
    "Input": (
        "median",
        "input",
        {
            "path": ("copy.czi", GOES_ON),
            "scene": (1, Refused("input.scene was 0, is 1")),
            "roi": (
                {"t": [0, 1], "x": [8, 48]},
                Refused(
                    "input.roi was [[0, 2], [0, 4], [0, 64], [0, 48]],"
                    " is [[0, 1], [0, 4], [0, 64], [8, 48]]"
                ),
            ),
            "channels": ([1, 0], Refused("input.channels was None, is [1, 0]")),
        },
    ),
    "Output": (
        "median",
        "output",
        {
            "path": ("other.zarr", AnotherRun()),
            "dtype": ("uint8", Refused("output.dtype was 'uint16', is 'uint8'")),
            "chunks": (
                {"z": 4, "y": 32, "x": 16},
                Refused("output.chunks was [1, 1, 4, 16, 16], is [1, 1, 4, 32, 16]"),
            ),
            "shards": (
                None,
                Refused("output.shards was [1, 2, 4, 32, 48], is None"),
            ),
            "compression_level": (
                5,
                Refused("output.compression_level was 1, is 5"),
            ),
            "durability": ("none", GOES_ON),
        },
    ),
    "PoissonGaussian": (
        "ndsafir",
        "noise",
        {
            "kind": (
                {"kind": "gaussian", "noise_std": 20.0},
                Refused("noise.kind was 'poisson-gaussian', is 'gaussian'"),
            ),
            "gains": (
                [3.9, 4.1],
                Refused("noise.gains was [3.9, 3.9], is [3.9, 4.1]"),
            ),
            "offsets": (
                [-367, 0],
                Refused("noise.offsets was [-367.0, -367.0], is [-367.0, 0.0]"),
            ),
        },
    ),
    "Gaussian": (
        "gaussian noise",
        "noise",
        {
            "kind": (
                POISSON,
                Refused("noise.kind was 'gaussian', is 'poisson-gaussian'"),
            ),
            "noise_std": (21.0, Refused("noise.noise_std was 20.0, is 21.0")),
        },
    ),
    "Ndsafir": (
        "calibrated",
        "denoise",
        {
            "kind": (MEDIAN, Refused("denoise.kind was 'ndsafir', is 'median'")),
            "patch": (
                {"y": 1, "x": 2},
                Refused("denoise.patch was [0, 0, 1, 1], is [0, 0, 1, 2]"),
            ),
            "active_dimensions": (
                "tyx",
                Refused("denoise.active_dimensions was 'zyx', is 'tyx'"),
            ),
            "max_iter": (3, Refused("denoise.max_iter was 2, is 3")),
            "pvalue": (0.2, Refused("denoise.pvalue was 0.1, is 0.2")),
        },
    ),
    "MedianFilter": (
        "median",
        "denoise",
        {
            "kind": (GAUSSIAN, Refused("denoise.kind was 'median', is 'gaussian'")),
            "size": (
                {"y": 5, "x": 3},
                Refused("denoise.size was {'y': 3, 'x': 3}, is {'y': 5, 'x': 3}"),
            ),
        },
    ),
    "GaussianFilter": (
        "gaussian",
        "denoise",
        {
            "kind": (NDSAFIR, Refused("denoise.kind was 'gaussian', is 'ndsafir'")),
            "sigma": (
                {"y": 1.0, "x": 0.5},
                Refused("denoise.sigma was {'y': 1.0}, is {'y': 1.0, 'x': 0.5}"),
            ),
        },
    ),
    "Blocks": (
        "ndsafir",
        "blocks",
        {
            "shape": ({"y": 64}, GOES_ON),
            "context": ({"y": 2}, INEXACT),
            "memory_gib": (3, GOES_ON),
        },
    ),
    "LocalWorkers": (
        "ndsafir",
        "workers",
        ANY_WORKERS
        | {
            "kind": (LSF, GOES_ON),
            "threads_per_worker": (2, INEXACT),
        },
    ),
    "SlurmWorkers": (
        "slurm",
        "workers",
        ANY_JOBS
        | {
            "partition": ("long", GOES_ON),
            "account": ("lab", GOES_ON),
            "qos": ("high", GOES_ON),
            "time": ("2-0", GOES_ON),
            "cpus_per_task": Change(
                "slurm, ndsafir", "workers.cpus_per_task", 2, INEXACT
            ),
            "constraint": ("avx2", GOES_ON),
            "nodelist": ("node[1-4]", GOES_ON),
            "exclude": ("node5", GOES_ON),
        },
    ),
    "LsfWorkers": (
        "lsf",
        "workers",
        ANY_JOBS
        | {
            "queue": ("long", GOES_ON),
            "project": ("lab", GOES_ON),
            "walltime_minutes": (600, GOES_ON),
            "cores": Change("lsf, ndsafir", "workers.cores", 2, INEXACT),
        },
    ),
    "TaskBlocks": (
        "median",
        "tasks.cells.blocks",
        {"shape": ({"y": 16}, anew(CUT, *OF_CELLS))},
    ),
    "FunctionBlocks": (
        "median",
        "tasks.twice.blocks",
        {
            "shape": ({"y": 16}, anew(CUT, "twice")),
            "context": (
                {"y": 2},
                anew("context was [0, 0, 0, 0], is [0, 0, 2, 0]", "twice"),
            ),
        },
    ),
    "Pyramid": (
        "median",
        "tasks.levels",
        ANY_TASK
        | {
            "kind": (SOFT | {"name": "levels"}, GoesOn(("levels",))),
            "name": ("other", GoesOn(("other.1",))),
            "input": ("twice", anew("", "levels.1")),
            "levels": (2, GoesOn(("levels.2",))),
            "method": (
                "nearest",
                anew("method was 'mean', is 'nearest'", "levels.1"),
            ),
        },
    ),
    "Smooth": (
        "median",
        "tasks.soft",
        ANY_TASK
        | {
            "kind": (
                BRIGHT | {"name": "soft", "input": "raw", "channel": None},
                soft_anew("kind was 'smooth', is 'threshold'"),
            ),
            "name": Change("gaussian", "tasks.soft.name", "other", GoesOn(("other",))),
            "input": ("raw", soft_anew("reads was ['denoised'], is ['raw']")),
            "sigma": (
                {"y": 1.5},
                soft_anew("sigma was {'y': 1.0}, is {'y': 1.5}"),
            ),
            "dtype": ("uint8", soft_anew("dtype was 'float32', is 'uint8'")),
        },
    ),
    "Threshold": (
        "median",
        "tasks.bright",
        ANY_TASK
        | {
            "kind": Change(
                "median",
                "tasks.found",
                SOFT | {"name": "found"},
                anew("kind was 'threshold', is 'smooth'", "found"),
            ),
            "name": Change(
                "median", "tasks.found.name", "other", GoesOn(("other.value", "other"))
            ),
            "input": ("raw", bright_anew("reads was ['soft'], is ['raw']")),
            "value": (501.0, bright_anew("value was 500.0, is 501.0")),
            "method": Change(
                "median",
                "tasks.found.method",
                "li",
                anew("method was 'otsu', is 'li'", "found.value", "found"),
            ),
            "channel": (1, bright_anew("channel was 0, is 1")),
        },
    ),
    "Label": (
        "median",
        "tasks.cells",
        ANY_TASK
        | {
            "kind": (
                SOFT | {"name": "cells"},
                anew("kind was 'label', is 'smooth'", "cells"),
            ),
            "name": (
                "other",
                GoesOn(("other.pieces", "other.union", "other", "other.table")),
            ),
            "input": (
                "found",
                Anew(
                    {"cells": "reads was ['bright'], is ['found']"}
                    | dict.fromkeys(
                        ("cells.pieces", "cells.union", "cells.table"),
                        "reads was ['bright', 'denoised'], is ['found', 'denoised']",
                    )
                ),
            ),
            "connectivity": (2, anew("connectivity was 1, is 2", *OF_CELLS)),
            "min_voxels": (
                9,
                anew("min_voxels was 1, is 9", "cells.union", "cells", "cells.table"),
            ),
            "table": (
                "parquet",
                anew("table was 'csv', is 'parquet'", "cells.table"),
            ),
            # The labels themselves do not change with what is measured.
            "intensity": (
                "soft",
                anew(
                    "reads was ['bright', 'denoised'], is ['bright', 'soft']",
                    *("cells.pieces", "cells.union", "cells.table"),
                ),
            ),
        },
    ),
    "Function": (
        "median",
        "tasks.twice",
        ANY_TASK
        | {
            "kind": (
                SOFT | {"name": "twice"},
                anew("kind was 'function', is 'smooth'", "twice"),
            ),
            "name": ("other", GoesOn(("other",))),
            "input": (
                ["denoised", "raw"],
                anew("reads was ['denoised'], is ['denoised', 'raw']", "twice"),
            ),
            "function": (
                "own:triple",
                anew("function was 'own:double', is 'own:triple'", "twice"),
            ),
            "setup": ("own:begin", anew("setup was None, is 'own:begin'", "twice")),
            "teardown": ("own:end", anew("teardown was None, is 'own:end'", "twice")),
            "folder": ("moved", GOES_ON),
            "params": ({"gain": 2}, anew("params was {}, is {'gain': 2}", "twice")),
            "output": ("labels", anew("output was 'image', is 'labels'", "twice")),
            "dtype": ("uint32", anew("dtype was 'uint16', is 'uint32'", "twice")),
            "channels": (1, anew("channels was 2, is 1", "twice")),
            "span": ("t", anew("span was '', is 't'", "twice")),
            "read_write_conflict": (
                True,
                anew("read_write_conflict was False, is True", "twice"),
            ),
        },
    ),
}
"""Every field by its section: the run, the section's place in its config, the change.
"""

MORE: dict[str, Change] = {
    "no task any more": Change("median", "tasks", [], GOES_ON),
    "tasks in another order": Change("median", "tasks", [TWICE, SOFT, FOUND], GOES_ON),
    "the whole image by its numbers": Change(
        "median", "input.roi", {"y": [0, 64]}, GOES_ON
    ),
    "shards as they were chosen": Change(
        "median", "output.shards", {"z": 4, "y": 32, "x": 48}, GOES_ON
    ),
    "noise to be calibrated that was given": Change(
        "ndsafir", "noise", {"kind": "poisson-gaussian"}, GOES_ON
    ),
    "a standard deviation to be calibrated that was given": Change(
        "gaussian noise", "noise.noise_std", None, GOES_ON
    ),
    "a radius of 0 that was left out": Change(
        "ndsafir", "denoise.patch", {"z": 0, "y": 1, "x": 1}, GOES_ON
    ),
    "blocks to be chosen": Change("ndsafir", "blocks.shape", "auto", GOES_ON),
    "blocks of a filter": Change("median", "blocks.shape", {"y": 64}, GOES_ON),
    "blocks of too little context": Change(
        "little context", "blocks.shape", {"y": 64}, OTHER_BLOCKS
    ),
    "blocks of several threads": Change(
        "two threads", "blocks.shape", {"y": 64}, OTHER_BLOCKS
    ),
    "more context than is needed": Change(
        "ndsafir", "blocks.context", {"y": 40}, GOES_ON
    ),
    "a filter's context too little": Change(
        "median", "blocks.context", {"y": 0}, INEXACT
    ),
    "less too little a context": Change(
        "little context",
        "blocks.context",
        {"z": 1, "y": 3, "x": 2},
        Refused("blocks.context was [0, 1, 2, 2], is [0, 1, 3, 2]"),
    ),
    "exact after all": Change(
        "little context",
        "blocks.context",
        "exact",
        Refused("exact was False, is True"),
    ),
    "memory where it is inexact": Change(
        "little context", "blocks.memory_gib", 3, GOES_ON
    ),
    "workers where it is inexact": Change("two threads", "workers.count", 5, GOES_ON),
    "threads where there were several": Change(
        "two threads",
        "workers.threads_per_worker",
        3,
        Refused("workers.threads_per_worker was 2, is 3"),
    ),
    "threads where there was too little context": Change(
        "little context",
        "workers.threads_per_worker",
        2,
        Refused("workers.threads_per_worker was 1, is 2"),
    ),
    "from here to Slurm": Change("median", "workers", SLURM, GOES_ON),
    "a task's own workers in LSF": Change("median", "tasks.soft.workers", LSF, GOES_ON),
    "a task's own workers of more threads": Change(
        "ndsafir", "tasks.soft.workers", LOCAL | {"threads_per_worker": 2}, GOES_ON
    ),
    "a task's blocks with other shards": Change(
        "median",
        "tasks.soft.blocks.shape",
        {"y": 16},
        soft_anew("shards was [1, 2, 4, 32, 48], is [1, 2, 4, 16, 48]"),
    ),
    "a task's blocks without shards": Change(
        "no shards", "tasks.soft.blocks.shape", {"y": 16}, GOES_ON
    ),
    "a label's blocks without shards, for its pieces are others": Change(
        "no shards", "tasks.cells.blocks.shape", {"y": 16}, anew(CUT, *OF_CELLS)
    ),
    "a task's blocks as they were chosen": Change(
        "median", "tasks.cells.blocks.shape", {"y": 32}, GOES_ON
    ),
    "no levels any more": Change("median", "tasks.levels.levels", 0, GOES_ON),
    "the usual method by its name": Change(
        "median", "tasks.levels.method", "auto", GOES_ON
    ),
    "a channel whose value is found": Change(
        "median",
        "tasks.found.channel",
        0,
        anew("channel was None, is 0", "found.value", "found"),
    ),
    "inputs the other way round": Change(
        "median",
        "tasks.both.input",
        ["raw", "denoised"],
        anew("reads was ['denoised', 'raw'], is ['raw', 'denoised']", "both"),
    ),
}
"""What hangs on other things than the field alone."""


def changes() -> Iterator[Any]:
    """All of them, by name."""
    for section, (begun, place, fields) in TABLE.items():
        for field, change in fields.items():
            if isinstance(change, tuple):
                where = place if field == "kind" else f"{place}.{field}".strip(".")
                yield pytest.param(
                    Change(begun, where, *change), id=f"{section}.{field}"
                )
            elif change is not None:
                yield pytest.param(change, id=f"{section}.{field}")
    for name, change in MORE.items():
        yield pytest.param(change, id=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of two images, its copies, another, and the code of the functions."""
    folder = tmp_path_factory.mktemp("fingerprints")
    with czi.create_czi(str(folder / "in.czi")) as writer:
        for scene in (0, 1):
            image = small_image(SHAPE, seed=scene)
            for t, c, z in np.ndindex(SHAPE[:3]):
                writer.write(
                    image[t, c, z, :, :, np.newaxis],
                    plane={"T": t, "C": c, "Z": z},
                    location=(0, 100 * scene),
                    scene=scene,
                )
        writer.write_metadata("two scenes")
    # Times and all, by which a file is known.
    shutil.copy2(folder / "in.czi", folder / "copy.czi")
    shutil.copy(folder / "in.czi", folder / "written.czi")
    small_czi(folder / "other.czi", SHAPE)
    for name in ("code", "moved"):
        (folder / name).mkdir()
        (folder / name / "own.py").write_text(CODE)
    return folder


def load(config: dict[str, Any], folder: Path) -> Config:
    return Config.parse(json.dumps(config).encode(), name="test", folder=folder)


@pytest.fixture(scope="module")
def recorded(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, Any]]]:
    """The run.json of each run, after a start that has come to no block.

    Batch systems take any job, and do none.
    """
    programs, records = tmp_path_factory.mktemp("bin"), {}
    for name in ("sbatch", "scancel", "bkill"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(programs), prepend=":")
        with patch.context() as at_start:
            at_start.setattr(Scheduler, "run", lambda _: None)
            for name in RUNS:
                config = load(config_of(name), folder)
                run(config, unchecked_ndsafir=True, say=lambda _: None)
                records[name] = json.loads(
                    (folder / f"{name}.zarr.run" / "run.json").read_text()
                )
        yield records


def start(config: dict[str, Any], folder: Path) -> Plan:
    """What a start of this config would do; nothing is written."""
    return check_settings(load(config, folder), unchecked_ndsafir=True)


def own_changes(plan: Plan) -> dict[str, list[str]]:
    """What of each stage has changed, besides what it reads and a function's code."""
    others = ("input ", "code", "package ")
    return {
        stage: [change for change in changes if not change.startswith(others)]
        for stage, changes in plan.changed.items()
    }


def changes_of(refused: RefusedError) -> list[str]:
    """What a message has of other settings, or of another input."""
    said = str(refused).partition("another input: ")[2]
    return said.partition(". Restore these")[0].split("; ")


def check_anew(plan: Plan, stages: dict[str, str]) -> None:
    found = own_changes(plan)
    assert found.keys() == stages.keys()
    for stage, why in stages.items():
        assert plan.changed[stage]
        if why:
            assert why in found[stage], found[stage]
        else:
            assert found[stage] == [], stage


def sections() -> dict[str, dict[str, Any]]:
    """The properties of every section, as the JSON Schema has them."""
    schema = Config.model_json_schema()
    every = {"Config": schema} | schema["$defs"]
    return {name: section["properties"] for name, section in every.items()}


def test_the_table_has_every_field_of_every_section() -> None:
    fields = {name: sorted(found) for name, found in sections().items()}
    assert {name: sorted(TABLE[name][2]) for name in TABLE} == fields


def test_only_sections_are_left_to_their_own_fields() -> None:
    for name, found in sections().items():
        for field, schema in found.items():
            is_left = TABLE[name][2][field] is None
            assert not is_left or "#/$defs/" in json.dumps(schema), f"{name}.{field}"


@pytest.mark.parametrize("name", RUNS)
def test_the_same_config_goes_on(
    name: str, folder: Path, recorded: dict[str, dict[str, Any]]
) -> None:
    """Else what is refused or done anew below might be for another reason."""
    plan = start(config_of(name), folder)
    assert plan.record == recorded[name]
    assert plan.changed == {}
    assert {stage.name for stage in plan.job.chain} == recorded[name]["stages"].keys()


@pytest.mark.parametrize("change", [*changes()])
def test_a_change_of_a_field_has_the_effect_that_the_table_says(
    change: Change, folder: Path, recorded: dict[str, dict[str, Any]]
) -> None:
    config = config_of(change.run)
    before = load(config, folder)
    put(config, change.place, change.value)
    assert load(config, folder) != before
    if isinstance(change.effect, Refused):
        with pytest.raises(RefusedError) as caught:
            start(config, folder)
        assert change.effect.words in changes_of(caught.value)
        return
    plan = start(config, folder)
    if isinstance(change.effect, AnotherRun):
        assert plan.record is None
        return
    assert plan.record == recorded[change.run]
    stages = {stage.name for stage in plan.job.chain}
    new = change.effect.new if isinstance(change.effect, GoesOn) else ()
    assert stages - recorded[change.run]["stages"].keys() == set(new)
    check_anew(plan, change.effect.stages if isinstance(change.effect, Anew) else {})


ANOTHER = "0.0.1"

VERSIONS: dict[str, tuple[str, str, Refused | Anew | GoesOn]] = {
    "scipy of a median": ("median", "scipy", Refused("scipy")),
    "scipy of a Gaussian": ("gaussian", "scipy", Refused("scipy")),
    "scipy of smoothing": ("ndsafir", "scipy", soft_anew("scipy")),
    "scikit-image of a threshold that is found": (
        "median",
        "scikit-image",
        Anew(dict.fromkeys(("found.value", "found"), "scikit-image")),
    ),
    "scikit-image of a threshold that is given": (
        "no shards",
        "scikit-image",
        GoesOn(),
    ),
    "ndsafir": ("ndsafir", "ndsafir", Refused("ndsafir")),
    "ndsafir, inexact": ("two threads", "ndsafir", Refused("ndsafir")),
    "ndsafir that denoises nothing": ("median", "ndsafir", GoesOn()),
    "scipy that filters nothing": ("gaussian noise", "scipy", GoesOn()),
    "numpy": ("median", "numpy", GoesOn()),
    "zarr": ("median", "zarr", GoesOn()),
    "daisy": ("ndsafir", "daisy", GoesOn()),
    "denoise-daisy": ("ndsafir", "denoise-daisy", GoesOn()),
}
"""A run, a library of which another version is installed, and what comes of it."""


@pytest.mark.parametrize("name", VERSIONS)
def test_another_version_of_a_library_counts_where_its_results_may_differ(
    name: str,
    folder: Path,
    recorded: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, library, effect = VERSIONS[name]
    said = f"{library} was {importlib.metadata.version(library)!r}, is {ANOTHER!r}"
    # Its own class: importlib_metadata, where it is imported, has others.
    kind = type(importlib.metadata.distribution(library))
    is_told = kind.version.fget

    def version(self: importlib.metadata.Distribution) -> str:
        return ANOTHER if self.name == library else is_told(self)

    monkeypatch.setattr(kind, "version", property(version))
    assert importlib.metadata.version(library) == ANOTHER
    if isinstance(effect, Refused):
        with pytest.raises(RefusedError) as caught:
            start(config_of(begun), folder)
        assert changes_of(caught.value) == [said]
        return
    plan = start(config_of(begun), folder)
    assert plan.record == recorded[begun]
    stages = effect.stages if isinstance(effect, Anew) else {}
    check_anew(plan, {stage: why and said for stage, why in stages.items()})


def test_another_algorithm_of_this_program_is_refused(
    folder: Path, recorded: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recorded
    was = job.ALGORITHM
    monkeypatch.setattr(job, "ALGORITHM", was + 1)
    with pytest.raises(RefusedError, match=f"algorithm was {was}, is {was + 1}"):
        start(config_of("median"), folder)


@pytest.mark.parametrize(
    ("path", "scene", "differs"),
    [
        ("written.czi", 0, ["mtime_ns"]),
        ("other.czi", None, ["size", "mtime_ns", "guid", "directory_sha256"]),
    ],
)
def test_an_image_is_told_from_another_by_all_that_is_known_of_it(
    path: str,
    scene: int | None,
    differs: list[str],
    folder: Path,
    recorded: dict[str, dict[str, Any]],
) -> None:
    """And from itself, should it have been written to, by the time of that."""
    assert recorded
    config = config_of("no shards")
    config["input"] = {"path": path, "scene": scene}
    with pytest.raises(RefusedError) as caught:
        start(config, folder)
    found = [change.partition(" was ")[0] for change in changes_of(caught.value)]
    facts = [f"input {fact}" for fact in differs]
    assert found == (facts if scene == 0 else [*facts, "input.scene"])
