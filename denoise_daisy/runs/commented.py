"""Values as text in JSON5, each key with its comment above it."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

WIDTH = 88


def commented(values: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Sections with a line for each key; comments by key, such as denoise.patch.

    That of the empty key stands above all; its lines stay as they are.
    """
    sections = []
    for key, value in values.items():
        shown = _json(value)
        if isinstance(value, dict):
            inner = [
                "\n".join(
                    [*_comment(comments.get(f"{key}.{k}"), "    "), _pair(k, v, 4)]
                )
                for k, v in value.items()
            ]
            shown = "\n".join(["{", ",\n".join(inner), "  }"])
        lines = _comment(comments.get(key), "  ")
        sections.append("\n".join([*lines, f"  {_json(key)}: {shown}"]))
    head = _comment(comments.get(""), "")
    return "\n".join([*head, "{", ",\n".join(sections), "}", ""])


def _pair(key: str, value: Any, indent: int) -> str:
    return f"{' ' * indent}{_json(key)}: {_json(value)}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str | None, indent: str) -> Iterator[str]:
    start = f"{indent}// "
    for line in (text or "").splitlines():
        yield from textwrap.wrap(
            " ".join(line.split()),
            WIDTH,
            initial_indent=start,
            subsequent_indent=start,
            break_long_words=False,
            break_on_hyphens=False,
        )
