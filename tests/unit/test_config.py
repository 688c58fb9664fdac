"""The config file: what the contract says of it, and a clear word for each mistake.

Promised: the defaults of design.md section 3; every unknown key is refused with the
nearest known one; paths count from the config's folder; the JSON Schema describes every
key.  A green run means nothing if a mistake was refused for another reason, or if the
config that it was made in was itself refused; so each mistake is made in a config that
loads, and its message must name the key.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from denoise_daisy.config import Config
from denoise_daisy.denoisers.ndsafir import Ndsafir
from denoise_daisy.denoisers.noise import PoissonGaussian
from denoise_daisy.errors import InputError
from denoise_daisy.launchers.local import LocalWorkers
from harness import ROOT, load

MINIMAL: dict[str, Any] = {"input": {"path": "in.czi"}, "output": {"path": "out.zarr"}}

FULL: dict[str, Any] = {
    "input": {
        "path": "in.czi",
        "scene": 1,
        "roi": {"t": [0, 4], "z": [100, 400], "y": [1, 2], "x": [0, 1]},
        "channels": [1, 0],
    },
    "output": {
        "path": "out.zarr",
        "dtype": "float32",
        "chunks": {"t": 1, "c": 1, "z": 16, "y": 64, "x": 64},
        "shards": {"z": 32},
        "compression_level": 3,
    },
    "noise": {"kind": "poisson-gaussian", "gains": [3.92, 1], "offsets": [-388, 0.5]},
    "denoise": {
        "patch": {"z": 1, "y": 3, "x": 3},
        "active_dimensions": "tzyx",
        "max_iter": 4,
        "pvalue": 0.2,
    },
    "blocks": {"shape": {"z": 32}, "context": {"y": 20}, "memory_gib": 4},
    "workers": {
        "kind": "local",
        "count": 3,
        "threads_per_worker": 2,
        "block_timeout_minutes": 10,
        "max_retries": 0,
    },
}


def changed(place: str, value: Any) -> dict[str, Any]:
    """The full config with one value replaced, or one key more."""
    config = deepcopy(FULL)
    *sections, key = place.split(".")
    section = config
    for name in sections:
        section = section[name]
    section[key] = value
    return config


def refusal(config: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        load(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refusal_of_text(text: bytes) -> str:
    with pytest.raises(InputError) as caught:
        Config.parse(text, name="test", folder=Path("/"))
    return str(caught.value)


# > Only `input.path` and `output.path` are required.  [...] Defaults of `denoise` are
# > ndsafir's own (`patch` {y 3, x 3}, `max_iter` 3, `pvalue` 0.1) with
# > `active_dimensions` "zyx".
DEFAULTS = {
    "input.scene": None,
    "input.roi": {},
    "input.channels": None,
    "output.dtype": "input",
    "output.shards": "auto",
    "output.compression_level": 1,
    "noise.kind": "poisson-gaussian",
    "noise.gains": None,
    "noise.offsets": None,
    "denoise.kind": "ndsafir",
    "denoise.patch": {"y": 3, "x": 3},
    "denoise.active_dimensions": "zyx",
    "denoise.max_iter": 3,
    "denoise.pvalue": 0.1,
    "blocks.shape": "auto",
    "blocks.context": "exact",
    "blocks.memory_gib": "auto",
    "workers.kind": "local",
    "workers.count": "auto",
    "workers.threads_per_worker": 1,
    "workers.block_timeout_minutes": 240,
    "workers.max_retries": 3,
}


@pytest.mark.parametrize("place", DEFAULTS)
def test_a_key_left_out_has_the_default_of_the_contract(place: str) -> None:
    section, key = place.split(".")
    assert getattr(getattr(load(MINIMAL), section), key) == DEFAULTS[place]


def test_every_key_of_the_full_config_is_kept() -> None:
    dumped = load(FULL).model_dump(mode="json")
    for section, values in FULL.items():
        for key, value in values.items():
            if key != "path":
                assert dumped[section][key] == value, f"{section}.{key}"


def test_a_config_survives_its_own_json() -> None:
    config = load(FULL)
    assert Config.model_validate_json(config.model_dump_json()) == config


UNKNOWN = {
    "inputs": "input",
    "worker": "workers",
    "input.pth": "path",
    "input.scenes": "scene",
    "output.chunk": "chunks",
    "output.compression": "compression_level",
    "noise.gain": "gains",
    "denoise.max_iters": "max_iter",
    "denoise.patches": "patch",
    "blocks.contexts": "context",
    "blocks.memory": "memory_gib",
    "workers.threads": "threads_per_worker",
    "workers.max_retry": "max_retries",
}


@pytest.mark.parametrize("place", UNKNOWN)
def test_an_unknown_key_gets_the_nearest_known_one(place: str) -> None:
    said = refusal(changed(place, 1))
    assert f"unknown key {place!r} (did you mean {UNKNOWN[place]!r}?)" in said


def test_an_unknown_key_like_no_other_gets_all_known_ones() -> None:
    said = refusal(changed("blocks.qqq", 1))
    assert "unknown key 'blocks.qqq' (known: shape, context, skip, memory_gib)" in said


def test_a_key_of_the_other_noise_is_not_proposed_for_itself() -> None:
    config = deepcopy(FULL)
    config["noise"] = {"kind": "gaussian", "gains": [1, 1]}
    said = refusal(config)
    assert "unknown key 'noise.gains'" in said
    assert "did you mean 'gains'" not in said


def test_all_mistakes_are_named_at_once() -> None:
    config = changed("input.pth", 1)
    config["denoise"]["max_iter"] = 0
    config["workers"]["cuont"] = 1
    said = refusal(config)
    for key in ("input.pth", "denoise.max_iter", "workers.cuont"):
        assert key in said


WRONG = {
    "a number as path": ("input.path", 7),
    "an empty path": ("input.path", ""),
    "null as path": ("output.path", None),
    "a bool as scene": ("input.scene", True),
    "a negative scene": ("input.scene", -1),
    "a float as scene": ("input.scene", 1.0),
    "a number as string": ("input.scene", "1"),
    "a list as roi": ("input.roi", [0, 1]),
    "a roi of c": ("input.roi.c", [0, 1]),
    "a roi of Z": ("input.roi.Z", [0, 1]),
    "an empty roi": ("input.roi.z", [3, 3]),
    "a reversed roi": ("input.roi.z", [4, 3]),
    "a negative roi": ("input.roi.z", [-1, 3]),
    "a roi of one number": ("input.roi.z", [3]),
    "a roi of three numbers": ("input.roi.z", [0, 1, 2]),
    "a roi of floats": ("input.roi.z", [0.0, 1.0]),
    "no channels": ("input.channels", []),
    "a channel for a list": ("input.channels", 0),
    "a bool as channel": ("input.channels", [True]),
    "a channel of no name": ("input.channels", [""]),
    "gains of no channel": ("noise.gains", {}),
    "a gain of no name": ("noise.gains", {"": 1}),
    "a gain of 0 by name": ("noise.gains", {"DAPI": 0}),
    "a dtype unknown": ("output.dtype", "int16"),
    "a chunk of 0": ("output.chunks.z", 0),
    "a chunk of -1": ("output.chunks.z", -1),
    "a float as chunk": ("output.chunks.z", 8.0),
    "chunks as list": ("output.chunks", [1, 1, 8, 8, 8]),
    "shards by a wrong word": ("output.shards", "none"),
    "a shard of 0": ("output.shards.z", 0),
    "a compression level of 10": ("output.compression_level", 10),
    "an unknown kind of noise": ("noise.kind", "poisson"),
    "a gain of 0": ("noise.gains", [0, 1]),
    "a negative gain": ("noise.gains", [-1.0, 1]),
    "a gain for a list": ("noise.gains", 3.92),
    "a bool as gain": ("noise.gains", [True, 1]),
    "offsets of strings": ("noise.offsets", ["1", "2"]),
    "only gains": ("noise.offsets", None),
    "only offsets": ("noise.gains", None),
    "a negative radius": ("denoise.patch.y", -1),
    "a radius of c": ("denoise.patch.c", 1),
    "a float as radius": ("denoise.patch.y", 1.0),
    "a radius for all axes": ("denoise.patch", 3),
    "active dimensions of c": ("denoise.active_dimensions", "czyx"),
    "active dimensions twice": ("denoise.active_dimensions", "zyxx"),
    "no active dimensions": ("denoise.active_dimensions", ""),
    "no iterations": ("denoise.max_iter", 0),
    "a float of iterations": ("denoise.max_iter", 3.0),
    "a bool of iterations": ("denoise.max_iter", True),
    "a pvalue above 1": ("denoise.pvalue", 1.1),
    "a pvalue below 0": ("denoise.pvalue", -0.1),
    "a bool as pvalue": ("denoise.pvalue", True),
    "a pvalue as string": ("denoise.pvalue", "0.1"),
    "a block of 0": ("blocks.shape.y", 0),
    "a block of c": ("blocks.shape.c", 1),
    "a negative context": ("blocks.context.y", -1),
    "a context by a wrong word": ("blocks.context", "auto"),
    "no memory": ("blocks.memory_gib", 0),
    "negative memory": ("blocks.memory_gib", -4),
    "memory with a unit": ("blocks.memory_gib", "4 GiB"),
    "unknown workers": ("workers.kind", "sge"),
    "fewer than no workers": ("workers.count", -1),
    "a bool of workers": ("workers.count", True),
    "a float of workers": ("workers.count", 2.0),
    "no threads": ("workers.threads_per_worker", 0),
    "no time": ("workers.block_timeout_minutes", 0),
    "negative retries": ("workers.max_retries", -1),
    "a section that is null": ("denoise", None),
    "a section that is a list": ("blocks", []),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_by_the_name_of_its_key(name: str) -> None:
    place, value = WRONG[name]
    section = place.partition(".")[0]
    key = section if name.startswith("only") or place.endswith(".kind") else place
    assert f"'{key}" in refusal(changed(place, value))


@pytest.mark.parametrize("place", ["input", "output", "input.path", "output.path"])
def test_a_required_key_is_missed(place: str) -> None:
    config = deepcopy(FULL)
    section, _, key = place.partition(".")
    del (config[section] if key else config)[key or section]
    assert f"{place!r} is missing" in refusal(config)


NO_JSON = {
    "nothing": b"",
    "cut short": json.dumps(MINIMAL).encode()[:-1],
    "more behind the end": json.dumps(MINIMAL).encode() + b"{}",
    "a duplicate key": b'{"input": {"path": "a", "path": "b"}}',
    "a duplicate section": b'{"output": {"path": "a"}, "output": {"path": "a"}}',
    "NaN": json.dumps(changed("denoise.pvalue", float("nan"))).encode(),
    "Infinity": json.dumps(changed("blocks.memory_gib", float("inf"))).encode(),
    "-Infinity": json.dumps(changed("noise.offsets", [-float("inf"), 0])).encode(),
    "Latin-1": '{"input": {"path": "ä"}}'.encode("latin-1"),
    "100 000 brackets": b"[" * 100_000,
}


@pytest.mark.parametrize("name", NO_JSON)
def test_what_is_no_json_is_refused_as_that(name: str) -> None:
    assert "no valid JSON" in refusal_of_text(NO_JSON[name])


@pytest.mark.parametrize("text", [b"[]", b"null", b"7", b'"in.czi"', b"true"])
def test_json_that_is_no_object_is_refused(text: bytes) -> None:
    assert "expected an object" in refusal_of_text(text)


def test_a_number_too_large_for_a_float_is_refused() -> None:
    text = json.dumps(FULL).replace("-388", "1e999").encode()
    said = refusal_of_text(text)
    assert "'noise.offsets.0' is Infinity, expected a finite number" in said


def test_the_duplicate_key_is_named() -> None:
    assert "'path' stands twice" in refusal_of_text(NO_JSON["a duplicate key"])


def test_integers_are_fine_where_numbers_are_asked_for() -> None:
    denoise = load(changed("denoise.pvalue", 1)).denoise
    assert isinstance(denoise, Ndsafir)
    assert denoise.pvalue == 1.0


def test_sections_without_a_kind_are_of_the_usual_one() -> None:
    task = {"kind": "label", "name": "cells", "workers": {"count": 4}}
    values = MINIMAL | {"workers": {"count": 4}, "tasks": [task]}
    values["noise"] = {"gains": [2], "offsets": [3]}
    config = load(values)
    assert config.workers == config.tasks[0].workers == LocalWorkers(count=4)
    assert config.noise == PoissonGaussian(gains=(2.0,), offsets=(3.0,))
    said = {"workers": LocalWorkers(count=4).model_dump(mode="json")}
    assert load(values | said).workers == config.workers


@pytest.mark.parametrize(("kind", "key"), [("gaussian", "sigma"), ("median", "size")])
def test_one_number_stands_for_all_axes_of_space(kind: str, key: str) -> None:
    denoise = load(MINIMAL | {"denoise": {"kind": kind, key: 3}}).denoise
    assert getattr(denoise, key) == {"z": 3, "y": 3, "x": 3}
    task = {"kind": "smooth", "name": "soft", "sigma": 1.5}
    (smooth,) = load(MINIMAL | {"tasks": [task]}).tasks
    assert smooth.model_dump()["sigma"] == {"z": 1.5, "y": 1.5, "x": 1.5}


def test_active_dimensions_have_one_order_and_one_case() -> None:
    for text in ("xyzt", "TZYX", "zTxY"):
        denoise = load(changed("denoise.active_dimensions", text)).denoise
        assert isinstance(denoise, Ndsafir)
        assert denoise.active_dimensions == "tzyx"


def test_relative_paths_count_from_the_folder_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the config's, not from the working directory; also for a relative config."""
    folder = tmp_path / "configs"
    folder.mkdir()
    values = {"input": {"path": "../in.czi"}, "output": {"path": "sub/out.zarr"}}
    (folder / "config.json").write_text(json.dumps(values))
    monkeypatch.chdir(tmp_path)
    for path in (folder / "config.json", Path("configs/config.json")):
        config = Config.load(path)
        assert Path(config.input.one.path).resolve() == tmp_path / "in.czi"
        assert Path(config.output.path) == folder / "sub" / "out.zarr"


