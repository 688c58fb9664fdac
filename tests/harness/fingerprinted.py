"""Runs whose configs are changed, and what a change may lead to."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

SHAPE = (2, 2, 4, 64, 48)
"""Of each of the two scenes of the image, (t, c, z, y, x)."""

MOVIE_SHAPE = (6, 1, 1, 64, 48)
"""Of another one, without scenes."""

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
class Unusable:
    """The image of this run has no use for it; the message has these words."""

    words: str


@dataclass(frozen=True)
class DoneAgain:
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


Effect = Refused | Unusable | DoneAgain | GoesOn | AnotherRun


@dataclass(frozen=True)
class Change:
    """A value put into the config of a run, at a place such as "tasks.soft.sigma"."""

    run: str
    place: str
    value: Any
    effect: Effect


POISSON = {"kind": "poisson-gaussian", "gains": [3.9, 3.9], "offsets": [-367, -367]}

NDSAFIR = {"kind": "ndsafir", "patch": {"y": 1, "x": 1}, "max_iter": 2}

ITSELF = NDSAFIR | {"engine": "ndsafir"}

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
    "mirrored": {"denoise": NDSAFIR | {"cover": "all"}, "noise": POISSON},
    "unbiased": {"denoise": NDSAFIR | {"inverse": "unbiased"}, "noise": POISSON},
    "movie": {
        "input": {"path": "movie.czi", "scene": None},
        "denoise": NDSAFIR | {"time_as_z": True},
        "noise": POISSON | {"gains": [3.9], "offsets": [-367]},
    },
    "gaussian noise": {
        "denoise": NDSAFIR,
        "noise": {"kind": "gaussian", "noise_std": 20.0},
    },
    "little context": {
        "denoise": NDSAFIR,
        "noise": POISSON,
        "blocks": {"context": {"z": 1, "y": 2, "x": 2}},
    },
    "skipping": {
        "denoise": NDSAFIR,
        "noise": POISSON,
        "blocks": {"skip": {"below": 300.0}},
    },
    "several threads": {
        "denoise": NDSAFIR,
        "noise": POISSON,
        "workers": {"threads_per_worker": 3},
    },
    "two threads": {
        "denoise": ITSELF,
        "noise": POISSON,
        "workers": {"threads_per_worker": 2},
    },
    "slurm": {"denoise": MEDIAN, "workers": SLURM},
    "slurm, ndsafir": {"denoise": NDSAFIR, "noise": POISSON, "workers": SLURM},
    "slurm, ndsafir itself": {"denoise": ITSELF, "noise": POISSON, "workers": SLURM},
    "lsf": {"denoise": MEDIAN, "workers": LSF},
    "lsf, ndsafir": {"denoise": NDSAFIR, "noise": POISSON, "workers": LSF},
    "lsf, ndsafir itself": {"denoise": ITSELF, "noise": POISSON, "workers": LSF},
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


def again(why: str, *stages: str) -> DoneAgain:
    return DoneAgain(dict.fromkeys(stages, why))


def soft_again(why: str) -> DoneAgain:
    """With all that reads it, right away or not."""
    readers = ("bright", "found", "found.value", *OF_CELLS)
    return DoneAgain({"soft": why} | dict.fromkeys(readers, ""))


def bright_again(why: str) -> DoneAgain:
    return DoneAgain({"bright": why} | dict.fromkeys(OF_CELLS, ""))


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
    "per_job": (2, GOES_ON),
    "memory_gib": (6, GOES_ON),
    "environment": ("module load python", GOES_ON),
    "host": ("head", GOES_ON),
    "extra_args": (["--nice"], GOES_ON),
}

ANY_TASK: Fields = {
    "keep": Change("median", "tasks.soft.keep", False, GOES_ON),
    "blocks": None,
    "workers": (LOCAL, GOES_ON),
    "max_retries": (9, GOES_ON),
}
