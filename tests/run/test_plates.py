"""The scenes of a file: each an image, all of them in one OME-Zarr.

Expected voxels come from SciPy on each scene; what is made is read by ome-zarr-py and
held to the specification by yaozarrs and ome-zarr-models.
"""

import os
import signal
from pathlib import Path
from typing import Any

import ngff_zarr
import numpy as np
import pytest
import zarr
from ome_types import from_xml
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from scipy import ndimage
from yaozarrs import validate_zarr_store

from harness import (
    cli,
    here,
    ledger_lines,
    ome_of,
    output_of,
    processes_of,
    start,
    wait_until,
)
from harness import write_config as write
from harness.ome_models import of_ome
from harness.plates import write_plate

CHUNKS = {"z": 1, "y": 40, "x": 40}

ONE_WORKER = {"kind": "local", "count": 1}

FIELDS = ("B/3/0", "B/3/1", "D/11/0")

CODE = """
import os, sys, time
from pathlib import Path

def wait(block, context):
    while "worker" in sys.argv[0] and Path(os.environ["FLAG"]).exists():
        time.sleep(0.05)
    return block
"""


def config_of(folder: Path, **sections: Any) -> Path:
    return write(
        folder / "config.json",
        {
            "input": {"path": "plate.czi", "scene": "all"},
            "output": {"path": "plate.zarr", "chunks": CHUNKS},
            "denoise": {"kind": "median", "size": {"y": 3, "x": 3}},
            "workers": {"kind": "local", "count": 2},
        }
        | sections,
    )


def check(folder: Path, places: tuple[str, ...], scenes: list[np.ndarray]) -> None:
    for place, voxels in zip(places, scenes, strict=True):
        wanted = ndimage.median_filter(voxels, (1, 1, 1, 3, 3))
        np.testing.assert_array_equal(output_of(folder / "plate.zarr" / place), wanted)


def test_a_plate_is_written_in_wells_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    scenes = write_plate(tmp_path / "plate.czi")
    task = {"kind": "function", "name": "f", "function": "code:wait"}
    config = config_of(tmp_path, tasks=[task])
    (tmp_path / "code.py").write_text(CODE)
    flag = tmp_path / "flag"
    flag.touch()
    process = start(config, env={"FLAG": str(flag)})

    def done() -> list[tuple[str, list[int]]]:
        """Fields and blocks that are denoised, as often as they were."""
        every = ((f, ledger_lines(tmp_path / "plate.zarr" / f)) for f in FIELDS)
        return [(field, line["block"]) for field, lines in every for line in lines]

    wait_until(lambda: len(done()) >= 2, "some blocks are done")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    flag.unlink()
    wait_until(
        lambda: not processes_of(tmp_path / "plate.zarr.run"), "no worker is left"
    )
    ended = cli(config, env={"FLAG": str(flag)})
    assert ended.returncode == 0, ended.stderr
    check(tmp_path, FIELDS, scenes)
    assert all(done().count(each) == 1 for each in done())

    plate = tmp_path / "plate.zarr"
    validate_zarr_store(str(plate))
    nodes = list(Reader(parse_url(str(plate)))())
    assert nodes[0].data[0].shape[-2:] == (2 * 40, 2 * 40)  # wells beside each other
    described = ome_of(plate)["plate"]
    assert described["field_count"] == 2
    assert [well["path"] for well in described["wells"]] == ["B/3", "D/11"]


def test_scenes_are_never_written_into_somebody_elses_zarr(tmp_path: Path) -> None:
    write_plate(tmp_path / "plate.czi")
    zarr.open_group(tmp_path / "plate.zarr", mode="w", attributes={"mine": 1})
    ended = here(config_of(tmp_path))
    assert ended.returncode == 4
    assert "holds no scenes that this program has written" in ended.stderr
    assert {p.name for p in (tmp_path / "plate.zarr").iterdir()} == {"zarr.json"}
    assert not (tmp_path / "plate.zarr.run").exists()


def test_a_plate_of_0_4_is_what_one_of_0_5_is(tmp_path: Path) -> None:
    scenes = write_plate(tmp_path / "plate.czi")
    output = {"path": "plate.zarr", "ome_version": "0.4", "chunks": CHUNKS}
    config = config_of(tmp_path, output=output, workers=ONE_WORKER)
    plate = tmp_path / "plate.zarr"
    ended = cli(config)
    assert ended.returncode == 0, ended.stderr
    check(tmp_path, FIELDS, scenes)
    assert not list(plate.rglob("zarr.json"))
    validate_zarr_store(str(plate))
    assert of_ome(plate, "HCS", "0.4").plate.field_count == 2
    wells = {"B/3": ["0", "1"], "D/11": ["0"]}
    for well, fields in wells.items():
        told = of_ome(plate / well, "Well", "0.4").well
        assert [image.path for image in told.images] == fields
    read = ngff_zarr.from_hcs_zarr(plate)
    for field, voxels in zip(FIELDS, scenes, strict=True):
        assert of_ome(plate / field, "Image", "0.4")
        row, column, number = field.split("/")
        image = read.get_well(row, column).get_image(int(number)).images[0]
        wanted = ndimage.median_filter(voxels, (1, 1, 1, 3, 3))
        np.testing.assert_array_equal(image.data, wanted)
    nodes = list(Reader(parse_url(str(plate)))())
    assert nodes[0].data[0].shape[-2:] == (2 * 40, 2 * 40)
    assert here("verify", plate).returncode == 0
    refused = here("view", "--neuroglancer", plate)
    assert refused.returncode == 2
    assert "stands for many images" in refused.stderr


@pytest.mark.parametrize(
    ("template", "version"),
    [("plate.zarr", "0.5"), ("plate.zarr", "0.4"), ("{name}_{scene}.zarr", "0.5")],
)
def test_scenes_without_wells_are_a_series_or_files_of_their_own(
    template: str, version: str, tmp_path: Path
) -> None:
    scenes = write_plate(tmp_path / "plate.czi", named=False)
    output = {"path": template, "ome_version": version, "chunks": CHUNKS}
    ended = cli(config_of(tmp_path, output=output, workers=ONE_WORKER))
    assert ended.returncode == 0, ended.stderr
    if template == "plate.zarr":
        check(tmp_path, ("0", "1", "2"), scenes)
        validate_zarr_store(str(tmp_path / "plate.zarr"))
        told = of_ome(tmp_path / "plate.zarr", "BioFormats2Raw", version)
        assert told.bioformats2raw_layout == 3
        assert ome_of(tmp_path / "plate.zarr" / "OME")["series"] == ["0", "1", "2"]
        xml = (tmp_path / "plate.zarr" / "OME" / "METADATA.ome.xml").read_text()
        listed = from_xml(xml).images
        assert [image.id for image in listed] == ["Image:0", "Image:1", "Image:2"]
        pixels = listed[1].pixels
        assert (pixels.size_z, pixels.size_x, pixels.type.value) == (2, 40, "uint16")
        assert pixels.physical_size_x == 1.0
        image = Reader(parse_url(str(tmp_path / "plate.zarr" / "1")))
        assert [node.data[0].shape for node in image()] == [(1, 1, 2, 40, 40)]
    else:
        places = tuple(f"../plate_{i}.zarr" for i in range(3))
        (tmp_path / "plate.zarr").mkdir()
        check(tmp_path, places, scenes)
