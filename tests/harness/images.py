"""Small images, and the oracle: ndsafir on the whole image at once."""

import os
from pathlib import Path
from typing import Any

import ndsafir
import numpy as np
from demo_czi import add_noise, truth, write_czi

from denoise_daisy.images.image import Channel

ROOT = Path(__file__).parent.parent.parent

REAL_DATA = Path(
    os.environ.get("DENOISE_DAISY_REAL_DATA", ROOT.parent / "shared" / "data" / "czi")
)
"""Folder of real CZI files; they are no part of this repository."""


def small_image(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """A noisy uint16 image of ``(t, c, z, y, x)``."""
    return add_noise(truth(shape, seed), seed)


def small_czi(path: Path, shape: tuple[int, ...], seed: int = 0) -> Path:
    """A CZI of `small_image`."""
    return write_czi(path, small_image(shape, seed))


def whole_image(image: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """The oracle: ndsafir on the whole image of ``(t, c, z, y, x)``, on one thread."""
    denoise, noise = config.get("denoise", {}), config["noise"]
    if denoise.get("time_as_z"):
        plain = config | {"denoise": denoise | {"time_as_z": False}}
        stack = np.ascontiguousarray(image.swapaxes(0, 2))
        return whole_image(stack, plain).swapaxes(0, 2)
    patch = denoise.get("patch", {"y": 3, "x": 3})
    parameters = {
        "axes": "TCZYX",
        "patch": [patch.get(axis, 0) for axis in "tczyx"],
        "active_dimensions": denoise.get("active_dimensions", "zyx"),
        "max_iter": denoise.get("max_iter", 3),
        "pvalue": denoise.get("pvalue", 0.1),
        "nthreads": 1,
    }
    if noise["kind"] == "gaussian":
        return ndsafir.denoise_gaussian(
            image, noise_std=noise["noise_std"], **parameters
        )
    return ndsafir.denoise_poisson_gaussian(
        image, gains=noise["gains"], offsets=noise["offsets"], **parameters
    )


class MemoryImage:
    """An image of these voxels, ``(t, c, z, y, x)``; `there` says which are in it."""

    def __init__(self, voxels: np.ndarray, there: np.ndarray | None = None) -> None:
        self.there = there
        self.voxels, self.shape, self.dtype = voxels, voxels.shape, voxels.dtype
        self.ndim = 5
        self.channels = tuple(Channel(f"c{i}", "FFFFFF") for i in range(self.shape[1]))
        self.selected = tuple(range(self.shape[1]))
        self.origin = (0, 0, 0, 0)
        self.scale_um: tuple[float | None, ...] = (None, None, None)
        self.time_step_s: float | None = None
        self.identity: dict[str, str | int] = {}
        self.warnings: tuple[str, ...] = ()

    def current_identity(self) -> dict[str, str | int]:
        return self.identity

    def earlier_identity(self, times: int) -> dict[str, str | int] | None:
        del times
        return None

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        return self.voxels[key]

    @property
    def has_gaps(self) -> bool:
        return self.there is not None and not self.there.all()

    def valid(self, key: tuple[slice, ...]) -> np.ndarray | None:
        part = None if self.there is None else self.there[key]
        return None if part is None or part.all() else part
