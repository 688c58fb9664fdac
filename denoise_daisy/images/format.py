"""The seam for formats: what the program asks of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from denoise_daisy.images.image import Image
from denoise_daisy.images.input import OneInput
from denoise_daisy.images.inspection import FileFacts
from denoise_daisy.images.original import Original


@dataclass(frozen=True, slots=True)
class SceneName:
    """A scene of a file, as the file names it."""

    number: int | None
    """None in a file without scenes."""
    name: str = ""
    """Empty where it has none."""
    well: tuple[str, str] | None = None
    """Row and column of a plate, such as ("D", "6")."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file, or folder, that holds images.

    A package of somebody else's adds one by an entry point of the group
    ``denoise_daisy.images`` that names such a value.
    """

    name: str
    """As people call it; stands in ``run.json``."""
    endings: tuple[str, ...]
    """Of paths, in lower case, with their full stop."""
    image: type[Image]
    """A frozen dataclass of plain values, which go into ``run.json``, with
    ``channels``, ``selected``, ``scale_um``, ``time_step_s`` and ``warnings`` among its
    fields."""
    open: Callable[[OneInput], Image]
    """All channels of the scene that a config names.  Channels are selected, and what
    the config says of sizes and names put in, by the caller.  Raises InputError."""
    scenes: Callable[[str], tuple[SceneName, ...]]
    """The scenes of a file; raises InputError."""
    positions: Callable[[str, int | None], Mapping[str, range]] = lambda *_: {}
    """What ``input.select`` can ask for of a scene, by its letters; raises InputError.
    """
    inspect: Callable[[str], FileFacts] | None = None
    """What a file holds; None: what its scenes tell, opened one by one."""
    takes: frozenset[str] = frozenset()
    """Keys of the input's section that mean something to it, of ``scene``, ``select``
    and ``axes``; others are refused."""
    magic: tuple[bytes, ...] = ()
    """What its files begin with, one of these."""
    owns: Callable[[str], bool] = lambda _: False
    """Whether a path is one of its own, where neither ending nor beginning tell."""
    packages: tuple[str, ...] = ()
    """Whose versions a run records."""
    original: Callable[[Any], Original] = lambda _: Original()
    """What its file tells of an image, to be kept beside an output; it may raise
    anything."""


def only_scene(_: str) -> tuple[SceneName, ...]:
    """Of a format whose files have no scenes."""
    return (SceneName(None),)
