"""CZI as a format among others."""

from denoise_daisy.images.czi import CziImage, open_czi
from denoise_daisy.images.czi_directory import read_directory
from denoise_daisy.images.czi_inspection import inspect_czi
from denoise_daisy.images.czi_scene import scenes_of
from denoise_daisy.images.format import Format, SceneName
from denoise_daisy.images.input import OneInput


def _open(source: OneInput) -> CziImage:
    return open_czi(source.path, source.scene)


def _scenes(path: str) -> tuple[SceneName, ...]:
    return tuple(map(SceneName, scenes_of(read_directory(path))))


FORMAT = Format(
    name="CZI",
    endings=(".czi",),
    image=CziImage,
    open=_open,
    scenes=_scenes,
    inspect=inspect_czi,
    takes=frozenset({"scene"}),
    magic=(b"ZISRAWFILE",),
    packages=("pylibCZIrw",),
)
