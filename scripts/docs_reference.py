"""The parts of the reference that the program itself knows, as Markdown.

The Sphinx build (docs/conf.py) calls `write`; each file is included by a page.
"""

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from denoise_daisy.__main__ import _parser
from denoise_daisy.config import Config

Schema = Mapping[str, Any]


def write(folder: Path) -> None:
    """All parts, as files of that folder."""
    folder.mkdir(exist_ok=True)
    pages = {"config": config_keys(), "command_line": command_line()}
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, "utf-8")


def config_keys() -> str:
    """Every key of the config, by section and kind."""
    schema = Config.model_json_schema()
    parts = [_section(name, part, schema) for name, part in _sections(schema)]
    return "\n".join(parts)


def _sections(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Sections in the config's order: their name, and what the schema says of them."""
    yield from schema["properties"].items()


def _section(name: str, part: Schema, schema: Schema) -> str:
    lines = [f"(config-{_slug(name)})=", f"## {name}", ""]
    kinds = [_resolved(one, schema) for one in _models(part)]
    if len(kinds) != 1:
        lines += [_text(part), ""]
    default = part.get("default")
    if len(kinds) > 1 and isinstance(default, dict):
        lines += [f"Without a `kind` it is `{json.dumps(default['kind'])}`.", ""]
    if not kinds:
        lines += [_values_and_default(part)]
    for kind in kinds:
        word = kind["properties"].get("kind", {}).get("const")
        path = _slug(f"{name} {word}" if word else name)
        if word:
            lines += ["", f"(config-{path})=", f"### {name}: {word}", ""]
        lines += [_text(kind) or _text(part)]
        for key in kind["properties"]:
            lines += _key(key, kind, path, schema, level=4 if word else 3)
    return "\n".join([*lines, ""])


def _key(key: str, section: Schema, path: str, schema: Schema, level: int) -> list[str]:
    """A key and, where it has a section that no other has, the keys of that."""
    what = section["properties"][key]
    name = f"{path}-{_slug(key)}"
    lines = ["", f"(config-{name})=", f"{'#' * level} {key}", "", _text(what), ""]
    needed = key in section.get("required", ()) and key != "kind"
    lines += [_values_and_default(what, needed=needed)]
    for model in _models(what):
        if key != "workers":
            own = _resolved(model, schema)
            for inner in own["properties"]:
                lines += _key(inner, own, name, schema, level + 1)
    return lines


def _text(part: Schema) -> str:
    """A description, in which nothing but code is marked."""
    described = str(part.get("description", ""))
    return re.sub(r"([*<{])", r"\\\1", described)


def _values_and_default(what: Schema, *, needed: bool = False) -> str:
    values = f"Takes: {_values(what)}."
    if needed:
        return f"{values} Has to be there."
    if "default" not in what:
        return values
    return f"{values} Default: `{json.dumps(what['default'])}`."


def _values(what: Schema, between: str = "; or ") -> str:
    """What a key takes, in words."""
    if "$ref" in what:
        name = what["$ref"].rpartition("/")[2]
        if name.endswith("Workers"):
            return "an object like the config's [workers](#config-workers)"
        return "an object with the keys below"
    choices = what.get("anyOf") or what.get("oneOf")
    if choices:
        words = [_values(choice, between) for choice in choices]
        return between.join(dict.fromkeys(words))
    if "const" in what:
        return f"`{json.dumps(what['const'])}`"
    if "enum" in what:
        return " or ".join(f"`{json.dumps(value)}`" for value in what["enum"])
    return _typed(what)


def _typed(what: Schema) -> str:
    kind = what.get("type")
    if kind == "array":
        if "prefixItems" in what:
            each = " and ".join(_values(one, " or ") for one in what["prefixItems"])
            return f"a list of {each}"
        items = what.get("items", {})
        if _models(items):
            return "a list of objects, each of a kind below"
        return f"a list, each {_values(items, ' or ')}"
    if kind == "object":
        inner = what.get("additionalProperties")
        by = what.get("propertyNames", {}).get("enum")
        keyed = f"by axis ({', '.join(by)})" if by else "by name"
        each = f", each {_values(inner, ' or ')}" if isinstance(inner, dict) else ""
        return f"an object {keyed}{each}"
    words = {
        "string": "a text",
        "integer": "an integer",
        "number": "a number",
        "boolean": "`true` or `false`",
        "null": "`null`",
    }
    return words.get(str(kind), "anything") + _bounds(what)


def _bounds(what: Schema) -> str:
    words = {
        "minimum": "at least {:g}",
        "exclusiveMinimum": "above {:g}",
        "maximum": "at most {:g}",
        "exclusiveMaximum": "below {:g}",
    }
    found = [text.format(what[key]) for key, text in words.items() if key in what]
    return f" ({', '.join(found)})" if found else ""


def _models(part: Schema) -> list[Schema]:
    """The objects that a section may be, one for each kind."""
    if "$ref" in part:
        return [part]
    choices = part.get("oneOf") or part.get("anyOf") or ()
    items = part.get("items")
    found = [one for choice in choices for one in _models(choice)]
    return found or (_models(items) if isinstance(items, dict) else [])


def _resolved(part: Schema, schema: Schema) -> Schema:
    found: Schema = schema["$defs"][part["$ref"].rpartition("/")[2]]
    return found


def _slug(words: str) -> str:
    return words.lower().replace(" ", "-").replace("$", "")


def command_line() -> str:
    """Every verb with its options, from the parser itself."""
    parser = _parser()
    (verbs,) = (
        action
        for action in parser._actions  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    )
    helps = {choice.dest: choice.help for choice in verbs._choices_actions}  # noqa: SLF001
    lines = []
    for name, verb in verbs.choices.items():
        lines += [f"(verb-{name})=", f"## {name}", "", _sentence(helps[name])]
        lines += ["", "```text", _usage(verb), "```", ""]
        for action in verb._actions:  # noqa: SLF001
            lines += _option(action)
    return "\n".join(lines)


def _usage(verb: argparse.ArgumentParser) -> str:
    """In one line, whatever the width of the terminal."""
    words = verb.format_usage().removeprefix("usage: ").split()
    return " ".join(words)


def _option(action: argparse.Action) -> list[str]:
    if not action.help or action.dest == "help":
        return []
    metavar = action.metavar or ("" if action.nargs == 0 else action.dest.upper())
    if action.choices and not action.metavar:
        metavar = "|".join(map(str, action.choices))
    names = [f"{name} {metavar}".strip() for name in action.option_strings]
    shown = ", ".join(f"`{name}`" for name in names or [str(metavar)])
    return [shown, f": {_sentence(action.help)}", ""]


def _sentence(words: str | None) -> str:
    words = (words or "").strip()
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")
