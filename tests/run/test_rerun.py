"""A run done again from its output alone: the same files, byte by byte."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from demo_czi import write_czi

from denoise_daisy.scheduling.scheduler import Scheduler
from harness import here, small_image, write_config
from harness.shared import once

SHAPE = (2, 2, 4, 48, 48)

OWN = "def edges(block, context):\n    return abs(block - block.mean())\n"


def run(config: dict[str, Any], folder: Path) -> "CompletedProcess[str]":
    end = here(write_config(folder / "config.json", config))
    assert end.returncode == 0, end.stderr
    return end


def rerun(*words: str | Path) -> "CompletedProcess[str]":
    return here("rerun", *words)


METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", "METADATA.ome.xml")


def sums(*places: Path) -> dict[str, str]:
    """Checksums of all voxels' files, by their path in a place."""
    return {
        f"{i}/{file.relative_to(place)}": hashlib.sha256(file.read_bytes()).hexdigest()
        for i, place in enumerate(places)
        for file in place.rglob("*")
        if file.is_file() and file.name not in METADATA
    }


def tree(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="session")
def original_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run with tasks; not to be changed."""

    def make(folder: Path) -> Path:
        write_czi(folder / "in.czi", small_image(SHAPE))
        (folder / "own.py").write_text(OWN)
        config: dict[str, Any] = {
            "input": {"path": "in.czi"},
            "output": {"path": "out.zarr", "dtype": "float32"},
            "denoise": {"patch": {"y": 1, "x": 1}, "max_iter": 1},
            "workers": {"count": 2},
            "tasks": [
                {"kind": "smooth", "name": "soft", "sigma": {"y": 1, "x": 1}},
                {"kind": "label", "name": "cells", "input": "bright"},
                {"kind": "function", "name": "edges", "function": "own:edges"},
            ],
        }
        bright = {"kind": "threshold", "name": "bright", "input": "soft"}
        config["tasks"].insert(1, bright | {"method": "otsu"})
        run(config, folder)
        return folder

    return once(tmp_path_factory, "original-run", make)


@pytest.fixture
def alone(original_run: Path, tmp_path: Path) -> Path:
    """The outputs of that run, in another place, with neither config nor run directory.

    Its input and code are where they were.
    """
    for name in ("out.zarr", "out.soft.zarr", "out.edges.zarr"):
        shutil.copytree(original_run / name, tmp_path / name)
    return tmp_path


def test_a_run_with_tasks_is_done_again_to_the_byte(
    alone: Path, original_run: Path
) -> None:
    end = rerun(alone / "out.zarr", "--output", alone / "new.zarr")
    assert end.returncode == 0, end.stderr
    assert f"Task edges imports own from {str(original_run)!r}" in end.stdout
    names = ("{}.zarr", "{}.soft.zarr", "{}.edges.zarr")
    first, second = (
        sums(*(alone / name.format(stem) for name in names)) for stem in ("out", "new")
    )
    assert len(first) == 10
    assert first == second
    assert (original_run / "out.zarr.run").exists()


def test_images_of_a_list_are_done_again_each_by_itself(
    tmp_path: Path, original_run: Path
) -> None:
    """With a region, a channel, blocks that are skipped, and as OME-Zarr 0.4."""
    image = small_image(SHAPE)
    image[..., :24] = 0
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        image,
        metadata={"axes": "TCZYX", "Channel": {"Name": ["one", "two"]}},
    )
    before = original_run / "out.zarr"
    config = {
        "input": {
            "path": ["a.ome.tif", str(before)],
            "roi": {"t": [1, 2], "y": [4, 40]},
            "channels": [1],
        },
        "output": {
            "path": "many",
            "chunks": {"z": 2, "y": 16, "x": 16},
            "ome_version": "0.4",
        },
        "denoise": {"kind": "gaussian", "sigma": {"y": 1, "x": 1}},
        "blocks": {"skip": {"below": 5}, "shape": {"z": 2, "y": 16, "x": 16}},
        "workers": {"count": 2},
    }
    run(config, tmp_path)
    (tmp_path / "config.json").unlink()
    outputs = sorted((tmp_path / "many").glob("*.zarr"))
    assert len(outputs) == 2
    for folder in (*(tmp_path / "many").glob("*.run"), *tmp_path.glob("*.run")):
        shutil.rmtree(folder)
    for output in outputs:
        end = rerun(output)
        assert end.returncode == 0, end.stderr
        again = output.with_name(f"{output.stem}_rerun.zarr")
        assert len(sums(output)) > 2
        assert sums(output) == sums(again)
    nested = [_noted(output)["input"].get("provenance") for output in outputs]
    assert nested == [None, _noted(before)]


def _noted(group: Path) -> dict[str, Any]:
    attributes: dict[str, Any] = zarr.open_group(group, mode="r").attrs.asdict()
    return dict(attributes["denoise_daisy"])


def test_what_was_cut_short_goes_on_and_what_is_done_is_left(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Scheduler, "run", lambda _: None)
        rerun(alone / "out.soft.zarr")
    new = alone / "out_rerun.zarr"
    record = json.loads((alone / "out_rerun.zarr.run" / "run.json").read_text())
    assert record["rerun_of"] == _noted(alone / "out.zarr")["run"]
    assert not sums(new)
    end = rerun(alone / "out.zarr")
    assert end.returncode == 0, end.stderr
    assert sums(new) == sums(alone / "out.zarr")
    before = tree(alone)
    end = rerun(alone / "out.zarr")
    assert end.returncode == 4
    assert "was done again there before" in end.stderr
    assert tree(alone) == before


def _change(file: Path, **values: Any) -> None:
    """Change what an output says of its run."""
    document = json.loads(file.read_text())
    document["attributes"]["denoise_daisy"] |= values
    file.write_text(json.dumps(document))


def _other(at: Path) -> Path:
    return write_czi(at / "other.czi", np.zeros(SHAPE, np.uint16))


def _damaged(at: Path, **values: Any) -> list[str | Path]:
    _change(at / "out.zarr" / "zarr.json", **values)
    return [at / "out.zarr"]


def _aged(at: Path) -> list[str | Path]:
    stages = _noted(at / "out.zarr")["stages"]
    stages["denoise"]["parameters"]["ndsafir"] = "1999"
    return _damaged(at, stages=stages)


def _other_code(
    at: Path, text: str | None, folder: Path | None = None
) -> list[str | Path]:
    config = _noted(at / "out.zarr")["config"]
    code = folder or at / "code"
    code.mkdir()
    if text is None:
        config["tasks"][-1]["function"] = "gone:edges"
    else:
        (code / "own.py").write_text(text)
    config["tasks"][-1]["folder"] = str(code)
    return _damaged(at, config=config)


REFUSED: dict[str, tuple[int, str, Callable[[Path], list[str | Path]]]] = {
    "another file": (
        4,
        "is not the one that was denoised: ",
        lambda at: [at / "out.zarr", "--input", _other(at)],
    ),
    "a file that is gone": (2, "", lambda at: [at / "out.zarr", "--input", at / "no"]),
    "no output": (2, "is no OME-Zarr that this program has written", lambda at: [at]),
    "labels": (
        2,
        "of labels, name the one that they lie in",
        lambda at: [at / "out.zarr" / "labels" / "cells"],
    ),
    "a place that is taken": (
        4,
        "Expected a free place",
        lambda at: [at / "out.zarr", "--output", at / "out.soft.zarr"],
    ),
    "a damaged note": (
        4,
        "says of its run can't be used (AttributeError",
        lambda at: _damaged(at, stages=None),
    ),
    "a note of odd settings": (
        4,
        "says of its run can't be used",
        lambda at: _damaged(at, config={"input": 5}),
    ),
    "a note whose stages are a list": (
        4,
        "says of its run can't be used (AttributeError",
        lambda at: _damaged(at, stages=["x"]),
    ),
    "a note without stages": (
        4,
        "says of its run can't be used",
        lambda at: _damaged(at, stages=[]),
    ),
    "versions that are none": (
        4,
        "says of its run can't be used",
        lambda at: _damaged(at, versions="1.0"),
    ),
    "a place named as a file": (
        2,
        "--output: 'x.ome.tif' is named as a file of another format",
        lambda at: [at / "out.zarr", "--output", "x.ome.tif"],
    ),
    "a place whose note is damaged": (
        4,
        "Expected a free place",
        lambda at: [*_damaged(at, ended=None), "--output", at / "out.zarr"],
    ),
    "code that came with the output": (
        4,
        "the code of the task 'edges' would come from",
        lambda at: _other_code(at, OWN, at / "out.zarr" / "code"),
    ),
    "an old output": (
        2,
        "was written by another version",
        lambda at: _damaged(at, form=0),
    ),
    "another version": (
        4,
        "ndsafir was '1999', is '",
        _aged,
    ),
    "code that has changed": (
        4,
        "edges: code own was",
        lambda at: _other_code(at, "def edges(block, context):\n    return block\n"),
    ),
    "code that is gone": (
        2,
        "The function 'gone:edges' could not be imported",
        lambda at: _other_code(at, None),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_be_done_again_is_refused_before_anything_is_written(
    what: str, alone: Path
) -> None:
    code, said, prepare = REFUSED[what]
    words = prepare(alone)
    before = tree(alone)
    end = rerun(*words)
    assert end.returncode == code, end.stderr
    assert said in end.stderr
    assert end.stderr.count("\n") == 1
    assert tree(alone) == before


def test_a_run_may_be_named_by_its_config_or_its_run_directory(
    original_run: Path,
) -> None:
    for path in (original_run / "config.json", original_run / "out.zarr.run"):
        end = rerun(path, "--output", original_run / "out.zarr")
        assert end.returncode == 4, end.stderr
        assert "Expected a free place" in end.stderr


def test_an_input_that_was_moved_with_its_output_is_found(
    original_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, now = tmp_path / "there", tmp_path / "now"
    there.mkdir()
    shutil.copytree(original_run / "out.zarr", there / "out.zarr")
    shutil.copy2(original_run / "in.czi", there / "in.czi")
    config = _noted(there / "out.zarr")["config"]
    config["input"]["path"] = str(there / "in.czi")
    config["output"]["path"] = str(there / "out.zarr")
    _change(there / "out.zarr" / "zarr.json", config=config)
    there.rename(now)
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    rerun(now / "out.zarr")
    record = json.loads((now / "out_rerun.zarr.run" / "run.json").read_text())
    assert record["config"]["input"]["path"] == str(now / "in.czi")


def test_a_run_of_a_cluster_is_done_again_on_this_machine(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _noted(alone / "out.zarr")["config"]
    slurm = {"kind": "slurm", "count": 7, "memory_gib": 1, "time": "1:00:00"}
    config["workers"] = slurm
    config["tasks"][0]["workers"] = slurm
    _change(alone / "out.zarr" / "zarr.json", config=config)
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    rerun(alone / "out.zarr", "--local")
    record = json.loads((alone / "out_rerun.zarr.run" / "run.json").read_text())
    assert record["config"]["workers"]["kind"] == "local"
    assert record["config"]["tasks"][0]["workers"] is None
