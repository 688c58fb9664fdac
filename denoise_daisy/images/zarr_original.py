"""What the group of a Zarr's image tells: its attributes, whole, and its provenance."""

import json

from denoise_daisy.images.original import MOST_BYTES, Original
from denoise_daisy.images.zarr_image import ZarrImage
from denoise_daisy.images.zarr_levels import level_of
from denoise_daisy.images.zarr_nodes import read_node
from denoise_daisy.images.zarr_place import within
from denoise_daisy.images.zarr_server import place_of

OWN = "denoise_daisy"
"""The attribute in which this program notes what it did."""

XML = "OME/METADATA.ome.xml"
"""What lies in the group of an image whose first file had metadata of its own."""


def original_of(image: ZarrImage) -> Original:
    """What the image's group tells: its OME-XML, if it has some, else its attributes.

    Raises
    ------
    InputError
        They can't be read.
    """
    place = within(place_of(image.path), image.part)
    node = read_node(place)
    group = level_of(place, node).group if node else None
    if group is None:
        return Original()
    attributes = dict(group.attributes)
    own = attributes.pop(OWN, None)
    xml = place.at(group.path).read(XML)
    if xml:
        text = xml.decode("utf-8-sig")
    else:
        text = json.dumps(attributes, indent=2) if attributes else ""
    if len(text) > MOST_BYTES:
        text, problem = "", f"the metadata of the Zarr have {len(text)} characters"
    else:
        problem = ""
    return Original(
        text=text,
        kind="XML" if xml and text else "text",
        provenance=own if isinstance(own, dict) else None,
        problem=problem,
    )
