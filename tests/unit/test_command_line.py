"""The command line: options wherever they stand, and what answers without a config."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy.__main__ import main
from denoise_daisy.commands import COMMANDS
from denoise_daisy.config import Config

CASES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "none": (["c"], {}),
    "behind the config": (["c", "--overwrite"], {"overwrite": True}),
    "before it": (["--overwrite", "c"], {"overwrite": True}),
    "with a value, before it": (["--task", "x", "c"], {"tasks": ["x"]}),
    "joined to its value": (["--grace=3", "c"], {"grace_seconds": 3.0}),
    "on both sides": (
        ["--task", "x", "--overwrite", "c", "--task", "y", "--grace", "3"],
        {"tasks": ["x", "y"], "overwrite": True, "grace_seconds": 3.0},
    ),
    "of a longer image": (["--extend", "c"], {"extend": True}),
    "behind the verb": (["run", "--overwrite", "c"], {"overwrite": True}),
    "behind the verb and the config": (["run", "c", "--task", "x"], {"tasks": ["x"]}),
}

DEFAULTS = {
    "tasks": [],
    "overwrite": False,
    "grace_seconds": 30.0,
    "unchecked_ndsafir": False,
    "strict": False,
    "extend": False,
    "tell": None,
}


@pytest.mark.parametrize("name", CASES)
def test_options_may_stand_on_both_sides_of_the_config(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, told = CASES[name]
    calls: list[tuple[Any, dict[str, Any]]] = []

    def called(config: Any, **options: Any) -> None:
        del options["say"]
        calls.append((config, options))

    monkeypatch.setattr("denoise_daisy.commands.run.run", called)
    monkeypatch.setattr(Config, "load", lambda path: f"loaded {path}")
    assert main(words) == 0
    assert calls == [("loaded c", DEFAULTS | told)]


def test_the_versions_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said == (
        f"denoise-daisy {version('denoise-daisy')}, ndsafir {version('ndsafir')}\n"
    )


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_that_of_all_verbs(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([word])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for name in COMMANDS:
        assert f"    {name}" in said


@pytest.mark.parametrize(
    ("words", "verb"),
    [(["statsu"], "status"), (["statsu", "x"], "status"), (["Plan", "c"], "plan")],
)
def test_a_word_that_is_nearly_a_verb_is_told_from_a_config(
    words: list[str],
    verb: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"{words[0]!r} is no verb" in said
    assert f"Did you mean {verb!r}?" in said
    assert len(said.splitlines()) == 1


def test_a_config_may_be_named_nearly_as_a_verb(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plans").write_text("{")
    assert main(["plans"]) == 2
    assert "The config 'plans' is no valid JSON" in capsys.readouterr().err
