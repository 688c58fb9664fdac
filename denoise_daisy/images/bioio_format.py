"""What bioio reads, as the last of all formats."""

from denoise_daisy.images.bioio_image import (
    PLUGINS,
    BioioImage,
    open_bioio,
    plugin_of,
    scenes_of,
)
from denoise_daisy.images.format import Format, SceneName
from denoise_daisy.images.input import OneInput


def _open(source: OneInput) -> BioioImage:
    return open_bioio(source.path, source.scene)


def _scenes(path: str) -> tuple[SceneName, ...]:
    names = scenes_of(path)
    if len(names) == 1:
        return (SceneName(None, names[0]),)
    return tuple(SceneName(i, name) for i, name in enumerate(names))


def _owns(path: str) -> bool:
    return plugin_of(path) is not None


FORMAT = Format(
    name="bioio",
    endings=tuple(PLUGINS),
    image=BioioImage,
    open=_open,
    scenes=_scenes,
    takes=frozenset({"scene"}),
    owns=_owns,
    packages=("bioio",),
)
