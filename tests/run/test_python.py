"""What a program or a notebook calls: values, arrays and errors of real runs."""

import asyncio
import base64
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import zarr
from demo_czi import write_czi
from funlib.geometry import Roi
from jupyter_client.manager import start_new_kernel
from matplotlib.image import imread
from nbclient import NotebookClient

import denoise_daisy as dd
from denoise_daisy.errors import BlocksFailed, InputError, RunStopped
from denoise_daisy.runs import lazy_image
from harness import ROOT, config_for, output_of, small_image
from harness.chains import SHAPE, Chain, speckled
from harness.oracles import mask_of
from harness.trials import Trial

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def test_an_output_is_opened_by_name(finished_chain: Chain) -> None:
    output = dd.open(finished_chain.path)
    assert output.path == finished_chain.output
    np.testing.assert_array_equal(output.image[:], output_of(finished_chain.output))
    assert (output.image.shape, output.image.axes) == (SHAPE, "tczyx")
    assert output.image.scale == (30, 1, 0.3, 0.145, 0.145)
    assert output.image.units == ("s", "", "um", "um", "um")
    assert list(output.labels) == ["bright", "cells"]
    cells = mask_of(finished_chain.output, "cells")
    found = output.labels["cells"].data.compute()
    np.testing.assert_array_equal(found.squeeze(), cells.squeeze())
    np.testing.assert_array_equal(
        output.tasks["soft"][:], output_of(finished_chain.soft)
    )
    table = output.tables["cells"]
    assert table.equals(pd.read_csv(finished_chain.folder / "out.cells.csv"))
    assert len(table) == len(np.unique(cells[cells > 0]))
    assert output.raw is not None
    np.testing.assert_array_equal(output.raw[0, :, 3, ::2], speckled()[0, :, 3, ::2])
    assert "labels     bright, cells" in str(output)
    assert "<th" in output._repr_html_()
    for other in (finished_chain.run_dir, str(finished_chain.output)):
        assert dd.open(other).path == finished_chain.output
    assert dd.open(finished_chain.soft).image.shape == SHAPE


def test_as_arrays_of_daisy_in_voxels_and_in_nanometers(finished_chain: Chain) -> None:
    image = dd.open(finished_chain.output).image
    voxels = image[:]
    plain = image.array()
    assert tuple(plain.voxel_size) == (1, 1, 1, 1)
    assert plain.roi == Roi((0, 0, 0, 0), (1, 8, 64, 64))
    np.testing.assert_array_equal(plain[plain.roi], voxels)
    physical = image.array("physical")
    assert tuple(physical.voxel_size) == (30_000, 300, 145, 145)
    assert list(physical.units) == ["ms", "nm", "nm", "nm"]
    part = Roi((0, 600, 1450, 0), (30_000, 600, 2900, 64 * 145))
    np.testing.assert_array_equal(physical[part], voxels[:, :, 2:4, 10:30])


