"""A run whose image has got longer along t: the same bits as of a new run, sooner."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denoise_daisy.errors import RefusedError
from denoise_daisy.outputs import ome_zarr
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import find
from denoise_daisy.runs import clearing
from denoise_daisy.runs.verify import verify
from harness import here, load, write_config
from harness.growing import (
    NEW,
    OLD,
    append,
    go_here,
    lengthen,
    movie,
    movie_config,
    written,
)
from harness.oracles import blocks_since, go, ledgers
from harness.prepared import checked, copied
from harness.shared import once

TASKS = [
    {"kind": "smooth", "name": "soft", "sigma": {"y": 1.0, "x": 1.0}},
    {"kind": "smooth", "name": "slow", "sigma": {"t": 0.3, "y": 0.5}},
    {"kind": "threshold", "name": "bright", "input": "soft", "value": 2100.0},
    {"kind": "label", "name": "cells", "input": "bright", "table": "csv"},
    {"kind": "pyramid", "name": "levels", "input": "bright", "levels": 1},
]


def config_of(folder: Path, times: int) -> dict[str, Any]:
    """Its denoising searches along t, and reaches two time points far."""
    return movie_config(
        folder / "out",
        append(folder / "in.tif", movie(times)),
        denoise={
            "kind": "ndsafir",
            "active_dimensions": "tzyx",
            "patch": {"t": 0, "z": 0, "y": 1, "x": 1},
            "max_iter": 4,
        },
        noise={"kind": "poisson-gaussian", "gains": [4.0], "offsets": [-400.0]},
        blocks={"shape": {"t": 1}},
        workers={"kind": "local", "count": 1},
        tasks=TASKS,
    )


def do_short(folder: Path) -> dict[str, Any]:
    config = config_of(folder, OLD)
    go_here(config)
    return config


def do_long(folder: Path) -> dict[str, Any]:
    config = config_of(folder, NEW)
    go_here(config)
    return config


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The config of a run of the shorter image that is done."""
    return once(tmp_path_factory, "short", do_short)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run of the longer image writes."""
    config = once(tmp_path_factory, "long", do_long)
    return written(Path(config["output"]["path"]))


@pytest.fixture
def config(done: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A copy of that run, and of its image."""
    source = Path(done["input"]["path"])
    shutil.copy2(source, tmp_path / "in.tif")
    copy = copied(done, tmp_path / "out")
    return copy | {"input": copy["input"] | {"path": str(tmp_path / "in.tif")}}


class Killed(Exception):
    """As if the process had ended there."""


