"""The text of a config with some values replaced, and all else as it was written.

Text is JSON, maybe with what JSON5 adds: comments, commas behind the last value, keys
and strings in other quotes or in none.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"""
      (?P<nothing> \s+ | //[^\n\r]* | /\*.*?\*/ )
    | (?P<string> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' )
    | (?P<mark> [{}\[\]:,] )
    | (?P<word> [^\s{}\[\]:,"'/]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    """A word or a mark, and where it lies in the text."""

    text: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class _Member:
    """A value of an object, by the numbers of its first and its last token."""

    name: str
    first: int
    last: int


def edited(text: str, section: str, values: Mapping[str, Any]) -> str:
    """The text with these values in a section of it, which need not be there yet.

    Raises
    ------
    ValueError
        It is not understood.
    """
    try:
        return _edited(text, section, values)
    except IndexError as error:
        raise ValueError("it ends too early") from error


def _edited(text: str, section: str, values: Mapping[str, Any]) -> str:
    tokens = list(_tokens(text))
    sections = {member.name: member for member in _members(tokens, 0)}
    if section not in sections:
        return _added(text, tokens, 0, {section: dict(values)})
    begin = sections[section].first
    there = {member.name: member for member in _members(tokens, begin)}
    new = {name: value for name, value in values.items() if name not in there}
    # From the end: what was found before it stays where it is.
    text = _added(text, tokens, begin, new)
    for name in sorted(there.keys() & values.keys(), key=lambda n: -there[n].first):
        first, last = tokens[there[name].first], tokens[there[name].last]
        text = text[: first.begin] + json.dumps(values[name]) + text[last.end :]
    return text


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"what begins with {text[place : place + 9]!r}")
        if match.lastgroup != "nothing":
            yield _Token(match[0], *match.span())
        place = match.end()


def _members(tokens: Sequence[_Token], begin: int) -> Iterator[_Member]:
    """The values of the object that begins with that token."""
    if tokens[begin].text != "{":
        raise ValueError(f"{tokens[begin].text} where an object was expected")
    i = begin + 1
    while tokens[i].text != "}":
        last = _last(tokens, i + 2)
        yield _Member(_name(tokens[i].text), i + 2, last)
        i = last + 1
        if tokens[i].text == ",":
            i += 1


def _last(tokens: Sequence[_Token], first: int) -> int:
    """The last token of a value that begins with that one."""
    depth, i = 0, first
    while True:
        depth += (tokens[i].text in "{[") - (tokens[i].text in "}]")
        if depth == 0:
            return i
        i += 1


def _name(text: str) -> str:
    if text.startswith('"'):
        return str(json.loads(text))
    return text.strip("'")


def _added(
    text: str, tokens: Sequence[_Token], begin: int, values: Mapping[str, Any]
) -> str:
    """The text with values behind the last of an object, on lines as those have."""
    written = [f"{json.dumps(name)}: {json.dumps(v)}" for name, v in values.items()]
    members = list(_members(tokens, begin))
    start = tokens[begin].end
    if not members or not written:
        return text[:start] + ", ".join(written) + text[start:]
    before = re.search(r"\r?\n[ \t]*$", text[start : tokens[begin + 1].begin])
    lead = before[0] if before else " "
    i = members[-1].last
    comma = ","
    if tokens[i + 1].text == ",":
        i, comma = i + 1, ""
    start = tokens[i].end
    # A comment behind the last value stays on its line.
    rest = re.match(r"[^\r\n]*", text[start : tokens[i + 1].begin])
    is_last = before and rest and start + rest.end() < tokens[i + 1].begin
    place = start + rest.end() if is_last and rest else start
    added = lead + f",{lead}".join(written)
    return text[:start] + comma + text[start:place] + added + text[place:]
