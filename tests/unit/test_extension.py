"""What of a run stands when its image gets longer, stage by stage, without workers."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi
from funlib.geometry import Coordinate, Roi
from scipy import ndimage

from denoise_daisy import lazy
from denoise_daisy.errors import RefusedError
from denoise_daisy.geometry import FULL_RESOLUTION, BlockGrid, neighbourhood
from denoise_daisy.images.czi import open_czi
from denoise_daisy.images.czi_earlier import earlier_sub_blocks
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.extension import _kept_to
from harness import load, output_of
from harness.growing import (
    MOST,
    NEW,
    OLD,
    append,
    go_here,
    lengthen,
    movie,
    movie_config,
    written,
)
from harness.oracles import (
    blocks_since,
    filter_config,
    ledgers,
    speckles,
)
from harness.prepared import checked

GUID_AT = 32 + 32
"""Byte of a CZI at which its id begins."""

Times = dict[str, list[int]]

FUNCTIONS = """
import numpy as np

def plain(block, context):
    return block + np.float32(1)
"""


def short_run(folder: Path, times: int = OLD, **sections: Any) -> dict[str, Any]:
    """A config of a movie of so many time points whose run is done."""
    source = append(folder / "in.tif", movie(times))
    config = movie_config(folder / "out", source, **sections)
    go_here(config)
    return config


def of_new_run(config: dict[str, Any], folder: Path) -> dict[str, bytes]:
    """What a new run of the config writes."""
    folder.mkdir()
    output = folder / "out.zarr"
    go_here(config | {"output": config["output"] | {"path": str(output)}})
    return written(output)


def times_done(config: dict[str, Any], **options: Any) -> Times:
    """Extend a run: of each stage the first time points of the blocks that it did."""
    return extended(config, **options)[0]


def extended(config: dict[str, Any], **options: Any) -> tuple[Times, str]:
    """The same, and what is said of it."""
    output = Path(config["output"]["path"])
    before = ledgers(output)
    said = go_here(config, extend=True, **options)
    times = {
        stage: sorted({t for t, *_ in blocks})
        for stage, blocks in blocks_since(before, output).items()
    }
    return times, said


def median(t: int) -> dict[str, Any]:
    return {"kind": "median", "size": {"t": t, "y": 3}}


@pytest.mark.parametrize(
    ("sections", "step", "expected"),
    [
        ({"denoise": median(1)}, 1, [5, 6, 7]),
        ({"denoise": median(3)}, 1, [4, 5, 6, 7]),
        ({"denoise": median(1)}, 2, [4, 6]),
        ({"denoise": median(3)}, 5, [0, 5]),
        ({"denoise": median(1), "output": {"shards": {"t": 2}}}, 2, [4, 6]),
        ({"denoise": median(1), "input": {"roi": {"t": [1, None]}}}, 2, [5, 7]),
        ({"denoise": median(1), "input": {"roi": {"t": [0, 3]}}}, 1, []),
        ({"denoise": median(5), "input": {"roi": {"t": [0, 4]}}}, 1, [3]),
    ],
)
def test_what_is_done_again_begins_where_a_block_could_be_another(
    sections: dict[str, Any], step: int, expected: list[int], tmp_path: Path
) -> None:
    """`expected` are the first time points of blocks, in the image."""
    config = short_run(tmp_path, blocks={"shape": {"t": step}}, **sections)
    lengthen(config)
    blocks = times_done(config).get("denoise", [])
    begin = config["input"].get("roi", {"t": [0]})["t"][0]
    assert [begin + t * step for t in blocks] == expected
    output = Path(config["output"]["path"])
    assert written(output) == of_new_run(config, tmp_path / "new")
    assert "time point" not in go_here(config)


def test_layers_mirrored_behind_the_old_end_are_no_time_points(tmp_path: Path) -> None:
    """Behind eight is one; block 3 reaches it, and reads as far with twelve."""
    config = short_run(
        tmp_path,
        8,
        denoise={
            "kind": "ndsafir",
            "time_as_z": True,
            "patch": {"t": 0, "z": 1, "y": 1, "x": 1},
            "max_iter": 1,
            "cover": "all",
        },
        noise={"kind": "gaussian", "noise_std": 30.0},
        blocks={"shape": {"t": 1}},
    )
    lengthen(config, MOST)
    assert times_done(config)["denoise"] == list(range(3, MOST))
    output = Path(config["output"]["path"])
    assert written(output) == of_new_run(config, tmp_path / "new")


def test_tasks_that_see_more_than_their_time_point_are_done_again(
    tmp_path: Path,
) -> None:
    """Functions, thresholds found in samples of all.

    What reads a task that was deleted is not, though that one is.
    """
    (tmp_path / "code.py").write_text(FUNCTIONS)
    function: dict[str, Any] = {"kind": "function", "folder": str(tmp_path)}
    function |= {"channels": 1, "dtype": "float32"}
    config = short_run(
        tmp_path,
        denoise=median(3),
        blocks={"shape": {"t": 1}},
        tasks=[
            {"kind": "smooth", "name": "soft", "sigma": {"y": 1.0}, "keep": False},
            {"kind": "threshold", "name": "given", "input": "soft", "value": 2100.0},
            {"kind": "threshold", "name": "found", "method": "triangle"},
            function
            | {"name": "plain", "function": "code:plain"}
            | {"input": ["raw", "denoised"]},
            function
            | {"name": "seeing", "function": "code:plain"}
            | {"blocks": {"context": {"t": 1}}},
            function | {"name": "whole", "function": "code:plain", "span": "t"},
            {"kind": "smooth", "name": "own", "input": "raw", "sigma": {"x": 1.0}},
        ],
    )
    lengthen(config)
    every, new = list(range(NEW)), list(range(OLD - 1, NEW))
    times, said = extended(config)
    assert times == {
        "denoise": new,
        "given": new,
        "found.value": [0],
        "found": every,
        "plain": new,
        "seeing": every,
        "whole": [0],
        "own": new[1:],
    }
    assert "The image has 8 time points, and had 5. What is done is kept;" in said
    for task in ("found", "seeing", "whole"):
        assert f"Task {task} is done again: the image is longer." in said
    assert "Task given" not in said
    output = Path(config["output"]["path"])
    assert written(output) == of_new_run(config, tmp_path / "new")


def test_tasks_that_are_not_asked_for_are_done_later(tmp_path: Path) -> None:
    config = short_run(
        tmp_path,
        denoise=median(1),
        blocks={"shape": {"t": 1}},
        tasks=[
            {"kind": "smooth", "name": "soft", "sigma": {"y": 1.0}},
            {"kind": "label", "name": "cells", "table": "csv"},
        ],
    )
    lengthen(config)
    assert times_done(config, tasks=["denoise"]) == {"denoise": [5, 6, 7]}
    said = go_here(config)
    assert "Task cells is done again: what it reads has changed." in said
    assert "Task soft" not in said
    output = Path(config["output"]["path"])
    assert written(output) == of_new_run(config, tmp_path / "new")


def test_a_task_whose_deletion_was_cut_short_is_done_again(tmp_path: Path) -> None:
    config = short_run(
        tmp_path,
        denoise=median(1),
        blocks={"shape": {"t": 1}},
        tasks=[{"kind": "smooth", "name": "soft", "sigma": {"y": 1.0}}],
    )
    lengthen(config)
    run_dir = RunDir.of_output(Path(config["output"]["path"]))
    record = RunRecord.of(run_dir)
    soft = record.stages["soft"].model_copy(update={"parameters": {}})
    record.with_stages({"soft": soft}).write(run_dir)
    assert times_done(config)["soft"] == list(range(NEW))


def test_no_block_stands_that_would_read_more_along_another_axis() -> None:
    """As where other layers are mirrored behind the end of z."""
    shape, reach = Coordinate(1, 2, 8, 8), Coordinate(0, 1, 0, 0)

    def grid(times: int, depth: int) -> BlockGrid:
        volume = Roi((0, 0, 0, 0), (times, 4, 8, 8))
        readable = Roi((0, 0, 0, 0), (times, depth, 8, 8))
        return BlockGrid(readable, volume, shape, reach, neighbourhood(reach))

    stage: Any = SimpleNamespace(grid=grid(8, 5), transform=FULL_RESOLUTION)
    assert _kept_to(stage, grid(5, 5), 5) == 5
    assert _kept_to(stage, grid(5, 4), 5) == 0


@pytest.mark.parametrize("blocks", ["auto", {"t": 6}])
def test_chunks_stay_what_they_are_or_it_is_refused(
    blocks: Any, tmp_path: Path
) -> None:
    """Those of five time points can't be longer, though six were asked for."""
    config = short_run(
        tmp_path,
        denoise=median(3),
        output={"chunks": {"t": 6}, "shards": None},
        blocks={"shape": blocks},
    )
    lengthen(config)
    if blocks != "auto":
        words = r"output\.chunks was \[5, .* is \[6, .*The image is longer"
        with pytest.raises(RefusedError, match=words):
            checked(load(config), extend=True)
        return
    assert times_done(config)["denoise"] == [0, 1]
    output = Path(config["output"]["path"])
    expected = ndimage.median_filter(movie(NEW), (3, 3, 1))
    np.testing.assert_array_equal(output_of(output)[:, 0, 0], expected)


