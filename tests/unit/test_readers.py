"""Every reader is held to the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from bioio_ome_tiff.writers import OmeTiffWriter
from demo_czi import write_czi

from denoise_daisy.errors import InputError
from denoise_daisy.images import bioio_format, czi_format, formats
from denoise_daisy.images.formats import open_image
from harness.czi_files import noise
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

    reads = 1_000  # of a millisecond each

    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        return {"path": str(write_04(folder / "a.ome.zarr", voxels))}


class TestOmeZarr05(ReaderContract):
    """Of Zarr 3, as ngff-zarr writes it."""

    reads = 1_000  # of a millisecond each

    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        return {"path": str(write_05(folder / "a.zarr", voxels))}


class TestPlainZarr(ReaderContract):
    """An array of Zarr 3 in shards, its axes in an order of its own."""

    reads = 1_000  # of a millisecond each

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


class TestHdf5(ReaderContract):
    """As h5py writes by default where chunks are compressed."""

    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        path = folder / "a.h5"
        chunks = tuple(min(n, 16) for n in voxels.shape)
        with h5py.File(path, "w") as file:
            data = file.create_dataset(
                "volumes/raw", data=voxels, chunks=chunks, compression="gzip"
            )
            for dim, name in zip(data.dims, "tczyx", strict=True):
                dim.label = name
        return {"path": str(path)}


class TestHdf5OfOddAxes(ReaderContract):
    """Big-endian, no chunks, vigra's axes, one dataset of several."""

    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        path = folder / "a.hdf5"
        axes = {"axes": [{"key": key, "typeFlags": 2} for key in "ztxyc"]}
        with h5py.File(path, "w", libver="latest") as file:
            file["other"] = np.zeros((3, 4))
            stored = voxels.transpose(2, 0, 4, 3, 1)
            file["raw"] = stored.astype(voxels.dtype.newbyteorder(">"))
            file["raw"].attrs["axistags"] = json.dumps(axes)
        return {"path": f"{path}/raw"}

    def test_what_is_away_is_refused(self, tmp_path: Path) -> None:
        source = self.source(tmp_path, noise(self.shapes[1]))
        (tmp_path / "a.hdf5").rename(tmp_path / "moved")
        with pytest.raises(InputError, match=r"'/.*a.hdf5' .*No such file.* Expected"):
            open_image(source)


class TestNpy(ReaderContract):
    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        np.save(folder / "a.npy", voxels)
        return {"path": str(folder / "a.npy"), "axes": "tczyx"}


class SeriesContract(ReaderContract):
    def test_what_is_away_is_refused(self, tmp_path: Path) -> None:
        source = self.source(tmp_path, noise(self.shapes[0]))
        next(path for path in tmp_path.rglob("*") if path.is_file()).unlink()
        with pytest.raises(InputError, match=r"1 of the .* are missing: .* Expected"):
            open_image(source)


class TestSeriesOfNpy(SeriesContract):
    """A file for each time point and channel, of z, y and x."""

    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        for t, c in np.ndindex(voxels.shape[:2]):
            np.save(folder / f"img_t{t + 8}_{c}.npy", voxels[t, c])
        return {"path": str(folder / "img_t{t}_{c}.npy")}


class TestSeriesOfHdf5(SeriesContract):
    """A folder for each time point, a file for each plane, of all channels."""

    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        for t, z in np.ndindex(voxels.shape[0], voxels.shape[2]):
            path = folder / f"time {t}" / f"z{z:03}.h5"
            path.parent.mkdir(exist_ok=True)
            with h5py.File(path, "w") as file:
                file["a/planes"] = voxels[t, :, z]
                file["a/planes"].attrs["axes"] = "cyx"
        return {"path": str(folder / "time {t}" / "z{z}.h5" / "a")}
