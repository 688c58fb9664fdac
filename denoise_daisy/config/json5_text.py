"""The text of a config: JSON, or JSON5 with its comments and trailing commas."""

import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from denoise_daisy.errors import InputError

_TOKEN = re.compile(
    r"""//[^\n\r\u2028\u2029]* | /\*.*?\*/
    | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*'
    | [{}\[\]:,] | [^\s{}\[\]:,"'/]+""",
    re.DOTALL | re.VERBOSE,
)

_MOST_DIGITS = 4300
"""Of a number; Python reads no longer ones."""


def read_text(data: bytes) -> Any:
    """The values of a text in JSON5.

    Raises
    ------
    ValueError
        It is none, or has a key twice, or a number that is none; says where.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"its byte {error.start} is no text in utf-8") from error
    try:
        values = _values(text)
        # What JSON can say of half a character, a file's name can't.
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ValueError(f"it holds half of a character, {half!a}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return values


def json_of(values: Mapping[str, Any]) -> bytes:
    """The text of values that are no text yet: paths and what NumPy has are fine.

    Raises
    ------
    InputError
        There are others that JSON has no words for.
    """
    try:
        return json.dumps(dict(values), default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"The config can't be used: {error}. Expected texts, numbers, lists and"
            " dicts, as in a config file."
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"it holds {value!r}")


def _values(text: str) -> Any:
    """Plain JSON at once; the reader of JSON5 takes a second for 20 kB."""
    try:
        return json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except ValueError:
        return _values_of_json5(text)


def _values_of_json5(text: str) -> Any:
    import json5  # noqa: PLC0415 - takes a fifth of a second that JSON need not

    if not text.strip():
        raise ValueError("it is empty")
    try:
        return json5.loads(text, allow_duplicate_keys=False, parse_constant=_constant)
    except ValueError as error:
        raise ValueError(_said(str(error), text)) from error


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no number of a config")


def _said(error: str, text: str) -> str:
    """What the reader of JSON5 says, with its place."""
    at = r"<string>:(\d+) Unexpected (.*) at column (\d+)"
    if syntax := re.fullmatch(at, error, re.DOTALL):
        line, what, column = syntax.groups()
        what = what if what == "end of input" else ascii(what.strip('"') or '"')
        return f"line {line}, column {column}: unexpected {what}"
    for place, problem in _problems(text):
        lines = text[:place].split("\n")
        return f"line {len(lines)}, column {len(lines[-1]) + 1}: {problem}"
    return error


def _problems(text: str) -> Iterator[tuple[int, str]]:
    """What is wrong with a text in JSON5, and where it begins."""
    objects: list[set[str]] = []
    tokens = [t for t in _TOKEN.finditer(text) if t[0][:2] not in ("//", "/*")]
    for token, after in itertools.zip_longest(tokens, tokens[1:]):
        word = token[0]
        if word in ("{", "["):
            objects.append(set())
        elif word in ("}", "]"):
            objects.pop()
        elif after and after[0] == ":":
            key = word.strip("\"'")
            if key in objects[-1]:
                yield token.start(), f"the key {key!r} stands twice in one object"
            objects[-1].add(key)
        elif re.fullmatch(r"[+-]?(NaN|Infinity)", word):
            yield token.start(), f"{word} is no number of a config"
        elif len(word) > _MOST_DIGITS and re.match(r"[+-]?\d", word):
            yield token.start(), f"a number of {len(word)} digits"
