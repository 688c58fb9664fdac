"""How much of the demo's noise went away: python scripts/demo_report.py FOLDER."""

import sys
from pathlib import Path

import numpy as np
import zarr

from denoise_daisy.images.czi import open_czi


def main() -> None:
    """Compare the raw and the denoised image with the truth they were made from."""
    folder = Path(sys.argv[1])
    truth = np.load(folder / "truth.npy")
    raw = open_czi(str(folder / "demo.czi"))[(slice(None),) * 5]
    output = folder / "demo_denoised.zarr"
    denoised = zarr.open_array(output / "0", mode="r")[...]
    before, after = (np.sqrt(np.mean((i - truth) ** 2)) for i in (raw, denoised))
    print(
        f"Noise (rms difference to the known truth): {before:.1f} grey levels before,"
        f" {after:.1f} after: {1 - after / before:.0%} of it is gone."
    )
    print(
        f"The result lies in {output}. Look at it with napari"
        f" (pip install 'napari[all]' napari-ome-zarr; napari {output}) or any other"
        " viewer of OME-Zarr 0.5."
    )


if __name__ == "__main__":
    main()
