"""Every reader is held to the same."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from demo_czi import write_czi

from harness.reader_contract import ReaderContract


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