def killing(patch: pytest.MonkeyPatch, where: Any, name: str, nth: int) -> None:
    """Let the nth call of something be the last."""
    real: Callable[..., Any] = getattr(where, name)
    calls = []

    def call(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == nth:
            raise Killed(name)
        return real(*args, **options)

    patch.setattr(where, name, call)


STEPS = [
    (clearing, "mark", 2),
    (clearing, "forget", 1),
    (RunRecord, "write", 2),
]
"""What a start does before the record is that of the longer image."""


def test_a_longer_image_gives_the_bits_of_a_new_run_whatever_kills_its_start(
    config: dict[str, Any],
    fresh: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = Path(config["output"]["path"])
    before = ledgers(output)
    lengthen(config)
    for where, name, nth in STEPS:
        with monkeypatch.context() as patch:
            killing(patch, where, name, nth)
            with pytest.raises(Killed, match=name):
                go(config, extend=True)
        with pytest.raises(RefusedError, match="3 time points more"):
            checked(load(config))
    with monkeypatch.context() as patch:
        killing(patch, ome_zarr, "_lengthen", 3)
        with pytest.raises(Killed):
            go(config, extend=True)
    # From here on it is a run like others.
    go(config)

    assert len(fresh) > 6 * NEW
    assert written(output) == fresh
    assert {
        stage: sorted({t for t, *_ in blocks})
        for stage, blocks in blocks_since(before, output).items()
    } == {
        "denoise": [3, 4, 5, 6, 7],
        "soft": [3, 4, 5, 6, 7],
        "slow": [2, 3, 4, 5, 6, 7],
        "bright": [3, 4, 5, 6, 7],
        "cells.pieces": [3, 4, 5, 6, 7],
        "cells.union": [3, 4, 5, 6, 7],
        "cells": [3, 4, 5, 6, 7],
        "cells.table": [0],
        "levels.1": [3, 4, 5, 6, 7],
    }
    assert "blocks are as they were written" in verify(find(output))


def test_without_being_asked_it_is_refused_and_nothing_is_touched(
    config: dict[str, Any], tmp_path: Path
) -> None:
    lengthen(config)
    output = Path(config["output"]["path"])
    before = written(output), ledgers(output)
    file = write_config(tmp_path / "config.json", config)
    refused = here("run", file)
    assert refused.returncode == 4
    assert "has 3 time points more" in refused.stderr
    assert "--extend" in refused.stderr
    assert here("plan", file).returncode == 4
    planned = here("plan", file, "--extend", "--json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["blocks"]["done"] == 3
    assert before == (written(output), ledgers(output))


def rewritten(config: dict[str, Any], planes: np.ndarray) -> None:
    path = Path(config["input"]["path"])
    path.unlink()
    append(path, planes)


def other_voxel(config: dict[str, Any]) -> None:
    planes = movie(NEW).copy()
    planes[OLD - 1, -1, -1] += 1
    rewritten(config, planes)


def shrunk(config: dict[str, Any]) -> None:
    rewritten(config, movie(OLD - 1))


def as_long(config: dict[str, Any]) -> None:
    rewritten(config, movie(NEW)[1 : OLD + 1])


def narrower(config: dict[str, Any]) -> None:
    rewritten(config, movie(NEW)[:, :, 1:])


def other_scale(config: dict[str, Any]) -> None:
    lengthen(config)
    config["input"]["voxel_size_um"] = {"y": 0.5}


def other_settings(config: dict[str, Any]) -> None:
    lengthen(config)
    config["denoise"] = config["denoise"] | {"max_iter": 5}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_voxel, "3 time points more than the 5 that it had, and these are not"),
        (shrunk, "input size was"),
        (as_long, "input sha256 was"),
        (narrower, "input size was"),
        (other_scale, "input size was"),
        (other_settings, r"another input: denoise\.max_iter was 4, is 5\. Restore"),
    ],
)
def test_any_other_change_of_the_image_is_refused(
    change: Callable[[dict[str, Any]], None],
    said: str,
    config: dict[str, Any],
) -> None:
    change(config)
    with pytest.raises(RefusedError, match=said):
        checked(load(config), extend=True)


def test_an_extension_of_an_image_that_is_as_it_was_is_nothing(
    config: dict[str, Any],
) -> None:
    assert checked(load(config), extend=True).longer is None


def test_it_goes_on_again_and_again_with_other_blocks(
    config: dict[str, Any], fresh: dict[str, bytes]
) -> None:
    """Blocks of an earlier shape may reach behind the end that the image had."""
    config["blocks"] = {"shape": {"t": 3}}
    for times in (OLD + 1, OLD + 2, NEW):
        lengthen(config, times)
        said = go_here(config, extend=True)
        assert f"has {times} time points, and had {times - 1}." in said
        config["blocks"] = {"shape": {"t": 2 if times == OLD + 1 else 1}}
    output = Path(config["output"]["path"])
    assert written(output) == fresh
    assert "blocks are as they were written" in verify(find(output))


def test_the_shorter_image_can_be_gone_on_with_after_an_extension_was_killed(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, source = Path(config["output"]["path"]), Path(config["input"]["path"])
    before = written(output)
    shutil.copy2(source, source.with_name("shorter.tif"))
    lengthen(config)
    with monkeypatch.context() as patch:
        killing(patch, RunRecord, "write", 2)
        with pytest.raises(Killed):
            go(config, extend=True)
    source.with_name("shorter.tif").rename(source)
    go_here(config)
    assert written(output) == before
