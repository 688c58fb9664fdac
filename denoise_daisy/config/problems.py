"""What is wrong with a config file, in words."""

import difflib
import json
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails


def problems_of(
    model: type[BaseModel], errors: list[ErrorDetails], values: object
) -> list[str]:
    """The validation errors in words: where, what was found, what was expected.

    What the alternatives of one key expect is joined by "or".
    """
    expected: dict[str, list[str]] = {}
    for error in errors:
        place, said = _problem(model, error, values)
        expected.setdefault(place, []).append(said)
    return [place + " or ".join(dict.fromkeys(e)) for place, e in expected.items()]


def _problem(
    model: type[BaseModel], error: ErrorDetails, values: object
) -> tuple[str, str]:
    where = _place(error, values)
    key = ".".join(where) or "the whole"
    if error["type"] == "extra_forbidden":
        known = list(_known_keys(model, where[:-1], values))
        near = difflib.get_close_matches(where[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return f"unknown key {key!r} ({hint})", ""
    if error["type"] == "missing":
        return f"{key!r} is missing", ""
    if error["type"] == "union_tag_not_found":
        return f"'{key}.kind' is missing", ""
    found = json.dumps(error["input"], default=str)
    found = found if len(found) <= 60 else found[:57] + "..."
    message = (
        error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    )
    return f"{key!r} is {found}, expected ", message[:1].lower() + message[1:]


def _place(error: ErrorDetails, values: Any) -> list[str]:
    """The keys down to the error, without pydantic's names for alternatives."""
    where: list[str] = []
    tag = None
    for part in error["loc"]:
        if part == tag:
            tag = None
            continue
        if isinstance(values, dict) and part in values:
            values = values[str(part)]
            tag = _tag(values)
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
            tag = _tag(values)
        elif error["type"] != "missing" or part != error["loc"][-1]:
            continue
        where.append(str(part))
    return where


def _tag(values: Any) -> Any:
    """What pydantic puts before the keys of an object that names its kind."""
    return values.get("kind") if isinstance(values, dict) else None


def _known_keys(root: type[BaseModel], where: list[str], values: Any) -> Iterator[str]:
    """Keys of the section at that place of the config, of the kind that it names."""
    models = [root]
    for part in where:
        if isinstance(values, list):
            values = values[int(part)]
        else:
            fields = [m.model_fields[part] for m in models if part in m.model_fields]
            models = [m for field in fields for m in _models(field.annotation)]
            values = values.get(part)
        if isinstance(values, dict):
            kind = values.get("kind", next(iter(_kinds(models[0])), None))
            models = [m for m in models if kind in _kinds(m)] or models
    yield from dict.fromkeys(key for model in models for key in model.model_fields)


def _kinds(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("kind")
    return typing.get_args(field.annotation) if field else ()


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The model that an annotation is, and those that stand in it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)