def test_an_image_of_a_format_that_cannot_tell_is_refused(tmp_path: Path) -> None:
    config = short_run(tmp_path, denoise=median(1))
    lengthen(config)
    run_dir = RunDir.of_output(Path(config["output"]["path"]))
    record = RunRecord.of(run_dir).model_copy(update={"earlier": None})
    record.write(run_dir)
    with pytest.raises(RefusedError, match="nothing tells whether these are the same"):
        checked(load(config), extend=True)


def grown(path: Path, before: Path, image: np.ndarray, **options: Any) -> None:
    """Make a CZI of a longer image, with the id of the one it grew from."""
    guid = before.read_bytes()[GUID_AT : GUID_AT + 16]
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    data = bytearray(write_czi(path, image, **options).read_bytes())
    data[GUID_AT : GUID_AT + 16] = guid
    path.write_bytes(data)


def test_a_czi_that_grows_is_told_from_any_other(tmp_path: Path) -> None:
    image = speckles((5, 2, 2, 20, 30))
    short = write_czi(tmp_path / "in.czi", image[:3], start=(2, 0, 1))
    told = open_czi(str(short)).earlier_identity(3)
    long = tmp_path / "long" / "in.czi"
    grown(long, short, image, start=(2, 0, 1))
    assert open_czi(str(long)).earlier_identity(3) == told
    assert open_czi(str(long)).earlier_identity(4) != told
    other = image.copy()
    other[2, 1, 1, 19, 29] += 1
    for wrong, options in (
        (other, {"start": (2, 0, 1)}),
        (image, {"start": (3, 0, 1)}),
        (image, {"start": (2, 0, 1), "compression": "zstd0:ExplicitLevel=1"}),
        (image[:, :, ::-1], {"start": (2, 0, 1)}),
    ):
        grown(long, short, wrong, **options)
        assert open_czi(str(long)).earlier_identity(3) != told
    one = tmp_path / "one" / "in.czi"
    grown(one, short, image[:1], start=(2, 0, 1))
    first = earlier_sub_blocks(str(one), None, 5)["sub_blocks_sha256"]
    assert told is not None
    assert told["sub_blocks_sha256"] != first
    again = write_czi(tmp_path / "again.czi", image, start=(2, 0, 1))
    assert open_czi(str(again)).earlier_identity(3) != told


