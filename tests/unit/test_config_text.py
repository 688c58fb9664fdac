"""The text of a config: JSON5, read as its authors would, and refused with the place.

Expected values are those of json5.org and of JSON itself.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy.config import Config
from denoise_daisy.config.json5_text import read_text
from denoise_daisy.errors import InputError

PATHS = '"input": {"path": "in.czi"}, "output": {"path": "out.zarr"}'

JSON5: dict[str, tuple[str, Any]] = {
    "comments": ('// a\n{/* b\n {"c": 1} */ "d": 2} // e', {"d": 2}),
    "a comment in a text": (
        '{"a": "no // comment", "b": "/* */"}',
        {"a": "no // comment", "b": "/* */"},
    ),
    "trailing commas": ('{"a": [1, 2,],}', {"a": [1, 2]}),
    "keys without quotes": ("{max_iter: 4, $a: 'x'}", {"max_iter": 4, "$a": "x"}),
    "single quotes": ("{'a': 'it\\'s'}", {"a": "it's"}),
    "numbers": ("[+1, .5, 5., 0x10, -2e3]", [1, 0.5, 5.0, 16, -2000.0]),
    "a line that goes on": ('{"a": "b\\\nc"}', {"a": "bc"}),
    "names like numbers": ("{NaN: 1, Infinity: 2}", {"NaN": 1, "Infinity": 2}),
    "numbers in quotes": (
        '{"a": "NaN", /**/ "b": "Infinity"}',
        {"a": "NaN", "b": "Infinity"},
    ),
    "the same key elsewhere": (
        '{a: {b: 1}, c: [{b: 1}, {b: 2}], "b": 3,}',
        {"a": {"b": 1}, "c": [{"b": 1}, {"b": 2}], "b": 3},
    ),
    "a mark of the bytes' order": ('\ufeff{"a": 1,}', {"a": 1}),
}


@pytest.mark.parametrize("name", JSON5)
def test_json5_is_read(name: str) -> None:
    text, values = JSON5[name]
    assert read_text(text.encode()) == values


WRONG = {
    "a key twice": (
        '{\n  "a": 1,\n  "b": 2, "a": 3}',
        "line 3, column 11: the key 'a'",
    ),
    "in two spellings": ("{\n 'a': 1,\n a: 2}", "line 3, column 2: the key 'a'"),
    "in an inner object": ("{a: [\n{b: 1, b: 2}]}", "line 2, column 8: the key 'b'"),
    "NaN": ('{\n"a": NaN}', "line 2, column 6: NaN is no number"),
    "Infinity": ('{"a": Infinity}', "line 1, column 7: Infinity is no number"),
    "-Infinity": ('{"a": [1, -Infinity]}', "line 1, column 11: -Infinity is no"),
    "+NaN behind its name": ('{NaN: "NaN",\n b: +NaN}', "line 2, column 5: +NaN is no"),
    "two commas": ('{"a": 1,\n , "b": 2}', "line 2, column 3: unexpected"),
    "no comma": ('{"a": 1\n\n "b": 2}', "line 3, column 2: unexpected '\"'"),
    "an open object": ('{"a": {\n', "line 2, column 1: unexpected end of input"),
    "an open comment": ("{ /* a", "unexpected end of input"),
    "a line's end in a text": ('{"a": "b\n"}', "line 1, column 9: unexpected '\\n'"),
    "5000 digits": (
        '{\n "a": ' + "9" * 5000 + "}",
        "line 2, column 7: a number of 5000",
    ),
    "half a character": ('{"a": "\\ud800"}', "half of a character, '\\ud800'"),
    "nothing": ("", "it is empty"),
    "blanks": (" \n", "it is empty"),
    "300 brackets": ('{"a": ' + "[" * 300 + "]" * 300 + "}", "nested too deeply"),
    "more than Python nests": ("[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_json5_is_refused_with_its_place(name: str) -> None:
    text, words = WRONG[name]
    with pytest.raises(InputError) as caught:
        Config.parse(text.encode(), name="my.json", folder=Path("/"))
    said = str(caught.value)
    assert "'my.json' is no valid JSON, nor JSON5: " in said
    assert words in said
    assert "\n" not in said


def test_bytes_that_are_no_text_are_refused_with_their_place() -> None:
    with pytest.raises(ValueError, match="byte 7 is no text in utf-8"):
        read_text(b'{"a": "\xe4"}')


def test_an_image_in_place_of_a_config_is_not_read(tmp_path: Path) -> None:
    """It may be larger than memory."""
    (tmp_path / "embryo.CZI").mkdir()
    with pytest.raises(InputError, match=r"is an image.*init .*embryo.CZI. writes one"):
        Config.load(tmp_path / "embryo.CZI")


def test_a_config_with_comments_is_that_without() -> None:
    commented = f"{{ // mine\n {PATHS}, denoise: {{max_iter: 4, /* more */}},}}"
    plain = f'{{{PATHS}, "denoise": {{"max_iter": 4}}}}'
    first, second = (
        Config.parse(text.encode(), name="c", folder=Path("/"))
        for text in (commented, plain)
    )
    assert first == second


def test_where_the_schema_is_is_no_part_of_the_run() -> None:
    text = f'{{"$schema": "some.schema.json", {PATHS}}}'
    config = Config.parse(text.encode(), name="c", folder=Path("/"))
    assert "schema" not in json.dumps(config.recorded)


SAMPLES: dict[str, tuple[dict[str, Any], bool]] = {
    "no kind of workers": ({"workers": {"count": 4}}, True),
    "no kind of noise": ({"noise": {"gains": {"DAPI": 2}, "offsets": [1]}}, True),
    "a kind's keys without it": ({"workers": {"partition": "a"}}, False),
    "a schema": ({"$schema": "x.json"}, True),
    "an open ROI": ({"input": {"path": "a", "roi": {"z": [None, 4]}}}, True),
    "channels by name": ({"input": {"path": "a", "channels": ["DAPI", 1]}}, True),
    "a sigma for all": ({"denoise": {"kind": "gaussian", "sigma": 2}}, True),
    "a size for all": ({"denoise": {"kind": "median", "size": 3}}, True),
    "a size too large": ({"denoise": {"kind": "median", "size": 101}}, False),
    "a size of half": ({"denoise": {"kind": "median", "size": 2.5}}, False),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_schema_takes_what_the_program_takes(name: str, tmp_path: Path) -> None:
    """By a validator that knows nothing of this program."""
    values, is_fine = SAMPLES[name]
    values = {"input": {"path": "a"}, "output": {"path": "b"}} | values
    (tmp_path / "schema.json").write_text(json.dumps(Config.model_json_schema()))
    (tmp_path / "config.json").write_text(json.dumps(values))
    words = [
        "--schemafile",
        str(tmp_path / "schema.json"),
        str(tmp_path / "config.json"),
    ]
    program = Path(sys.executable).with_name("check-jsonschema")
    end = subprocess.run([program, *words], capture_output=True, check=False)
    assert end.returncode == (0 if is_fine else 1), end.stdout
    try:
        Config.load(tmp_path / "config.json")
    except InputError:
        assert not is_fine
    else:
        assert is_fine
