"""Mistakes in the tasks of a config, or between them, that a run refuses."""

from typing import Any

import numpy as np

from harness.refused import Case, with_image

WIDE = with_image(np.ones((1, 2, 4, 20, 300), np.uint16))
"""Wide enough for the output to get a coarser level, and so has all that is made."""

SMOOTH = {"kind": "smooth", "name": "soft", "sigma": {"y": 1, "x": 1}}
MASK = {"kind": "threshold", "name": "mask", "value": 5}
LABEL = {"kind": "label", "name": "cells", "input": "mask"}
LEVELS = {"kind": "pyramid", "name": "levels"}
OWN = {"kind": "function", "name": "own", "function": "own:f", "dtype": "uint16"}
VALUES = OWN | {"output": "values", "span": "tzyx"}


def _tasks(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {"tasks": list(tasks)}


TASKS = {
    "two of one name": Case(("twice: ['soft']",), _tasks(SMOOTH, SMOOTH)),
    "the name of the output's own levels": Case(
        ("['pyramid.1']", "names that differ"),
        _tasks(SMOOTH, LEVELS | {"name": "pyramid", "input": "soft"}),
        prepare=WIDE,
    ),
    "the same levels twice": Case(
        ("'levels' and 'more'", "would both write"),
        _tasks(LEVELS, LEVELS | {"name": "more"}),
        prepare=WIDE,
    ),
    "levels of what is not written": Case(
        ("'levels'", "'raw'", "that this run writes"), _tasks(LEVELS | {"input": "raw"})
    ),
    "levels of a level": Case(
        ("'levels'", "'pyramid.1'", "full resolution"),
        _tasks(LEVELS | {"input": "pyramid.1"}),
        prepare=WIDE,
    ),
    "blocks of levels": Case(
        ("tasks.0", "no blocks: levels are cut like"),
        _tasks(LEVELS | {"blocks": {"shape": {"y": 16}}}),
    ),
    "an unknown input": Case(
        ("'soft' reads 'mask'", "one of: raw, denoised"),
        _tasks(SMOOTH | {"input": "mask"}),
    ),
    "an input that comes later": Case(
        ("'soft' reads 'mask'", "in the order"),
        _tasks(SMOOTH | {"input": "mask"}, MASK),
    ),
    "values where an image is wanted": Case(
        ("'soft' reads 'own'", "no image but values"),
        _tasks(VALUES, SMOOTH | {"input": "own"}),
        prepare=lambda folder: (folder / "own.py").write_text("f = max"),
    ),
    "a mask of another resolution than the intensities": Case(
        ("'cells'", "different resolutions", "of the mask's"),
        _tasks(MASK | {"input": "pyramid.1"}, LABEL | {"table": "csv"}),
        prepare=WIDE,
    ),
    "inputs of different resolutions": Case(
        ("'own'", "(raw, pyramid.1)", "inputs of one level"),
        _tasks(OWN | {"input": ["raw", "pyramid.1"]}),
        prepare=WIDE,
    ),
    "a mistyped key": Case(
        ("'tasks.1.sigmas'", "'sigma'"), _tasks(MASK, SMOOTH | {"sigmas": {"y": 1}})
    ),
    "neither a value nor a method": Case(
        ("tasks.0", "either value or method"),
        _tasks({"kind": "threshold", "name": "mask"}),
    ),
    "a value and a method": Case(
        ("tasks.0", "either value or method"), _tasks(MASK | {"method": "otsu"})
    ),
    "a function that is none": Case(
        ("'tasks.0.function' is \"own\"", "module:name"),
        _tasks(OWN | {"function": "own"}),
    ),
    "a function in a file": Case(
        ("module:name",), _tasks(OWN | {"function": "own.py/f:f"})
    ),
    "a span of an axis twice": Case(
        ("'tasks.0.span' is \"tt\"", "each once"), _tasks(OWN | {"span": "tt"})
    ),
    "a span of channels": Case(
        ("'tasks.0.span' is \"c\"", "tzyx"), _tasks(OWN | {"span": "c"})
    ),
    "values of a part": Case(
        ("tasks.0", 'span "tzyx"'), _tasks(VALUES | {"span": "zyx"})
    ),
}
