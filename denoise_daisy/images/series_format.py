"""Opening a series of files: each is held against the first."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from denoise_daisy.errors import InputError
from denoise_daisy.images.file_identity import file_at
from denoise_daisy.images.format import Format, SceneName
from denoise_daisy.images.image import Channel, Image
from denoise_daisy.images.input import OneInput
from denoise_daisy.images.inspection import FileFacts, facts_of_scenes
from denoise_daisy.images.series import (
    THREADS,
    SeriesImage,
    check_alike,
    open_member,
    series_identity,
)
from denoise_daisy.images.series_files import FoundFiles, doubtful_steps, find_files
from denoise_daisy.images.stored_array import IMAGE_AXES, plain_channels

OF_THE_SERIES = {
    "roi",
    "channels",
    "voxel_size_um",
    "time_step_s",
    "channel_names",
}
"""Keys of the input's section that say nothing of a single file."""


def open_series(source: OneInput) -> SeriesImage:
    """The image of all files that fit a path with placeholders; each is opened once.

    Raises
    ------
    InputError
        Files are missing, damaged or not alike, or hold what their names tell.
    """
    found = find_files(source.path)
    asked = source.model_dump(exclude=OF_THE_SERIES | {"path"}, exclude_defaults=True)
    paths = [str(Path(found.folder, name)) for name in found.names]
    first = open_member(paths[0], asked)
    _check_axes(source.path, found.axes, paths[0], first)

    def looked_at(path: str) -> tuple[bool, tuple[Channel, ...]]:
        file = open_member(path, asked)
        check_alike(path, file, first.shape, first.dtype.name)
        return file.has_gaps, file.channels

    with ThreadPoolExecutor(THREADS) as pool:
        looks = list(pool.map(looked_at, paths))
    counts = tuple(map(len, found.values))
    channels = _channels(found, [own for _, own in looks])
    is_along_z = "z" in found.axes
    return SeriesImage(
        path=source.path,
        folder=found.folder,
        files=found.names,
        axes=found.axes,
        counts=counts,
        asked=asked,
        file_shape=first.shape,
        pixel_type=first.dtype.name,
        origin=(
            0 if "t" in found.axes else first.origin[0],
            0 if is_along_z else first.origin[1],
            *first.origin[2:],
        ),
        gaps=any(gaps for gaps, _ in looks),
        selected=tuple(range(len(channels))),
        channels=channels,
        scale_um=first.scale_um,
        time_step_s=None if "t" in found.axes else first.time_step_s,
        identity=series_identity(found.folder, found.names, asked),
        warnings=(*first.warnings, *doubtful_steps(found)),
    )


def _check_axes(path: str, axes: str, name: str, first: Image) -> None:
    """Refuse files that hold what their names tell as well."""
    sizes = dict(zip(IMAGE_AXES, first.shape, strict=True))
    for axis in axes:
        if sizes[axis] > 1:
            raise InputError(
                f"{name!r} has {sizes[axis]} positions along {axis}, which the names of"
                f" {path!r} tell as well. Expected one in each file; take"
                f" {{{axis}}} out of the path, or correct input.axes."
            )


def _channels(
    found: FoundFiles, own: Sequence[tuple[Channel, ...]]
) -> tuple[Channel, ...]:
    """By words in the names, else as the files name them, else numbered."""
    if "c" not in found.axes:
        return own[0]
    i = found.axes.index("c")
    counts = [len(values) for values in found.values]
    step = math.prod(counts[i + 1 :])
    words = found.values[i]
    first = [own[c * step][0] for c in range(len(words))]
    if not all(word.isdecimal() for word in words):
        return plain_channels(len(words), words)
    if len({channel.name for channel in first}) == len(words):
        return tuple(first)
    return plain_channels(len(words))


def _scenes(path: str) -> tuple[SceneName, ...]:
    """Those of the first file."""
    from denoise_daisy.images.formats import scenes_of  # noqa: PLC0415 - as above

    found = find_files(path)
    return scenes_of(str(Path(found.folder, found.names[0])))


def _inspect(path: str) -> FileFacts:
    """What the files hold together."""
    from denoise_daisy.images.formats import open_image  # noqa: PLC0415 - as above

    found = find_files(path)
    files = filter(None, (file_at(Path(found.folder, name)) for name in found.names))
    facts = facts_of_scenes(
        path,
        FORMAT.name,
        [scene.number for scene in _scenes(path)],
        lambda scene: open_image(OneInput(path=path, scene=scene)),
    )
    return replace(facts, bytes=sum(file.stat().st_size for file in files))


FORMAT = Format(
    name="series of files",
    endings=(),
    image=SeriesImage,
    open=open_series,
    scenes=_scenes,
    inspect=_inspect,
    takes=frozenset({"scene", "axes"}),
    packages=(),
)
"""Series as a format among others; its paths are known by their placeholders."""
