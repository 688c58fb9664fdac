"""What is exported is what was written, read back by others; or nothing is left.

Read back by tifffile, bioio, ome-types, zarr, ngff-zarr and yaozarrs.
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bioio_ome_tiff
import bioio_tifffile
import ngff_zarr
import numpy as np
import ome_types
import pytest
import tifffile
import zarr
from bioio import BioImage
from demo_czi import write_czi
from ngff_zarr.rfc9_zip import read_ozx_json_first, read_ozx_version
from zarr.storage import ZipStore

from denoise_daisy.errors import (
    BlocksFailed,
    InputError,
    RefusedError,
    RunStopped,
)
from denoise_daisy.exporting import export as exporting
from denoise_daisy.exporting import pages
from denoise_daisy.exporting.export import export
from harness import here, output_of, voxels_of, wait_until
from harness.oracles import denoised_of, filter_config, go, run_dir_of, speckles
from harness.shared import once

NAMES = ("核, Kern", "membrane µ")

SCALE_UM = (0.3, 0.145, 0.16)

SHAPE = (2, 2, 5, 530, 300)

TASKS: list[dict[str, Any]] = [
    {"kind": "smooth", "name": "soft", "sigma": {"y": 1}},
    {"kind": "threshold", "name": "bright", "value": 2500},
    {"kind": "label", "name": "cells", "input": "bright"},
]


def make(folder: Path) -> Path:
    source = write_czi(folder / "in.czi", speckles(SHAPE), scale_um=SCALE_UM)
    chunks = {"z": 4, "y": 64, "x": 128}
    config = filter_config(
        source,
        folder / "out.zarr",
        input={"channel_names": [*NAMES]},
        output={"chunks": chunks},
        blocks={"shape": {"y": 256}},
        tasks=TASKS,
    )
    go(config)
    return folder / "out.zarr"


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of two channels and time points, with levels; not to be changed."""
    return once(tmp_path_factory, "to-export", make)


@pytest.fixture
def output(tmp_path: Path, written: Path) -> Path:
    """A copy of it, and of its run directory."""
    for path in (written, run_dir_of(written), written.with_name("out.soft.zarr")):
        shutil.copytree(path, tmp_path / path.name)
    return tmp_path / written.name


@pytest.fixture(autouse=True)
def nothing_half(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.rglob("*.partial"))


def levels_of(group: Path) -> list[np.ndarray]:
    return [voxels_of(path) for path in sorted(group.glob("[0-9]*"))]


def read(file: Path) -> list[np.ndarray]:
    """Its levels, ``(t, c, z, y, x)``, as tifffile has them."""
    with tifffile.TiffFile(file) as tif:
        assert tif.is_bigtiff
        assert tif.is_ome
        [series] = tif.series
        found = []
        for level in series.levels:
            page = level.pages[0]
            assert page.is_tiled
            assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            array = level.asarray()
            missing = [i for i, axis in enumerate("TZCYX") if axis not in series.axes]
            found.append(np.expand_dims(array, missing).transpose(0, 2, 1, 3, 4))
    return found


