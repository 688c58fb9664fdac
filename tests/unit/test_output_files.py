"""Whether the files of done blocks are there, as a start asks before it says "done".

A green run would mean nothing if nothing was looked at: where nothing is to be found,
each test has something gone in the end that must be.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy import run
from denoise_daisy.errors import RefusedError
from denoise_daisy.runs.output_files import gone_files
from harness import config_for, load, small_czi
from harness.hiccups import Hiccup
from harness.prepared import checked, copied
from harness.shared import once

BLOCKS = 4
"""Of every stage but the union of labels and their table, in a row along y."""

SOFT = "out.soft.zarr/0/c/0/0/0/2/0"
PIECES = "out.zarr.run/tasks/cells.pieces/0-0-2-0.npz"


def finish(folder: Path) -> dict[str, Any]:
    """The config of a finished run; not to be changed."""
    config = config_for(
        small_czi(folder / "in.czi", (1, 1, 1, 64, 16)),
        folder / "here" / "out.zarr",
        output={"chunks": {"y": 16, "x": 16}},
        blocks={"shape": {"y": 16}},
        workers={"count": 1},
    )
    del config["noise"]
    config["denoise"] = {"kind": "median", "size": {"y": 3}}
    config["tasks"] = [
        {"kind": "smooth", "name": "soft", "sigma": {"y": 1}},
        {"kind": "threshold", "name": "bright", "input": "soft", "value": 500},
        {"kind": "label", "name": "cells", "input": "bright", "table": "csv"},
    ]
    run(load(config), say=lambda _: None)
    return config


@pytest.fixture
def config(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> dict[str, Any]:
    """The config of a copy of that run, in `tmp_path`."""
    return copied(once(tmp_path_factory, "output_files", finish), tmp_path)


def check_all_done(config: dict[str, Any]) -> None:
    """A start says that everything was done before."""
    said: list[str] = []
    run(load(config), say=said.append)
    # Five stages of four blocks, the union of the labels and their table.
    assert said == [
        f"All {5 * BLOCKS + 2} blocks were done before.\n"
        f"Output: {config['output']['path']}"
    ]


def refusal(config: dict[str, Any]) -> str:
    """Why a start refuses."""
    with pytest.raises(RefusedError) as refused:
        run(load(config), say=lambda _: None)
    return str(refused.value)


def a_file(path: Path) -> None:
    path.touch()


def a_circle(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("folder", ["out.soft.zarr/0/c", str(Path(PIECES).parent)])
@pytest.mark.parametrize(
    ("instead", "why"), [(a_file, "Not a directory"), (a_circle, "Too many levels")]
)
def test_a_folder_that_can_not_be_listed_is_not_taken_for_an_empty_one(
    folder: str,
    instead: Callable[[Path], None],
    why: str,
    config: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Nobody should put files back that may be there."""
    path = tmp_path / folder
    shutil.rmtree(path)
    instead(path)
    said = refusal(config)
    assert "can't be looked for" in said
    assert why in said
    assert repr(str(path)) in said


@pytest.mark.parametrize("file", [SOFT, PIECES])
def test_a_file_that_is_there_though_a_list_lacks_it_is_not_gone(
    file: str, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system may give a list of a while ago."""
    path, walk, left_out = tmp_path / file, os.walk, []

    def old_walk(
        *arguments: Any, **options: Any
    ) -> Iterator[tuple[str, list[str], list[str]]]:
        for folder, folders, files in walk(*arguments, **options):
            if Path(folder) == path.parent:
                left_out.append(path)
                files.remove(path.name)
            yield folder, folders, files

    monkeypatch.setattr(os, "walk", old_walk)
    check_all_done(config)
    assert left_out == [path]
    monkeypatch.setattr(os, "walk", walk)
    path.unlink()
    assert refusal(config).startswith("1 files of blocks that are recorded as done")


@pytest.mark.parametrize(
    "name",
    [
        *("out.soft.zarr/0/c/0/0/0/4/0", "out.soft.zarr/0/c/0/0/0/2/1"),
        *("out.soft.zarr/0/c/0/0/0/2/.nfs01", "out.soft.zarr/0/c/0/0/0/-1/0"),
        *("out.soft.zarr/0/c/notes", "out.soft.zarr/0/c/0/0/0/2.old/0"),
        *(f"{Path(PIECES).parent}/{name}" for name in ("0-0-4-0.npz", "0-0-2.npz")),
        *(f"{Path(PIECES).parent}/{name}" for name in ("a-b-c-d.npz", ".nfs01")),
    ],
)
def test_a_file_of_no_block_stands_for_none(
    name: str, config: dict[str, Any], tmp_path: Path
) -> None:
    stray = tmp_path / name
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"mine")
    check_all_done(config)
    for file in (SOFT, PIECES):
        (tmp_path / file).unlink()
    assert refusal(config).startswith("2 files of blocks that are recorded as done")


def test_files_of_an_array_without_metadata_are_not_called_done(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """They may go in the last moments of a run, when nobody looks any more."""
    array = tmp_path / "out.soft.zarr/0"
    found = checked(load(config))
    assert gone_files(found.asked_stages, found.ledgers) == ""
    (array / "zarr.json").unlink()
    said = gone_files(found.asked_stages, found.ledgers)
    assert said.startswith(f"The metadata of {str(array)!r} are gone")
    fresh = checked(load(config), overwrite=True)
    assert gone_files(fresh.asked_stages, fresh.ledgers) == ""


@pytest.mark.parametrize(
    ("call", "words"),
    [("scandir", "out.soft.zarr/0/c"), ("stat", "out.soft.zarr/0/zarr.json")],
)
def test_a_file_system_that_hiccups_has_lost_nothing(
    call: str, words: str, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = checked(load(config))
    hiccup = Hiccup(monkeypatch, call, words)
    assert gone_files(found.asked_stages, found.ledgers) == ""
    assert hiccup.hits == 1
