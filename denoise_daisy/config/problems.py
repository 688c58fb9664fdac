"""What is wrong with a config file, in words."""

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from denoise_daisy.wording import (
    AsItStands,
    choices_of,
    expected_by,
    meant,
    nearest,
    shown,
)


def problems_of(
    model: type[BaseModel], errors: list[ErrorDetails], values: object
) -> list[str]:
    """The validation errors in words: where, what was found, what was expected.

    What the alternatives of one key expect is joined by "or".  Where one of them came
    further than the others, only that one tells.
    """
    expected: dict[str, list[str]] = {}
    places = [_place(error, values) for error in errors]
    for error, place in zip(errors, places, strict=True):
        if not any(len(p) > len(place) and p[: len(place)] == place for p in places):
            said, wanted = _problem(model, error, place, values)
            expected.setdefault(said, []).append(wanted)
    return [said + " or ".join(dict.fromkeys(w)) for said, w in expected.items()]


def _problem(
    model: type[BaseModel], error: ErrorDetails, where: list[str], values: object
) -> tuple[str, str]:
    key = ".".join(where)
    if error["type"] == "extra_forbidden":
        return _unknown(model, where, values), ""
    if error["loc"] and error["loc"][-1] == "[key]":
        known = choices_of(error)
        hint = _hint(where[-1], known) if known else f", expected {expected_by(error)}"
        return f"unknown key {key!r}{hint}", ""
    found = error["input"]
    if error["type"] == "missing" and isinstance(found, list):
        key = ".".join(where[:-1])
        return f"{key!r} is {shown(found)}, expected ", "more entries"
    if error["type"] == "missing":
        return f"{key!r} is missing", ""
    if error["type"] == "union_tag_not_found" and isinstance(found, dict):
        return f"'{key}.kind' is missing", ""
    if error["type"] == "union_tag_invalid":
        key, found = f"{key}.kind", found["kind"]
        error = {**error, "input": found}
    place = repr(key) if key else "the whole"
    reason = error.get("ctx", {}).get("error")
    is_whole = isinstance(reason, AsItStands)
    said = f"{place}: {reason}" if is_whole else f"{place} is {shown(found)}, expected "
    return said, "" if is_whole else expected_by(error)


def _unknown(model: type[BaseModel], where: list[str], values: object) -> str:
    """An unknown key; it may be one of another kind of the section."""
    *section, key = where
    every, here = _sections_at(model, section, values)
    others = [kind for m in every if key in _keys([m]) for kind in _kinds(m)]
    listed = " or ".join(map(repr, others))
    hint = f" (a key of kind {listed})" if others else _hint(key, _keys(here))
    return f"unknown key {'.'.join(where)!r}{hint}"


def _hint(word: str, known: list[str]) -> str:
    """Which key may have been meant, or which there are."""
    listed = f" (known: {', '.join(known)})"
    return meant(word, known) if nearest(word, known) else listed


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


def _sections_at(
    root: type[BaseModel], where: list[str], values: Any
) -> tuple[list[type[BaseModel]], list[type[BaseModel]]]:
    """Sections that may stand at that place of the config, and the one that does."""
    every = here = [root]
    for part in where:
        if isinstance(values, list):
            values = values[int(part)]
        else:
            fields = [m.model_fields[part] for m in here if part in m.model_fields]
            every = here = [m for field in fields for m in _models(field.annotation)]
            values = values.get(part)
        if isinstance(values, dict):
            kind = values.get("kind", next(iter(_kinds(every[0])), None))
            here = [m for m in every if kind in _kinds(m)] or every
    return every, here


def _keys(models: list[type[BaseModel]]) -> list[str]:
    fields = [field for model in models for field in model.model_fields.items()]
    return list(dict.fromkeys(field.alias or name for name, field in fields))


def _kinds(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("kind")
    return typing.get_args(field.annotation) if field else ()


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The model that an annotation is, and those that stand in it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)
