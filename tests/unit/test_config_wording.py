"""Whatever is wrong with a config, the message is this program's, not pydantic's.

Each field of each section is given values of every kind, in a config that loads
without them; what is refused must be said in words that no message of pydantic's has.
A walk that reached no field would be green, so what it reached is counted.
"""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic_core._pydantic_core import list_all_errors

from denoise_daisy.config import Config
from denoise_daisy.errors import InputError
from denoise_daisy.wording import nearest
from harness import load

PATHS: dict[str, Any] = {"input": {"path": "in.czi"}, "output": {"path": "out.zarr"}}

TASK = {"name": "mine", "workers": {}, "blocks": {}}

BASES: dict[str, dict[str, Any]] = {
    "ndsafir": PATHS
    | {"noise": {}, "denoise": {}, "workers": {}, "tasks": []}
    | {"blocks": {"skip": {"below": 1}}}
    | {"notify": {"command": ["true"]}},
    "Gaussian": PATHS
    | {"noise": {"kind": "gaussian"}, "workers": {"kind": "slurm", "count": 1}},
    "gaussian filter": PATHS
    | {
        "denoise": {"kind": "gaussian", "sigma": 1},
        "workers": {"kind": "lsf", "count": 1},
    },
    "median": PATHS | {"denoise": {"kind": "median", "size": 3}},
    **{
        str(task["kind"]): PATHS | {"tasks": [TASK | task]}
        for task in (
            {"kind": "smooth", "sigma": 1},
            {"kind": "threshold", "value": 1},
            {"kind": "label"},
            {"kind": "pyramid"},
            {"kind": "function", "function": "own:f"},
        )
    },
}

VALUES: list[Any] = [
    *(None, True, -1, 0, 1.5, 1e9, 10**30, "", "no such word", "a\nb", [], {}),
    *([None], [-1], [""], ["a", "a"], [1, 2, 3], [[1]], [1.5], {"q": 1}, {"": 0}),
    *({"y": None}, {"y": -1}, {"y": "a"}, {"y": 1e9}, {"y": [0]}, {"y": [3, 1]}),
    *({"y": [0.5, "a"]}, {"y": {}}, {"kind": "no such kind"}, {"kind": None}),
]

SCHEMA = Config.model_json_schema()


def places(schema: dict[str, Any], values: Any, at: tuple[Any, ...]) -> Iterator[Any]:
    """All keys of the sections that stand in a config, by what the schema knows."""
    if isinstance(values, list):
        for i, value in enumerate(values):
            yield from places(schema.get("items", {}), value, (*at, i))
    if not isinstance(values, dict):
        return
    for section in _sections(schema):
        kind = section["properties"].get("kind", {}).get("const")
        if values.get("kind", kind) != kind:
            continue
        for key, field in section["properties"].items():
            yield (*at, key)
            if key in values:
                yield from places(field, values[key], (*at, key))


