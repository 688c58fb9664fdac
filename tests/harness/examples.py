"""The functions of configs/examples.py, called as a task calls them."""

import importlib.util
import itertools
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from funlib.geometry import Roi
from scipy import ndimage

from harness import ROOT

Shape = tuple[int, ...]


def load_examples() -> ModuleType:
    path = ROOT / "configs" / "examples.py"
    spec = importlib.util.spec_from_file_location("examples", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


examples = load_examples()


def context_for(image: np.ndarray, read: Roi, write: Roi, **known: Any) -> Any:
    shape = (image.shape[0], *image.shape[2:])
    return SimpleNamespace(
        **{
            "roi": read,
            "write_roi": write,
            "image_roi": Roi((0, 0, 0, 0), shape),
            "axes": "tczyx",
            "voxel_size_um": (None, None, None),
            "time_step_s": None,
            "factor": (1, 1, 1, 1),
            "params": {},
            "state": None,
            "inputs": {},
        }
        | known
    )


def on_the_whole(
    function: Callable[..., np.ndarray], image: np.ndarray, **known: Any
) -> np.ndarray:
    every = Roi((0, 0, 0, 0), (image.shape[0], *image.shape[2:]))
    return function(image, context_for(image, every, every, **known))


def blocks_of(every: Roi, shape: Shape) -> Iterator[Roi]:
    starts = (range(0, n, step) for n, step in zip(every.shape, shape, strict=True))
    for begin in itertools.product(*starts):
        yield Roi(begin, shape).intersect(every)


def blockwise(
    function: Callable[..., np.ndarray],
    image: np.ndarray,
    shape: Shape,
    around: Shape,
    **known: Any,
) -> np.ndarray:
    """All blocks of `shape` put together, each read with `around` voxels of context."""
    every = Roi((0, 0, 0, 0), (image.shape[0], *image.shape[2:]))
    result = None
    for write in blocks_of(every, shape):
        read = write.grow(around, around).intersect(every)
        t, z, y, x = read.to_slices()
        block = image[t, :, z, y, x]
        done = function(block, context_for(image, read, write, **known))
        assert (done.shape[0], *done.shape[2:]) == tuple(read.shape)
        if result is None:
            size = (image.shape[0], done.shape[1], *image.shape[2:])
            result = np.full(size, 99, done.dtype)
        t, z, y, x = (write - read.begin).to_slices()
        inner = done[t, :, z, y, x]
        t, z, y, x = write.to_slices()
        result[t, :, z, y, x] = inner
    assert result is not None
    return result


def blobs(shape: Shape, shifts: np.ndarray, seed: int = 0) -> np.ndarray:
    """Blobs all over and beyond `shape`, (z, y, x), that must be moved by `shifts`."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*map(np.arange, shape), indexing="ij")
    image = np.full((len(shifts), 1, *shape), 100.0)
    for _ in range(60):
        centre = rng.uniform(-0.1, 1.1, 3) * shape
        height, width = rng.uniform(100, 900), rng.uniform(2, 5)
        for t, shift in enumerate(shifts):
            moved = zip(grids, centre - shift, strict=True)
            distance = sum((grid - c) ** 2 for grid, c in moved)
            image[t, 0] += height * np.exp(-distance / (2 * width**2))
    return image.astype(np.float32)


def shifted(image: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """The oracle of `apply_shifts`: scipy on every whole volume."""
    moved = np.empty(image.shape)
    for t, c in np.ndindex(image.shape[:2]):
        moved[t, c] = ndimage.shift(image[t, c].astype(float), shifts[t], order=1)
    return moved


def balls(shape: Shape, centres: Any, radii: Any, scale: Any = (1, 1, 1)) -> np.ndarray:
    """Grey level 500 in balls, 100 elsewhere, of (1, 1, z, y, x)."""
    grids = np.meshgrid(*map(np.arange, shape), indexing="ij")
    image = np.full((1, 1, *shape), 100, np.float32)
    for centre, radius in zip(centres, radii, strict=True):
        parts = zip(grids, centre, scale, strict=True)
        distance = sum(((grid - c) * s) ** 2 for grid, c, s in parts)
        image[0, 0, distance <= radius**2] = 500
    return image


def many_balls(count: int) -> np.ndarray:
    """Balls of radius 4 to 7 all over; with 140 of them, most touch several others."""
    rng = np.random.default_rng(5)
    centres = rng.uniform(0, 1, (count, 3)) * (30, 90, 100)
    return balls((30, 90, 100), centres, rng.uniform(4, 7, count))


CONFIGS = ROOT / "configs"
