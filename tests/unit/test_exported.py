"""What is exported to where: names in OME-XML, files on disk, places that are taken."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from ome_types import from_xml

from denoise_daisy.errors import InputError
from denoise_daisy.exporting.export import _group, _sources
from denoise_daisy.exporting.ome_tiff import Described, write_ome_tiff
from denoise_daisy.exporting.picture import picture
from denoise_daisy.exporting.target import check_target
from denoise_daisy.images.image import Channel
from denoise_daisy.outputs.ome_groups import create_group
from denoise_daisy.outputs.ome_zarr import create_array
from denoise_daisy.resolved.recorded import run_dir_of
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.output_metadata import describe
from denoise_daisy.runs.verify import Verification, _is_skipped
from harness import config_for, load, small_czi
from harness.prepared import resolved

ODD = "GF\x07P \ud800<&>"


def test_names_that_no_xml_can_hold_are_cleaned(tmp_path: Path) -> None:
    about = Described(
        name=f"an {ODD}",
        shape=(1, 1, 1, 16, 16),
        dtype="uint8",
        scale_um=(None, 0.5, 0.5),
        time_step_s=None,
        channels=(Channel(ODD, "00FF00"),),
        origin="{}",
    )
    file = tmp_path / "a.ome.tif"
    pages = [np.zeros((16, 16), np.uint8)]
    write_ome_tiff(file, about, [((16, 16), lambda: iter(pages))])
    with tifffile.TiffFile(file) as tiff:
        image = from_xml(tiff.ome_metadata or "").images[0]
    assert image.name == "an GF\ufffdP \ufffd<&>"
    assert image.pixels.channels[0].name == "GF\ufffdP \ufffd<&>"


def test_labels_with_an_axis_more_on_disk_have_their_files_there(
    tmp_path: Path,
) -> None:
    """As earlier versions wrote them."""
    source = small_czi(tmp_path / "in.czi", (1, 1, 1, 16, 16))
    config = config_for(source, tmp_path / "out.zarr")
    config["tasks"] = [{"kind": "threshold", "name": "bright", "value": 1}]
    run = resolved(load(config))
    array = next(s.array for s in run.stages if s.name == "bright")
    assert array is not None
    assert not array.layout.has_channels
    group = array.path.parent
    create_group(group, describe(run)[group], {})
    create_array(array.path, array.layout)
    box: Any = (slice(0, 1), slice(0, 1), slice(0, 16), slice(0, 16))
    [file, *_] = picture(group, run).levels[0].files(box)
    assert file.relative_to(array.path) == Path("c/0/0/0/0")
    for place in group.rglob("zarr.json"):
        place.unlink()
    ome = describe(run)[group]
    axes = ome["multiscales"][0]["axes"]
    axes.insert(1, {"name": "c", "type": "channel"})
    for dataset in ome["multiscales"][0]["datasets"]:
        for step in dataset["coordinateTransformations"]:
            step["scale"].insert(1, 1.0)
    create_group(group, ome, {})
    five = replace(array.layout, has_channels=True)
    create_array(array.path, five)
    [file, *_] = picture(group, run).levels[0].files(box)
    assert file.relative_to(array.path) == Path("c/0/0/0/0/0")


def test_the_input_is_never_replaced(tmp_path: Path) -> None:
    raw, output = tmp_path / "raw.ome.tif", tmp_path / "out.zarr"
    raw.write_bytes(b"mine")
    (tmp_path / "link.ome.tif").symlink_to(raw)
    os.link(raw, tmp_path / "hard.ome.tif")
    (tmp_path / "z_01.ome.tif").write_bytes(b"mine")
    series = str(tmp_path / "z_{z}.ome.tif")
    for name, source in (
        ("raw.ome.tif", str(raw)),
        ("link.ome.tif", str(raw)),
        ("hard.ome.tif", str(raw)),
        ("raw.ome.tif", f"{raw}/volumes/raw"),
        ("raw.ome.tif", str(tmp_path / "link.ome.tif")),
        ("z_01.ome.tif", series),
    ):
        with pytest.raises(InputError, match="it is the input of the run"):
            check_target(tmp_path / name, output, [source], overwrite=True)
    other = tmp_path / "other.ome.tif"
    other.write_bytes(b"old")
    sources = [str(raw), series, "https://example.org/other.ome.tif"]
    check_target(other, output, sources, overwrite=True)


@pytest.mark.parametrize("own", [{}, "x", {"input": []}, {"input": {"path": 5}}])
def test_a_damaged_note_names_no_input(own: Any) -> None:
    found: Any = SimpleNamespace(own=own)
    assert _sources(found, None) == []


def test_tasks_that_are_not_read_back_are_named(tmp_path: Path) -> None:
    source = small_czi(tmp_path / "in.czi", (1, 1, 1, 16, 16))
    config = config_for(source, tmp_path / "out.zarr")
    smooth = {"kind": "smooth", "name": "soft", "sigma": 1.0}
    record: RunRecord = resolved(load(config | {"tasks": [smooth]})).record(1)
    changed = resolved(load(config | {"tasks": [smooth | {"sigma": 2.0}]}))
    assert [_is_skipped(stage, record) for stage in changed.stages] == [False, True]
    said = str(Verification(tmp_path / "out.zarr", 3, (), 0, 0, ("soft",)))
    assert said.startswith("All 3 blocks are as they were written.")
    assert said.endswith("other settings of them than they were done with: soft.")


def test_the_image_of_a_task_has_the_run_directory_of_its_output(
    tmp_path: Path,
) -> None:
    source = small_czi(tmp_path / "in.czi", (1, 1, 1, 16, 16))
    run = resolved(load(config_for(source, tmp_path / "out.zarr")))
    soft, there = tmp_path / "out.soft.zarr", RunDir.of_output(tmp_path / "out.zarr")
    create_group(soft, {}, {"run": run.id, "output": "out.zarr"})
    assert run_dir_of(soft) == RunDir.of_output(soft)
    there.path.mkdir()
    run.record(1).write(there)
    assert run_dir_of(soft) == there
    create_group(soft, {}, {"run": "another", "output": "out.zarr"})
    assert run_dir_of(soft) == RunDir.of_output(soft)


def test_images_of_an_output_with_brackets_in_its_name_are_found(
    tmp_path: Path,
) -> None:
    for name in ("a[1].zarr", "a[1].soft.zarr"):
        create_group(tmp_path / name, {}, {})
    found = _group(tmp_path / "a[1].zarr", "soft", None)
    assert found == tmp_path / "a[1].soft.zarr"
