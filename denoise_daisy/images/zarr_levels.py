"""Which array of a Zarr an image is, and where its metadata stand."""

from dataclasses import dataclass

from denoise_daisy.errors import InputError
from denoise_daisy.images.ome_ngff import (
    Dataset,
    Multiscale,
    Sizes,
    axes_of,
    letters,
    multiscale_of,
    sizes_of,
)
from denoise_daisy.images.stored_array import checked_axes, guessed_axes
from denoise_daisy.images.zarr_nodes import Node, read_node, read_nodes
from denoise_daisy.images.zarr_place import Place

MOST_LISTED = 20
"""Arrays in a message."""

DEEPEST = 3
"""Groups above an array in which its image's metadata are looked for."""

MOST_CHILDREN = 1000
"""Of a group, among which an array is looked for."""


@dataclass(frozen=True)
class Level:
    """An array, and what OME's metadata tell of it."""

    part: str
    """Its path from the place that was asked for; empty where that is itself."""
    group: Node | None = None
    """That of the metadata; this and what follows None where there are none."""
    multiscale: Multiscale | None = None
    dataset: Dataset | None = None

    def axes(self, node: Node, shape: tuple[int, ...], asked: str | None) -> str:
        """The axes of the array, of that shape: as asked, as told, or guessed.

        Raises
        ------
        InputError
            They are not those of an image, or can't be known.
        """
        if asked is None and self.group and self.multiscale:
            asked = axes_of(self.group.path, self.multiscale, len(shape))
        if asked is None and (names := _names(node)):
            asked = letters(node.path, names)
        if asked is None:
            return guessed_axes(node.path, shape, None)
        return checked_axes(node.path, asked, shape)

    def sizes(self, axes: str) -> Sizes:
        """The sizes of the array's voxels; raises InputError if damaged."""
        if self.group is None or self.multiscale is None or self.dataset is None:
            return Sizes()
        return sizes_of(self.group.path, self.multiscale, self.dataset, axes)


def _names(node: Node) -> list[str]:
    """Names of dimensions; none where one of them has none, or xarray's stand-in."""
    known = [n for n in node.names if n and not n.startswith("dim_")]
    return known if len(known) == len(node.names) else []


def level_of(place: Place, node: Node) -> Level:
    """The array that a place stands for: itself, or the largest of its image.

    Raises
    ------
    InputError
        There is none, or there are several, or metadata are damaged.
    """
    if node.array is not None:
        return _below(place)
    multiscale = multiscale_of(node.path, node.ome)
    if multiscale:
        first = multiscale.datasets[0]
        return Level(first.path.strip("/"), node, multiscale, first)
    names = place.children()
    found = read_nodes(place, (names or [])[:MOST_CHILDREN])
    arrays = [name for name, child in found.items() if child.array is not None]
    if len(arrays) == 1:
        return Level(arrays[0])
    listed = ", ".join(map(repr, arrays[:MOST_LISTED]))
    there = f"and {len(arrays)} arrays: {listed}" if arrays else "and no array"
    raise InputError(
        f"The group {place.path!r} has no OME metadata (multiscales)"
        f" {'' if names is None else there}. Expected an image: name an array's own"
        " folder in input.path (image.zarr/NAME)."
    )


def _below(place: Place) -> Level:
    """An array, as one of the levels of a group above it, if there is one."""
    path, part = place.path.rstrip("/"), ""
    for _ in range(DEEPEST):
        path, _, name = path.rpartition("/")
        part = f"{name}/{part}" if part else name
        if not path or path.endswith(":/"):
            break
        node = read_node(place.at(path))
        multiscale = multiscale_of(path, node.ome) if node else None
        dataset = multiscale and multiscale.level(part)
        if dataset:
            return Level("", node, multiscale, dataset)
    return Level("")
