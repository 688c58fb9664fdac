"""What tasks are built of: retries, context, and where samples are taken."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from funlib.geometry import Coordinate, Roi

from denoise_daisy import Config
from denoise_daisy.algorithms.labelling import table_type
from denoise_daisy.blockwise.block_shape import Blocks
from denoise_daisy.blockwise.stage import Stage, fingerprint_of
from denoise_daisy.denoisers.gaussian import GaussianDenoiser, GaussianFilter
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import FULL_RESOLUTION, BlockGrid, neighbourhood
from denoise_daisy.outputs.layout import Output
from denoise_daisy.resolved.resolve import resolve
from denoise_daisy.tasks.cutting import Cutting
from denoise_daisy.tasks.denoise import Denoising, missing_context
from denoise_daisy.tasks.label_files import npz
from harness import config_for, small_czi, write_config
from harness.prepared import resolved


def config_with(folder: Path, *tasks: dict[str, Any], **sections: Any) -> Config:
    source = small_czi(folder / "in.czi", (3, 1, 2, 16, 16))
    config = config_for(source, folder / "out.zarr", **sections)
    config["tasks"] = list(tasks)
    return Config.load(write_config(folder / "config.json", config))


@pytest.mark.parametrize(("asked", "retries"), [(None, 5), (0, 0), (9, 9)])
def test_a_task_may_say_how_often_its_blocks_are_tried_again(
    asked: int | None, retries: int, tmp_path: Path
) -> None:
    """Never, as well; unless it says so, it is as for all others."""
    soft = {"kind": "smooth", "name": "soft", "sigma": {"x": 1}, "max_retries": asked}
    config = config_with(
        tmp_path, soft, workers={"kind": "local", "count": 1, "max_retries": 5}
    )
    [pool] = resolved(config).pools
    assert pool.retries == {"denoise": 5, "soft": retries}


@pytest.mark.parametrize(
    ("context", "missing"),
    [
        ((0, 2, 8, 8), {}),
        ((0, 1, 8, 7), {"z": (1, 5), "x": (7, 13)}),
        ((0, 5, 13, 13), {}),
    ],
)
def test_no_context_is_missing_where_the_whole_image_is_read(
    context: tuple[int, ...], missing: dict[str, tuple[int, int]]
) -> None:
    """Of 2 planes of 8 x 8 voxels, whose filter sees 5 planes and 13 voxels far."""
    image = Roi((0, 0, 0, 0), (1, 2, 8, 8))
    law = neighbourhood(Coordinate(0, 5, 13, 13))
    grid = BlockGrid(image, image, Coordinate(1, 2, 4, 4), Coordinate(context), law)
    assert missing_context(grid) == missing


def test_a_threshold_is_found_in_the_region_that_is_written(tmp_path: Path) -> None:
    bright = {"kind": "threshold", "name": "bright", "method": "otsu"}
    region = {"roi": {"t": [1, 2], "y": [4, 12], "x": [8, 16]}}
    stages = resolved(config_with(tmp_path, bright, input=region)).stages
    [finder] = [stage for stage in stages if stage.name == "bright.value"]
    seen = []

    def read(_: int, roi: Roi) -> np.ndarray:
        seen.append(roi)
        return np.arange(128, dtype=np.uint16).reshape(1, 1, 2, 8, 8)

    finder.compute(replace(finder.read_block((0, 0, 0, 0)), read=read))
    assert seen == [Roi((1, 0, 4, 8), (1, 2, 8, 8))]


def test_a_channel_is_counted_from_0(tmp_path: Path) -> None:
    bright = {"kind": "threshold", "name": "bright", "value": 9, "channel": 1}
    with pytest.raises(InputError, match=r"Expected some of \[0\], or of these names"):
        resolved(config_with(tmp_path, bright))


def test_a_byte_order_mark_is_no_part_of_a_config(tmp_path: Path) -> None:
    """Editors of Windows write one."""
    config_with(tmp_path)
    file = tmp_path / "config.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert Config.load(file).output.path == str(tmp_path / "out.zarr")


def test_a_fingerprint_does_not_depend_on_the_order_of_what_it_is_of() -> None:
    """A table that a config writes in another order is the same."""
    one = {"sigma": {"y": 1.0, "x": 2.0}, "kind": "smooth"}
    other = {"kind": "smooth", "sigma": {"x": 2.0, "y": 1.0}}
    assert fingerprint_of(one) == fingerprint_of(other)
    assert fingerprint_of(one) != fingerprint_of(one | {"kind": "median"})


@pytest.mark.parametrize(("tasks_mib", "base_mib"), [(0, 224), (24, 224), (36, 236)])
def test_a_worker_loads_once_what_denoiser_and_tasks_need(
    tasks_mib: int, base_mib: int
) -> None:
    """200 MiB without; the filter needs 24 MiB more, which tasks may need as well."""
    asked = Denoising(
        denoiser=GaussianDenoiser(GaussianFilter(kind="gaussian", sigma={"x": 1})),
        blocks=Blocks(),
        workers=1,
        threads=1,
        tasks_bytes=tasks_mib << 20,
        source={},
    )
    image: Any = SimpleNamespace(dtype=np.dtype("uint16"), shape=(1, 3, 1, 1, 1))
    work = asked.workload(image)
    assert work.base == base_mib << 20
    assert work.bytes_per_voxel == 3 * (13 + 2)


def test_a_table_counts_time_points_from_the_labels_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three the last two are denoised; the time is that of the image."""
    bright = {"kind": "threshold", "name": "bright", "value": 9}
    cells = {"kind": "label", "name": "cells", "input": "bright", "table": "csv"}
    config = config_with(tmp_path, bright, cells, input={"roi": {"t": [1, 3]}})
    [table] = [s for s in resolved(config).stages if s.name == "cells.table"]
    union = npz({"objects0": np.ones(1, table_type(1, "uint16"))})
    monkeypatch.setattr(Stage, "read_file", lambda *_: union)
    text = table.compute(table.read_block((0, 0, 0, 0)))
    assert isinstance(text, bytes)
    header, *rows = text.decode().splitlines()
    assert header.startswith("id,label,t,c,channel,time_s,")
    assert [row.split(",")[:4] for row in rows] == [
        ["1", "1", "0", "0"],
        ["2", "1", "1", "0"],
    ]
    first, second = (float(row.split(",")[5]) for row in rows)
    assert second == 2 * first > 0