def test_what_a_run_has_written_is_not_computed_again_unless_damaged(
    finished: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[tuple[int, ...]] = []
    compute = lazy_image.LazyImage._computed

    def noted(self: lazy_image.LazyImage, index: tuple[int, ...]) -> np.ndarray:
        computed.append(index)
        return compute(self, index)

    monkeypatch.setattr(lazy_image.LazyImage, "_computed", noted)
    written, chunks = output_of(finished.output), {"y": 32, "x": 32}
    shown = dd.lazy(finished.path, chunks=chunks).compute()
    np.testing.assert_array_equal(shown, written)
    assert not computed
    zarr.open_array(finished.output / "0", mode="r+")[0, 0, 0, 40, 8] = 7
    shown = dd.lazy(finished.path, chunks=chunks).compute()
    np.testing.assert_array_equal(shown, written)
    assert computed == [(0, 0, 1, 0)]
    # Of other settings nothing is what this run has written.
    config = json.loads(finished.path.read_text())
    config["denoise"]["max_iter"] = 1
    other = dd.lazy(config, chunks=chunks)
    assert (other.compute() != written).any()
    assert len(computed) == 13


def test_damage_is_told_block_by_block(finished: Trial) -> None:
    found = dd.verify(finished.path)
    assert (found.blocks, found.left, found.is_whole) == (finished.size, 0, True)
    found.check()
    zarr.open_array(finished.output / "0", mode="r+")[0, 0, 0, 40, 8] = 7
    found = dd.verify(finished.output)
    assert [damage.block for damage in found.damages] == [(0, 0, 1, 0)]
    assert not found.is_whole
    with pytest.raises(BlocksFailed, match="1 of 12 blocks are not what was written"):
        found.check()
    status = dd.status(finished.run_dir)
    assert status.stages[0].done == finished.size - 1
    with pytest.raises(RunStopped, match="1 are not done yet"):
        dd.verify(finished.path).check()


def test_what_depends_on_the_blocks_is_seen_as_the_run_writes_it(
    tmp_path: Path,
) -> None:
    image = small_image((1, 1, 3, 64, 80))
    image[..., 40:] = 100
    config = config_for(
        write_czi(tmp_path / "in.czi", image),
        tmp_path / "out.zarr",
        output={"chunks": {"z": 3, "y": 32, "x": 32}},
        blocks={
            "shape": {"y": 32, "x": 32},
            "context": {"y": 2, "x": 3},
            "skip": {"below": 120},
        },
    )
    before = dd.lazy(config).compute()
    result = dd.run(config, say=lambda _: None)
    assert 0 < result.stages["denoise"].as_is < result.stages["denoise"].done
    np.testing.assert_array_equal(before, output_of(tmp_path / "out.zarr"))
    made = dd.report(config, file=tmp_path / "report.html", seconds=5)
    assert made.page == tmp_path / "report.html"
    assert "iframe" in made._repr_html_()


FAILS = """
def fail(block, context):
    if block.shape[3] == 32 and context.roi.begin[2] == 0:
        raise ValueError("of no use")
    return block
"""


def test_a_run_is_a_value_its_failure_too_and_a_loop_may_be_running(
    tmp_path: Path,
) -> None:
    """As in a notebook's kernel, whose main thread has a loop."""
    (tmp_path / "own.py").write_text(FAILS)
    np.save(tmp_path / "in.npy", small_image((1, 1, 1, 64, 32))[0, 0, 0])
    config = config_for(
        Path("in.npy"),
        Path("out.zarr"),
        input={"path": Path("in.npy"), "axes": "yx"},
        noise={"gains": np.array([3.92]), "offsets": (-367,)},
        output={"chunks": {"y": 32, "x": 32}},
        blocks={"shape": {"y": 32, "x": 32}},
        workers={"max_retries": 0},
    )
    config["tasks"] = ({"kind": "function", "name": "odd", "function": "own:fail"},)
    given = dd.Config.from_dict(config, folder=tmp_path)
    said: list[str] = []

    async def go() -> None:
        dd.run(given, say=said.append)

    with pytest.raises(BlocksFailed, match="of no use") as caught:
        asyncio.run(go())
    result = caught.value.result
    assert (result.stages["denoise"].done, result.stages["odd"].failed) == (2, 1)
    assert result.failed == 1
    assert result.noise.gains == (3.92,)
    np.testing.assert_array_equal(result.output.image[:], dd.lazy(given).compute())
    assert "1 failed" in str(result)
    assert said


def test_errors_are_those_of_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean 'path'") as caught:
        dd.plan({"input": {"path": "in.czi"}, "output": {"pth": "out.zarr"}})
    assert "given as a dict" in str(caught.value)
    with pytest.raises(InputError, match="Expected texts, numbers"):
        dd.run({"input": {"path": {1, 2}}, "output": {"path": "out.zarr"}})
    for wrong in (None, 3):
        with pytest.raises(InputError, match="Expected a Config, the path"):
            dd.lazy(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Expected a config file, an output"):
        dd.status(tmp_path)
    config = config_for(tmp_path / "in.czi", tmp_path / "out.zarr")
    for roi in ({"z": slice(None)}, {"y": [1, 2, 3]}, {"x": range(0, 9, 3)}):
        with pytest.raises(InputError, match="each with begin and end"):
            dd.preview(config, roi=roi, say=lambda _: None)


def test_a_part_is_previewed_by_any_words_for_it(tmp_path: Path) -> None:
    image = small_image((1, 1, 1, 64, 80))
    source = write_czi(tmp_path / "in.czi", image)
    config = config_for(source, tmp_path / "out.zarr")
    part: dict[str, Any] = {"t": 0, "y": slice(8, 40), "x": (16, 64)}
    found = dd.preview(
        config,
        roi=[part, "t=0,y=8:40,x=16:64"],
        sweep={"pvalue": [0.1, 0.5], "patch.y": [1]},
        say=lambda _: None,
    )
    one, other = found.regions
    np.testing.assert_array_equal(one.raw, image[:, :, :, 8:40, 16:64])
    np.testing.assert_array_equal(one.denoised, other.denoised)
    shown = dd.lazy(config)[..., 8:40, 16:64].compute()
    np.testing.assert_array_equal(one.denoised, shown)
    np.testing.assert_array_equal(one.residual, one.raw - shown.astype(np.float32))
    assert found.best is not None
    recommended = found.recommended.recorded["denoise"]
    assert recommended["pvalue"] == found.best.settings.get("pvalue", 0.1)
    assert found._repr_html_().startswith("<iframe srcdoc=")
    assert str(found).startswith("noise ")


def test_calibrated_numbers_are_put_into_a_config(tmp_path: Path) -> None:
    source = write_czi(tmp_path / "in.czi", small_image((1, 1, 4, 120, 160)))
    config = config_for(source, tmp_path / "out.zarr")
    del config["noise"]
    found = dd.calibrate(config)
    gains = found.numbers.gains or ()
    (fit,) = found.fits.values()
    assert fit is not None
    assert fit.gain_interval[0] < gains[0] < fit.gain_interval[1]
    noted = found.put_into(config)
    assert noted.recorded["noise"]["gains"] == list(gains)
    assert dd.plan(noted).denoiser.is_calibrated_now is False
    assert dd.calibrate(source).numbers == found.numbers
    assert "iframe" in found._repr_html_()


def test_the_function_is_there_whatever_of_the_package_was_imported() -> None:
    script = """
import denoise_daisy.monitoring.values, denoise_daisy.assessing.values, denoise_daisy
from denoise_daisy import report, status
assert callable(status) and denoise_daisy.status is status
assert callable(report) and denoise_daisy.report is report
from denoise_daisy.monitoring import values
assert values.RunStatus.__name__ == "RunStatus"
"""
    subprocess.run([sys.executable, "-c", script], check=True)


SLOW = """
def slow(block, context):
    import pathlib, sys, time
    if "ipykernel" not in sys.modules:  # there it is only tried
        (pathlib.Path(__file__).parent / "begun").touch()
        time.sleep(60)
    return block
"""

CELL = """
import denoise_daisy as dd
task = {"kind": "function", "name": "slow", "function": "own:slow"}
config = {
    "input": {"path": "in.npy", "axes": "yx"}, "output": {"path": "out.zarr"},
    "denoise": {"kind": "median", "size": 3}, "tasks": [task],
    "workers": {"kind": "local", "count": 1},
}
dd.run(config, grace_seconds=0)
"""


def test_interrupting_a_kernel_stops_the_run_as_ctrl_c_does(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(SLOW)
    np.save(tmp_path / "in.npy", small_image((1, 1, 1, 32, 32))[0, 0, 0])
    manager, client = start_new_kernel(cwd=str(tmp_path))
    try:
        message = client.execute(CELL)
        deadline = time.monotonic() + 120
        while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=60)
        while reply["parent_header"]["msg_id"] != message:
            reply = client.get_shell_msg(timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    content = reply["content"]
    assert content["ename"] == "Interrupted", content
    assert content["evalue"].startswith("Stopped by SIGINT. What is done is kept")
    assert dd.status(tmp_path / "out.zarr").stages[0].left == 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_newcomers_notebook_runs_and_is_kept_without_outputs(
    path: Path, tmp_path: Path
) -> None:
    notebook = nbformat.read(path, 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [c for c in cells if c.outputs or c.execution_count is not None]
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, resources=resources).execute()
    shown = [o for c in cells for o in c.outputs if "data" in o]
    (figure,) = (o["data"]["image/png"] for o in shown if "image/png" in o["data"])
    drawn = imread(io.BytesIO(base64.b64decode(figure)))
    kept = imread(ROOT / "docs" / "pictures" / f"{path.stem}.webp") / 255
    assert drawn.shape[:2] == pytest.approx(kept.shape[:2], rel=0.05)
    assert drawn[..., :3].mean() == pytest.approx(kept.mean(), abs=0.02)
    assert sum("text/html" in o["data"] for o in shown) > 6
