"""`calibrate` on an image of the reference's size: 202 GB, made while it is read."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_tools import measure, print_table
from demo_czi import BACKGROUND, GAIN, READOUT_STD

from denoise_daisy.config import Config
from denoise_daisy.images.image import Channel
from denoise_daisy.images.input import Input
from denoise_daisy.outputs.layout import Output
from denoise_daisy.runs.calibrate import calibration_of

SHAPE = (17, 1, 1501, 2048, 1936)

MOST_SECONDS, MOST_MIB = 120, 2048
"""What it may take."""


class MadeImage:
    """Photon noise on waves, of which every plane shows another part."""

    shape, ndim, dtype = SHAPE, 5, np.dtype(np.uint16)
    channels = (Channel("GFP", "00FF00"),)
    selected = (0,)
    origin = (0, 0, 0, 0)
    scale_um: tuple[float | None, ...] = (None, None, None)
    time_step_s: float | None = None
    warnings: tuple[str, ...] = ()
    has_gaps = False

    def __init__(self) -> None:
        self.identity: dict[str, str | int] = {}
        rng = np.random.default_rng(0)
        y, x = (np.sin(np.arange(n) / 60) + 1 for n in SHAPE[-2:])
        photons = rng.poisson(2 + 20 * y[:, np.newaxis] * x)
        readout = rng.normal(BACKGROUND, READOUT_STD, photons.shape)
        self._plane = (GAIN * photons + readout).round().astype(np.uint16)

    def current_identity(self) -> dict[str, str | int]:
        """It does not change."""
        return self.identity

    def earlier_identity(self, times: int) -> None:
        """It does not grow."""

    def valid(self, key: tuple[slice, ...]) -> None:
        """All voxels are there."""

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        t, c, z, y, x = (
            range(*part.indices(n)) for part, n in zip(key, SHAPE, strict=True)
        )
        block = np.empty([len(r) for r in (t, c, z, y, x)], np.uint16)
        for i, j, k in np.ndindex(block.shape[:3]):
            rows = (np.array(y) + 31 * t[i]) % SHAPE[-2]
            columns = (np.array(x) + 17 * z[k]) % SHAPE[-1]
            block[i, j, k] = self._plane[np.ix_(rows, columns)]
        return block


def run(folder: Path) -> dict[str, Any]:
    """Calibrate it in a process of its own; print what that took."""
    log = folder / "log"
    taken = measure([sys.executable, __file__, folder / "noise.html"], log)
    print(log.read_text())
    rows = [
        ("seconds", f"{taken.wall_seconds:.1f}", str(MOST_SECONDS)),
        ("of processors", f"{taken.cpu_seconds:.1f}", ""),
        ("peak MiB", f"{taken.peak_mib:.0f}", str(MOST_MIB)),
    ]
    print_table(("survey of 202 GB", "took", "may take"), rows)
    is_good = taken.wall_seconds <= MOST_SECONDS and taken.peak_mib <= MOST_MIB
    return {
        "shape": SHAPE,
        "seconds": taken.wall_seconds,
        "peak_mib": taken.peak_mib,
        "failed": None if is_good else "It took more than it may.",
    }


def main() -> None:
    """Calibrate it in this process, page and all."""
    named = Config(input=Input(path="made.czi"), output=Output(path="made.zarr"))
    found = calibration_of(MadeImage(), named)
    Path(sys.argv[1]).write_text(found.page)
    print(found)


if __name__ == "__main__":
    main()
