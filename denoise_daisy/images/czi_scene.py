"""A scene of a CZI: which sub-blocks are its own, and what they span."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images.czi_directory import Directory, read_directory
from denoise_daisy.images.czi_entries import SubBlocks
from denoise_daisy.images.czi_gaps import PLANE_DIMENSIONS, Gaps, find_gaps
from denoise_daisy.images.czi_positions import selected
from denoise_daisy.images.czi_words import MOST_LISTED, listed, size_text

MOST_EMPTY = 1000
"""A directory that spans so many times the pixels it names is damaged."""


class Scene(NamedTuple):
    """What the directory tells of a scene."""

    number: int | None
    """None in a file without scenes."""
    starts: dict[str, int]
    """First index along each dimension."""
    sizes: dict[str, int]
    pixel_types: tuple[tuple[int, ...], ...]
    """Of each channel, keys of `PIXEL_TYPES` or what the format does not know; none
    where all of it is missing."""
    identity: dict[str, str | int]
    gaps: Gaps
    """What it lacks."""
    is_composed: bool
    """Whether some of it may take pylibCZIrw: tiles lie in a plane together, or their
    pixels are compressed."""


def find_scene(
    path: str, scene: int | None, select: Mapping[str, int] = MappingProxyType({})
) -> Scene:
    """A scene of a file; None and 0 are fine where there is none or one.

    `select` has positions along dimensions beyond T, C, Z, Y and X, by small letters.

    Raises
    ------
    InputError
        The file is absent or incomplete, or has no such scene, or one that can't be
        denoised.
    """
    return scene_of(path, read_directory(path), scene, select)


def scenes_of(directory: Directory) -> list[int | None]:
    """The scenes that a file has; None is what belongs to none."""
    return _scenes(full_size(directory))


def sub_blocks_of(path: str, directory: Directory, scene: int | None) -> SubBlocks:
    """The sub-blocks of one of the file's scenes, reduced copies left out."""
    return _choose_scene(path, scene, full_size(directory))[1]


def scene_of(
    path: str,
    directory: Directory,
    scene: int | None,
    select: Mapping[str, int] = MappingProxyType({}),
) -> Scene:
    """A scene, as `find_scene` has it, of a file whose directory was read.

    Raises
    ------
    InputError
        It has no such scene, or one that can't be denoised.
    """
    scene, blocks = _choose_scene(path, scene, full_size(directory))
    # What one position spans, all do: those that it lacks are missing planes.
    starts, sizes = spans(blocks)
    blocks = selected(path, blocks, starts, sizes, select)
    _check_sizes(path, directory, blocks, sizes)
    _check_planes(path, blocks, starts, sizes)
    gaps = find_gaps(blocks, starts, sizes)
    is_composed = bool(blocks.compressions.any()) or len(blocks) > gaps.planes
    return Scene(
        number=scene,
        starts=starts,
        sizes=sizes,
        pixel_types=_pixel_types(blocks, starts, sizes),
        identity=directory.identity,
        gaps=gaps,
        is_composed=is_composed,
    )


def _check_sizes(
    path: str, directory: Directory, blocks: SubBlocks, sizes: dict[str, int]
) -> None:
    """Refuse a damaged directory."""
    pixels = blocks.sizes["X"].astype(np.int64) * blocks.sizes["Y"]
    # Floats, since of damaged sizes the sum may be beyond integers.
    stored = int(np.minimum(pixels, directory.size).sum(dtype=float))
    if math.prod(sizes.get(d, 1) for d in "TCZYX") > MOST_EMPTY * stored:
        raise InputError(
            f"The directory of {path!r} is damaged: it spans {size_text(sizes)}, and"
            f" holds {stored} pixels. Expected a complete CZI; copy it again."
        )


def _check_planes(
    path: str, blocks: SubBlocks, starts: dict[str, int], sizes: dict[str, int]
) -> None:
    """Refuse a directory whose sub-blocks are placed along unlike dimensions.

    What has no position along a dimension is at 0, where that is one of the others'.
    """
    for d in starts.keys() & set(PLANE_DIMENSIONS):
        first, end = starts[d], starts[d] + sizes[d]
        lacking = np.count_nonzero(blocks.sizes[d] == 0)
        if lacking and not first <= 0 < end:
            raise InputError(
                f"The directory of {path!r} is damaged: {lacking} of {len(blocks)}"
                f" sub-blocks have no position along {d}, and the others have some of"
                f" {first} to {end - 1}. Expected a complete CZI; copy it again."
            )


def _choose_scene(
    path: str, scene: int | None, blocks: SubBlocks
) -> tuple[int | None, SubBlocks]:
    """The scene to read and its sub-blocks; None in a file without scenes."""
    numbers, has = _scene_column(blocks)
    scenes = _scenes(blocks)
    if not scene and len(scenes) == 1:
        return scenes[0], blocks
    if scene in scenes:
        return scene, blocks.where(~has if scene is None else has & (numbers == scene))
    if None in scenes:
        raise InputError(
            f"input.scene is {scene}, but {path!r} has no scenes. Expected null or 0."
        )
    sizes = [
        f"{s} ({size_text(spans(blocks.where(numbers == s))[1])})"
        for s in scenes[:MOST_LISTED]
    ]
    raise InputError(
        f"input.scene is {'null' if scene is None else scene}, but {path!r} has the"
        f" scenes {listed(sizes, len(scenes))}. Expected one of these numbers"
        " (of `init`: --scene)."
    )


def full_size(directory: Directory) -> SubBlocks:
    """The sub-blocks of a file, reduced copies left out."""
    return directory.sub_blocks.where(~directory.sub_blocks.is_pyramid)


def _scenes(blocks: SubBlocks) -> list[int | None]:
    numbers, has = _scene_column(blocks)
    scenes: list[int | None] = [*map(int, np.unique(numbers[has]))]
    return scenes if has.all() else [*scenes, None]


def _scene_column(blocks: SubBlocks) -> tuple[np.ndarray, np.ndarray]:
    """The scene of each sub-block, and whether it has one."""
    nothing = np.zeros(len(blocks), np.int32)
    return blocks.starts.get("S", nothing), blocks.sizes.get("S", nothing) > 0


def spans(blocks: SubBlocks) -> tuple[dict[str, int], dict[str, int]]:
    """First index and number of indices per dimension."""
    starts: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for d, column in blocks.sizes.items():
        has = column > 0
        if has.any():
            first = blocks.starts[d][has].astype(np.int64)
            starts[d] = int(first.min())
            sizes[d] = int((first + column[has]).max()) - starts[d]
    return starts, sizes


def _pixel_types(
    blocks: SubBlocks, starts: Mapping[str, int], sizes: Mapping[str, int]
) -> tuple[tuple[int, ...], ...]:
    """Those of each channel."""
    channels = sizes.get("C", 1)
    found = np.unique(blocks.pixel_types).tolist()
    if len(found) == 1:
        return ((found[0],),) * channels
    numbers = blocks.starts.get("C", np.zeros(len(blocks), np.int32))
    pairs = [
        (pixel_type, channel - starts.get("C", 0))
        for pixel_type in found
        for channel in np.unique(numbers[blocks.pixel_types == pixel_type]).tolist()
    ]
    return tuple(tuple(p for p, c in pairs if c == i) for i in range(channels))
