"""Collections of images in a Zarr: those of bioformats2raw, plates and wells."""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from pydantic import BaseModel

from denoise_daisy.errors import InputError
from denoise_daisy.images.format import SceneName
from denoise_daisy.images.ome_ngff import checked
from denoise_daisy.images.zarr_nodes import Node, read_node, read_nodes
from denoise_daisy.images.zarr_place import Place, joined, within

LAYOUT = "bioformats2raw.layout"

OME_GROUP = "OME"
"""Where bioformats2raw puts what is of all images."""


@dataclass(frozen=True)
class Scene:
    """An image of a collection."""

    name: SceneName
    part: str
    """Path of its group in the collection's."""


class _Well(BaseModel):
    path: str
    """Names of its row and its column, with a slash between."""


class _Plate(BaseModel):
    wells: list[_Well]


class _Field(BaseModel):
    path: str


class _Fields(BaseModel):
    images: list[_Field]


def scenes_in(place: Place, node: Node) -> list[Scene] | None:
    """The images of a collection; None where a group is none.

    Raises
    ------
    InputError
        Its metadata are damaged, or name a well that is not there.
    """
    ome = node.ome
    if "plate" in ome:
        found = list(
            _of_plate(place, checked(place.path, "plate", _Plate, ome["plate"]))
        )
    elif "well" in ome:
        fields = checked(place.path, "well", _Fields, ome["well"]).images
        found = [(field.path, field.path, None) for field in fields]
    elif LAYOUT in ome and "multiscales" not in ome:
        found = list(_of_series(place))
    else:
        return None
    if not found:
        raise InputError(
            f"The collection {place.path!r} lists no image. Expected one at least;"
            " name an image's own folder in input.path."
        )
    for part, _, _ in found:
        if {"", ".", ".."} & set(part.strip("/").split("/")):
            raise InputError(
                f"The collection {place.path!r} lists an image at {part!r}. Expected"
                " paths within it; correct its metadata."
            )
    return [
        Scene(SceneName(i, name, well), part)
        for i, (part, name, well) in enumerate(found)
    ]


_Found = tuple[str, str, tuple[str, str] | None]
"""An image's path, name and well."""


def _of_plate(place: Place, plate: _Plate) -> Iterator[_Found]:
    parts = [well.path.strip("/") for well in plate.wells]
    nodes = read_nodes(place, parts)
    for part in parts:
        if part not in nodes or "well" not in nodes[part].ome:
            raise InputError(
                f"The plate {place.path!r} lists the well {part!r}, which is not there."
                " Expected all of them; copy it again, or name a field's own folder in"
                " input.path (plate.zarr/A/1/0)."
            )
        where = joined(place.path, part)
        row, _, column = part.partition("/")
        for field in checked(where, "well", _Fields, nodes[part].ome["well"]).images:
            path = joined(part, field.path)
            yield path, path, (row, column)


def _of_series(place: Place) -> Iterator[_Found]:
    group = read_node(within(place, OME_GROUP))
    listed = group.ome.get("series") if group else None
    if listed is None:
        numbers = [name for name in place.children() or () if name.isdecimal()]
        series = sorted(numbers, key=lambda name: (len(name), name))
    else:
        series = checked(place.path, "series", list[str], listed)
    names = _names(place)
    for i, part in enumerate(series):
        yield part, names[i] if i < len(names) else part, None


def _names(place: Place) -> list[str]:
    """The names of images in the OME-XML, in the order of the series."""
    data = place.read(f"{OME_GROUP}/METADATA.ome.xml")
    try:
        root = ElementTree.fromstring(data or b"<OME/>")
    except ElementTree.ParseError:
        return []
    images = [element for element in root if element.tag.rpartition("}")[2] == "Image"]
    return [image.get("Name") or "" for image in images]