def test_absolute_paths_stay() -> None:
    values = {"input": {"path": "/data/in.czi"}, "output": {"path": "/data/out.zarr"}}
    config = Config.parse(json.dumps(values).encode(), name="t", folder=Path("/x"))
    assert (config.input.one.path, config.output.path) == (
        "/data/in.czi",
        "/data/out.zarr",
    )


def test_a_tilde_is_the_home_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    config = load({"input": {"path": "~/in.czi"}, "output": {"path": "out.zarr"}})
    assert config.input.one.path == "/home/somebody/in.czi"


def test_the_home_of_nobody_is_refused() -> None:
    values = {"input": {"path": "~nosuchuser/in.czi"}, "output": {"path": "out.zarr"}}
    assert "~nosuchuser" in refusal(values)


def test_a_config_never_changes() -> None:
    config = load(FULL)
    for section, key in [(config, "input"), (config.denoise, "max_iter")]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, key, 1)


SCHEMA = Config.model_json_schema()


def sections() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "Config", SCHEMA
    yield from SCHEMA["$defs"].items()


def test_the_schema_is_json() -> None:
    assert json.loads(json.dumps(SCHEMA, allow_nan=False)) == SCHEMA
    assert SCHEMA["required"] == ["input", "output"]


@pytest.mark.parametrize("name", [name for name, _ in sections()])
def test_every_key_is_described_in_the_schema(name: str) -> None:
    section = dict(sections())[name]
    assert section["additionalProperties"] is False
    assert section["properties"]
    for key, field in section["properties"].items():
        target = dict(sections()).get(field.get("$ref", "").rpartition("/")[2], {})
        said = field.get("description") or target.get("description", "")
        assert len(said) > 8, f"{name}.{key}"


