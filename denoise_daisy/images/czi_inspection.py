"""What a CZI file holds: its directory, its metadata, and some of its voxels."""

from xml.etree import ElementTree

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images import czi_history, czi_metadata
from denoise_daisy.images.czi import open_scene
from denoise_daisy.images.czi_attachments import attached_step_s
from denoise_daisy.images.czi_directory import Directory, read_directory
from denoise_daisy.images.czi_entries import COMPRESSIONS, SubBlocks
from denoise_daisy.images.czi_gaps import PLANE_DIMENSIONS
from denoise_daisy.images.czi_metadata import read_metadata
from denoise_daisy.images.czi_scene import scene_of, scenes_of, spans, sub_blocks_of
from denoise_daisy.images.inspection import (
    ChannelFacts,
    FileFacts,
    SceneFacts,
    grey_levels,
    windows_of,
)

MOST_LOOKED_AT = 48
"""Scenes of which some voxels are read."""


def inspect_czi(path: str) -> FileFacts:
    """What a CZI file holds; its directory is read once, and few voxels.

    Raises
    ------
    InputError
        It is absent, no CZI, cut short or damaged.
    """
    directory = read_directory(path)
    metadata, problems = read_metadata(path)
    blocks = directory.sub_blocks
    times = spans(blocks)[1].get("T", 1)
    numbers, counts = np.unique(blocks.compressions, return_counts=True)
    scenes = scenes_of(directory)
    return FileFacts(
        path=path,
        format="CZI",
        bytes=directory.size,
        compressions={
            COMPRESSIONS.get(number, f"type {number}"): count
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
        },
        reduced_copies=int(np.count_nonzero(blocks.is_pyramid)),
        voxel_size_um={a: czi_metadata.scale_um(metadata, a.upper()) for a in "zyx"},
        time_step_s=czi_metadata.time_step_s(metadata) or attached_step_s(path, times),
        software=_software(metadata),
        acquired=metadata.findtext(".//Information/Image/AcquisitionDateAndTime"),
        processing=czi_history.steps(metadata),
        scenes=tuple(
            _scene(
                path,
                directory,
                scene,
                (metadata, problems),
                windows_of(len(scenes)) if i < MOST_LOOKED_AT else 0,
            )
            for i, scene in enumerate(scenes)
        ),
    )


def _software(metadata: ElementTree.Element) -> str | None:
    application = ".//Information/Application"
    words = (metadata.findtext(f"{application}/{part}") for part in ("Name", "Version"))
    return " ".join(word.strip() for word in words if word) or None


def _scene(
    path: str,
    directory: Directory,
    scene: int | None,
    read: tuple[ElementTree.Element, list[str]],
    windows: int,
) -> SceneFacts:
    blocks = sub_blocks_of(path, directory, scene)
    starts, sizes = spans(blocks)
    ranges = {
        d: (starts[d], starts[d] + sizes[d]) for d in sizes if d not in ("S", "M")
    }
    try:
        image = open_scene(path, scene_of(path, directory, scene), read)
        levels = grey_levels(image, windows)
    except InputError as error:
        return SceneFacts(scene, ranges, str(error))
    channels = zip(image.channels, levels, strict=True)
    return SceneFacts(
        scene=scene,
        ranges=ranges,
        problem=None,
        shape=image.shape,
        dtype=image.dtype.name,
        tiles=_tiles(blocks),
        channels=tuple(ChannelFacts(c.name, c.color, found) for c, found in channels),
        warnings=image.warnings,
    )


def _tiles(blocks: SubBlocks) -> int:
    """Tiles of a plane, at most."""
    columns = [blocks.starts[d] for d in PLANE_DIMENSIONS if d in blocks.starts]
    if not columns:
        return len(blocks)
    _, counts = np.unique(np.stack(columns, 1), axis=0, return_counts=True)
    return int(counts.max())
