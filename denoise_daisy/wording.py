"""What is wrong with a value, in plain words: what was expected, what was meant."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

NAME = r"^[A-Za-z0-9_-]{1,60}$"
"""Form of a name that becomes one of files."""

INPUT_NAME = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){0,2}$"
"""Form of what a task reads."""

_FORMS = {
    NAME: "up to 60 letters (a to z), digits, _ and -",
    INPUT_NAME: "denoised, raw, the name of a task, or a level such as pyramid.1",
}

_SHORTEST = 60
"""Characters of a value that is quoted."""


class AsItStands(ValueError):
    """What a check of the program's own says in sentences, not as what it expected."""


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"{value:.15g}"


def _any_of(said: str) -> str:
    """What pydantic lists as 'a', 'b' or 'c'."""
    return said if said.count("'") < 4 else f"one of {said}"


def _entries(count: Any) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


_WORDS: Mapping[str, str | Callable[[Mapping[str, Any]], str]] = {
    "string_type": "text",
    "string_sub_type": "text",
    "string_too_short": "text that is not empty",
    "string_pattern_mismatch": lambda found: _FORMS.get(
        found["pattern"], f"text of the form {found['pattern']}"
    ),
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "none_required": "null",
    "dict_type": "an object",
    "mapping_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dataclass_type": "an object",
    "list_type": "a list",
    "tuple_type": "a list",
    "greater_than": lambda found: f"more than {_number(found['gt'])}",
    "greater_than_equal": lambda found: f"{_number(found['ge'])} or more",
    "less_than": lambda found: f"less than {_number(found['lt'])}",
    "less_than_equal": lambda found: f"{_number(found['le'])} or less",
    "too_short": lambda found: f"at least {_entries(found['min_length'])}",
    "too_long": lambda found: f"no more than {_entries(found['max_length'])}",
    "literal_error": lambda found: _any_of(found["expected"]),
    "union_tag_not_found": "an object",
    "union_tag_invalid": lambda found: _any_of(found["expected_tags"]),
    "value_error": lambda found: str(found["error"]),
}
"""What is expected where a check finds an error, by the name that pydantic has for it.
"""


def expected_by(error: "ErrorDetails") -> str:
    """What a check of pydantic's expected, in words that are not pydantic's."""
    words = _WORDS.get(error["type"], "something else")
    said = words if isinstance(words, str) else words(error.get("ctx", {}))
    known = choices_of(error)
    return said + (meant(error["input"], known) if known else "")


def wrong(error: "ErrorDetails") -> str:
    """What was found in a file of the program's own, and what was expected."""
    if error["type"] == "missing":
        return "it is missing"
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return "nothing of that name is expected"
    return f"found {shown(error['input'])}, expected {expected_by(error)}"


def choices_of(error: "ErrorDetails") -> list[str]:
    """The words that a check chose among; none if it did not."""
    found = error.get("ctx", {})
    listed = found.get("expected_tags") or found.get("expected") or ""
    return re.findall(r"'([^']*)'", str(listed))


def shown(value: object) -> str:
    """A value as JSON has it, cut short."""
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHORTEST else f"{text[: _SHORTEST - 3]}..."


def nearest(word: object, known: Iterable[str]) -> str | None:
    """What may have been meant by a word; case, _ and - count for nothing."""
    by_letters = {_letters(name): name for name in reversed([*known])}
    if not isinstance(word, str):
        return None
    near = difflib.get_close_matches(_letters(word), by_letters, n=1, cutoff=0.5)
    return by_letters[near[0]] if near else None


def meant(word: object, known: Iterable[str]) -> str:
    """A question, in brackets; nothing if no known word is near."""
    near = nearest(word, known)
    return f" (did you mean {near!r}?)" if near else ""


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower()) or name


def error_text(error: BaseException, where: str | None = None) -> str:
    """An error of somebody else's code, and the place where it came up."""
    try:
        said = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - it may not even be able to tell what it is
        said = type(error).__name__
    return f"{said} (at {where})" if where else said