def _sections(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if "properties" in schema:
        yield schema
    for part in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from _sections(part)


def changed(base: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    config: Any = deepcopy(base)
    target = config
    for name in place[:-1]:
        target = target[name]
    target[place[-1]] = value
    return dict(config)


PYDANTIC = re.compile(
    r"Input should|[Ii]nput |valid (string|integer|number|dictionary|list|tuple|bool)"
    r"|Field required|[Ee]xtra inputs|[Uu]nable to|union|discriminator|tag |kind_of"
    r"|pydantic|https?:|should (be|have|match)|Value error|constrained|function-"
    r"|something else|Literal|NoneType|dict\[|tuple\[|type=",
)
"""What its messages are made of, and what is said of an error that is not known."""


def template_words() -> list[str]:
    """A piece of each of pydantic's messages, between what it fills in."""
    errors = [e for e in list_all_errors() if e["type"] != "value_error"]
    return [e["message_template_python"].split("{")[0].strip() for e in errors]


@pytest.mark.parametrize("name", BASES)
def test_what_is_wrong_with_any_field_is_said_in_plain_words(name: str) -> None:
    base = BASES[name]
    load(base)
    refused = 0
    reached = list(dict.fromkeys(places(SCHEMA, base, ())))
    for place in reached:
        for value in VALUES:
            config = changed(base, place, value)
            try:
                Config.parse(json.dumps(config).encode(), name="c", folder=Path("/"))
            except InputError as error:
                said = str(error)
                # What was found may hold such words, and belongs to the user.
                assert not PYDANTIC.search(said), (place, value, said)
                assert all(t not in said for t in template_words() if len(t) > 8), said
                assert "\n" not in said
                assert str(place[0]) in said or "'the whole'" in said
                refused += 1
    assert len(reached) > 15
    assert refused > 8 * len(reached)


def test_the_walk_reaches_every_field_of_every_section() -> None:
    found = {
        (str(place[-1]))
        for base in BASES.values()
        for place in places(SCHEMA, base, ())
    }
    known = {key for s in SCHEMA["$defs"].values() for key in s.get("properties", {})}
    assert known | SCHEMA["properties"].keys() == found


SAID: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"input": {"path": 7}}, "'input.path' is 7, expected text or a list."),
    "empty": (
        {"input": {"path": ""}},
        'is "", expected text that is not empty or a list.',
    ),
    "no integer": (
        {"input": {"path": "a", "scene": 1.5}},
        "expected a whole number or 'all'.",
    ),
    "two kinds": (
        {"input": {"path": "a", "channels": [True]}},
        "'input.channels.0' is true, expected a whole number or text.",
    ),
    "a begin": (
        {"input": {"path": "a", "roi": {"z": [-1, None]}}},
        "'input.roi.z.0' is -1, expected 0 or more.",
    ),
    "too few": (
        {"input": {"path": "a", "roi": {"z": [3]}}},
        "'input.roi.z' is [3], expected more entries.",
    ),
    "too many": (
        {"input": {"path": "a", "roi": {"z": [0, 1, 2]}}},
        "'input.roi.z' is [0, 1, 2], expected no more than 2 entries.",
    ),
    "an axis": (
        {"input": {"path": "a", "roi": {"Z": [0, 1]}}},
        "unknown key 'input.roi.Z' (did you mean 'z'?).",
    ),
    "no axis": (
        {"input": {"path": "a", "roi": {"q": [0, 1]}}},
        "unknown key 'input.roi.q' (known: t, z, y, x).",
    ),
    "a word": (
        {"output": {"path": "b", "dtype": "unit8"}},
        "expected one of 'input', 'uint8', 'uint16' or 'float32' (did you mean 'uint8'",
    ),
    "a word or a number": (
        {"blocks": {"memory_gib": "all"}},
        "'blocks.memory_gib' is \"all\", expected a number or 'auto'",
    ),
    "the closest alternative alone": (
        {"blocks": {"shape": {"y": 0}}},
        "can't be used: 'blocks.shape.y' is 0, expected more than 0.",
    ),
    "a limit": ({"denoise": {"max_iter": 11}}, "is 11, expected 10 or less."),
    "a large limit": ({"blocks": {"memory_gib": 1e9}}, "expected 1000000 or less"),
    "a kind": (
        {"workers": {"kind": "Slurm"}},
        "'workers.kind' is \"Slurm\", expected one of 'local', 'slurm', 'lsf' (did you"
        " mean 'slurm'?).",
    ),
    "no kind": ({"tasks": [{"name": "a"}]}, "'tasks.0.kind' is missing."),
    "a key of another kind": (
        {"workers": {"partition": "a"}},
        "unknown key 'workers.partition' (a key of kind 'slurm').",
    ),
    "a section": ({"workers": 4}, "'workers' is 4, expected an object."),
    "a name": (
        {"tasks": [{"kind": "label", "name": "a b"}]},
        "expected up to 60 letters (a to z), digits, _ and -.",
    ),
    "an input": (
        {"tasks": [{"kind": "label", "name": "a", "input": "b c"}]},
        "expected denoised, raw, the name of a task, or a level such as pyramid.1.",
    ),
    "a width": (
        {"denoise": {"kind": "gaussian", "sigma": True}},
        'is true, expected a number, or an object by axis such as {"y": 1, "x": 1}.',
    ),
    "a width for all": (
        {"denoise": {"kind": "gaussian", "sigma": -1}},
        "'denoise.sigma' is -1, expected 0 or more.",
    ),
    "a file of another format": (
        {"output": {"path": "o.ome.tif"}},
        "can't be used: 'output.path': 'o.ome.tif' is named as a file of another"
        " format, but an OME-Zarr, a folder, is written. Expected a name such as",
    ),
    "no entry": ({"notify": {"command": []}}, "is [], expected at least 1 entry."),
}


@pytest.mark.parametrize("name", SAID)
def test_found_and_expected_are_said(name: str) -> None:
    values, words = SAID[name]
    with pytest.raises(InputError) as caught:
        load(PATHS | values)
    assert words in str(caught.value)


MEANT = {
    "Denoise": "denoise",
    "DENOISE": "denoise",
    "OUTPUT": "output",
    "Schema": "$schema",
    "noises": "noise",
}


@pytest.mark.parametrize("key", MEANT)
def test_a_key_is_known_in_any_case(key: str) -> None:
    with pytest.raises(InputError) as caught:
        load(PATHS | {key: {}})
    assert f"unknown key {key!r} (did you mean {MEANT[key]!r}?)" in str(caught.value)


@pytest.mark.parametrize("word", ["pValue", "p_value", "P-VALUE", "pval", "PVALUE"])
def test_case_and_joints_of_a_word_count_for_nothing(word: str) -> None:
    assert nearest(word, ["patch", "pvalue", "max_iter"]) == "pvalue"
    assert nearest("maxIter", ["patch", "pvalue", "max_iter"]) == "max_iter"


def test_a_word_like_no_other_is_near_none() -> None:
    assert nearest("qqq", ["patch", "pvalue"]) is None
    assert nearest(7, ["patch"]) is None
    # Names that are alike but for their case stay apart.
    assert nearest("gfp", ["GFP", "gfp"]) in ("GFP", "gfp")
