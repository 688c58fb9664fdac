"""A config that is edited has the new values, and all else as a person wrote it.

What it should be is written by hand, with `json5` as the judge of what it means.
"""

import json

import json5
import pytest

from denoise_daisy.config.edited import edited

NEW = {"gains": [3.5, 0.25], "offsets": [-100.0, 2.0]}

WRITTEN = '"gains": [3.5, 0.25]', '"offsets": [-100.0, 2.0]'

GAINS, OFFSETS = WRITTEN

CASES: dict[str, tuple[str, str]] = {
    "one line": (
        '{"input": {"path": "a"}, "noise": {"kind": "x"}, "blocks": {}}',
        f'{{"input": {{"path": "a"}}, "noise": {{"kind": "x", {GAINS}, {OFFSETS}}},'
        ' "blocks": {}}',
    ),
    "no section yet": (
        '{"input": {"path": "a"}}',
        f'{{"input": {{"path": "a"}}, "noise": {{{GAINS}, {OFFSETS}}}}}',
    ),
    "no section yet, lines": (
        '{\n  "input": {"path": "a"},\n  "output": {}\n}\n',
        f'{{\n  "input": {{"path": "a"}},\n  "output": {{}},\n  "noise": {{{GAINS},'
        f" {OFFSETS}}}\n}}\n",
    ),
    "an empty section": (
        '{"noise": { }}',
        f'{{"noise": {{{GAINS}, {OFFSETS} }}}}',
    ),
    "other numbers": (
        '{"noise": {"offsets": [ 1,\n 2 ], "gains": null, "kind": "x"}, "a": [1, {}]}',
        '{"noise": {"offsets": [-100.0, 2.0], "gains": [3.5, 0.25], "kind": "x"},'
        ' "a": [1, {}]}',
    ),
    "one is there": (
        '{"noise": {"gains": [1]}}',
        f'{{"noise": {{{GAINS}, {OFFSETS}}}}}',
    ),
    "lines, tabs and the ends of lines of Windows": (
        '{\r\n\t"noise": {\r\n\t\t"kind": "x"\r\n\t}\r\n}\r\n',
        f'{{\r\n\t"noise": {{\r\n\t\t"kind": "x",\r\n\t\t{GAINS},\r\n\t\t{OFFSETS}'
        "\r\n\t}\r\n}\r\n",
    ),
    "comments": (
        '{\n  // "noise": {"gains": [9]} once\n  noise: {\n    kind: \'x\' // mine, }\n'
        "  }, /* } */\n}",
        '{\n  // "noise": {"gains": [9]} once\n  noise: {\n'
        "    kind: 'x', // mine, }\n"
        f"    {GAINS},\n    {OFFSETS}\n  }}, /* }} */\n}}",
    ),
    "a comma behind the last": (
        '{\n  "noise": {\n    "kind": "x", // mine\n  },\n}',
        f'{{\n  "noise": {{\n    "kind": "x", // mine\n    {GAINS},\n    {OFFSETS}'
        "\n  },\n}",
    ),
    "strings that look like more": (
        '{"a": "\\"noise\\": {", "b": "// \\\\", "noise": {"kind": "},{"}}',
        '{"a": "\\"noise\\": {", "b": "// \\\\", "noise": {"kind": "},{"'
        f", {GAINS}, {OFFSETS}}}}}",
    ),
    "a section of that name in another": (
        '{"a": {"noise": {"gains": 1}}, "noise": {"gains": 2, "offsets": 3}}',
        f'{{"a": {{"noise": {{"gains": 1}}}}, "noise": {{{GAINS}, {OFFSETS}}}}}',
    ),
    "names with escapes": (
        '{"\\u006eoise": {"ga\\u0069ns": 1}}',
        f'{{"\\u006eoise": {{"ga\\u0069ns": [3.5, 0.25], {OFFSETS}}}}}',
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_new_values_are_in_and_all_else_is_as_it_was(name: str) -> None:
    before, after = CASES[name]
    assert edited(before, "noise", NEW) == after
    meant = json5.loads(before)
    assert json5.loads(after) == meant | {"noise": meant.get("noise", {}) | NEW}


def test_the_same_again_changes_nothing() -> None:
    for _, after in CASES.values():
        assert edited(after, "noise", NEW) == after


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"noise"',
        '{"noise": ',
        '{"noise": [1',
        '{"noise": 3}',
        '{"a": "',
    ],
)
def test_what_is_not_understood_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(it ends|what begins|.* where an object)"):
        edited(text, "noise", NEW)


def test_numbers_keep_all_their_digits() -> None:
    number = 0.1 + 0.2
    assert json.loads(edited("{}", "noise", {"a": number})) == {"noise": {"a": number}}
