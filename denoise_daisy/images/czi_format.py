"""CZI as a format among others."""

from denoise_daisy.images.czi import CziImage, open_scene
from denoise_daisy.images.czi_directory import read_directory
from denoise_daisy.images.czi_inspection import inspect_czi
from denoise_daisy.images.czi_metadata import read_metadata, scene_names
from denoise_daisy.images.czi_original import original_of
from denoise_daisy.images.czi_positions import RESOLVED_DIMENSIONS
from denoise_daisy.images.czi_scene import find_scene, scenes_of, spans, sub_blocks_of
from denoise_daisy.images.format import Format, SceneName
from denoise_daisy.images.input import OneInput


def _open(source: OneInput) -> CziImage:
    select = {str(letter): position for letter, position in source.select.items()}
    found = find_scene(source.path, source.scene, select)
    read = read_metadata(source.path)
    return open_scene(source.path, found, read, source.channels, source.channel_names)


def _scenes(path: str) -> tuple[SceneName, ...]:
    numbers = scenes_of(read_directory(path))
    metadata, _ = read_metadata(path)
    named = scene_names(metadata)
    return tuple(
        SceneName(number, *named.get(number, ("", None))) for number in numbers
    )


def _positions(path: str, scene: int | None) -> dict[str, range]:
    blocks = sub_blocks_of(path, read_directory(path), scene)
    starts, sizes = spans(blocks)
    further = sorted(sizes.keys() - RESOLVED_DIMENSIONS)
    return {d.lower(): range(starts[d], starts[d] + sizes[d]) for d in further}


FORMAT = Format(
    name="CZI",
    endings=(".czi",),
    image=CziImage,
    open=_open,
    scenes=_scenes,
    positions=_positions,
    inspect=inspect_czi,
    takes=frozenset({"scene", "select"}),
    magic=(b"ZISRAWFILE",),
    packages=("pylibCZIrw",),
    original=original_of,
)
