"""Warnings in `plan`, at a start, in the summary and in run.json; and --strict."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy.runs.warnings import first_sentence
from harness import cli, config_for, here, small_czi, small_image, write_config

MOVIE = "The image is a movie of 3 single planes"
NARROW = "Channel 'Channel0': about 0.0% of its voxels lie below 0 and "


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    """The config of a movie of single planes, which are searched alone."""
    source = small_czi(tmp_path / "in.czi", (3, 1, 1, 65, 65))
    config = config_for(source, tmp_path / "out.zarr", workers={"count": 1})
    return write_config(tmp_path / "config.json", config)


def listing(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_strict_ends_with_code_2_before_anything_is_written(
    movie: Path, verb: str, tmp_path: Path
) -> None:
    before = listing(tmp_path)
    refused = cli(verb, movie, "--strict")
    assert refused.returncode == 2
    words = "denoise_daisy: --strict allows no warning, and there are 1. Settle what"
    assert words in refused.stderr
    assert refused.stderr.count(MOVIE) == 1
    assert ("noise    poisson-gaussian" in refused.stdout) == (verb == "plan")
    assert listing(tmp_path) == before


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_strict_lets_pass_what_is_sound(movie: Path, verb: str) -> None:
    config = json.loads(movie.read_text())
    config["denoise"] = {"active_dimensions": "tyx", "max_iter": 4}
    sound = cli(verb, write_config(movie.parent / "sound.json", config), "--strict")
    assert sound.returncode == 0
    assert "arning" not in sound.stdout
    assert "WARNING" not in sound.stderr


def test_warnings_are_said_at_the_start_and_in_the_summary_and_recorded(
    movie: Path,
) -> None:
    """A start that has nothing to denoise leaves them in the record."""
    planned = here("plan", movie).stdout
    assert f"\nWarning: {MOVIE}" in planned
    done = cli("run", movie)
    assert f"WARNING: {MOVIE}" in done.stderr
    (line,) = [s for s in done.stdout.splitlines() if MOVIE in s]
    assert "\n1 warning at the start:\n" in done.stdout
    assert line.endswith(" and 3.39 with time searched as well.")
    run_file = movie.parent / "out.zarr.run" / "run.json"
    recorded = json.loads(run_file.read_text())["warnings"]
    assert [f"Warning: {warning}" in planned for warning in recorded] == [True]
    config = json.loads(movie.read_text())
    config["tasks"] = [{"kind": "smooth", "name": "soft", "sigma": {"y": 1}}]
    assert cli("run", write_config(movie, config)).returncode == 0
    assert json.loads(run_file.read_text())["warnings"] == recorded


def said_of(tmp_path: Path, **sections: Any) -> list[str]:
    """The warnings in the plan of a run of a stack."""
    source = tmp_path / "in.czi"
    if not source.exists():
        write_czi(source, small_image((1, 1, 8, 65, 65)), names=("GFP",))
    config = config_for(source, tmp_path / "out.zarr") | sections
    said = here("plan", write_config(tmp_path / "config.json", config))
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    return [line for line in lines if line.startswith("Warning: ")]


def test_voxels_that_the_outputs_type_would_clip_are_said(tmp_path: Path) -> None:
    """The share is that of the image's cells of 4 x 4 voxels above 255."""
    assert said_of(tmp_path) == []
    image = small_image((1, 1, 8, 65, 65))[..., :64, :64].astype(float)
    cells = image.reshape(8, 16, 4, 16, 4).mean(axis=(2, 4))
    share = 100 * np.mean(cells > 255.5)
    assert share > 1
    output = {"path": str(tmp_path / "out.zarr"), "dtype": "uint8"}
    (warning,) = said_of(tmp_path, output=output)
    assert f"'GFP': about 0.0% of its voxels lie below 0 and {share:.1f}%" in warning
    assert "Set output.dtype to float32" in warning


MASK = {"kind": "threshold", "name": "mask", "value": 300}
SOFT = {"kind": "smooth", "name": "soft", "sigma": {"y": 1}}
OWN = {
    "kind": "function",
    "name": "own",
    "function": "examples:nothing",
    "channels": 1,
    "dtype": "uint8",
}


@pytest.mark.parametrize(
    ("before", "named", "said"),
    [
        ([], "denoised", "an image of uint16"),
        ([], "raw", "an image of uint16"),
        ([SOFT], "soft", "an image of float32"),
        ([MASK], "mask", ""),
        ([MASK, {"kind": "label", "name": "first", "input": "mask"}], "first", ""),
        ([OWN], "own", ""),
        ([OWN | {"dtype": "float32"}], "own", "an image of float32"),
        ([OWN | {"output": "labels"}], "own", ""),
    ],
)
def test_grey_levels_that_are_labelled_are_said(
    before: list[dict[str, Any]], named: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "examples.py").write_text("def nothing(block, context): return block\n")
    label = {"kind": "label", "name": "cells", "input": named}
    warnings = said_of(tmp_path, tasks=[*before, label])
    assert len(warnings) == bool(said)
    for warning in warnings:
        assert f"Task 'cells' labels {named!r}, {said} grey levels" in warning
        assert "threshold" in warning


@pytest.mark.parametrize(
    ("warning", "first"),
    [
        ("A gain of 0.03 is low. Expected 1. Set it.", "A gain of 0.03 is low."),
        ("One of 3.5 and more.", "One of 3.5 and more."),
        (
            "It can't be read: The plane is gone. Look.",
            "It can't be read: The plane is gone.",
        ),
    ],
)
def test_the_first_sentence_says_what_was_found(warning: str, first: str) -> None:
    assert first_sentence(warning) == first
