"""OME-XML of an image, or of a collection by which viewers find and name its images.

With what is known of how they were taken, and with the metadata of the file that they
come from: whole, as an annotation.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from denoise_daisy.images.image import Channel
from denoise_daisy.images.original import Acquisition, Light, Original

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"

FOLDER = "OME"
"""Group beside an image's or a collection's own members that holds the document."""

XML = "METADATA.ome.xml"
"""The document there, by which napari and Bio-Formats find images."""

TYPES = {"float32": "float"}
"""OME's names of the types of voxels that it calls otherwise."""

IMMERSIONS = ("Oil", "Water", "WaterDipping", "Air", "Multi", "Glycerol")
"""Those that OME knows; any else is its Other."""

ANNOTATION = "Annotation:0"
"""ID of the original metadata."""

ORIGINAL = "denoise-daisy:original-metadata"
"""What tells them from other annotations."""

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What can't be in a document, not even escaped."""

_PROLOG = re.compile(r"\s*(<\?.*?\?>|<!--.*?-->)", re.DOTALL)
_PLACE = "@original@"


@dataclass(frozen=True, slots=True)
class Collected:
    """An image, of a collection or by itself."""

    path: str
    """Of its group, in the collection; 0 of an image by itself."""
    name: str
    shape: tuple[int, ...]
    """Voxels along (t, c, z, y, x)."""
    dtype: str
    scale_um: tuple[float | None, ...]
    """Size of a voxel along (z, y, x); None where not known."""
    channels: tuple[Channel, ...]
    time_step_s: float | None = None
    acquisition: Acquisition = field(default_factory=Acquisition)


def ome_xml(images: Sequence[Collected], original: Original | None = None) -> str:
    """A document that has an Image of the ID ``Image:PATH`` for each.

    And the metadata of the file that they all come from, as they stand there: XML as an
    element, any other text as a comment.
    """
    text = "" if original is None else original.text
    if not text or original is None:
        return _document(images, "", "")
    if original.kind == "XML" and (element := _embedded(text)):
        document = _document(images, "XMLAnnotation", _PLACE)
        whole = document.replace(f">{_PLACE}<", f">{element}<")
        if _is_xml(whole):
            return whole
    return _document(images, "CommentAnnotation", text)


def _document(images: Sequence[Collected], annotation: str, value: str) -> str:
    ElementTree.register_namespace("", NAMESPACE)
    root = ElementTree.Element(f"{{{NAMESPACE}}}OME")
    instruments = [_instrument(root, image.acquisition) for image in images[:1]]
    for image in images:
        has_instrument = bool(instruments and instruments[0])
        _image(root, image, annotation, has_instrument=has_instrument)
    if annotation:
        annotations = _child(root, "StructuredAnnotations", {})
        about = {"ID": ANNOTATION, "Namespace": ORIGINAL}
        node = _child(annotations, annotation, about)
        _child(node, "Value", {}).text = clean(value)
    text: str = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _instrument(root: ElementTree.Element, acquisition: Acquisition) -> bool:
    """Enter the instrument, if something is known of it; images of a file share it."""
    objective = acquisition.objective
    if not (acquisition.microscope or objective):
        return False
    node = _child(root, "Instrument", {"ID": "Instrument:0"})
    if acquisition.microscope:
        _child(node, "Microscope", {"Model": acquisition.microscope})
    if objective:
        about = {"ID": "Objective:0", "Model": objective.model}
        immersion = objective.immersion
        if immersion:
            about["Immersion"] = immersion if immersion in IMMERSIONS else "Other"
        if objective.aperture:
            about["LensNA"] = f"{objective.aperture:.9g}"
        if objective.magnification:
            about["NominalMagnification"] = f"{objective.magnification:.9g}"
        _child(node, "Objective", about)
    return True


def _image(
    root: ElementTree.Element,
    image: Collected,
    annotation: str,
    *,
    has_instrument: bool,
) -> None:
    node = _child(root, "Image", {"ID": f"Image:{image.path}", "Name": image.name})
    taken = image.acquisition
    if _DATE.fullmatch(taken.date):
        _child(node, "AcquisitionDate", {}).text = taken.date
    if has_instrument:
        _child(node, "InstrumentRef", {"ID": "Instrument:0"})
        if taken.objective:
            _child(node, "ObjectiveSettings", {"ID": "Objective:0"})
    pixels = _child(node, "Pixels", _pixels(image))
    lights = [*taken.channels, *[Light()] * len(image.channels)]
    for i, (channel, light) in enumerate(zip(image.channels, lights, strict=False)):
        about = {"ID": f"Channel:{image.path}:{i}", "Name": channel.name}
        _child(pixels, "Channel", about | _light(channel, light))
    _child(pixels, "MetadataOnly", {})
    for i, light in enumerate(lights[: len(image.channels)]):
        if light.exposure_s:
            plane = {"TheC": str(i), "TheZ": "0", "TheT": "0"}
            _child(pixels, "Plane", plane | {"ExposureTime": f"{light.exposure_s:.9g}"})
    if annotation:
        _child(node, "AnnotationRef", {"ID": ANNOTATION})


def _light(channel: Channel, light: Light) -> dict[str, str]:
    """The attributes of a channel behind its name."""
    about = {"SamplesPerPixel": "1"}
    if re.fullmatch("[0-9A-Fa-f]{6}", channel.color):
        # As a signed number of 32 bits, red first and opaque last.
        color = int(channel.color + "FF", 16)
        about["Color"] = str(color - (1 << 32) if color >> 31 else color)
    if light.excitation_nm:
        about["ExcitationWavelength"] = f"{light.excitation_nm:.9g}"
    if light.emission_nm:
        about["EmissionWavelength"] = f"{light.emission_nm:.9g}"
    if light.fluor:
        about["Fluor"] = light.fluor
    return about


def _pixels(image: Collected) -> dict[str, str]:
    sizes = zip("TCZYX", image.shape, strict=True)
    scales = zip("ZYX", image.scale_um, strict=True)
    step = image.time_step_s
    return {
        "ID": f"Pixels:{image.path}",
        "DimensionOrder": "XYZCT",
        "Type": TYPES.get(image.dtype, image.dtype),
        **{f"Size{axis}": str(n) for axis, n in sizes},
        **{f"PhysicalSize{a}": f"{size:.9g}" for a, size in scales if size},
        **({"TimeIncrement": f"{step:.9g}"} if step else {}),
    }


def _child(
    parent: ElementTree.Element, name: str, attributes: dict[str, str]
) -> ElementTree.Element:
    told = {key: clean(value) for key, value in attributes.items()}
    return ElementTree.SubElement(parent, f"{{{NAMESPACE}}}{name}", told)


def clean(text: str) -> str:
    """A text with a sign in the place of what can't be in a document."""
    return _NO_XML.sub("\ufffd", text)


def _embedded(text: str) -> str:
    """A document as an element of another, in no namespace that it did not have.

    Empty where it can't be one, for it has a document type.
    """
    at = 0
    while found := _PROLOG.match(text, at):
        at = found.end()
    body = text[at:].lstrip()
    start = re.match(r"<[^\s/>!]+([^>]*)>", body)
    if start is None:
        return ""
    if re.search(r"\sxmlns\s*=", start[1]):
        return body
    name = body[: start.start(1)]
    return f'{name} xmlns=""{body[start.start(1) :]}'


def _is_xml(text: str) -> bool:
    try:
        ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError):
        return False
    return True