@pytest.mark.parametrize(
    ("voxels", "levels"), [(256, []), (257, [129]), (512, [256]), (514, [257, 129])]
)
def test_levels_end_where_planes_are_256_voxels_wide(
    voxels: int, levels: list[int], tmp_path: Path
) -> None:
    source = small_czi(tmp_path / "in.czi", (1, 1, 1, 8, voxels))
    config = config_for(source, tmp_path / "out.zarr")
    run = resolved(Config.load(write_config(tmp_path / "config.json", config)))
    assert [stage.grid.volume.shape[3] for stage in run.tasks] == levels


def test_context_is_read_where_all_inputs_have_it() -> None:
    """The image is wider than the other input, on both sides."""
    wide, narrow = (
        SimpleNamespace(roi=Roi((0, 0, 0, begin), (1, 1, 1, n)), transform=whole)
        for whole, begin, n in ((FULL_RESOLUTION, 0, 40), (FULL_RESOLUTION, 8, 16))
    )
    region = Roi((0, 0, 0, 10), (1, 1, 1, 12))
    cutting = Cutting(Output(path="out.zarr"), region, {}, is_restored=False)
    block, reach = Coordinate(1, 1, 1, 6), Coordinate(0, 0, 0, 5)
    for sources in ([wide, narrow], [narrow, wide]):
        grid = cutting.grid(sources, FULL_RESOLUTION, block, reach)
        assert grid.readable_roi == narrow.roi
        assert grid.read_roi((0, 0, 0, 0)) == Roi((0, 0, 0, 8), (1, 1, 1, 13))


OWN = """
import pathlib

def note(params, what):
    with pathlib.Path(params["notes"]).open("a") as file:
        print(what, file=file)

def setup(params):
    note(params, "setup")
    return params

def teardown(params):
    note(params, "teardown")

def double(block, context):
    note(context.params, "block")
    return 2 * block
"""


def test_a_function_is_tried_once_and_its_teardown_follows(tmp_path: Path) -> None:
    """Nothing of it is left in the scheduler; and a second start tries nothing."""
    (tmp_path / "own.py").write_text(OWN)
    notes = tmp_path / "notes"
    twice = {
        "kind": "function",
        "name": "twice",
        **{name: f"own:{name}" for name in ("setup", "teardown")},
        "function": "own:double",
        "params": {"notes": str(notes)},
    }
    config = config_with(tmp_path, twice)
    run = resolved(config)
    assert notes.read_text().split() == ["setup", "block", "teardown"]
    assert resolve(config, run.record(1), "").stages[-1].probed == {
        "dtype": "uint16",
        "channels": 1,
    }
    assert notes.read_text().split() == ["setup", "block", "teardown"]
