"""A finished run of an image whose truth and noise are known, and its report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from denoise_daisy.assessing.make import Made, make
from denoise_daisy.assessing.values import Report
from denoise_daisy.run_dir.run_dir import RunDir
from harness import config_for, write_config
from harness.oracles import go

GAIN, BACK = 3.0, 100.0

SHAPE = (3, 1, 4, 96, 128)

BLOCK = 32


def truth() -> np.ndarray:
    """Soft spots, ``(t, c, z, y, x)``, without noise."""
    rng = np.random.default_rng(0)
    spots = ndimage.gaussian_filter(rng.normal(size=SHAPE), (0, 0, 1, 3, 3))
    return np.asarray(400 + 120 * np.tanh(2 * spots / spots.std()), np.float32)


def noisy() -> np.ndarray:
    photons = np.random.default_rng(1).poisson((truth() - BACK) / GAIN)
    return np.rint(BACK + GAIN * photons).astype(np.uint16)


@dataclass
class Reported:
    """A finished run in a folder of its own."""

    folder: Path

    @property
    def output(self) -> Path:
        return self.folder / "out.zarr"

    @property
    def run_dir(self) -> RunDir:
        return RunDir.of_output(self.output)

    def made(self, **options: Any) -> Made:
        return make(self.run_dir, **options)

    def report(self, **options: Any) -> Report:
        return self.made(**options).report


def finished_in(folder: Path) -> Reported:
    np.save(folder / "in.npy", noisy())
    config = config_for(
        folder / "in.npy",
        folder / "out.zarr",
        input={"axes": "tczyx", "voxel_size_um": {"z": 0.3, "y": 0.1, "x": 0.1}},
        denoise={"patch": {"y": 2, "x": 2}, "max_iter": 3},
        blocks={"shape": {"t": 1, "z": 4, "y": BLOCK, "x": BLOCK}},
        output={"chunks": {"z": 4, "y": 16, "x": 16}},
        noise={"kind": "poisson-gaussian", "gains": [GAIN], "offsets": [-GAIN * BACK]},
    )
    write_config(folder / "config.json", config)
    go(config)
    return Reported(folder)
