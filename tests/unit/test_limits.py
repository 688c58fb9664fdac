"""Every limit of a config's values: what lies on it is taken, the next is refused.

The numbers stand here a second time, for a limit that moves by one is a limit that
nobody decided on.  A green run would mean nothing if a value were refused for another
reason than itself, so the message has to name its place, and each place has a value
that is taken; a limited field that is not in the table is red.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from denoise_daisy.config import Config
from denoise_daisy.errors import InputError
from harness import load

BASE: dict[str, Any] = {"input": {"path": "in.czi"}, "output": {"path": "out.zarr"}}

LOCAL = {"kind": "local"}

SLURM = {"kind": "slurm", "count": 1}

LSF = {"kind": "lsf", "count": 1}

POISSON = {"kind": "poisson-gaussian", "gains": [1.0], "offsets": [1.0]}

GAUSSIAN = {"kind": "gaussian"}

PYRAMID = {"kind": "pyramid", "name": "a"}

SMOOTH = {"kind": "smooth", "name": "a", "sigma": {"y": 1.0}}

THRESHOLD = {"kind": "threshold", "name": "a", "value": 1.0}

LABEL = {"kind": "label", "name": "a"}

FUNCTION = {"kind": "function", "name": "a", "function": "m:f"}

SECTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "Input": ("input", {}),
    "Output": ("output", {}),
    "PoissonGaussian": ("noise", POISSON),
    "GaussianNoise": ("noise", GAUSSIAN),
    "Ndsafir": ("denoise", {}),
    "MedianFilter": ("denoise", {"kind": "median", "size": {"y": 3}}),
    "GaussianFilter": ("denoise", {"kind": "gaussian", "sigma": {"y": 1.0}}),
    "Blocks": ("blocks", {}),
    "LocalWorkers": ("workers", LOCAL),
    "Notify": ("notify", {}),
    "SlurmWorkers": ("workers", SLURM),
    "LsfWorkers": ("workers", LSF),
    "Pyramid": ("tasks.0", PYRAMID),
    "Smooth": ("tasks.0", SMOOTH),
    "Threshold": ("tasks.0", THRESHOLD),
    "Label": ("tasks.0", LABEL),
    "Function": ("tasks.0", FUNCTION),
    "TaskBlocks": ("tasks.0.blocks", {}),
    "FunctionBlocks": ("tasks.0.blocks", {}),
}
"""Where a section stands, and what it cannot do without."""

TEXT = (["a"], [""])

POSITIVE = ([5e-324, 1e6], [0, -5e-324, 1000000.0000000001])

FROM_0 = ([0, 10**9], [-1])

FROM_1 = ([1, 10**9], [0, -1])

COUNT = ([0, 100_000], [-1, 100_001])

MEMORY = (["auto", *POSITIVE[0]], POSITIVE[1])

Values = list[Any]

ANY_WORKERS: dict[str, tuple[Values, Values]] = {
    "block_timeout_minutes": POSITIVE,
    "max_retries": FROM_0,
    "count": COUNT,
}

ANY_JOBS = ANY_WORKERS | {
    "memory_gib": POSITIVE,
    "host": TEXT,
    "per_job": ([1], [0, -1]),
}

INPUT_NAME: tuple[Values, Values] = (
    ["a", "a.b", "a.b.c", "A-_9.0"],
    ["", ".", "a.", ".a", "a.b.c.d", "a b", "a/b", "ä"],
)

ANY_TASK: dict[str, tuple[Values, Values]] = {
    "name": (
        ["a", "A-_9", "a" * 60],
        ["", "a" * 61, "a.b", "a/b", "ä", "a\n", "raw", "denoised", "denoise"],
    ),
    "max_retries": FROM_0,
    "input": INPUT_NAME,
}

LIMITS: dict[str, dict[str, tuple[Values, Values]]] = {
    "Input": {
        "path": (["a", ["a"], ["a", "b"]], ["", [], [""]]),
        "scene": ([0, 10**9, "all"], [-1, "some"]),
        "roi": (
            [{"x": [0, 1]}, {"x": [7, 8]}],
            [
                *({"x": r} for r in ([0, 0], [-1, 1], [1, 1], [2, 1], [0], [0, 1, 2])),
                {"c": [0, 1]},
            ],
        ),
        "channels": ([[0], [0, 1]], [[], [-1]]),
        "select": ([{}, {"h": 0}, {"h": "all"}], [{"h": -1}, {"z": 0}, {"H": 0}]),
        "axes": (["yx", "tczyx"], ["", "y", "tczyxt", "a", "YX"]),
        "voxel_size_um": ([{}, {"z": 1e6}], [{"z": 0}, {"z": 1000000.0000000001}]),
        "time_step_s": POSITIVE,
        "channel_names": ([["a"]], [[], [""]]),
    },
    "Output": {
        "path": TEXT,
        "chunks": ([{"c": 1}, {}], [{"c": 0}]),
        "shards": ([{"c": 1}, {}], [{"c": 0}]),
        "compression_level": ([0, 9], [-1, 10]),
    },
    "PoissonGaussian": {
        "gains": ([[5e-324], [1e6]], [[], [0], [1000000.0000000001]]),
        "offsets": ([[-1e308], [0], [1e308]], [[]]),
    },
    "GaussianNoise": {"noise_std": POSITIVE},
    "Ndsafir": {
        "patch": ([{"t": 0}, {"t": 100}, {}], [{"t": -1}, {"t": 101}, {"c": 0}]),
        "max_iter": ([1, 10], [0, 11]),
        "pvalue": ([0, 1], [-5e-324, 1.0000000000000002]),
    },
    "MedianFilter": {"size": ([{"t": 1}, {"t": 100}], [{"t": 0}, {"t": 101}, {}])},
    "GaussianFilter": {
        "sigma": (
            [{"t": 0}, {"t": 1000}],
            [{"t": -5e-324}, {"t": 1000.0000000000001}, {}],
        )
    },
    "Blocks": {
        "shape": ([{"t": 1}, {}], [{"t": 0}, {"c": 1}]),
        "context": ([{"t": 0}, {}], [{"t": -1}, {"c": 1}]),
        "memory_gib": MEMORY,
    },
    "Notify": {"command": ([["a"], ["a", "b"]], [[], [""], "a"])},
    "LocalWorkers": ANY_WORKERS | {"threads_per_worker": FROM_1},
    "SlurmWorkers": ANY_JOBS
    | {
        "cpus_per_task": FROM_1,
        "partition": TEXT,
        "account": TEXT,
        "qos": TEXT,
        "constraint": TEXT,
        "nodelist": TEXT,
        "exclude": TEXT,
    },
    "LsfWorkers": ANY_JOBS
    | {"cores": FROM_1, "walltime_minutes": FROM_1, "queue": TEXT, "project": TEXT},
    "Pyramid": ANY_TASK | {"levels": FROM_0},
    "Smooth": ANY_TASK
    | {
        "sigma": (
            [{"t": 0}, {"t": 1000}],
            [{"t": -5e-324}, {"t": 1000.0000000000001}, {}],
        )
    },
    "Threshold": ANY_TASK | {"channel": ([0, "a"], [-1, ""])},
    "Label": ANY_TASK
    | {
        "connectivity": ([1, 2, 3], [0, 4]),
        "min_voxels": FROM_1,
        "intensity": INPUT_NAME,
    },
    "Function": ANY_TASK
    | {
        "input": ([*INPUT_NAME[0], ["a"], ["a", "b"]], [*INPUT_NAME[1], [], [""]]),
        "channels": FROM_1,
        "folder": TEXT,
    },
    "TaskBlocks": {"shape": ([{"t": 1}, {}], [{"t": 0}, {"c": 1}])},
    "FunctionBlocks": {
        "shape": ([{"t": 1}, {}], [{"t": 0}, {"c": 1}]),
        "context": ([{"t": 0}, {}], [{"t": -1}, {"c": 1}]),
    },
}
"""By section and field: values on the limits, and those next to them."""


def config_with(section: str, field: str, value: Any) -> Config:
    """A config with that value, and else only what is needed."""
    place, values = SECTIONS[section]
    config = deepcopy(BASE)
    if "tasks" in place:
        config["tasks"] = [dict(FUNCTION if section == "FunctionBlocks" else SMOOTH)]
    target = config
    *path, last = place.split(".")
    for part in path:
        target = target[int(part)] if isinstance(target, list) else target[part]
    whole = values | {field: value}
    if isinstance(target, list):
        target[int(last)] = whole
    else:
        target[last] = target.get(last, {}) | whole
    return load(config)


def cases(which: int) -> Iterator[Any]:
    for section, fields in LIMITS.items():
        for field, values in fields.items():
            for value in values[which]:
                yield pytest.param(section, field, value)


@pytest.mark.parametrize(("section", "field", "value"), [*cases(0)])
def test_what_lies_on_a_limit_is_taken(section: str, field: str, value: Any) -> None:
    config_with(section, field, value)


@pytest.mark.parametrize(("section", "field", "value"), [*cases(1)])
def test_what_lies_beyond_a_limit_is_refused(
    section: str, field: str, value: Any
) -> None:
    with pytest.raises(InputError) as refused:
        config_with(section, field, value)
    assert f"'{SECTIONS[section][0]}.{field}" in str(refused.value)


def has_limit(schema: Any) -> bool:
    """Whether a part of a JSON Schema has a limit of a value, a length or a pattern."""
    if isinstance(schema, list):
        return any(map(has_limit, schema))
    if not isinstance(schema, dict):
        return False
    limits = ("inimum", "aximum", "minLength", "minItems", "minProperties", "pattern")
    is_limited = any(key.endswith(limits) for key in schema)
    return is_limited or any(map(has_limit, schema.values()))


def test_every_limited_field_is_in_the_table() -> None:
    sections = json.loads(json.dumps(Config.model_json_schema()["$defs"]))
    limited = {
        (name, field)
        for name, section in sections.items()
        for field, schema in section["properties"].items()
        if has_limit({k: v for k, v in schema.items() if k != "default"})
    }
    assert len(limited) > 60
    assert limited == {(name, field) for name in LIMITS for field in LIMITS[name]}