def test_a_run_of_a_czi_goes_on_when_that_grows(tmp_path: Path) -> None:
    image = speckles((5, 1, 2, 20, 30))
    source = write_czi(tmp_path / "in.czi", image[:3])
    (tmp_path / "out").mkdir()
    config = filter_config(
        source,
        tmp_path / "out" / "out.zarr",
        denoise=median(3),
        blocks={"shape": {"t": 1}},
    )
    go_here(config)
    grown(tmp_path / "long" / "in.czi", source, image)
    shutil.copy2(tmp_path / "long" / "in.czi", source)
    assert times_done(config)["denoise"] == [2, 3, 4]
    output = Path(config["output"]["path"])
    expected = ndimage.median_filter(image, (3, 1, 1, 3, 1))
    np.testing.assert_array_equal(output_of(output), expected)


def test_what_is_lazy_of_a_longer_movie_has_the_noise_of_its_run(
    tmp_path: Path,
) -> None:
    """As `run --extend` keeps it; a calibration of all of it might find another."""
    denoise = {"patch": {"y": 1, "x": 1}, "max_iter": 1}
    config = short_run(tmp_path, denoise=denoise, noise={"kind": "gaussian"})
    lengthen(config)
    said: list[str] = []
    array = lazy(config, chunks={"t": 1}, say=said.append)
    assert array.shape[0] == NEW
    assert said == []
    expected = output_of(Path(config["output"]["path"]))[0, 0, 0]
    np.testing.assert_array_equal(array[0, 0, 0].compute(), expected)
