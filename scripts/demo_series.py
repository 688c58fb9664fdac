"""Write images of known noise as series of files, for configs/*_series.json.

python scripts/demo_series.py FOLDER       frames/ of HDF5, stacks/ of TIFF
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import tifffile
from demo_czi import add_noise, truth

SCALE_UM = (0.3, 0.145, 0.145)
"""Size of a voxel along (z, y, x)."""

DRIFT = np.array([(0, 0, 0), (1, -4, 6), (-1, 7, -4), (0, 5, 5)])
"""Voxels along (z, y, x) by which the frames lie beside the first."""


def write_frames(folder: Path, image: np.ndarray) -> None:
    """A file of HDF5 per time point, of (z, y, x); `image` is of (t, 1, z, y, x)."""
    folder.mkdir(parents=True, exist_ok=True)
    for t, frame in enumerate(image[:, 0]):
        with h5py.File(folder / f"frame_{t:05}.h5", "w") as file:
            file.create_dataset("default", data=frame, chunks=True, compression="gzip")
            file["default"].attrs["element_size_um"] = SCALE_UM


def write_stacks(folder: Path, image: np.ndarray, names: Sequence[str]) -> None:
    """A TIFF of ImageJ's per time point and channel, of (z, y, x)."""
    folder.mkdir(parents=True, exist_ok=True)
    z, y, x = SCALE_UM
    for t, c in np.ndindex(image.shape[:2]):
        tifffile.imwrite(
            folder / f"{names[c]}_t{t:03}.tif",
            image[t, c],
            imagej=True,
            resolution=(1 / x, 1 / y),
            metadata={"axes": "ZYX", "spacing": z, "unit": "um"},
        )


def drifting(shape: Sequence[int]) -> np.ndarray:
    """What lies still as a drifting stage sees it: (t, 1, z, y, x), without noise."""
    around = np.abs(DRIFT).max(axis=0)
    still = truth((1, 1, *(np.array(shape) + 2 * around)))[0, 0]
    frames = []
    for shift in DRIFT:
        begin = around + shift
        part = tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))
        frames.append(still[part])
    return np.stack(frames)[:, np.newaxis]


def main() -> None:
    """Write both."""
    folder = Path(sys.argv[1])
    write_frames(folder / "frames", add_noise(drifting((10, 272, 280))))
    image = add_noise(truth((3, 2, 10, 200, 210)))
    write_stacks(folder / "stacks", image, ("nuclei", "membrane"))
    print(f"Wrote {folder}/frames/frame_*.h5: 4 of 10 x 272 x 280 (z y x), uint16.")
    print(f"Wrote {folder}/stacks/*_t*.tif: 3 x 2 of 10 x 200 x 210 (z y x), uint16.")


if __name__ == "__main__":
    main()
