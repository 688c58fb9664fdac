"""OME-Zarr and plain Zarr as a format among others."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from denoise_daisy.errors import InputError
from denoise_daisy.images.format import Format, SceneName
from denoise_daisy.images.input import OneInput
from denoise_daisy.images.inspection import FileFacts, facts_of_scenes
from denoise_daisy.images.ome_ngff import channels_of
from denoise_daisy.images.stored_array import checked_dtype
from denoise_daisy.images.zarr_chunks import ChunkGrid, unpacked
from denoise_daisy.images.zarr_image import (
    ZarrImage,
    array_facts,
    array_node,
    look_at,
)
from denoise_daisy.images.zarr_levels import DEEPEST, MOST_LISTED, level_of
from denoise_daisy.images.zarr_nodes import DOCUMENTS, Node, read_node
from denoise_daisy.images.zarr_original import original_of
from denoise_daisy.images.zarr_place import Place, joined, within
from denoise_daisy.images.zarr_scenes import Scene, scenes_in
from denoise_daisy.images.zarr_server import place_of
from denoise_daisy.sections import is_url

ENDINGS = (".zarr", ".ome.zarr")


def open_zarr(source: OneInput) -> ZarrImage:
    """An image of a Zarr, of the level that the path names, else of the first.

    Raises
    ------
    InputError
        It is absent, damaged, or of a kind that can't be denoised.
    """
    place, node, scene = _image_place(source.path, source.scene)
    level = level_of(place, node)
    there = within(place, level.part)
    array, document = array_node(there)
    facts = array_facts(there.path, array.version)
    grid = facts.grid
    pixel_type = checked_dtype(there.path, facts.dtype)
    axes = level.axes(array, grid.shape, source.axes)
    sizes = level.sizes(axes)
    count = grid.shape[axes.index("c")] if "c" in axes else 1
    ome = level.group.ome if level.group else {}
    channels, is_odd = channels_of(ome, count)
    missing, identity = look_at(there, document, grid)
    return ZarrImage(
        path=source.path,
        part=joined(scene, level.part) if scene else level.part,
        axes=axes,
        stored_shape=grid.shape,
        pixel_type=pixel_type,
        selected=tuple(range(count)),
        channels=channels,
        scale_um=sizes.scale_um,
        time_step_s=sizes.time_step_s,
        identity=identity,
        warnings=(
            *_channel_warnings(count, is_odd=is_odd),
            *_gap_warnings(there.path, grid, missing),
        ),
        begin=sizes.origin,
        version=array.version,
        grid=grid,
        missing=missing,
    )


def _image_place(path: str, scene: int | None) -> tuple[Place, Node, str]:
    """Where an image's group or array lies, and from the path it is a scene of."""
    place = place_of(path)
    node = _node(place)
    scenes = None if node.array else scenes_in(place, node)
    if scenes is None:
        if scene:
            raise InputError(
                f"input.scene is {scene}, but {path!r} is a single image. Expected 0,"
                " or null."
            )
        return place, node, ""
    part = _chosen(path, scenes, scene).part
    there = within(place, part)
    return there, _node(there), part


def _chosen(path: str, scenes: list[Scene], number: int | None) -> Scene:
    if number is None and len(scenes) == 1:
        return scenes[0]
    if number is not None and number < len(scenes):
        return scenes[number]
    listed = ", ".join(f"{s.name.number} {s.part!r}" for s in scenes[:MOST_LISTED])
    more = f" and {len(scenes) - MOST_LISTED} more" if len(scenes) > MOST_LISTED else ""
    asked = "null" if number is None else str(number)
    raise InputError(
        f"input.scene is {asked}, but {path!r} has {len(scenes)} images:"
        f" {listed}{more}. Expected the number of one of them."
    )


def _node(place: Place) -> Node:
    node = read_node(place)
    if node is None:
        raise InputError(
            f"There is no Zarr at {place.path!r} that may be read: no"
            f" {', '.join(DOCUMENTS)}. Expected a Zarr's group or array; check"
            " input.path."
        )
    return node


def _channel_warnings(count: int, *, is_odd: bool) -> Iterator[str]:
    if is_odd:
        yield (
            "The OME metadata of the channels (omero) are damaged or are not of"
            f" {count} channels: names and colors may be wrong. Set"
            " input.channel_names."
        )


def _gap_warnings(path: str, grid: ChunkGrid, missing: str | None) -> Iterator[str]:
    files = "shards" if grid.is_sharded else "chunks"
    if missing is None:
        yield (
            f"The server does not list its files: {files} that are missing can't be"
            " told from such of zeros, and only a change of the metadata is noticed."
        )
    if not missing:
        return
    flags = unpacked(missing, grid.counts)
    first = tuple(map(int, next(zip(*flags.nonzero(), strict=True))))
    run = _run_beside(path)
    unfinished = f" {run!r} lies beside it: is that run complete?" if run else ""
    yield (
        f"{int(flags.sum())} of {flags.size} {files} are missing in the Zarr (the"
        f" first: {grid.key(first)}); they stay 0. Many programs leave out those that"
        f" are all 0.{unfinished}"
    )


def _run_beside(path: str) -> str:
    """The run directory of an output of this program, above an array; else empty."""
    if is_url(path):
        return ""
    above = [Path(f"{folder}.run") for folder in Path(path).parents[:DEEPEST]]
    there = [folder.name for folder in above if (folder / "run.json").is_file()]
    return there[0] if there else ""


def _scenes(path: str) -> tuple[SceneName, ...]:
    place = place_of(path)
    node = _node(place)
    scenes = None if node.array else scenes_in(place, node)
    return tuple(s.name for s in scenes) if scenes else (SceneName(None),)


def _inspect(path: str) -> FileFacts:
    images = []

    def opened(scene: int | None) -> ZarrImage:
        images.append(open_zarr(OneInput(path=path, scene=scene)))
        return images[-1]

    facts = facts_of_scenes(
        path, FORMAT.name, [scene.number for scene in _scenes(path)], opened
    )
    if not is_url(path):
        return facts
    return replace(facts, bytes=sum(int(i.identity.get("bytes", 0)) for i in images))


def _owns(path: str) -> bool:
    """Whether it is a URL, or lies at or in a folder with the metadata of a Zarr."""
    if is_url(path):
        return True
    try:
        if Path(path).is_file():
            return False
        folders = (Path(path), *Path(path).parents)
        return any(
            (folder / name).is_file() for folder in folders for name in DOCUMENTS
        )
    except (OSError, ValueError):
        return False


FORMAT = Format(
    name="OME-Zarr",
    endings=ENDINGS,
    image=ZarrImage,
    open=open_zarr,
    scenes=_scenes,
    inspect=_inspect,
    takes=frozenset({"scene", "axes"}),
    owns=_owns,
    packages=("zarr", "numcodecs"),
    original=original_of,
)
