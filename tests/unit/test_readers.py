"""Every reader is held to the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from bioio_ome_tiff.writers import OmeTiffWriter
from demo_czi import write_czi

from denoise_daisy.images import bioio_format, czi_format, formats
from harness.reader_contract import ReaderContract
from harness.zarr_files import write_04, write_05


class TestCzi(ReaderContract):
    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        return {"path": str(write_czi(folder / "a.czi", voxels))}


class TestOmeTiff(ReaderContract):
    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        path = folder / "a.ome.tif"
        tifffile.imwrite(
            path,
            voxels,
            metadata={"axes": "TCZYX"},
            tile=(16, 32),
            compression="zlib",
            predictor=True,
        )
        return {"path": str(path)}


class TestImageJ(ReaderContract):
    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        path = folder / "a.tif"
        ordered = voxels.transpose(0, 2, 1, 3, 4)
        tifffile.imwrite(path, ordered, imagej=True, metadata={"axes": "TZCYX"})
        return {"path": str(path)}


class TestBigTiff(ReaderContract):
    """A stack of pages in strips, of which no metadata say what they are."""

    shapes = ((1, 12, 1, 33, 41), (1, 1, 1, 5, 7))

    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        path = folder / "a.btf"
        with tifffile.TiffWriter(path, bigtiff=True) as writer:
            for plane in voxels.reshape(-1, *voxels.shape[3:]):
                writer.write(plane, contiguous=False, metadata=None, rowsperstrip=3)
        return {"path": str(path), "axes": "cyx" if len(voxels[0]) > 1 else "yx"}


@pytest.mark.filterwarnings("ignore:As of version 0.4.0")  # ome-types
class TestBioio(ReaderContract):
    """Its own plugin for OME-TIFF, as if this program read none."""

    dtypes = ("uint16",)
    reads = 50  # of 20 ms each

    @pytest.fixture(autouse=True)
    def _no_tiff_of_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        last = replace(bioio_format.FORMAT, endings=(".ome.tiff",))
        monkeypatch.setattr(formats, "OWN", (czi_format.FORMAT,))
        monkeypatch.setattr(formats, "LAST", (last,))

    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        path = folder / "a.ome.tiff"
        OmeTiffWriter.save(voxels, path, dim_order="TCZYX")
        return {"path": str(path)}


class TestOmeZarr04(ReaderContract):
    """Of Zarr 2, as ome-zarr-py writes it."""

    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        return {"path": str(write_04(folder / "a.ome.zarr", voxels))}


class TestOmeZarr05(ReaderContract):
    """Of Zarr 3, as ngff-zarr writes it."""

    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        return {"path": str(write_05(folder / "a.zarr", voxels))}


class TestPlainZarr(ReaderContract):
    """An array of Zarr 3 in shards, its axes in an order of its own."""

    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        stored = voxels.transpose(3, 1, 4, 0, 2)
        zarr.create_array(
            folder / "a.zarr",
            data=stored.astype(stored.dtype.newbyteorder(">")),
            chunks=(8, 1, 16, 1, 2),
            shards=(16, 2, 32, 1, 4),
            dimension_names=list("ycxtz"),
        )
        return {"path": str(folder / "a.zarr")}