def test_an_ome_tiff_has_the_voxels_of_all_levels(
    written: Path, tmp_path: Path
) -> None:
    """A plane of a level whose z is coarser is shown for each plane that it covers."""
    said = export(written, tmp_path / "out.ome.tif")
    assert "uint16, t 2, c 2, z 5, y 530, x 300, 3 levels" in said
    found, expected = read(tmp_path / "out.ome.tif"), levels_of(written)
    assert len(found) == len(expected) == 3
    assert expected[-1].shape[2] < SHAPE[2]
    for level, voxels in zip(found, expected, strict=True):
        factor = round(SHAPE[2] / voxels.shape[2])
        planes = [z // factor for z in range(SHAPE[2])]
        np.testing.assert_array_equal(level, voxels[:, :, planes])
        assert level.dtype == np.uint16


@pytest.mark.filterwarnings("ignore:As of version 0.4.0")  # ome-types
@pytest.mark.parametrize(
    "reader", [bioio_ome_tiff.Reader, bioio_tifffile.Reader], ids=["ome", "tifffile"]
)
def test_an_ome_tiff_is_read_by_bioio(
    reader: type, written: Path, tmp_path: Path
) -> None:
    export(written, tmp_path / "out.ome.tif")
    image = BioImage(tmp_path / "out.ome.tif", reader=reader)
    np.testing.assert_array_equal(image.get_image_data("TCZYX"), output_of(written))
    if reader is bioio_ome_tiff.Reader:
        assert tuple(image.channel_names) == NAMES
        assert image.physical_pixel_sizes == pytest.approx(SCALE_UM)


def test_its_ome_xml_is_valid_and_has_what_the_output_has(
    written: Path, tmp_path: Path
) -> None:
    export(written, tmp_path / "out.ome.tif")
    xml = tifffile.tiffcomment(tmp_path / "out.ome.tif")
    [image] = ome_types.from_xml(xml, validate=True).images
    pixels = image.pixels
    assert image.name == "out"
    sizes = (pixels.physical_size_z, pixels.physical_size_y, pixels.physical_size_x)
    assert sizes == pytest.approx(SCALE_UM)
    assert {
        pixels.physical_size_x_unit,
        pixels.physical_size_y_unit,
        pixels.physical_size_z_unit,
    } == {ome_types.model.UnitsLength.MICROMETER}
    assert (pixels.time_increment, pixels.time_increment_unit.value) == (30, "s")
    told = json.loads((written / "zarr.json").read_text())["attributes"]
    shown = told["ome"]["omero"]["channels"]
    assert [channel.name for channel in pixels.channels] == [*NAMES]
    colors = [channel.color.as_hex(format="long") for channel in pixels.channels]
    assert colors == [f"#{channel['color'].lower()}" for channel in shown]
    [note] = ome_types.from_xml(xml).structured_annotations
    assert json.loads(note.value)["denoise_daisy"] == told["denoise_daisy"]


def test_the_same_export_makes_the_same_bytes(written: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export(written, tmp_path / f"{name}.ome.tif", roi=["y=0:64"])
        export(written, tmp_path / f"{name}.ozx")
    for kind in ("ome.tif", "ozx"):
        a, b = ((tmp_path / f"{name}.{kind}").read_bytes() for name in "ab")
        assert a == b


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(
    ("image", "group", "dtype"),
    [
        ("soft", "out.soft.zarr", np.float32),
        ("cells", "out.zarr/labels/cells", np.uint32),
        ("bright", "out.zarr/labels/bright", np.uint8),
    ],
)
def test_images_and_labels_of_tasks_are_exported(
    image: str, group: str, dtype: type, alone: bool, output: Path
) -> None:
    """With the run directory or without."""
    if alone:
        shutil.rmtree(run_dir_of(output))
    file = output.with_name("part.ome.tif")
    export(output, file, image=image)
    found, expected = read(file), levels_of(output.parent / group)
    assert len(found) == len(expected) == 3
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].dtype == dtype
    ome_types.from_tiff(file)


@pytest.mark.parametrize("slab", [1, 1 << 28])
def test_a_part_is_what_was_asked_for(
    slab: int, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few planes are held at once."""
    monkeypatch.setattr(pages, "SLAB_BYTES", slab)
    monkeypatch.setattr(pages, "BOX_BYTES", slab)
    file = tmp_path / "part.ome.tif"
    roi = ["t=1,z=1:4", "y=34:501,x=6:300"]
    export(written, file, roi=roi, channels="1, 0")
    found, (full, first, *_) = read(file), levels_of(written)
    assert len(found) == 2
    part = (slice(1, 2), [1, 0], slice(1, 4))
    np.testing.assert_array_equal(found[0], full[part][..., 34:501, 6:300])
    np.testing.assert_array_equal(found[1], first[part][..., 17:251, 3:150])
    xml = ome_types.from_tiff(file)
    assert [c.name for c in xml.images[0].pixels.channels] == [*NAMES[::-1]]


def test_a_level_is_exported_as_an_image_of_its_own(
    written: Path, tmp_path: Path
) -> None:
    file = tmp_path / "coarse.ome.tif"
    export(written, file, level=2, channels=NAMES[1])
    [found] = read(file)
    np.testing.assert_array_equal(found, levels_of(written)[2][:, 1:])
    sizes = ome_types.from_tiff(file).images[0].pixels
    factors = [round(n / m) for n, m in zip(SHAPE[2:], found.shape[2:], strict=True)]
    for axis, size, factor in zip("zyx", SCALE_UM, factors, strict=True):
        told = getattr(sizes, f"physical_size_{axis}")
        assert told == pytest.approx(size * factor)


def test_an_ozx_is_the_same_zarr_in_one_file(written: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.ozx"
    export(written, file)
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        kinds = {entry.compress_type for entry in archive.infolist()}
        for name in names:
            assert archive.read(name) == (written / name).read_bytes()
    assert kinds == {zipfile.ZIP_STORED}
    assert names[0] == "zarr.json"
    documents = [name for name in names if name.endswith("zarr.json")]
    assert names[: len(documents)] == documents
    depths = [name.count("/") for name in documents]
    assert depths == sorted(depths)
    there = [p for p in written.rglob("*") if p.is_file()]
    assert sorted(names) == sorted(p.relative_to(written).as_posix() for p in there)
    assert read_ozx_version(file) == "0.5"
    assert read_ozx_json_first(file)


def test_an_ozx_is_read_by_zarr_and_by_ngff_zarr(written: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.ozx"
    export(written, file)
    with ZipStore(file, read_only=True) as store:
        group: Any = zarr.open_group(store, mode="r")
        np.testing.assert_array_equal(group["0"][...], output_of(written))
        cells = output_of(written / "labels" / "cells")
        np.testing.assert_array_equal(group["labels/cells/0"][...], cells)
    [*images] = ngff_zarr.from_ngff_zarr(file).images
    assert len(images) == 3
    np.testing.assert_array_equal(np.asarray(images[0].data), output_of(written))
    assert images[0].scale["y"] == pytest.approx(SCALE_UM[1])


def test_an_output_of_ome_zarr_0_4_is_exported_as_tiff_and_not_as_ozx(
    tmp_path: Path,
) -> None:
    """Of one channel, whose labels have no axis c on disk."""
    output = tmp_path / "out.zarr"
    image = speckles((1, 1, 3, 64, 64))
    config = filter_config(
        write_czi(tmp_path / "in.czi", image),
        output,
        output={"ome_version": "0.4"},
        tasks=[{"kind": "label", "name": "cells"}],
    )
    go(config)
    file = tmp_path / "cells.ome.tif"
    export(output, file, image="cells")
    [found] = read(file)
    assert (found > 0).all()
    with pytest.raises(InputError, match=r"is an OME-Zarr 0\.4"):
        export(output, tmp_path / "out.ozx")
    shutil.rmtree(run_dir_of(output))
    export(output, tmp_path / "out.ome.tif")
    [found] = read(tmp_path / "out.ome.tif")
    np.testing.assert_array_equal(found, denoised_of(image))


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "format": ("out.tif", {}, r"ends in \.ome\.tif"),
    "folder": ("nowhere/out.ome.tif", {}, "there is no folder"),
    "inside": ("out.zarr/out.ozx", {}, "lie in the output"),
    "is a folder": ("out.soft.zarr/../folder.ozx", {}, "a folder is there"),
    "there": ("there.ome.tif", {}, "--overwrite"),
    "image": ("a.ome.tif", {"image": "cell"}, "did you mean 'cells'"),
    "channel": ("a.ome.tif", {"channels": "GFP"}, "--channels names the channel 'GFP'"),
    "twice": ("a.ome.tif", {"channels": "1,1"}, "each once"),
    "no channel": ("a.ome.tif", {"channels": "0,7"}, "has 2 channels"),
    "range": ("a.ome.tif", {"roi": ["z=3:9"]}, r"asks for z 3:9, but .* has z 0:5"),
    "empty": ("a.ome.tif", {"roi": ["z=3:3"]}, "asks for z 3:3"),
    "no range": ("a.ome.tif", {"roi": ["c=1"]}, "is no range"),
    "level": ("a.ome.tif", {"level": 3}, "Expected 0 to 2"),
    "whole": ("a.ozx", {"roi": ["z=1"]}, "holds a whole OME-Zarr"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_is_refused(case: str, output: Path) -> None:
    name, options, message = REFUSED[case]
    there = output.with_name("there.ome.tif")
    there.write_bytes(b"mine")
    output.with_name("folder.ozx").mkdir()
    before = sorted(output.parent.rglob("*"))
    with pytest.raises(InputError, match=message):
        export(output, output.parent / name, **options)
    assert sorted(output.parent.rglob("*")) == before
    assert there.read_bytes() == b"mine"


def test_a_file_that_is_there_is_replaced_once_the_new_one_is_whole(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends an export before: Ctrl-C, or a disk that is full."""
    file = tmp_path / "out.ozx"
    file.write_bytes(b"mine")
    ends: dict[type[BaseException], BaseException] = {
        KeyboardInterrupt: KeyboardInterrupt(),
        RunStopped: OSError(errno.ENOSPC, "No space left on device"),
    }
    for kind, end in ends.items():

        def cut_short(target: Path, *_: object, end: BaseException = end) -> None:
            target.write_bytes(b"half")
            raise end

        with monkeypatch.context() as patch:
            patch.setattr(exporting, "write_zip", cut_short)
            with pytest.raises(kind):
                export(written, file, overwrite=True)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]
    export(written, file, overwrite=True)
    assert zipfile.is_zipfile(file)


@pytest.mark.parametrize("kind", ["ome.tif", "ozx"])
def test_a_disk_without_room_is_told_before_anything_is_written(
    kind: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = "denoise_daisy.exporting.target.free_disk"
    monkeypatch.setattr(where, lambda _: (70_000, None))
    with pytest.raises(RunStopped, match=r"MiB, but only 0\.0668 MiB are free"):
        export(written, tmp_path / f"out.{kind}")
    assert not list(tmp_path.iterdir())


def test_room_is_asked_for_the_channels_that_are_exported(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def check(_: Path, needed: int, __: str) -> None:
        asked.append(needed)
        raise RunStopped("enough")

    monkeypatch.setattr(exporting, "check_room", check)
    for channels in (None, "0"):
        with pytest.raises(RunStopped, match="enough"):
            export(written, tmp_path / "a.ome.tif", channels=channels)
    assert asked[1] == pytest.approx(asked[0] / 2, rel=0.01)


def test_a_disk_that_fills_up_leaves_nothing(written: Path, tmp_path: Path) -> None:
    """By the limit that the system sets on a file."""
    code = "import resource, runpy, sys\n"
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000,) * 2)\n"
    code += "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    code += "sys.argv[0] = 'x'; runpy.run_module('denoise_daisy', run_name='__main__')"
    target = tmp_path / "out.ome.tif"
    end = subprocess.run(
        [sys.executable, "-c", code, "export", str(written), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert end.returncode == 5, end.stderr
    assert "File too large" in end.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("alone", [False, True])
def test_what_is_not_done_is_named_and_what_is_done_can_be_exported(
    alone: bool, output: Path
) -> None:
    """By its block, or without the run directory by its file."""
    last = output / "0" / "c" / "1" / "0" / "0" / "2" / "0"
    assert last.is_file()
    if alone:
        shutil.rmtree(run_dir_of(output))
        expected = "1 files of"
        last.unlink()
    else:
        expected = r"1 of 6 blocks of 'denoise'(?s:.*)block \[1, 0, 2, 0\]"
        for file in (run_dir_of(output) / "ledger" / "denoise").iterdir():
            lines = file.read_text().splitlines(keepends=True)
            kept = [x for x in lines if json.loads(x)["block"] != [1, 0, 2, 0]]
            file.write_text("".join(kept))
    file = output.with_name("out.ome.tif")
    for target in (file, file.with_name("out.ozx")):
        with pytest.raises(RefusedError, match=expected):
            export(output, target)
        assert not target.exists()
    export(output, file, roi=["t=0"])
    export(output, file, roi=["y=0:512"], overwrite=True)
    np.testing.assert_array_equal(read(file)[0], voxels_of(output / "0")[..., :512, :])


@pytest.mark.parametrize("kind", ["ome.tif", "ozx"])
def test_what_was_changed_behind_the_runs_back_is_not_exported(
    kind: str, output: Path
) -> None:
    file = output / "0" / "c" / "0" / "0" / "0" / "1" / "0"
    other = output / "0" / "c" / "1" / "0" / "0" / "1" / "0"
    shutil.copyfile(other, file)
    target = output.with_name(f"out.{kind}")
    with pytest.raises(BlocksFailed, match="not what was written"):
        export(output, target)
    assert not target.exists()


def test_an_export_that_is_stopped_leaves_nothing(
    written: Path, tmp_path: Path
) -> None:
    """It is stopped once it has begun to write, which the slow reads leave time for."""
    code = (
        "import time, sys, runpy\n"
        "from denoise_daisy.exporting import picture\n"
        "read = picture.StoredLevel.read\n"
        "def slow(self, box):\n"
        "    time.sleep(0.3)\n"
        "    return read(self, box)\n"
        "picture.StoredLevel.read = slow\n"
        "sys.argv[0] = 'x'\n"
        "runpy.run_module('denoise_daisy', run_name='__main__')"
    )
    target = tmp_path / "out.ome.tif"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "export", str(written), str(target)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: list(tmp_path.glob("*.partial")), "a file that is begun")
        os.kill(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143, said
    assert not list(tmp_path.iterdir())


def test_the_verb_takes_a_config_an_output_and_a_run_directory(output: Path) -> None:
    config = output.with_name("config.json")
    paths = {"input": {"path": "in.czi"}, "output": {"path": output.name}}
    config.write_text(json.dumps(paths))
    options = ("--roi", "z=0,y=0:64", "--image", "soft")
    for i, path in enumerate((config, output, run_dir_of(output))):
        target = output.with_name(f"{i}.ome.tif")
        end = here("export", path, target, *options)
        assert end.returncode == 0, end.stderr
        assert f"{target}: float32, t 2, c 2, z 1, y 64, x 300" in end.stdout
        assert "export: 100%" in end.stderr
        expected = output_of(output.with_name("out.soft.zarr"))[:, :, :1, :64]
        np.testing.assert_array_equal(read(target)[0], expected)
    end = here("export", output.parent, output.with_name("c.ome.tif"))
    assert end.returncode == 2
    assert "is no output of this program" in end.stderr


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("a.ome.tif", "denoise-daisy export a.zarr a.ome.tif"),
        ("b/{name}.TIFF", "denoise-daisy export b/{name}.zarr b/{name}.ome.tif"),
        ("a.ozx", "denoise-daisy export a.zarr a.ozx"),
        ("a.h5", "Expected a name such as 'a.zarr'"),
        ("a.czi/", "Expected a name such as 'a.zarr'"),
    ],
)
def test_an_output_that_is_named_as_a_file_is_refused_with_what_to_do(
    path: str, advice: str, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps({"input": {"path": "in.czi"}, "output": {"path": path}})
    )
    before = sorted(tmp_path.rglob("*"))
    for verb in ("plan", "run"):
        end = here(verb, config)
        assert end.returncode == 2
        assert advice in end.stderr
    assert sorted(tmp_path.rglob("*")) == before
