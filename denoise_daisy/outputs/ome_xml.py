"""OME-XML of a collection of images, by which viewers find and name them."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from denoise_daisy.images.image import Channel

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"

TYPES = {"float32": "float"}
"""OME's names of the types of voxels that it calls otherwise."""


@dataclass(frozen=True, slots=True)
class Collected:
    """An image of a collection."""

    path: str
    """Of its group, in the collection."""
    name: str
    shape: tuple[int, ...]
    """Voxels along (t, c, z, y, x)."""
    dtype: str
    scale_um: tuple[float | None, ...]
    """Size of a voxel along (z, y, x); None where not known."""
    channels: tuple[Channel, ...]


def ome_xml(images: Sequence[Collected]) -> str:
    """A document that has an Image of the ID ``Image:PATH`` for each."""
    ElementTree.register_namespace("", NAMESPACE)
    root = ElementTree.Element(f"{{{NAMESPACE}}}OME")
    for image in images:
        about = {"ID": f"Image:{image.path}", "Name": image.name}
        node = _child(root, "Image", about)
        pixels = _child(node, "Pixels", _pixels(image))
        for i, channel in enumerate(image.channels):
            named = {"ID": f"Channel:{image.path}:{i}", "Name": channel.name}
            _child(pixels, "Channel", named | {"SamplesPerPixel": "1"})
        _child(pixels, "MetadataOnly", {})
    text: str = ElementTree.tostring(root, encoding="unicode", xml_declaration=True)
    return text + "\n"


def _pixels(image: Collected) -> dict[str, str]:
    sizes = zip("TCZYX", image.shape, strict=True)
    scales = zip("ZYX", image.scale_um, strict=True)
    return {
        "ID": f"Pixels:{image.path}",
        "DimensionOrder": "XYZCT",
        "Type": TYPES.get(image.dtype, image.dtype),
        **{f"Size{axis}": str(n) for axis, n in sizes},
        **{f"PhysicalSize{a}": f"{size:.9g}" for a, size in scales if size},
    }


def _child(
    parent: ElementTree.Element, name: str, attributes: dict[str, str]
) -> ElementTree.Element:
    return ElementTree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes)
