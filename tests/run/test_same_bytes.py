"""The same voxels from every format give the same output bytes.

Files are written by other people's libraries; all are images of one run, by a list.
"""

import hashlib
from pathlib import Path

import h5py
import numpy as np
import tifffile
from demo_czi import write_czi

from harness import cli, output_of, small_image, whole_image, write_config
from harness.zarr_files import write_04, write_05

SHAPE = (2, 2, 3, 24, 28)


def write_all(folder: Path, voxels: np.ndarray) -> list[str]:
    """The image in each format; their paths."""
    write_czi(folder / "czi.czi", voxels)
    tifffile.imwrite(
        folder / "ome.ome.tif", voxels, metadata={"axes": "TCZYX"}, compression="zlib"
    )
    ordered = voxels.transpose(0, 2, 1, 3, 4)
    tifffile.imwrite(
        folder / "imagej.tif", ordered, imagej=True, metadata={"axes": "TZCYX"}
    )
    write_04(folder / "two.ome.zarr", voxels)
    write_05(folder / "three.zarr", voxels)
    with h5py.File(folder / "hdf5.h5", "w") as file:
        file.create_dataset("a", data=voxels, chunks=True, compression="gzip")
        for axis, dimension in zip("tczyx", file["a"].dims, strict=True):
            dimension.label = axis
    (folder / "series").mkdir()
    for t, c in np.ndindex(voxels.shape[:2]):
        path = folder / "series" / f"t{t}_c{c}.tif"
        tifffile.imwrite(path, voxels[t, c], photometric="minisblack")
    names = "czi.czi ome.ome.tif imagej.tif two.ome.zarr three.zarr hdf5.h5"
    return [*names.split(), "series/t{t}_c{c}.tif"]


def files_of(array: Path) -> dict[str, str]:
    """Checksums of an array's files by their names."""
    found = (path for path in array.rglob("*") if path.is_file())
    return {
        str(path.relative_to(array)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
    }


def test_every_format_gives_the_same_bytes(tmp_path: Path) -> None:
    voxels = small_image(SHAPE)
    paths = write_all(tmp_path, voxels)
    values = {
        "input": {"path": paths},
        "output": {
            "path": "out",
            "dtype": "float32",
            "chunks": {"z": 2, "y": 12, "x": 14},
        },
        "denoise": {"patch": {"y": 1, "x": 1}, "max_iter": 2},
        "noise": {
            "kind": "poisson-gaussian",
            "gains": [3.92] * 2,
            "offsets": [-367] * 2,
        },
        "workers": {"kind": "local", "count": 2},
    }
    ended = cli(write_config(tmp_path / "config.json", values))
    assert ended.returncode == 0, ended.stderr
    outputs = sorted(
        path for path in (tmp_path / "out").iterdir() if path.suffix == ".zarr"
    )
    assert len(outputs) == len(paths)
    first = files_of(outputs[0] / "0")
    assert len(first) > 2
    for output in outputs[1:]:
        assert files_of(output / "0") == first, output
    np.testing.assert_array_equal(output_of(outputs[0]), whole_image(voxels, values))