def test_the_schema_knows_all_keys_of_the_full_config() -> None:
    known = {key for _, section in sections() for key in section["properties"]}
    assert known >= {key for values in FULL.values() for key in values} | set(FULL)


@pytest.mark.parametrize("key", ["noise", "workers", "denoise"])
def test_alternatives_are_told_apart_by_their_kind(key: str) -> None:
    """And only the one that is meant without may lack it, for the schema's readers."""
    field = SCHEMA["properties"][key]
    names = [part["$ref"] for part in field.get("oneOf", [field]) if "$ref" in part]
    kinds, optional = set(), []
    for name in names:
        section = SCHEMA["$defs"][name.rpartition("/")[2]]
        kinds.add(section["properties"]["kind"]["const"])
        if "kind" not in section.get("required", ()):
            optional.append(section["properties"]["kind"]["const"])
    assert len(kinds) == len(names) > 0
    assert optional == [DEFAULTS[f"{key}.kind"]]


CONFIGS = sorted((ROOT / "configs").glob("*.json"))


def test_there_are_example_configs() -> None:
    assert CONFIGS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_example_config_loads(path: Path) -> None:
    config = Config.load(path)
    assert Path(config.input.one.path).is_absolute()
    assert Path(config.output.path).is_absolute()


def test_what_takes_a_path_says_what_takes_values() -> None:
    given: Any = {"input": {"path": "a"}, "output": {"path": "b"}}
    with pytest.raises(InputError, match=r"given dict\. Expected the path .*from_dict"):
        Config.load(given)
