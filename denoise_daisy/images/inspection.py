"""What a file holds, as plain values, whatever its format."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images.file_identity import file_at
from denoise_daisy.images.image import Image

WINDOWS = 48
"""Windows of a file that are looked at for its grey levels."""

EDGE = 512
"""Voxels of a window along y and x, at most."""


@dataclass(frozen=True)
class ChannelFacts:
    """A channel of a scene."""

    name: str
    color: str
    """RRGGBB, hexadecimal."""
    grey_levels: tuple[float, float] | None
    """Lowest and highest of the voxels looked at; None where none were."""


@dataclass(frozen=True)
class SceneFacts:
    """A scene, or the image of a file without scenes."""

    scene: int | None
    """Its number; None where the file has no scenes."""
    ranges: Mapping[str, tuple[int, int]]
    """First index and the one behind the last, by dimension, as the file counts."""
    problem: str | None
    """Why it can't be denoised; None where it can."""
    shape: tuple[int, ...] | None = None
    """Voxels along (t, c, z, y, x), as those that follow None where it can't be."""
    dtype: str | None = None
    tiles: int | None = None
    """Tiles of a plane, at most."""
    channels: tuple[ChannelFacts, ...] = ()
    warnings: tuple[str, ...] = ()
    """What its user should know before denoising it."""


@dataclass(frozen=True)
class FileFacts:
    """A file that is whole: one that is cut short can't be inspected."""

    path: str
    format: str
    bytes: int
    compressions: Mapping[str, int]
    """Number of its parts by how they are compressed."""
    reduced_copies: int
    """Parts that are reduced copies of others, for viewers."""
    voxel_size_um: Mapping[str, float | None]
    """By axis (z, y, x); None where not recorded."""
    time_step_s: float | None
    """None where not recorded."""
    software: str | None
    """What wrote it."""
    acquired: str | None
    """When, as the file says it."""
    processing: tuple[str, ...]
    """What was done to it before, the first first."""
    scenes: tuple[SceneFacts, ...]


def grey_levels(image: Image, windows: int) -> list[tuple[float, float] | None]:
    """Lowest and highest grey level of each channel, in so many windows.

    They lie in the middle of planes that are spread over T and Z. Voxels that the file
    does not hold are left out, and such as are no finite numbers.
    """
    t_size, channels, z_size, y_size, x_size = image.shape
    planes = t_size * z_size
    middle = [
        slice((n - min(n, EDGE)) // 2, (n + min(n, EDGE)) // 2)
        for n in (y_size, x_size)
    ]
    found: list[list[float]] = [[] for _ in range(channels)]
    for plane in np.unique(np.linspace(0, planes - 1, min(windows, planes)).round()):
        t, z = divmod(int(plane), z_size)
        key = (slice(t, t + 1), slice(None), slice(z, z + 1), *middle)
        voxels, valid = image[key], image.valid(key)
        for c in range(channels):
            there = voxels[:, c] if valid is None else voxels[:, c][valid[:, c]]
            numbers = there[np.isfinite(there)]
            if numbers.size:
                found[c] += [float(numbers.min()), float(numbers.max())]
    return [(min(levels), max(levels)) if levels else None for levels in found]


def windows_of(scenes: int) -> int:
    """Windows of each of so many scenes; at least one."""
    return max(1, WINDOWS // max(1, scenes))


def facts_of_scenes(
    path: str,
    name: str,
    scenes: Sequence[int | None],
    open_scene: Callable[[int | None], Image],
) -> FileFacts:
    """What a file of a format holds, as far as its scenes tell once they are opened."""
    found = [_scene(scene, open_scene, len(scenes)) for scene in scenes]
    images = [image for _, image in found if image]
    scale = images[0].scale_um if images else (None, None, None)
    return FileFacts(
        path=path,
        format=name,
        bytes=_bytes(Path(path)),
        compressions={},
        reduced_copies=0,
        voxel_size_um=dict(zip("zyx", scale, strict=True)),
        time_step_s=images[0].time_step_s if images else None,
        software=None,
        acquired=None,
        processing=(),
        scenes=tuple(scene for scene, _ in found),
    )


def _scene(
    scene: int | None, open_scene: Callable[[int | None], Image], scenes: int
) -> tuple[SceneFacts, Image | None]:
    try:
        image = open_scene(scene)
        levels = grey_levels(image, windows_of(scenes))
    except InputError as error:
        return SceneFacts(scene, {}, str(error)), None
    ranges = {a.upper(): (0, n) for a, n in zip("TCZYX", image.shape, strict=True)}
    pairs = zip(image.channels, levels, strict=True)
    facts = SceneFacts(
        scene=scene,
        ranges=ranges,
        problem=None,
        shape=image.shape,
        dtype=image.dtype.name,
        channels=tuple(ChannelFacts(c.name, c.color, found) for c, found in pairs),
        warnings=image.warnings,
    )
    return facts, image


def _bytes(path: Path) -> int:
    """Of a file, or the one that a part is named of, or of all files in a folder."""
    path = file_at(path) or path
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
